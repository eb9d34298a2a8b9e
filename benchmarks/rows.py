"""What run.py compares: one row a question, with its peers and its goal."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

# Library -> the modules it needs, which `pip install ".[bench]"` brings.
LIBRARIES = {
    "pytorch": ("torch",),
    "onnx_runtime": ("onnxruntime", "onnx"),
    "open_vino": ("openvino", "onnx"),
    "pillow": ("PIL",),
}
TITLES = {
    "ours": "ours",
    "own.bound": "bound",
    "pytorch": "PyTorch",
    "onnx_runtime": "ONNX Runtime",
    "open_vino": "OpenVINO",
    "pillow": "Pillow",
}


@dataclass(frozen=True)
class Column:
    """What is run: a module of peers/ (or a function of own.py), and which variant of it."""

    library: str
    variant: str = ""

    @property
    def name(self) -> str:
        return f"{TITLES[self.library]} {self.variant}".rstrip()


OURS, BOUND = Column("ours"), Column("own.bound")
EAGER, CHANNELS_LAST = Column("pytorch", "eager"), Column("pytorch", "channels_last")
ONNX_RUNTIME, OPEN_VINO, PILLOW = Column("onnx_runtime"), Column("open_vino"), Column("pillow")


@dataclass(frozen=True)
class Row:
    """goal: how many times the best peer. tolerance: how far a peer's answer may be from ours, as a
    share of the largest value; for a photograph, in levels of 255."""

    name: str
    title: str
    task: str
    peers: tuple[Column, ...]
    goal: float
    tolerance: float
    arch: str = "1_1"
    batch: int = 1
    precision: str = "float32"

    def job(self, threads: int) -> dict[str, Any]:
        return {
            "task": self.task,
            "arch": self.arch,
            "batch": self.batch,
            "precision": self.precision,
            "threads": 1 if self.task == "photograph" else threads,
        }

    def columns(self, libraries: set[str], backends: list[str]) -> list[Column]:
        """What to run: ours, our other backends (the first is the default), the peers among
        `libraries`, and the bound."""
        columns = [OURS]
        if self.task != "photograph" and self.precision == "float32":
            columns += [Column("ours", backend) for backend in backends[1:]]
        columns += [peer for peer in self.peers if peer.library in libraries]
        if self.task != "photograph" and "onednn" in backends:
            columns.append(BOUND)
        return columns


def _row(task: str, arch: str, batch: int, precision: str, goal: float) -> Row:
    half = precision == "bfloat16"
    if task == "train":
        peers = (CHANNELS_LAST,) if half else (EAGER, CHANNELS_LAST)
    else:
        peers = (CHANNELS_LAST, OPEN_VINO) if half else (CHANNELS_LAST, ONNX_RUNTIME, OPEN_VINO)
    pictures = "one picture" if batch == 1 else f"batch {batch}"
    title = f"{task} v{arch.replace('_', '.')}, {pictures}, {precision}"
    # bfloat16 has 8 significant bits; errors of some 20 layers add up.
    tolerance = 2e-2 if half else 1e-4
    name = f"{task}{batch}-{arch}-{precision}"
    return Row(name, title, task, peers, goal, tolerance, arch, batch, precision)


ROWS = (
    _row("train", "1_0", 16, "float32", 2.0),
    _row("train", "1_0", 16, "bfloat16", 1.9),
    _row("train", "1_1", 16, "float32", 2.3),
    _row("train", "1_1", 16, "bfloat16", 2.3),
    _row("infer", "1_0", 32, "float32", 1.2),
    _row("infer", "1_0", 32, "bfloat16", 1.3),
    _row("infer", "1_1", 32, "float32", 1.3),
    _row("infer", "1_1", 32, "bfloat16", 1.5),
    _row("infer", "1_0", 1, "float32", 1.05),
    _row("infer", "1_0", 1, "bfloat16", 1.15),
    _row("infer", "1_1", 1, "float32", 1.3),
    _row("infer", "1_1", 1, "bfloat16", 1.5),
    # The resize is Pillow's to the byte; two decoders may differ in how they round.
    Row("photograph", "photograph to 224 x 224, one core", "photograph", (PILLOW,), 1.3, 4),
)


def missing_modules(library: str) -> list[str]:
    """Modules of a peer that are not installed."""
    return [name for name in LIBRARIES[library] if importlib.util.find_spec(name) is None]
