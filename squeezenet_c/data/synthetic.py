"""Synthetic fundus pictures, for trying things out on a machine without data.

They are drawn, not photographed, and say nothing about eyes: an orange retina with vessels and a
bright disc; in class 1 the disc has a pale crescent of atrophy beside it and patches are scattered
about. Everything is a function of (seed, index).
"""

from __future__ import annotations  # numpy.random, in a hint below, is imported when it is used

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..base.png import encode_png
from ..base.write import write_bytes
from .dataset import Dataset

CLASS_NAMES = ("synthetic normal", "synthetic atrophy")


def draw(label: int, seed: int = 0, size: int = 224) -> NDArray[np.uint8]:
    """A (size, size, 3) picture of class `label`, 0 or 1."""
    return draw_with_lesion(label, seed, size)[0]


def draw_with_lesion(
    label: int, seed: int = 0, size: int = 224
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The picture of `draw`, and (size, size) where its atrophy is: nowhere in class 0."""
    if label not in (0, 1):
        raise ValueError(f"label is {label!r}, expected 0 or 1")
    random = np.random.default_rng([seed, label])
    y, x = np.mgrid[0:size, 0:size] * (2 / size) - 1
    picture = np.array([0.75, 0.35, 0.15]) * random.uniform(0.7, 1.1)
    picture = picture * (1 - 0.35 * (x**2 + y**2))[..., None]
    side = random.choice([-1, 1])
    lesion = np.zeros((size, size))
    disc_x, disc_y = side * random.uniform(0.35, 0.5), random.uniform(-0.15, 0.15)
    if label:
        crescent = _spot(x, y, disc_x - side * 0.1, disc_y, 0.27, 0.24)
        _blend(picture, crescent, (0.95, 0.85, 0.6))
        lesion = np.maximum(lesion, crescent)
        for _ in range(random.integers(2, 6)):
            where = random.uniform(-0.55, 0.55, 2)
            radii = random.uniform(0.06, 0.2, 2)
            patch = _spot(x, y, *where, *radii)
            _blend(picture, 0.8 * patch, (0.9, 0.8, 0.55))
            lesion = np.maximum(lesion, patch)
    for _ in range(random.integers(7, 11)):
        _vessel(picture, x, y, disc_x, disc_y, random)
    _blend(picture, _spot(x, y, disc_x, disc_y, 0.14, 0.16), (1.0, 0.8, 0.45))
    picture += random.normal(0, 0.02, picture.shape)
    picture *= (x**2 + y**2 < 0.94)[..., None]
    return (picture.clip(0, 1) * 255).astype(np.uint8), lesion > 0.5


def write(folder: str | os.PathLike, count: int = 200, seed: int = 0, size: int = 224) -> Dataset:
    """Write `count` PNG pictures, half of each class, as a folder per class; the set of them."""
    if count < 2:
        raise ValueError(f"count is {count}, expected at least 2")
    paths, labels = [], []
    for index in range(count):
        label = index % 2
        parent = Path(folder) / CLASS_NAMES[label]
        parent.mkdir(parents=True, exist_ok=True)
        path = parent / f"synthetic{index:04d}.png"
        write_bytes(path, encode_png(draw(label, seed * 1_000_003 + index, size)))
        paths.append(path)
        labels.append(label)
    return Dataset(paths, labels, CLASS_NAMES)


def _spot(
    x: NDArray, y: NDArray, center_x: float, center_y: float, radius_x: float, radius_y: float
) -> NDArray:
    """An ellipse with a soft edge: 1 inside, 0 outside."""
    distance = np.hypot((x - center_x) / radius_x, (y - center_y) / radius_y)
    return (4 * (1.1 - distance)).clip(0, 1)


def _blend(picture: NDArray, weight: NDArray, colour: tuple[float, float, float]) -> None:
    picture += weight[..., None] * (np.array(colour) - picture)


def _vessel(
    picture: NDArray,
    x: NDArray,
    y: NDArray,
    disc_x: float,
    disc_y: float,
    random: np.random.Generator,
) -> None:
    """A dark curve from the disc outward, thinner as it goes."""
    angle, bend = random.uniform(0, 2 * np.pi), random.uniform(-0.8, 0.8)
    along = (x - disc_x) * np.cos(angle) + (y - disc_y) * np.sin(angle)
    across = (y - disc_y) * np.cos(angle) - (x - disc_x) * np.sin(angle)
    width = (0.03 - 0.012 * along).clip(0.008, 0.03)
    near = (1.5 - np.abs(across - bend * along**2) / width).clip(0, 1) * (along > 0)
    _blend(picture, 0.7 * near, (0.45, 0.08, 0.05))
