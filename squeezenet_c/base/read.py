"""The door through which files that users name are read: regular files alone, so that no pipe or
device is waited for, and what is said of damaged ones is short."""

import os
from typing import BinaryIO, cast

from .._native import core


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """The file, to read bytes from. BadFileError: a pipe, socket or device, at once; OSError: it
    cannot be read."""
    return cast(BinaryIO, open(path, "rb", opener=core.file_opener))


def first_bytes(path: str | os.PathLike, count: int) -> bytes:
    """The first `count` bytes of a file, or all of a shorter one. Errors: see open_regular."""
    with open_regular(path) as file:
        return file.read(count)


def read_text(path: str | os.PathLike, limit_bytes: int) -> str:
    """A file's text, UTF-8 with or without a byte order mark. BadFileError: something else, or
    longer than `limit_bytes`."""
    try:
        return core.read_file(os.fspath(path), limit_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise core.BadFileError(f"{path} is not UTF-8 text: {error}") from None


def sentence(error: BaseException) -> str:
    """What an error says to a user, without the number that str() puts before an OSError."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def brief(error: BaseException) -> str:
    """What an error says, in at most 200 printable characters: it may repeat a file's bytes."""
    text = str(error)
    return text if len(text) < 200 and text.isprintable() else f"{ascii(text):.200}"
