"""predictions.csv: a line a picture, with its true class, the answer and the probabilities;
written by reports, and read to compare two models without their files.

Columns: path, true, predicted, right (1 or 0), and of each class "probability NAME". Of a table
that is read the order is nothing, other columns may be there, and "label" may stand for "true", as
in the out-of-fold predictions of a cross-validation.
"""

import csv
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.read import read_text
from ..base.write import write_table
from ..inference.comparison import Judged

PROBABILITY = "probability "  # with the class's name behind it
MOST_BYTES = 1 << 30


def write_predictions(judged: Judged, path: Path) -> None:
    names = judged.class_names
    pictures = zip(
        judged.paths, judged.labels, judged.predicted, judged.probabilities.tolist(), strict=True
    )
    rows = (
        (picture, names[true], names[said], int(true == said), *shares)
        for picture, true, said, shares in pictures
    )
    columns = [f"{PROBABILITY}{name}" for name in names]
    write_table(path, ["path", "true", "predicted", "right", *columns], rows)


def read_predictions(path: str | os.PathLike) -> Judged:
    """A table's contents, whose `name` is the path. The positive class of two is the second.
    ValueError: it is no such table; OSError: it cannot be read."""
    path = os.fspath(path)
    text = io.StringIO(read_text(path, MOST_BYTES), newline="")
    try:
        return _judged(path, csv.reader(text))
    except csv.Error as error:
        raise ValueError(f"{path}: no table of comma-separated values ({error})") from None


def _judged(path: str, lines: Any) -> Judged:
    head: list[str] = next(lines, [])
    truth = "true" if "true" in head else "label"
    columns = [column for column in head if column.startswith(PROBABILITY)]
    names = tuple(column.removeprefix(PROBABILITY) for column in columns)
    if not {"path", truth, "predicted"} <= set(head) or not names or len(set(head)) < len(head):
        raise ValueError(
            f"{path}: its first line is no predictions.csv's, expected the columns path, true, "
            f"predicted and of each class {PROBABILITY}NAME"
        )
    place = {column: head.index(column) for column in head}
    number = {name: label for label, name in enumerate(names)}
    paths: list[str] = []
    answers: list[tuple[int, int]] = []
    probabilities: list[list[float]] = []
    for row in lines:
        try:
            if len(row) != len(head):
                raise ValueError(row)
            answers.append((number[row[place[truth]]], number[row[place["predicted"]]]))
            probabilities.append([float(row[place[column]]) for column in columns])
            if not np.isfinite(probabilities[-1]).all():
                raise ValueError(row)
        except (KeyError, ValueError):
            raise ValueError(
                f"{path}, line {lines.line_num}: {','.join(row):.200} found, expected {len(head)} "
                f"cells as the first line names them: classes are {', '.join(names):.200}, and "
                "probabilities finite numbers"
            ) from None
        paths.append(row[place["path"]])
    if not paths:
        raise ValueError(f"{path}: no picture in it")
    labels, predicted = np.array(answers, dtype=np.int64).T
    table: NDArray[np.float64] = np.array(probabilities)
    positive = 1 if len(names) == 2 else None
    return Judged(path, paths, names, labels, predicted, table, positive)
