"""Pillow: decode a photograph, fit it into a black square, bicubic: the tutorial's own steps."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from . import Job, Prepared


def prepare(job: Job) -> Prepared:
    data = Path(job.folder, "photograph.jpg").read_bytes()

    def step() -> np.ndarray:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        scale = 224.0 / max(picture.size)
        width, height = (max(1, int(side * scale)) for side in picture.size)
        square = Image.new("RGB", (224, 224))
        resized = picture.resize((width, height), Image.Resampling.BICUBIC)
        square.paste(resized, ((224 - width) // 2, (224 - height) // 2))
        return np.asarray(square)

    return Prepared(step, step(), 1)
