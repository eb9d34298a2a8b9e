"""What the benchmarks share: one process a measurement, turns taken, medians and ratios.

Machines are shared and noisy: a figure alone means little, the ratio of two that took turns in one
run means something. So every library runs in a process of its own, the libraries take turns for
several rounds, and what is reported is the median of each and the ratio to a peer.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

# Set on some machines; they choose slower NumPy kernels than NumPy would.
UNWANTED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def run_worker(arguments: Sequence[str], **environment: str) -> dict[str, Any]:
    """Run `python ARGUMENTS` and return the JSON object it prints last."""
    variables = {key: value for key, value in os.environ.items() if key not in UNWANTED}
    result = subprocess.run(
        [sys.executable, *arguments],
        env={**variables, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.strip().splitlines()[-1])


def take_turns(
    workers: dict[str, Callable[[], dict[str, Any]]], rounds: int, figure: str
) -> dict[str, list[dict[str, Any]]]:
    """Run every worker once a round; results by name, one a round."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    for number in range(rounds):
        for name, worker in workers.items():
            results[name].append(worker())
            print(f"round {number + 1}: {name}: {results[name][-1][figure]:.1f}", file=sys.stderr)
    return results


def median(results: list[dict[str, Any]], figure: str) -> float:
    return statistics.median(result[figure] for result in results)


def ratio(
    results: dict[str, list[dict[str, Any]]], name: str, peer: str, figure: str
) -> tuple[float, float, float]:
    """Median, least and greatest ratio over the rounds: each round's two were neighbours."""
    ratios = [
        ours[figure] / theirs[figure]
        for ours, theirs in zip(results[name], results[peer], strict=True)
    ]
    return statistics.median(ratios), min(ratios), max(ratios)
