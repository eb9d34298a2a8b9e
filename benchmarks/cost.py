"""What a training step costs on R ranks, and so where training stops to scale: a model of four
numbers that scaling.py measures and two of a network.

A step is a rank's pictures, one after the other on each thread, then the exchange of gradients
(squeezenet_c/base/mpi.py): log2 R levels of halving, in which partners send each other half of what
they have in common and add the other half, and as many of doubling, in which they send what they
have added. So each rank sends 2 (R - 1) / R times the gradients, in 2 log2 R messages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Machine:
    """Seconds: of a picture forward and back on one thread; of a step besides (packed weights,
    Adam); of adding one float; of one level of the exchange without bytes, on this machine."""

    picture: float
    step: float
    add: float
    level: float


@dataclass(frozen=True)
class Network:
    """Bytes a second in each direction, and the seconds until a message's first byte is there."""

    name: str
    bytes_a_second: float
    latency: float


# Latencies of Ethernet by the kernel's TCP, and of a fabric that goes by it.
NETWORKS = (
    Network("1 Gbit/s", 1e9 / 8, 50e-6),
    Network("10 Gbit/s", 10e9 / 8, 25e-6),
    Network("25 Gbit/s", 25e9 / 8, 15e-6),
    Network("100 Gbit/s", 100e9 / 8, 3e-6),
)


def bytes_sent(ranks: int, floats: int) -> float:
    """By each rank, a step."""
    return 2 * (ranks - 1) / ranks * floats * FLOAT


def exchange(machine: Machine, network: Network, ranks: int, floats: int) -> float:
    """Seconds of halving and doubling."""
    levels = math.log2(ranks)
    adding = (ranks - 1) / ranks * floats * machine.add
    return (
        2 * levels * (network.latency + machine.level)
        + bytes_sent(ranks, floats) / network.bytes_a_second
        + adding
    )


def exchange_whole(machine: Machine, network: Network, ranks: int, floats: int) -> float:
    """Seconds of recursive doubling alone, in which partners send each other all they have."""
    levels = math.log2(ranks)
    one = network.latency + machine.level + floats * (FLOAT / network.bytes_a_second + machine.add)
    return levels * one


def pictures_a_rank(batch: int, ranks: int) -> int:
    """Of the busiest rank: without enough pictures the others wait."""
    return -(-batch // ranks)


def step(
    machine: Machine, network: Network, ranks: int, floats: int, batch: int, threads: int = 1
) -> float:
    """Seconds of a step."""
    rounds = -(-pictures_a_rank(batch, ranks) // threads)
    computing = rounds * machine.picture + machine.step
    return computing + (exchange(machine, network, ranks, floats) if ranks > 1 else 0.0)


def scales_to(machine: Machine, network: Network, floats: int, batch: int, most: int) -> int:
    """The ranks up to which twice as many make a step at least 1.5 times as fast."""
    ranks = 1
    while ranks < most:
        before = step(machine, network, ranks, floats, batch)
        if before < 1.5 * step(machine, network, 2 * ranks, floats, batch):
            break
        ranks *= 2
    return ranks


# -- Sending while computing -----------------------------------------------------------------------


def overlapped(
    machine: Machine,
    network: Network,
    ranks: int,
    layers: Sequence[tuple[float, int]],
    batch: int,
) -> float:
    """Seconds of a step in which each layer's gradients go off as soon as the rank's last picture
    has made them, at no cost: the best that overlap can be. layers: (seconds of the way back,
    floats of gradients) of one picture, in the order of the way back."""
    floats = sum(count for _, count in layers)
    whole = exchange(machine, network, ranks, floats)
    back = sum(seconds for seconds, _ in layers)
    now = free = 0.0  # when the way back is here, and when the link is free
    for seconds, count in layers:
        now += seconds
        free = max(now, free) + whole * count / floats
    return step(machine, network, 1, floats, pictures_a_rank(batch, ranks)) + max(0.0, free - back)
