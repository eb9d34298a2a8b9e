"""The door through which files are written: whole or not at all. What was at a path stays until the
new file is complete, and an OSError names the path."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

from .._native import core


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    core.write_file(os.fspath(path), data)


def write_text(path: str | os.PathLike, text: str) -> None:
    """UTF-8, with the line ends that the text has."""
    write_bytes(path, text.encode("utf-8"))


def write_table(
    path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence[Any]], end: str = "\r\n"
) -> None:
    """A CSV table (RFC 4180, which ends lines by CR LF), UTF-8. Paths that are not UTF-8 keep their
    bytes."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))
