"""What run.py compares: one row a question, with its peers and its goal."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field, replace
from typing import Any

# Library -> the modules it needs, which `pip install ".[bench]"` brings.
LIBRARIES = {
    "pytorch": ("torch",),
    "onnx_runtime": ("onnxruntime", "onnx"),
    "open_vino": ("openvino", "nncf", "onnx"),
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
    """What is run: a module of peers/ (or a function of own.py), which variant of it, and in which
    precision, if not in the row's."""

    library: str
    variant: str = ""
    precision: str = ""

    @property
    def name(self) -> str:
        return " ".join(filter(None, (TITLES[self.library], self.variant, self.precision)))


OURS, OURS_FLOAT32, BOUND = Column("ours"), Column("ours", "", "float32"), Column("own.bound")
EAGER, CHANNELS_LAST = Column("pytorch", "eager"), Column("pytorch", "channels_last")
INT8_TOLERANCE = 5e-3
ONNX_RUNTIME, OPEN_VINO, PILLOW = Column("onnx_runtime"), Column("open_vino"), Column("pillow")


@dataclass(frozen=True)
class Row:
    """goal: how many times the best peer. tolerance: how far an answer may be from the reference's,
    see compare.distance. isa and variables: an instruction set that the CPU has to have, and what
    holds the libraries to it."""

    name: str
    title: str
    task: str
    peers: tuple[Column, ...]
    goal: float
    tolerance: float
    arch: str = "1_1"
    batch: int = 1
    precision: str = "float32"
    isa: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """The column by which answers are judged: the integers of one library are not another's."""
        return OURS_FLOAT32.name if self.precision == "int8" else OURS.name

    def job(self, threads: int) -> dict[str, Any]:
        return {
            "task": self.task,
            "arch": self.arch,
            "batch": self.batch,
            "precision": self.precision,
            "subject": "timed" if self.precision == "int8" else "",
            "threads": 1 if self.task == "photograph" else threads,
        }

    def columns(self, libraries: set[str], backends: list[str]) -> list[Column]:
        """What to run: ours, our other backends (the first is the default), the peers among
        `libraries`, and the bound."""
        columns = [OURS]
        if self.precision == "int8" and OURS_FLOAT32 not in self.peers:
            columns.append(OURS_FLOAT32)
        if self.task != "photograph" and self.precision == "float32":
            columns += [Column("ours", backend) for backend in backends[1:]]
        columns += [peer for peer in self.peers if peer.library in {"ours", *libraries}]
        # oneDNN's convolutions: ours, or those in OpenVINO, whose int8 it is.
        there = "open_vino" in libraries if self.precision == "int8" else "onednn" in backends
        if self.task != "photograph" and there:
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


# Of int8 on less than a CPU has: what holds ours to it, and the oneDNN in OpenVINO.
WITHOUT_VNNI = {
    "avx512": {"SQZ_VNNI": "0", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx2": {"SQZ_ISA": "avx2", "SQZ_VNNI": "0", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}


def _int8_row(arch: str, batch: int, isa: str = "") -> Row:
    """With VNNI where the CPU has it; or on an instruction set without it, where our own float32 is
    a peer: int8 is to be no slower."""
    row = _row("infer", arch, batch, "int8", 1.0 if isa else 1.2)
    if not isa:
        return replace(row, peers=(ONNX_RUNTIME, OPEN_VINO), tolerance=INT8_TOLERANCE)
    return replace(
        row,
        name=f"{row.name}-{isa}",
        title=f"{row.title}, {isa} without VNNI",
        peers=(OURS_FLOAT32, OPEN_VINO),
        tolerance=INT8_TOLERANCE,
        isa=isa,
        variables=WITHOUT_VNNI[isa],
    )


_INT8 = [(arch, batch) for batch in (32, 1) for arch in ("1_0", "1_1")]

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
    *(_int8_row(arch, batch) for arch, batch in _INT8),
    *(_int8_row(arch, batch, isa) for isa in WITHOUT_VNNI for arch, batch in _INT8),
    # The resize is Pillow's to the byte; two decoders may differ in how they round.
    Row("photograph", "photograph to 224 x 224, one core", "photograph", (PILLOW,), 1.3, 4),
)


def missing_modules(library: str) -> list[str]:
    """Modules of a peer that are not installed."""
    return [name for name in LIBRARIES[library] if importlib.util.find_spec(name) is None]
