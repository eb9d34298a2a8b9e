"""Which augmentation suits the PALM photographs: out-of-fold figures of fine-tuned runs, on the
training pictures alone; with --valid also those on the validation pictures, over seeds.

    python benchmarks/augmentation.py PALM_FOLDER WEIGHTS [--ways flips fundus] [--epochs 8]
        [--folds 5] [--valid SEEDS] [--threads 1]

A way is what `train(augment=)` takes. Each fold is a run of the last epoch's weights; figures are
of all out-of-fold answers together, as they are and by the mean of four flips (tta). Of the
validation pictures nothing is chosen; a training picture that is one too is left out there.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np

import squeezenet_c as sq
from squeezenet_c.inference.predict import dataset_logits

WAYS = ["flips", "fundus", "flips,quarter_turns,rotation=15,scale=0.1,translation=0.05"]


def answers(weights: str, train: Any, test: Any, way: str, seed: int, epochs: int) -> Any:
    """(2, N, classes): the logits of the test pictures, and of the mean of their flips."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the head is replaced
        model = sq.Model.from_pretrained(weights, num_classes=2, seed=seed)
    sq.train(model, train, epochs=epochs, seed=seed, augment=way, progress=False)
    return np.stack([dataset_logits(model, test, tta=tta) for tta in (False, True)])


def line(logits: Any, labels: Any) -> str:
    texts = []
    for name, kind in zip(("", "tta "), logits, strict=True):
        found = sq.Evaluation.from_logits(kind, labels, ("0", "1"))
        texts.append(
            f"{name}accuracy {found.accuracy:.4f}, AUC {found.auc:.4f}, loss {found.loss:.4f}"
        )
    return "; ".join(texts)


def folds_of(labels: Any, folds: int) -> Any:
    """(N,): the number of each picture's fold; a class's pictures are dealt evenly."""
    fold = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = np.random.default_rng(int(label)).permutation(members)
        fold[order] = np.arange(len(members)) % folds
    return fold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", metavar="PALM_FOLDER")
    parser.add_argument("weights", metavar="WEIGHTS")
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--valid", type=int, default=0, metavar="SEEDS")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    sq.set_num_threads(options.threads)
    train, valid = sq.palm.load(options.data)
    logits = {way: np.zeros((2, len(train), 2), np.float32) for way in options.ways}
    fold = folds_of(train.labels, options.folds)
    for number in range(options.folds):
        rest, part = (np.flatnonzero(side) for side in (fold != number, fold == number))
        for way in options.ways:  # by turns, so that what is there is comparable at any time
            logits[way][:, part] = answers(
                options.weights, train.subset(rest), train.subset(part), way, number, options.epochs
            )
            done = np.flatnonzero(fold <= number)
            print(
                f"{number + 1} folds of {options.folds}, {way}: "
                f"{line(logits[way][:, done], train.labels[done])} ({time.process_time():.0f} s)",
                flush=True,
            )
    if options.valid:
        leaks = sq.check_data(train, valid).leaks
        leaked = {path for pair in leaks for path in (pair.first, pair.second)}
        train = train.subset([i for i, path in enumerate(train.paths) if path not in leaked])
    for seed in range(options.valid):
        for way in options.ways:
            found = answers(options.weights, train, valid, way, seed, options.epochs)
            print(f"validation, seed {seed}, {way}: {line(found, valid.labels)}", flush=True)


if __name__ == "__main__":
    main()
