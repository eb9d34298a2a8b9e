"""What the pictures of a data set are: files, or arrays in memory. A Dataset and all its parts and
sizes share one of these, in which a picture has a place."""

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..base.pictures import to_picture

MARK_LENGTH = 12  # hexadecimal digits: two pictures of a million share a mark once in 500 sets


class Files:
    """Picture files. They are known again by their names and sizes."""

    known_by = "names"

    def __init__(self, paths: Sequence[str | os.PathLike]):
        self.names = [os.fspath(path) for path in paths]

    @property
    def contents(self) -> list[str]:
        """What a PictureStore is made of."""
        return self.names

    def original(self, place: int) -> NDArray[np.uint8]:
        """The whole picture, upright. BadFileError, OSError: it cannot be read."""
        return core.read_image(self.names[place])

    def identity(self, place: int) -> str:
        """What stands for the picture in the fingerprint of a set."""
        return os.path.basename(self.names[place])

    def mark(self, place: int) -> str | None:
        """The picture's mark (marks.py); None where its file is no longer there."""
        try:
            size = os.stat(self.names[place]).st_size
        except OSError:
            return None
        text = f"{os.path.basename(self.names[place])}\0{size}"
        return _hash(text.encode("utf-8", "surrogateescape"))[:MARK_LENGTH]


class Arrays:
    """Pictures in memory, (H, W, 3) uint8, called "picture 0" and so on. They are known again by
    their pixels."""

    known_by = "pixels"

    def __init__(self, pictures: Any):
        """Of what Dataset.from_arrays takes; arrays that are as they should be are not copied."""
        self.contents = [_checked(picture, place) for place, picture in enumerate(pictures)]
        self.names = [f"picture {place}" for place in range(len(self.contents))]

    def original(self, place: int) -> NDArray[np.uint8]:
        return self.contents[place]

    @cached_property
    def _hashes(self) -> list[str]:
        return [_hash(repr(each.shape).encode(), each) for each in self.contents]

    def identity(self, place: int) -> str:
        return self._hashes[place]

    def mark(self, place: int) -> str:
        return self._hashes[place][:MARK_LENGTH]


Source = Files | Arrays


def _checked(picture: Any, place: int) -> NDArray[np.uint8]:
    if isinstance(picture, str | os.PathLike):
        raise TypeError(
            f"picture {place} is the path {picture!r:.200}, expected an array or a PIL image; "
            "Dataset(paths, labels) is of files"
        )
    try:
        return to_picture(picture)
    except (TypeError, ValueError) as error:
        raise type(error)(f"picture {place}: {error}") from None


def _hash(*parts: Any) -> str:
    import hashlib

    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
