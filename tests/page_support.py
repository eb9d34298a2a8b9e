"""For the tests of pages: a browser, and an exported page's engine without one."""

import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.files.page_write import web_engine


def need(*modules: str) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"build: {module} is not installed")


@contextmanager
def chromium() -> Iterator[Any]:
    """The system's, driven by Playwright; a test is skipped where one of them is missing."""
    need("playwright")
    program = shutil.which("chromium")
    if not program:
        pytest.skip("build: chromium is not installed")
    with importlib.import_module("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


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
