"""Pillow: decode a photograph and fit it into a black square, bicubic, as the tutorial does."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from . import PICTURE_SIDE, Job, Prepared


def prepare(job: Job) -> Prepared:
    data = job.photograph()

    def step() -> np.ndarray:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        scale = PICTURE_SIDE / max(picture.size)
        width, height = (max(1, int(side * scale)) for side in picture.size)
        square = Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE))
        resized = picture.resize((width, height), Image.Resampling.BICUBIC)
        square.paste(resized, ((PICTURE_SIDE - width) // 2, (PICTURE_SIDE - height) // 2))
        return np.asarray(square)

    return Prepared(step, step, 1, len(data))
