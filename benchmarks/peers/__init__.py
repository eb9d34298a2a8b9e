"""One module a library. Each has `prepare(job)`, which returns what to time and what it answers.

A module is imported only in the process that measures its library (worker.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Job:
    """What is to be measured, the same for every library."""

    task: str  # "train", "infer" or "photograph"
    folder: str  # weights-1_0.npz, weights-1_1.npz, photograph.jpg
    arch: str = "1_1"
    batch: int = 1
    size: int = 224
    precision: str = "float32"
    threads: int = 1
    seconds: float = 3.0
    variant: str = ""  # of the library: a backend, a memory format
    dropout: float = 0.5

    def weights(self) -> dict[str, np.ndarray]:
        with np.load(Path(self.folder, f"weights-{self.arch}.npz")) as file:
            return dict(file)

    def pictures(self) -> np.ndarray:
        """(batch, 3, size, size) float32: the same for all, picture by picture."""
        shape = (3, self.size, self.size)
        rows = [
            np.random.default_rng(index).uniform(-1, 1, shape).astype(np.float32)
            for index in range(self.batch)
        ]
        return np.stack(rows)

    def labels(self) -> np.ndarray:
        return np.arange(self.batch) % 2


@dataclass
class Prepared:
    """`step` is timed; `answer` is compared with the others', `images` a step count."""

    step: Callable[[], Any]
    answer: np.ndarray
    images: int
    notes: dict[str, Any] = field(default_factory=dict)
