"""Data sets as CSV tables (RFC 4180): a header, then a row a picture."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .._native import core
from ..base.read import brief, read_text
from .labels import LabelReader
from .lists import MOST_BYTES, find_picture

SUFFIX = ".csv"
NOWHERE = -1  # the place of a column that is not there
# What columns are called whose names nobody gave, in any case of letters.
GUESSED = {
    "image": ("image", "path", "file", "filename"),
    "label": ("label", "class", "target"),
    "group": ("group", "patient", "subject"),
}


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns; None: the one that is called as GUESSED has it. Without a
    column of groups there are none."""

    image: str | None = None
    label: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Table:
    """What was read: `groups` of each picture or None, `missing` as (path, reason)."""

    paths: list[str]
    labels: list[int]
    class_names: Sequence[str] | None
    groups: list[str] | None
    missing: list[tuple[str, str]]


def read_table(
    path: Path,
    columns: Columns,
    class_names: Sequence[str] | None = None,
    skip_missing: bool = False,
) -> Table:
    """See Dataset.from_csv."""
    text = read_text(path, MOST_BYTES)
    rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    paths: list[str] = []
    words: list[str] = []
    groups: list[str] = []
    missing: list[tuple[str, str]] = []
    labels = LabelReader(path, class_names)
    try:
        header = [name.strip() for name in next(rows, [])]
        image_at, label_at, group_at = (
            _find_column(path, header, kind, getattr(columns, kind)) for kind in GUESSED
        )
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if not any(field.strip() for field in row):
                continue
            if len(row) != len(header):
                raise core.BadFileError(
                    f"{where}: {len(row)} fields found, expected {len(header)}, as in the header"
                )
            word = _field(row, label_at, header, where)
            labels.check(word, where)
            group = "" if group_at == NOWHERE else _field(row, group_at, header, where)
            picture = _field(row, image_at, header, where)
            found = find_picture(picture, path.parent, where, missing if skip_missing else None)
            if found:
                paths.append(found)
                words.append(word)
                groups.append(group)
    except csv.Error as error:
        raise core.BadFileError(
            f"{path}, line {rows.line_num}: no CSV that can be read ({brief(error)})"
        ) from None
    if not paths:
        raise core.BadFileError(f"{path} lists no picture; expected a row for each, under a header")
    return Table(paths, *labels.numbers(words), None if group_at == NOWHERE else groups, missing)


def _find_column(path: Path, header: list[str], kind: str, name: str | None) -> int:
    """Where the column is; NOWHERE is a column of groups that nobody named. BadFileError, which
    lists the columns: there is no other, or more than one."""
    wanted = GUESSED[kind] if name is None else (name,)
    found = [
        place
        for place, column in enumerate(header)
        if (column.lower() if name is None else column) in wanted
    ]
    if len(found) == 1:
        return found[0]
    if not found and kind == "group" and name is None:
        return NOWHERE
    listed = ", ".join(header[:50]) or "none"
    what = "more than one" if found else "none"
    hint = f"; {kind}= names another" if name is None else ""
    raise core.BadFileError(
        f"{path} has the columns {listed:.1000} (separated by commas), {what} of them called "
        f"{' or '.join(wanted):.200}, which the {kind} is to stand in{hint}"
    )


def _field(row: list[str], place: int, header: list[str], where: str) -> str:
    text = row[place].strip()
    if not text:
        raise core.BadFileError(f"{where}: nothing stands in the column {header[place]:.200}")
    return text
