"""Training on the PALM photographs with the defaults: accuracy over seeds, and runs that get stuck.

    python benchmarks/palm.py PALM_FOLDER full       5 seeds, v1.1, 20 epochs, best on `valid`
    python benchmarks/palm.py PALM_FOLDER held-out   the same, best chosen on a fifth of the
                                                     training pictures, reported on `valid`
    python benchmarks/palm.py PALM_FOLDER short      v1.0 and v1.1, 10 seeds each, 8 epochs

    --precision bfloat16   train and evaluate in it (with SQZ_BF16=emulate, on any CPU)

A run is stuck when its last epoch's training loss is within 0.01 of ln 2 = 0.693, the loss of
knowing nothing. Nothing in the package was chosen on the validation set.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

import squeezenet_c as sq

STUCK_WITHIN = 0.01


def run(
    data: str, arch: str, seed: int, epochs: int, held_out: bool, precision: str
) -> tuple[float, float, bool]:
    """(the run's accuracy on the validation set, its AUC there, whether it is stuck)."""
    train, valid = sq.palm.load(data)
    model = sq.Model(arch, num_classes=2, seed=seed, precision=precision)
    if model.precision != precision:
        raise SystemExit(f"{precision}: {sq.build_info()['bfloat16_reason']}")
    start = time.perf_counter()
    best = f"palm_{arch}_{precision}_{seed}.safetensors"  # in the current folder
    history = sq.train(
        model,
        train,
        valid,
        epochs=epochs,
        seed=seed,
        checkpoint=best,
        valid_fraction=0.2 if held_out else None,
        progress=False,
    )
    report = history.held_out if held_out else sq.evaluate(sq.Model.load(best, precision), valid)
    loss = history.rows[-1].train_loss
    print(
        f"{arch} {precision} seed {seed}: accuracy {report.accuracy:.4f}, AUC {report.auc:.4f}, "
        f"last training loss {loss:.3f}, {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    return report.accuracy, report.auc, abs(loss - math.log(2)) < STUCK_WITHIN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", metavar="PALM_FOLDER")
    parser.add_argument("question", choices=("full", "held-out", "short"))
    parser.add_argument("--arch", nargs="+", choices=("1_0", "1_1"), help="default: as above")
    parser.add_argument("--seeds", type=int, help="runs of each network (default: as above)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    short = options.question == "short"
    archs = options.arch or (("1_0", "1_1") if short else ("1_1",))
    seeds = options.seeds or (10 if short else 5)
    runs = [(arch, seed, 8 if short else 20) for arch in archs for seed in range(seeds)]
    held_out = options.question == "held-out"
    results = [run(options.data, *each, held_out, options.precision) for each in runs]
    accuracies = [accuracy for accuracy, _, _ in results]
    print(
        f"{options.question}, {options.precision}: "
        f"median accuracy {statistics.median(accuracies):.4f} "
        f"({min(accuracies):.4f} to {max(accuracies):.4f}), median AUC "
        f"{statistics.median(auc for _, auc, _ in results):.4f}, "
        f"{sum(stuck for _, _, stuck in results)} of {len(results)} stuck"
    )


if __name__ == "__main__":
    main()
