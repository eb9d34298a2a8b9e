"""What run.py compares: one row a question, with its peers and its goal."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

# Library -> the modules it needs; all come with `pip install ".[bench]"`.
LIBRARIES = {
    "ours": ("squeezenet_c",),
    "pytorch": ("torch",),
    "onnx_runtime": ("onnxruntime", "onnx"),
    "open_vino": ("openvino", "onnx"),
    "pillow": ("PIL",),
}


@dataclass(frozen=True)
class Peer:
    """A column: what is run, and what the table calls it."""

    library: str
    variant: str = ""

    @property
    def name(self) -> str:
        names = {"pytorch": "PyTorch", "onnx_runtime": "ONNX Runtime", "open_vino": "OpenVINO"}
        name = names.get(self.library, {"pillow": "Pillow"}.get(self.library, self.library))
        return f"{name} {self.variant}" if self.variant else name


OURS = Peer("ours")
EAGER, CHANNELS_LAST = Peer("pytorch", "eager"), Peer("pytorch", "channels_last")
ONNX_RUNTIME, OPEN_VINO = Peer("onnx_runtime"), Peer("open_vino")
PILLOW = Peer("pillow")


@dataclass(frozen=True)
class Row:
    """goal: times the best peer. tolerance: how far an answer may be from ours, of the largest
    value (of a photograph: mean difference in levels of 255)."""

    name: str
    title: str
    task: str
    peers: tuple[Peer, ...]
    goal: float
    tolerance: float
    arch: str = "1_1"
    batch: int = 1
    precision: str = "float32"

    @property
    def job(self) -> dict:
        return {
            "task": self.task,
            "arch": self.arch,
            "batch": self.batch,
            "precision": self.precision,
        }


def _row(task: str, arch: str, batch: int, precision: str, goal: float) -> Row:
    half = precision == "bfloat16"
    if task == "train":
        peers = (CHANNELS_LAST,) if half else (EAGER, CHANNELS_LAST)
    else:
        peers = (CHANNELS_LAST, OPEN_VINO) if half else (CHANNELS_LAST, ONNX_RUNTIME, OPEN_VINO)
    what = {"train": "train", "infer": "infer"}[task]
    version = arch.replace("_", ".")
    pictures = "one picture" if batch == 1 else f"batch {batch}"
    return Row(
        f"{what}{batch}-{arch}-{precision}",
        f"{what} v{version}, {pictures}, {precision}",
        task,
        peers,
        goal,
        5e-2 if half else 1e-4,
        arch,
        batch,
        precision,
    )


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
    # The decoders differ by a level or two; the arithmetic of the resize does not.
    Row("photograph", "photograph to 224 x 224, one core", "photograph", (PILLOW,), 1.3, 1.0),
)


def missing(library: str) -> list[str]:
    """Modules of a library that are not installed."""
    return [name for name in LIBRARIES[library] if importlib.util.find_spec(name) is None]
