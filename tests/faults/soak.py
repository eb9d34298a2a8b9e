"""Memory stays flat, however long a process predicts and trains:

    python tests/faults/soak.py [--predictions 100000] [--steps 10000]

One model predicts batches of one to four pictures of eleven sizes, more than it keeps plans of;
another trains on batches of one to eight pictures of as many sizes. A tenth of the work (or what
uses every size some times) comes first, by which caches fill; over the rest the process may grow by
no more than GROWTH_MB: what an allocator's pools go up and down by."""

import argparse
import time

import numpy as np

from squeezenet_c._native import core

GROWTH_MB = 8
WARM_UP = 60  # steps
SIDES = range(32, 54, 2)


def resident_mb() -> float:
    """What the process has in memory now."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def soak(predictions: int, steps: int) -> tuple[float, float]:
    """Megabytes after a tenth of the work, and in the end."""
    spec = {"base_e": 16, "incr_e": 16, "squeeze_ratio": 0.5}
    predicting, training = (core.Network("1_1", 2, seed=seed, **spec) for seed in (0, 1))
    adam = core.Adam(training)
    x = np.random.default_rng(0).standard_normal((8, 3, 54, 54)).astype(np.float32)
    labels = np.arange(8) % 2

    def work(begin: int, end: int) -> None:
        for number in range(begin, end):
            side = SIDES[number % len(SIDES)]
            for call in range(predictions // steps):
                predicting.forward(x[: 1 + (number + call) % 4, :, :side, :side])
            batch = slice(0, 1 + number % 8)
            training.compute_gradients(x[batch, :, :side, :side], labels[batch], step=number)
            adam.step()
            predicting.load_state_dict(training.state_dict())

    warm = max(WARM_UP, steps // 10)
    work(0, warm)
    before = resident_mb()
    work(warm, steps)
    return before, resident_mb()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--predictions", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10_000)
    options = parser.parse_args()
    begun = time.monotonic()
    before, after = soak(options.predictions, options.steps)
    took = time.monotonic() - begun
    print(f"{options.predictions} predictions, {options.steps} steps, {took:.0f} s")
    print(f"{before:.1f} MB when warm, {after:.1f} MB in the end")
    if after - before > GROWTH_MB:
        raise SystemExit(
            f"memory has grown by {after - before:.1f} MB, expected {GROWTH_MB} at most"
        )


if __name__ == "__main__":
    main()
