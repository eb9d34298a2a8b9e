"""The door through which files are written: whole or not at all. What was at a path stays until the
new file is complete, and an OSError names the path."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
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


def check_writable(path: str | os.PathLike) -> None:
    """OSError where a file at `path` could not be written, before any work is done for it. What is
    there stays as it is."""
    import tempfile

    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, expected a file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} in")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise type(error)(error.errno, f"cannot write in the folder {path.parent}") from None
