"""Memory stays flat, however long a process predicts and trains:

    python tests/faults/soak.py [--predictions 100000] [--steps 10000]

One model predicts batches of one to four pictures of eleven sizes, more than it keeps plans of;
another trains on batches of one to eight pictures of as many sizes. A tenth of the work comes first
(two rounds of all sizes and batches at least), by which caches fill; over the rest no more may grow
than GROWTH has: for the process what an allocator's pools go up and down by, less for what is in
use of them, and for Python's objects. Both parts are whole rounds, after which the same plans are
kept. OMP_NUM_THREADS=1 makes what is in use exact to some kB."""

import argparse
import ctypes
import gc
import math
import sys
import time

import numpy as np

from squeezenet_c._native import core

SIDES = range(32, 54, 2)
MOST_PICTURES = 8
ROUND = math.lcm(len(SIDES), MOST_PICTURES)  # steps, after which all sizes and batches come again
# By what is measured: the most that it may grow by.
GROWTH = {"MB of the process": 8.0, "MB in use": 0.05, "Python objects": 100.0}


class AllocatorState(ctypes.Structure):
    """struct mallinfo2 of the GNU C library."""

    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]


def measure() -> dict[str, float]:
    """As GROWTH has it, now."""
    gc.collect()
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    allocator = ctypes.CDLL(None).mallinfo2
    allocator.restype = AllocatorState
    state = allocator()
    in_use = state.uordblks + state.hblkhd  # the latter have pages of their own
    return {
        "MB of the process": int(line.split()[1]) / 1024,
        "MB in use": in_use / (1 << 20),
        "Python objects": float(sys.getallocatedblocks()),
    }


def soak(predictions: int, steps: int) -> list[dict[str, float]]:
    """What there is after a tenth of the work, and in the end."""
    spec = {"base_e": 16, "incr_e": 16, "squeeze_ratio": 0.5}
    predicting, training = (core.Network("1_1", 2, seed=seed, **spec) for seed in (0, 1))
    adam = core.Adam(training)
    x = np.random.default_rng(0).standard_normal((MOST_PICTURES, 3, 54, 54))
    x, labels = x.astype(np.float32), np.arange(MOST_PICTURES) % 2

    def work(begin: int, end: int) -> None:
        for number in range(begin, end):
            side = SIDES[number % len(SIDES)]
            for call in range(predictions // steps):
                predicting.forward(x[: 1 + (number + call) % 4, :, :side, :side])
            batch = slice(0, 1 + number % MOST_PICTURES)
            training.compute_gradients(x[batch, :, :side, :side], labels[batch], step=number)
            adam.step()
            predicting.load_state_dict(training.state_dict())

    warm = max(2, math.ceil(steps / 10 / ROUND)) * ROUND
    work(0, warm)
    before = measure()
    work(warm, math.ceil(steps / ROUND) * ROUND)
    return [before, measure()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--predictions", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10_000)
    options = parser.parse_args()
    begun = time.monotonic()
    before, after = soak(options.predictions, options.steps)
    took = time.monotonic() - begun
    print(f"{options.predictions} predictions, {options.steps} steps, {took:.0f} s")
    for what, most in GROWTH.items():
        print(f"{what}: {before[what]:,.2f} when warm, {after[what]:,.2f} in the end")
        if after[what] - before[what] > most:
            raise SystemExit(
                f"{what} have grown by {after[what] - before[what]:,.2f}, expected {most} at most"
            )


if __name__ == "__main__":
    main()
