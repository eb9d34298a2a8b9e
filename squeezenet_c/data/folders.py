"""Which folders and files of a data set are looked at, and which folders are parts of it."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
# What the folders of a set's parts are called, in any case of letters.
PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
PART_OF = {name: part for part, names in PARTS.items() for name in names}
HIDDEN = (".", "__")  # as .ipynb_checkpoints and __MACOSX begin


def visible_folders(folder: Path) -> list[str]:
    """The names of the folders in `folder` that are not hidden, sorted."""
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith(HIDDEN))
    return sorted(entry.name for entry in entries if entry.is_dir())


def pictures_below(folder: str | Path) -> list[str]:
    """The pictures in `folder` at any depth, sorted; hidden files and folders left out."""
    found: list[str] = []
    for parent, folders, files in os.walk(os.fspath(folder)):
        folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
        found += [
            os.path.join(parent, name)
            for name in files
            if name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith(".")
        ]
    return sorted(found)


def find_pictures(places: Sequence[str]) -> list[str]:
    """The files that `places` mean, in their order: of a folder its pictures at any depth, of a
    pattern (with *, ? or [...]; ** is any depth) the pictures it matches, else the place itself,
    whether it is there or not. FileNotFoundError: a folder or a pattern without a picture."""
    found = []
    for place in places:
        if os.path.isdir(place):
            pictures = pictures_below(place)
        elif glob.has_magic(place) and not os.path.exists(place):
            matched = sorted(glob.glob(place, recursive=True))
            pictures = [path for path in matched if _is_picture(path)]
        else:
            pictures = [place]
        if not pictures:
            raise FileNotFoundError(f"{place}: no picture there ({', '.join(PICTURE_SUFFIXES)})")
        found += pictures
    return found


def _is_picture(path: str) -> bool:
    return path.lower().endswith(PICTURE_SUFFIXES) and os.path.isfile(path)


def parts_in(folder: Path) -> dict[str, Path]:
    """The folders of "train", "validation" and "test", as far as they are in `folder`; {} where
    its folders are none of these. ValueError: some are and others are not, or one part has two
    folders."""
    found = visible_folders(folder)
    named = [name for name in found if name.lower() in PART_OF]
    if not named:
        return {}
    listed = f"{folder} holds the folders {', '.join(found)}"
    if len(named) < len(found):
        raise ValueError(
            f"{listed}: {named[0]} is called as a part of a data set and the others are not; "
            "expected parts (train, val, test) alone or classes alone, which class names would say"
        )
    parts: dict[str, Path] = {}
    for name in named:
        part = PART_OF[name.lower()]
        if part in parts:
            raise ValueError(f"{listed}: {parts[part].name} and {name} are both its {part} part")
        parts[part] = folder / name
    return parts
