"""The tutorial's list files: UTF-8, "path label" on each line."""

import os
from pathlib import Path

import numpy as np

from .._native import core


def read_list(
    path: Path, skip_missing: bool = False
) -> tuple[list[str], list[int], list[tuple[str, str]]]:
    """(paths, labels, the missing ones as (path, reason)). See Dataset.from_list."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise core.BadFileError(f"{path} is not UTF-8 text: {error}") from None
    paths, labels, missing = [], [], []
    # Not splitlines(): it would also split at characters that a file's name may have.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        picture, label = _parse(line, where)
        found = _find(picture, path.parent)
        if found:
            paths.append(found)
            labels.append(label)
        elif skip_missing:
            missing.append((picture, f"{where}: there is no file {picture}"))
        else:
            raise FileNotFoundError(f"{where}: there is no file {picture}")
    if not paths:
        raise core.BadFileError(f"{path} lists no picture; expected lines of 'path label'")
    return paths, labels, missing


def _parse(line: str, where: str) -> tuple[str, int]:
    words = line.strip().rsplit(None, 1)
    if len(words) != 2:
        raise core.BadFileError(f"{where}: {line.strip()!r} found, 'path label' expected")
    picture, label = words
    if not (label.isascii() and label.isdigit()) or len(label) > 9:
        raise core.BadFileError(
            f"{where}: the label is {label!r}, expected a whole number of 0 or more"
        )
    return picture, int(label)


def _find(picture: str, beside: Path) -> str | None:
    for candidate in (os.path.join(beside, picture), picture):
        if os.path.isfile(candidate):
            return candidate
    return None


def write_list(path: Path, pictures: list[str], labels: np.ndarray) -> None:
    """Paths below the list's folder are written relative to it, so that the folder can be moved;
    others absolute. ValueError: a path that a line cannot hold."""
    home = os.path.abspath(path.parent)
    lines = []
    for picture, label in zip(pictures, labels, strict=True):
        absolute = os.path.abspath(picture)
        below = absolute.startswith(os.path.join(home, ""))
        text = os.path.relpath(absolute, home) if below else absolute
        if "\n" in text or text != text.strip():
            raise ValueError(f"{picture!r} cannot stand in a list file")
        lines.append(f"{text} {label}\n")
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
