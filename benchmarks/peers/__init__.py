"""One module a library. Each has `prepare(job)`, which returns what to time and what it answers.

A module is imported only in the process that measures its library (worker.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PHOTOGRAPH = "photograph.jpg"  # in the job's folder
PICTURE_SIDE = 224  # what a photograph becomes


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


@dataclass
class Prepared:
    """`step` is timed and works on `images` pictures; `answer()` is called after it, and compared
    with the other libraries': logits, the loss of the first step without dropout, or pixels."""

    step: Callable[[], Any]
    answer: Callable[[], np.ndarray]
    images: int
    input_bytes: int
    notes: dict[str, Any] = field(default_factory=dict)
