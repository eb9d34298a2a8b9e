"""The tutorial's list files: UTF-8, "path label" on each line. A label is a class's number, or its
name, of one word."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._native import core
from ..base.read import read_text
from ..base.write import write_text
from .folders import PICTURE_SUFFIXES
from .labels import LabelReader

MOST_BYTES = 1 << 28


def read_list(
    path: Path, class_names: Sequence[str] | None = None, skip_missing: bool = False
) -> tuple[list[str], list[int], Sequence[str] | None, list[tuple[str, str]]]:
    """(paths, labels, class names or None, the missing ones as (path, reason)). See
    Dataset.from_list."""
    text = read_text(path, MOST_BYTES)
    paths: list[str] = []
    words: list[str] = []
    missing: list[tuple[str, str]] = []
    labels = LabelReader(path, class_names)
    # Not splitlines(): it would also split at characters that a file's name may have.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        picture, word = _parse(line, where)
        # A path without its label ends in a word, too.
        named = word[0].isalpha() and not word.lower().endswith(PICTURE_SUFFIXES)
        labels.check(word, where, may_be_name=named)
        found = find_picture(picture, path.parent, where, missing if skip_missing else None)
        if found:
            paths.append(found)
            words.append(word)
    if not paths:
        raise core.BadFileError(f"{path} lists no picture; expected lines of 'path label'")
    return paths, *labels.numbers(words), missing


def _parse(line: str, where: str) -> tuple[str, str]:
    words = line.strip().rsplit(None, 1)
    if len(words) != 2:
        raise core.BadFileError(f"{where}: {line.strip()!r:.200} found, 'path label' expected")
    return words[0], words[1]


def find_picture(
    picture: str, beside: Path, where: str, missing: list[tuple[str, str]] | None
) -> str | None:
    """The file that `picture` means at `where`, in a file that lies in the folder `beside`: looked
    for there first, then in the current folder. One that is not there is noted in `missing`, or
    without it is a FileNotFoundError."""
    for candidate in (os.path.join(beside, picture), picture):
        if os.path.isfile(candidate):
            return candidate
    reason = f"{where}: there is no file {picture:.4096}"
    if missing is None:
        raise FileNotFoundError(reason)
    missing.append((picture, reason))
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
    write_text(path, "".join(lines))
