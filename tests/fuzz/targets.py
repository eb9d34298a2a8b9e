"""What is written in Python and reads files that users name: each with files to begin with and the
exceptions that its docstring promises. worker.py hands it to atheris, tests/test_fuzz.py tries it
with what Hypothesis makes."""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.cli.arguments import begun_with
from squeezenet_c.cli.main import _parser
from squeezenet_c.data.archives import unpack
from squeezenet_c.data.palm import read_labels
from squeezenet_c.training.resume import RunState

Seeds = dict[str, bytes]
LONGEST_MESSAGE = 6000  # characters: a path of 4096, and a sentence
# The smallest network that there is.
SMALL: dict[str, Any] = {"base_e": 2, "incr_e": 0, "num_classes": 2, "image_size": 32}


@dataclass(frozen=True)
class Target:
    """call(data, folder): reads `data` as a file in an empty folder."""

    call: Callable[[bytes, Path], object]
    seeds: Callable[[], Seeds]
    documented: tuple[type[Exception], ...]


def try_out(target: Target, data: bytes) -> Exception | None:
    """The documented exception that it ends in, or None; any other comes out. AssertionError: what
    is said is longer than a sentence."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            target.call(data, Path(folder))
        except target.documented as error:
            assert len(str(error)) < LONGEST_MESSAGE, f"{len(str(error))}: {str(error)[:200]}"
            return error
    return None


# -- Calls -----------------------------------------------------------------------------------------


def _written(data: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _torch(data: bytes, folder: Path) -> object:
    """The first byte is 0: the others are a file; else: they are the pickle in one."""
    contents = data[1:]
    if data[:1] != b"\0":
        contents = zipped(torch_parts() | {"a/data.pkl": contents})
    return sq.Model.load(_written(contents, folder, "a.pth"))


def _list(data: bytes, folder: Path) -> object:
    (folder / "a.png").write_bytes(b"")
    return sq.Dataset.from_list(_written(data, folder, "list.txt"))


def _table(data: bytes, folder: Path) -> object:
    (folder / "a.png").write_bytes(b"")
    return sq.Dataset.from_csv(_written(data, folder, "table.csv"))


def _archive(data: bytes, folder: Path) -> object:
    (folder / "target").mkdir()
    return unpack(_written(data, folder, "training.zip"), folder / "target")


def _arguments(data: bytes, folder: Path) -> object:
    _written(data, folder, "args.yaml")
    return begun_with(_options_parser().parse_args(["train", "--resume", str(folder)]))


SHEET_PARTS = ("xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/workbook.xml")


def zipped(parts: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name, part in parts.items():
            opened.writestr(name, part)
    return stream.getvalue()


def _sheet(data: bytes, folder: Path) -> object:
    """The first byte says which part of a good spreadsheet the others are instead of."""
    if data:
        changed = {SHEET_PARTS[data[0] % len(SHEET_PARTS)]: data[1:]}
        data = zipped(_sheet_parts() | changed)
    return read_labels(_written(data, folder, "a.xlsx"))


def _metadata(data: bytes, folder: Path) -> object:
    """The first byte says which text of two good models', a float one's and an int8 one's, the
    others are instead of."""
    half = data[:1] >= b"\x80"
    tensors, metadata = _quantised_model() if half else _model()
    return sq.Model.load(_changed(data, folder, tensors, metadata))


def _quantised(data: bytes, folder: Path) -> object:
    """The first byte says which of a quantised model's tensors the others are instead of."""
    tensors, metadata = _quantised_model()
    names, path = sorted(tensors), folder / "a.safetensors"
    if data:
        name, left = names[data[0] % len(names)], data[1:]
        dtype = tensors[name].dtype
        left = left[: len(left) // dtype.itemsize * dtype.itemsize]
        tensors = tensors | {name: np.frombuffer(left, dtype)}
    core.write_safetensors(str(path), tensors, metadata)
    return sq.Model.load(path)


def _state(data: bytes, folder: Path) -> object:
    tensors, metadata = _run_state()
    state = RunState.read(_changed(data, folder, tensors, metadata))
    model = state.new_network(sq.Model)
    optimizer = sq.Adam(model)
    state.restore(model, optimizer)
    return state.best, state.history.best


def _changed(data: bytes, folder: Path, tensors: Any, metadata: dict[str, str]) -> Path:
    path, keys = folder / "a.safetensors", sorted(metadata)
    if data:
        text = data[1:].decode("utf-8", "replace").replace("\0", "")
        metadata = metadata | {keys[data[0] % 0x80 % len(keys)]: text}
    core.write_safetensors(str(path), tensors, metadata)
    return path


# -- What they begin with --------------------------------------------------------------------------


@cache
def _options_parser() -> argparse.ArgumentParser:
    return _parser()


def _small_model() -> sq.Model:
    return sq.Model("1_1", **SMALL, class_names=sq.synthetic.CLASS_NAMES, seed=1)


def _contents(make: Callable[[Path], object]) -> tuple[dict[str, Any], dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        make(path)
        return core.read_safetensors(str(path))


@cache
def _model() -> tuple[dict[str, Any], dict[str, str]]:
    model = _small_model()
    model.threshold, model.trained_on = 0.25, ("0123456789ab",)
    return _contents(model.save)


def quantised_model() -> sq.Model:
    """Its weights are -1, 0 and 1 times their scales."""
    model = _small_model()
    groups = np.array(model.activation_groups())
    outputs = sum(len(values) for values in model.state_dict().values() if values.ndim == 1)
    largest = max(float(np.abs(values).max()) for values in model.state_dict().values())
    model.set_quantization(
        np.zeros(3, np.float32),
        np.full(3, 1 / 255, np.float32),
        np.where(groups < 0, 1, 0.1).astype(np.float32),
        np.full(outputs, largest, np.float32),
    )
    return model


@cache
def _quantised_model() -> tuple[dict[str, Any], dict[str, str]]:
    return _contents(quantised_model().save)


@cache
def _run_state() -> tuple[dict[str, Any], dict[str, str]]:
    def make(path: Path) -> None:
        drawn = sq.synthetic.write(path.parent / "drawn", 4, size=32)
        model = _small_model()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # so small a network collapses
            sq.train(model, drawn, drawn, epochs=1, batch_size=4, progress=False, state=path)

    return _contents(make)


@cache
def _sheet_parts() -> dict[str, bytes]:
    book, stream = openpyxl.Workbook(), io.BytesIO()
    for row in (("imgName", "Label"), ("V0001.jpg", 0), ("V0002.jpg", 1)):
        book.active.append(row)
    book.save(stream)
    with zipfile.ZipFile(stream) as opened:
        parts = {name: opened.read(name) for name in opened.namelist()}
    # As a spreadsheet program has it, whose cells are numbers of texts.
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    entry = f'<Override PartName="/{SHEET_PARTS[1]}" ContentType="{kind}"/></Types>'
    types = parts["[Content_Types].xml"]
    if SHEET_PARTS[1].encode() not in types:
        parts["[Content_Types].xml"] = types.replace(b"</Types>", entry.encode())
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts[SHEET_PARTS[1]] = f'<sst xmlns="{space}"><si><t>imgName</t></si></sst>'.encode()
    return parts


@cache
def torch_parts() -> dict[str, bytes]:
    """The records of a state_dict in PyTorch's form, by our own writer, under the folder a/."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.pth")
        _small_model().export(path)
        with zipfile.ZipFile(path) as opened:
            return {f"a/{name.partition('/')[2]}": opened.read(name) for name in opened.namelist()}


def _torch_seeds() -> Seeds:
    parts = torch_parts()
    return {"whole": b"\0" + zipped(parts), "pickle": b"\1" + parts["a/data.pkl"]}


def _texts(texts: list[str]) -> Seeds:
    return {f"text-{number}": text.encode() for number, text in enumerate(texts)}


def _numbered(parts: dict[str, bytes] | dict[str, str], keys: list[str] | tuple[str, ...]) -> Seeds:
    """Behind the number of its key, the good text of each."""
    found = {}
    for number, key in enumerate(keys):
        part = parts.get(key, b"")
        data = part.encode() if isinstance(part, str) else part
        found[f"part-{number}"] = bytes([number]) + data
    return found


def _metadata_seeds() -> Seeds:
    found = {}
    for first, (_, metadata) in ((0, _model()), (0x80, _quantised_model())):
        for name, data in _numbered(metadata, sorted(metadata)).items():
            found[f"{first}-{name}"] = bytes([first + data[0]]) + data[1:]
    return found


def _tensor_bytes() -> Seeds:
    tensors, _ = _quantised_model()
    return {
        f"tensor-{number}": bytes([number]) + tensors[name].tobytes()
        for number, name in enumerate(sorted(tensors))
    }


def _arguments_seeds() -> Seeds:
    plain = argparse.Namespace(lr=1e-5, epochs=1, data=["a"], augment=True, freeze=["features.0"])
    return _texts(
        [
            json.dumps(vars(plain)),
            "lr: 1e-05\nepochs: 2\ndata: [a, b]\naugment: true\nclass_weights: [1, 2.5]\n",
            "a: &a [1]\nlr: *a\n",
            "lr: !!int 5\nseed: 0x10\nbatch_size: 2001-01-01\n",
        ]
    )


BAD_FILE: tuple[type[Exception], ...] = (core.BadFileError, OSError)
LIST = ["a.png 0\n", "a.png cat\na.png dog\n", "\ufeffa.png 1\r\n\r\n", "b.png 1\n", "a.png\n"]
TABLE = [
    "image,label\na.png,0\n",
    '\ufeffFile,target,patient\r\n"a.png",cat,1\r\n\r\na.png,"a ""dog""",2\r\n',
    'path,class\n"a.png,0\nb.png,\n',
]

TARGETS: dict[str, Target] = {
    "py_torch": Target(_torch, _torch_seeds, BAD_FILE),
    "py_list": Target(_list, lambda: _texts(LIST), BAD_FILE),
    "py_table": Target(_table, lambda: _texts(TABLE), BAD_FILE),
    "py_sheet": Target(_sheet, lambda: _numbered(_sheet_parts(), SHEET_PARTS), BAD_FILE),
    "py_archive": Target(
        _archive, lambda: {"zip": zipped({"a/b.jpg": b"1", "c.jpg": b""})}, BAD_FILE
    ),
    "py_arguments": Target(_arguments, _arguments_seeds, (ValueError, OSError)),
    "py_metadata": Target(_metadata, _metadata_seeds, BAD_FILE),
    "py_quantised": Target(_quantised, _tensor_bytes, BAD_FILE),
    "py_state": Target(
        _state, lambda: _numbered(_run_state()[1], sorted(_run_state()[1])), BAD_FILE
    ),
}
