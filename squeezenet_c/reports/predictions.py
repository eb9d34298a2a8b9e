"""predictions.csv: a line a picture, with its true class, the answer and the probabilities; written
by reports, and read to compare two models without their files.

Columns: path, true, predicted, right (1 or 0), and of each class "probability NAME".
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

FIRST_COLUMNS = ["path", "true", "predicted", "right"]
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
    write_table(path, [*FIRST_COLUMNS, *(f"{PROBABILITY}{name}" for name in names)], rows)


def read_predictions(path: str | os.PathLike) -> Judged:
    """What write_predictions wrote, whose `name` is the path. The positive class of two is the
    second. ValueError: it is something else; OSError: it cannot be read."""
    path = os.fspath(path)
    text = io.StringIO(read_text(path, MOST_BYTES), newline="")
    try:
        return _judged(path, csv.reader(text))
    except csv.Error as error:
        raise ValueError(f"{path}: no table of comma-separated values ({error})") from None


def _judged(path: str, lines: Any) -> Judged:
    head: list[str] = next(lines, [])
    columns = head[len(FIRST_COLUMNS) :]
    names = tuple(column.removeprefix(PROBABILITY) for column in columns)
    if (
        head[: len(FIRST_COLUMNS)] != FIRST_COLUMNS
        or not names
        or len(set(names)) != len(names)
        or not all(column.startswith(PROBABILITY) for column in columns)
    ):
        raise ValueError(
            f"{path}: its first line is no predictions.csv's, expected {','.join(FIRST_COLUMNS)} "
            f"and a column {PROBABILITY}NAME of each class"
        )
    number = {name: place for place, name in enumerate(names)}
    paths: list[str] = []
    answers: list[tuple[int, int]] = []
    probabilities: list[list[float]] = []
    for row in lines:
        try:
            picture, true, said, _, *shares = row
            answers.append((number[true], number[said]))
            probabilities.append([float(share) for share in shares])
            if len(shares) != len(names) or not np.isfinite(probabilities[-1]).all():
                raise ValueError(shares)
        except (KeyError, ValueError):
            raise ValueError(
                f"{path}, line {lines.line_num}: {','.join(row):.200} found, expected a path, two "
                f"of the classes {', '.join(names):.200}, 1 or 0, and {len(names)} probabilities"
            ) from None
        paths.append(picture)
    if not paths:
        raise ValueError(f"{path}: no picture in it")
    labels, predicted = np.array(answers, dtype=np.int64).T
    table: NDArray[np.float64] = np.array(probabilities)
    positive = 1 if len(names) == 2 else None
    return Judged(path, paths, names, labels, predicted, table, positive)
