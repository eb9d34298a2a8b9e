"""The tutorial's list files: UTF-8, "path label" on each line. A label is a class's number, or its
name, of one word."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from .._native import core
from ..base.read import read_text
from ..base.write import write_text
from .folders import PICTURE_SUFFIXES

MOST_BYTES = 1 << 28


def read_list(
    path: Path, class_names: Sequence[str] | None = None, skip_missing: bool = False
) -> tuple[list[str], list[int], Sequence[str] | None, list[tuple[str, str]]]:
    """(paths, labels, class names or None, the missing ones as (path, reason)). See
    Dataset.from_list."""
    text = read_text(path, MOST_BYTES)
    paths, words, missing = [], [], []
    kinds = set()
    known = None if class_names is None else dict.fromkeys(class_names)
    # Not splitlines(): it would also split at characters that a file's name may have.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        picture, word = _parse(line, where)
        kind = _kind(word, known, where)
        kinds.add(kind)
        if len(kinds) > 1 and class_names is None:
            raise core.BadFileError(
                f"{where}: the label {word!r:.200} is a {kind}, those of {path} before it are not; "
                "expected numbers alone or names alone"
            )
        found = _find(picture, path.parent)
        if found:
            paths.append(found)
            words.append(word)
        elif skip_missing:
            missing.append((picture, f"{where}: there is no file {picture:.4096}"))
        else:
            raise FileNotFoundError(f"{where}: there is no file {picture:.4096}")
    if not paths:
        raise core.BadFileError(f"{path} lists no picture; expected lines of 'path label'")
    names = class_names
    if names is None and "name" in kinds:
        names = sorted(set(words))
    number_of = {name: number for number, name in enumerate(names or ())}
    labels = [number_of[word] if word in number_of else int(word) for word in words]
    return paths, labels, names, missing


def _kind(word: str, known: Collection[str] | None, where: str) -> str:
    """Whether a label is a "number" or a "name", one of those known, or any where none are.
    BadFileError: neither."""
    if known is not None and word in known:
        return "name"
    if word.isascii() and word.isdigit() and len(word) <= 9:
        return "number"
    named = word[0].isalpha() and not word.lower().endswith(PICTURE_SUFFIXES)
    if known is not None or not named:
        expected = "the name of a class" if known is None else f"one of {', '.join(known):.1000}"
        raise core.BadFileError(
            f"{where}: the label is {word!r:.200}, expected a whole number of 0 or more, or "
            f"{expected}"
        )
    return "name"


def _parse(line: str, where: str) -> tuple[str, str]:
    words = line.strip().rsplit(None, 1)
    if len(words) != 2:
        raise core.BadFileError(f"{where}: {line.strip()!r:.200} found, 'path label' expected")
    return words[0], words[1]


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
    write_text(path, "".join(lines))
