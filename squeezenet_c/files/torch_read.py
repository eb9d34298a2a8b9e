"""Reads what torch.save wrote, without PyTorch: a state_dict's tensors as float32 arrays.

The file is a zip archive whose records are stored, not compressed. For a folder NAME, which is any:
    NAME/data.pkl        the object saved; its tensors are views of storages (see torch_pickle)
    NAME/data/KEY        a storage's numbers, one after the other
    NAME/byteorder       "little" or "big"; absent in files from before PyTorch 2.1: little
    NAME/extra/squeezenet_c.json    in our files alone: the metadata of our safetensors files
PyTorch's description: https://docs.pytorch.org/docs/stable/notes/serialization.html.

Nothing that a file says is believed: it can neither run code nor ask for more memory than it is
large.
"""

import json
import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .._native import core
from ..base.read import brief, first_bytes, open_regular
from ..base.zips import DAMAGED
from . import torch_pickle
from .torch_pickle import Tensor

METADATA_RECORD = "extra/squeezenet_c.json"
# Under which of its keys a training program keeps the state_dict.
STATE_KEYS = ("state_dict", "model_state_dict", "model")
# What DataParallel, a module around the network and torch.compile put before every name.
PREFIXES = ("module.", "model.", "_orig_mod.")
# NumPy's types, without the byte order; bfloat16 is the upper half of a float32.
ELEMENTS = {"Float": "f4", "Half": "f2", "BFloat16": "u2"}
BYTE_ORDERS = {b"little": "<", b"big": ">"}

ZIP_MAGIC = b"PK\x03\x04"
# Before PyTorch 1.6 a file was pickles one after the other; the first is the number
# 0x1950a86a20f9469cfc6c (torch/serialization.py, MAGIC_NUMBER), in protocol 2.
OLD_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
# Any pickle since protocol 2; but a safetensors file may begin so too, and goes on with "{" at 8.
PICKLE_STARTS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))

State = dict[str, np.ndarray]


def is_torch_file(path: str) -> bool:
    """Whether the file begins as one that torch.save wrote. BadFileError: it does, in the format
    that PyTorch had before 1.6, or it is a pickle by itself. OSError: it cannot be read."""
    start = first_bytes(path, len(OLD_MAGIC))
    if start == OLD_MAGIC:
        raise core.BadFileError(
            f"{path}: PyTorch's format from before version 1.6, which is not read; where PyTorch "
            "is installed, torch.save(torch.load(path, weights_only=True), path) converts it"
        )
    if start.startswith(PICKLE_STARTS) and start[8:9] != b"{":
        raise core.BadFileError(
            f"{path}: a pickle by itself, which could run any code and is not read; expected "
            "safetensors, or what torch.save writes of a state_dict"
        )
    return start.startswith(ZIP_MAGIC)


def read(path: str) -> tuple[State, dict[str, str]]:
    """(tensors as float32 arrays by name, metadata), as core.read_safetensors gives them, of a
    state_dict, or of a dict with one under one of STATE_KEYS. Metadata is empty in a file that
    torch.save wrote.

    BadFileError names the file and what was found in it. OSError: it cannot be read.
    """
    with open_regular(path) as file, _damage(path), zipfile.ZipFile(file) as opened:
        archive = _Archive(path, opened, os.fstat(file.fileno()).st_size)
        try:
            saved = torch_pickle.load(archive.record("data.pkl"))
        except torch_pickle.Refused as error:
            raise core.BadFileError(
                f"{path}: {error} found in its pickle; only tensors, numbers, text, lists, tuples "
                "and dicts are read, as in torch.save(model.state_dict(), path)"
            ) from None
        tensors = _state_dict(path, saved)
        _check_sizes(path, tensors, archive.size_bytes)
        state = {name: archive.values(name, tensor) for name, tensor in tensors.items()}
        return state, archive.metadata()


@contextmanager
def _damage(path: str) -> Iterator[None]:
    """What zipfile raises on damaged archives, as BadFileError."""
    try:
        yield
    except core.BadFileError:
        raise
    except (*DAMAGED, OSError) as error:
        raise core.BadFileError(f"{path}: a damaged zip archive: {brief(error)}") from None


# -- Records ---------------------------------------------------------------------------------------


class _Archive:
    """The records of a zip archive under its one folder."""

    def __init__(self, path: str, opened: zipfile.ZipFile, size_bytes: int):
        self.path, self.opened, self.size_bytes = path, opened, size_bytes
        self.infos: dict[str, zipfile.ZipInfo] = {}
        for info in opened.infolist():
            if info.filename in self.infos:
                raise core.BadFileError(f"{path}: two records are called {info.filename!r:.200}")
            self.infos[info.filename] = info
        pickles = [name for name in self.infos if name.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].count("/") != 1:
            raise core.BadFileError(
                f"{path}: a zip archive with {len(pickles)} records NAME/data.pkl, expected one: "
                "not a file that torch.save wrote"
            )
        self.folder = pickles[0].removesuffix("data.pkl")
        if f"{self.folder}constants.pkl" in self.infos:
            raise core.BadFileError(
                f"{path}: a TorchScript program, expected tensors; where PyTorch is installed, "
                "torch.save(torch.jit.load(path).state_dict(), path) keeps those alone"
            )
        if sum(info.file_size for info in self.infos.values()) > size_bytes:
            raise core.BadFileError(f"{path}: its records are larger than the file")
        order = self.record("byteorder") if self.has("byteorder") else b"little"
        if order not in BYTE_ORDERS:
            raise core.BadFileError(f"{path}: byteorder is {order!r:.40}, expected little or big")
        self.byte_order = BYTE_ORDERS[order]

    def has(self, name: str) -> bool:
        return self.folder + name in self.infos

    def record(self, name: str) -> bytes:
        if not self.has(name):
            raise core.BadFileError(f"{self.path}: no record {name!r:.200}")
        info = self.infos[self.folder + name]
        if info.compress_type != zipfile.ZIP_STORED:
            raise core.BadFileError(
                f"{self.path}: the record {name!r:.200} is compressed, expected stored, as "
                "torch.save does"
            )
        return self.opened.read(info)

    def values(self, name: str, tensor: Tensor) -> np.ndarray:
        """The tensor's numbers as a float32 array of its shape, without gaps."""
        dtype = np.dtype(self.byte_order + ELEMENTS[tensor.storage.element])
        record = self.record(f"data/{tensor.storage.key}")
        expected = tensor.storage.count * dtype.itemsize
        if len(record) != expected:
            raise core.BadFileError(
                f"{self.path}: the storage of {name:.200} has {len(record)} bytes, expected "
                f"{expected}"
            )
        if 0 in tensor.shape:
            return np.zeros(tensor.shape, np.float32)
        strides = tuple(  # along a side of 1 a file may say anything
            stride * dtype.itemsize if side > 1 else 0
            for side, stride in zip(tensor.shape, tensor.strides, strict=True)
        )
        start = tensor.offset * dtype.itemsize
        view = np.ndarray(tensor.shape, dtype, record, start, strides)
        if tensor.storage.element == "BFloat16":
            return (view.astype(np.uint32, order="C") << 16).view(np.float32)
        return np.array(view, np.float32, order="C")

    def metadata(self) -> dict[str, str]:
        """What our own files say besides; it is checked by its reader, as safetensors' is."""
        if not self.has(METADATA_RECORD):
            return {}
        try:
            metadata = json.loads(self.record(METADATA_RECORD))
        except (ValueError, RecursionError):
            metadata = None
        texts = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
        if not texts:
            raise core.BadFileError(f"{self.path}: {METADATA_RECORD} is not JSON of text by key")
        return metadata


# -- The state_dict --------------------------------------------------------------------------------


def _state_dict(path: str, saved: object) -> dict[str, Tensor]:
    """The state_dict of what was saved, with nothing before the names."""
    if isinstance(saved, dict):
        saved = next((saved[key] for key in STATE_KEYS if isinstance(saved.get(key), dict)), saved)
    if not isinstance(saved, dict):
        raise core.BadFileError(f"{path}: a {type(saved).__name__}, expected a state_dict")
    for name, value in saved.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise core.BadFileError(
                f"{path}: under {str(name)!r:.200} is no tensor but {type(value).__name__}; "
                "expected a state_dict, of tensors by name"
            )
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if saved and all(name.startswith(prefix) for name in saved):
                saved = {name.removeprefix(prefix): value for name, value in saved.items()}
    return saved


def _check_sizes(path: str, tensors: dict[str, Tensor], size_bytes: int) -> None:
    """Every tensor against its storage, and all of them against the file, before one is made."""
    total = 0
    for name, tensor in tensors.items():
        storage = tensor.storage
        if storage.element not in ELEMENTS:
            raise core.BadFileError(
                f"{path}: {name:.200} is of the type {storage.element}, expected "
                f"{', '.join(ELEMENTS)}"
            )
        count = math.prod(tensor.shape)
        total += count * np.dtype(ELEMENTS[storage.element]).itemsize
        last = tensor.offset + sum(
            (side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True)
        )
        if max((*tensor.shape, count, storage.count)) > size_bytes:
            raise core.BadFileError(
                f"{path}: {name:.200} has the shape {list(tensor.shape)} in a storage of "
                f"{storage.count}, which is more than the file holds"
            )
        if count and max(last + 1, count) > storage.count:
            raise core.BadFileError(
                f"{path}: {name:.200} has {count} elements and reaches number {last} of a storage "
                f"of {storage.count}"
            )
    if total > size_bytes:
        raise core.BadFileError(
            f"{path}: its tensors take {total} bytes, but the file has only {size_bytes}"
        )
