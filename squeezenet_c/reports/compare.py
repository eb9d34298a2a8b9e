"""Two models on the same pictures: what they answer, the tests between them, and a folder of it."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..base.write import write_table, write_text
from ..data.dataset import Dataset
from ..inference.comparison import Comparison, Judged, aligned, compare_judged
from ..inference.intervals import RESAMPLES, SEED
from ..inference.metrics import decide, softmax
from ..inference.predict import dataset_logits, match_classes
from ..network import Network
from .predictions import read_predictions


def compare(
    first: Network | str | os.PathLike,
    second: Network | str | os.PathLike,
    dataset: Dataset | None = None,
    folder: str | os.PathLike | None = None,
    *,
    names: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Whether `second` is better than `first` on the same pictures: their figures, the differences
    with 95 % intervals, McNemar's test of right and wrong answers, and with two classes DeLong's
    test of the AUCs. See inference/comparison.py for each, with its source.

    first, second   models, which answer `dataset`'s pictures, or the predictions.csv of reports, of
                    these or, where both are, of any pictures
    folder      write into it (made if need be) comparison.json, comparison.csv (a line a picture)
                and, of two classes and where matplotlib is installed, roc.png
    names       what the two are called (default: a table's path, and "A" and "B")
    resamples, seed     of the bootstrap, with more than two classes

    ValueError: models, and no dataset; sets of other classes (see match_classes); tables of other
    pictures or labels, or that are none. OSError: a file cannot be read or written.
    """
    called = names or [
        default if isinstance(judge, Network) else os.fspath(judge)
        for judge, default in ((first, "A"), (second, "B"))
    ]
    one, other = (
        _judged(judge, name, dataset) for judge, name in zip((first, second), called, strict=True)
    )
    found = compare_judged(one, other, resamples, seed)
    if folder is not None:
        _write(found, one, aligned(other, one), Path(folder))
    return found


def _judged(judge: Any, name: str, dataset: Dataset | None) -> Judged:
    if not isinstance(judge, Network):
        return replace(read_predictions(judge), name=name)
    if dataset is None:
        raise ValueError(f"{name} is a model and needs a set of pictures to be compared on")
    dataset = match_classes(dataset, judge.class_names, judge.num_classes)
    probabilities = softmax(dataset_logits(judge, dataset))
    return Judged(
        name=name,
        paths=dataset.paths,
        class_names=judge.class_names or tuple(map(str, range(judge.num_classes))),
        labels=dataset.labels,
        predicted=decide(probabilities, judge.threshold, judge.positive),
        probabilities=probabilities,
        positive=judge.positive,
    )


def _write(found: Comparison, first: Judged, second: Judged, folder: Path) -> None:
    import json

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found.to_dict(), ensure_ascii=False, indent=2)
    write_text(folder / "comparison.json", text + "\n")
    names = first.class_names
    rows = (
        (path, names[true], names[one], names[other], int(one == true), int(other == true))
        for path, true, one, other in zip(
            first.paths, first.labels, first.predicted, second.predicted, strict=True
        )
    )
    header = ["path", "true", "A", "B", "A right", "B right"]
    write_table(folder / "comparison.csv", header, rows)
    if found.positive is not None:
        from .plots import roc_plot

        scores = np.stack(
            [judged.probabilities[:, found.positive] for judged in (first, second)], axis=1
        )
        positives = np.stack([first.labels == found.positive] * 2, axis=1)
        roc_plot(positives, scores, found.names, None, folder / "roc.png")
