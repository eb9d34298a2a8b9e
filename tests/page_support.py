"""For the tests of exported pages: the engine as WebAssembly, without a browser."""

import importlib
from typing import Any

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.files.page_write import web_engine


def need(*modules: str) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"build: {module} is not installed")


class Engine:
    """A page's module, run by wasmtime. It asks for the rows of `rgba`."""

    def __init__(self, model: sq.Model):
        need("ziglang", "wasmtime")
        wasmtime = importlib.import_module("wasmtime")
        self.model = model
        self.store = wasmtime.Store()
        module = wasmtime.Module(self.store.engine, web_engine(model))
        assert [(item.module, item.name) for item in module.imports] == [("page", "row")]
        kind = wasmtime.FuncType([wasmtime.ValType.i32()], [])
        row = wasmtime.Func(self.store, kind, self._write_row)
        self.exports = wasmtime.Instance(self.store, module, [row]).exports(self.store)
        self.memory = self.exports["memory"]

    def answer(self, rgba: np.ndarray) -> int:
        self.rgba, self.row = rgba, 0
        height, width, _ = rgba.shape
        return self.exports["answer"](self.store, width, height)

    def _write_row(self, place: int) -> None:
        self.memory.write(self.store, self.rgba[self.row].tobytes(), place)
        self.row += 1

    def array(self, name: str, shape: tuple[int, ...], kind: Any) -> np.ndarray:
        """What it has at the place that the export of this name tells."""
        place = self.exports[name](self.store)
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        return np.frombuffer(self.memory.read(self.store, place, place + size), kind).reshape(shape)
