"""Writes tensors as torch.save does, without PyTorch, so that torch.load(path, weights_only=True)
gives the state_dict. torch_file.py describes the archive, torch_pickle.py the pickle in it.

A pickle of PyTorch's classes cannot be made by Python's pickle module where they are not installed;
a state_dict's is simple enough to be put together from its opcodes.
"""

import json
import pickle
import struct
import zipfile
from typing import BinaryIO

import numpy as np

from . import torch_pickle
from .torch_read import METADATA_RECORD

FOLDER = "archive/"
ALIGNMENT = 64  # of records, as torch.save has it: torch.load(mmap=True) reads in place
# A zip's local header (APPNOTE.TXT, 4.3.7) has 30 bytes, then the name, then extra fields of 4
# bytes and their contents. "FB" is the field that PyTorch pads with.
HEADER_BYTES, FIELD_BYTES, PADDING_FIELD = 30, 4, b"FB"
EARLIEST = (1980, 1, 1, 0, 0, 0)  # a date for every record, so that equal models are equal files


def write(file: BinaryIO, state: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a state_dict of float32 arrays into `file`, which is open for writing and at 0.
    `metadata` goes into a record of its own, which PyTorch does not look at."""
    with zipfile.ZipFile(file, "w") as archive:
        _add(archive, "data.pkl", _pickle(state))
        _add(archive, "byteorder", b"little")
        for key, values in enumerate(state.values()):
            _add(archive, f"data/{key}", np.ascontiguousarray(values, "<f4").tobytes())
        _add(archive, METADATA_RECORD, json.dumps(metadata).encode())
        _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, contents: bytes) -> None:
    info = zipfile.ZipInfo(FOLDER + name, EARLIEST)
    assert archive.fp is not None  # it is open
    start = archive.fp.tell() + HEADER_BYTES + len(info.filename) + FIELD_BYTES
    padding = -start % ALIGNMENT
    info.extra = PADDING_FIELD + struct.pack("<H", padding) + bytes(padding)
    archive.writestr(info, contents)


# -- The pickle, protocol 2 ------------------------------------------------------------------------


def _pickle(state: dict[str, np.ndarray]) -> bytes:
    """OrderedDict(), then for each tensor its name and
    _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, OrderedDict())."""
    items = b"".join(
        _text(name) + _tensor(str(key), values.shape)
        for key, (name, values) in enumerate(state.items())
    )
    program = _ordered_dict() + pickle.MARK + items + pickle.SETITEMS
    return pickle.PROTO + b"\x02" + program + pickle.STOP


def _tensor(key: str, shape: tuple[int, ...]) -> bytes:
    count = int(np.prod(shape))
    strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    # The persistent id of a storage on the CPU.
    storage = _tuple(
        _text("storage"), _global("torch.FloatStorage"), _text(key), _text("cpu"), _whole(count)
    )
    arguments = _tuple(
        storage + pickle.BINPERSID,
        _whole(0),
        _tuple(*map(_whole, shape)),
        _tuple(*map(_whole, strides)),
        pickle.NEWFALSE,
        _ordered_dict(),
    )
    return _global(torch_pickle.REBUILD_TENSOR) + arguments + pickle.REDUCE


def _ordered_dict() -> bytes:
    return _global(torch_pickle.ORDERED_DICT) + pickle.EMPTY_TUPLE + pickle.REDUCE


def _global(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return pickle.GLOBAL + f"{module}\n{last}\n".encode()


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _whole(number: int) -> bytes:
    return pickle.BININT + struct.pack("<i", number)
