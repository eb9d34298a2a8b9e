"""Training speed and memory, against PyTorch channels_last on the same cores.

    python benchmarks/train.py [--arch 1_0 1_1] [--batch-size 16] [--rounds 5] [--seconds 5]

Needs `torch==2.13.0` beside the package. The bound is what oneDNN's convolutions alone would take,
from the plan's own timings on one thread times the number of threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from functools import partial
from pathlib import Path

import measure

TESTS = Path(__file__).resolve().parent.parent / "tests"
PEER = "torch channels_last"


def our_step(arch: str, batch_size: int, threads: int, backend: str):
    import numpy as np

    import squeezenet_c as sq

    sq.set_backend(backend)
    sq.set_num_threads(threads)
    model = sq.Model(arch, num_classes=2, seed=0)
    optimizer = sq.Adam(model, lr=1e-4)
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (batch_size, 3, 224, 224)).astype(np.float32)
    labels = random.integers(0, 2, batch_size)
    return partial(model.train_step, x, labels, optimizer)


def torch_step(arch: str, batch_size: int, threads: int):
    import torch

    sys.path.insert(0, str(TESTS))
    import networks

    from squeezenet_c._native import core

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = core.Network(arch, 2)
    state = {
        name: torch.tensor(value).to(
            memory_format=torch.channels_last if value.ndim == 4 else torch.contiguous_format
        )
        for name, value in network.state_dict().items()
    }
    for value in state.values():
        value.requires_grad_(True)
    optimizer = torch.optim.Adam(state.values(), lr=1e-4)
    x = torch.rand(batch_size, 3, 224, 224).mul_(2).sub_(1)
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (batch_size,))

    def step() -> float:
        optimizer.zero_grad()
        mask = torch.nn.functional.dropout(torch.ones(batch_size, 512, 13, 13), 0.5)
        logits = networks.torch_forward(state, x, network.spec, mask)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def bound(arch: str, threads: int) -> float:
    """Images a second if convolutions were all there is."""
    from squeezenet_c._native import core

    core.set_backend("onednn")
    rows = core.Network(arch, 2).plan(224, 224, training=True, repeats=15)
    milliseconds = sum(row["milliseconds"] for row in rows if row["op"].startswith("conv"))
    return 1000 * threads / milliseconds


def work(arguments: argparse.Namespace) -> None:
    """One measurement, in a process of its own."""
    arch = arguments.arch[0]
    if arguments.worker == "bound":
        print(json.dumps({"images_per_second": bound(arch, arguments.threads)}))
        return
    if arguments.worker == PEER:
        step = torch_step(arch, arguments.batch_size, arguments.threads)
    else:
        step = our_step(arch, arguments.batch_size, arguments.threads, arguments.worker)
    for _ in range(2):
        step()
    times, end = [], time.perf_counter() + arguments.seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    result = {
        "images_per_second": arguments.batch_size / sorted(times)[len(times) // 2],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result))


def compare(arch: str, arguments: argparse.Namespace) -> None:
    from squeezenet_c._native import core

    command = [__file__, "--arch", arch, "--batch-size", str(arguments.batch_size)]
    command += ["--seconds", str(arguments.seconds), "--threads", str(arguments.threads)]
    names = [*core.build_info()["backends"], PEER]
    if "onednn" in names:
        names.append("bound")
    workers = {
        name: partial(
            measure.run_worker,
            [*command, "--worker", name],
            OMP_NUM_THREADS=str(arguments.threads),
        )
        for name in names
    }
    figure = "images_per_second"
    results = measure.take_turns(workers, arguments.rounds, figure)
    print(
        f"\nSqueezeNet {arch}, batch {arguments.batch_size}, {arguments.threads} threads, float32"
    )
    print(f"{'':22}{'img/s':>8}{'ratio to torch (least, greatest)':>36}{'peak MiB':>10}")
    for name in names:
        middle, least, greatest = measure.ratio(results, name, PEER, figure)
        peak = measure.median(results[name], "peak_mib") if name != "bound" else float("nan")
        print(
            f"{name:22}{measure.median(results[name], figure):8.1f}"
            f"{middle:18.2f} ({least:.2f}, {greatest:.2f}){peak:12.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["1_0", "1_1"], choices=["1_0", "1_1"])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    for arch in arguments.arch:
        compare(arch, arguments)


if __name__ == "__main__":
    main()
