"""One module a library. Each has `prepare(job)`, which returns what to time and what it answers.

A module is imported only in the process that measures its library (worker.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

PHOTOGRAPH = "photograph.jpg"  # in the job's folder
PICTURE_SIDE = 224  # what a photograph becomes
CALIBRATION, JUDGED = "calibration.npy", "judged.npy"  # pictures, (N, H, W, 3) uint8

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Job:
    """What is to be measured, the same for every library."""

    task: str  # "train", "infer" or "photograph"
    folder: str  # has weights-1_0.npz, weights-1_1.npz, and the photograph
    arch: str = "1_1"
    batch: int = 1
    size: int = 224
    precision: str = "float32"
    threads: int = 1
    seconds: float = 1.0
    least_steps: int = 5
    variant: str = ""  # of the library: a backend, a memory format
    dropout: float = 0.5
    answer: bool = False
    subject: str = ""  # of the int8 rows: "timed" or "judged", models that quantise.py has made

    def weights(self) -> dict[str, np.ndarray]:
        with np.load(Path(self.folder, f"weights-{self.arch}.npz")) as file:
            return dict(file)

    def pictures(self) -> np.ndarray:
        """(batch, 3, size, size) float32 in [-1, 1], picture i a function of i and the size."""
        pictures = np.empty((self.batch, 3, self.size, self.size), np.float32)
        for index, picture in enumerate(pictures):
            np.random.default_rng(index).random(dtype=np.float32, out=picture)
            picture *= 2
            picture -= 1
        return pictures

    def labels(self) -> np.ndarray:
        return np.arange(self.batch) % 2

    def photograph(self) -> bytes:
        return Path(self.folder, PHOTOGRAPH).read_bytes()

    # -- Of the int8 rows --------------------------------------------------------------------------

    def file(self, kind: str) -> Path:
        """Where the subject's model of a kind is, such as "int8.safetensors"."""
        return Path(self.folder, f"{self.subject}-{self.arch}-{kind}")

    def bytes(self) -> np.ndarray:
        """(batch, size, size, 3) uint8 RGB: the photographs to be judged by, or noise."""
        if self.subject == "judged":
            return np.load(Path(self.folder, JUDGED))
        shape = (self.size, self.size, 3)
        return np.stack(
            [
                np.random.default_rng(index).integers(0, 256, shape, np.uint8)
                for index in range(self.batch)
            ]
        )

    def judging(self) -> Job:
        """The same of the model and the photographs by which an answer is judged."""
        judged = replace(self, subject="judged", size=PICTURE_SIDE)
        return replace(judged, batch=len(judged.bytes()))


def as_floats(pictures: np.ndarray) -> np.ndarray:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 of the same values."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32)


@dataclass
class Prepared:
    """`step` is timed and works on `images` pictures; `answer()` is called after it, and compared
    with the other libraries': logits, the loss of the first step without dropout, or pixels."""

    step: Callable[[], Any]
    answer: Callable[[], np.ndarray]
    images: int
    input_bytes: int
    notes: dict[str, Any] = field(default_factory=dict)


def fastest(steps: dict[Key, Callable[[], Any]], seconds: float = 0.2) -> Key:
    """The name of the step that takes least, of three calls at least and of some time each."""

    def least(step: Callable[[], Any]) -> float:
        step()
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        return min(times)

    return min(steps, key=lambda name: least(steps[name]))
