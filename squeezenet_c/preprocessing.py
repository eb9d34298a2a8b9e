"""What happens to a picture before a network sees it. It belongs to the model and is saved with it,
so that a model always predicts the way it was trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._native import core

# https://pytorch.org/vision/stable/models.html: the statistics of ImageNet's training pictures.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

SMALLEST_SIDE, LARGEST_SIDE = 32, 4096
FITS = ("pad", "crop")


def _three(value: float | Sequence[float], name: str) -> tuple[float, float, float]:
    """One number for all channels, or one for each of R, G, B."""
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.asarray(np.nan)
    if numbers.shape not in ((), (3,)) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} is {value!r}, expected one finite number, or three for R, G, B")
    red, green, blue = np.broadcast_to(numbers, 3).tolist()
    return red, green, blue


@dataclass(frozen=True)
class Preprocessing:
    """Pictures become squares of `image_size` pixels a side by `fit`, are scaled to [0, 1], and
    become (x - mean) / std in each of the channels R, G, B.

    fit     "pad"   the longer side is scaled to image_size, and the picture centred on black: the
                    tutorial's way, which shows the network the whole picture
            "crop"  the shorter side is scaled to image_size * 256 / 224, and the middle taken: the
                    way ImageNet's networks are tested (torchvision's Resize(256), CenterCrop(224))
            Both are bicubic, and leave a picture that has the size already as it is.
    mean    a number, three numbers, or "imagenet" (which sets `std` too)

    ValueError: a side outside 32 to 4096, numbers that are not finite, a std that is not positive,
    another fit.
    """

    image_size: int = 224
    mean: Any = 0.5
    std: Any = 0.5
    fit: str = "pad"

    def __post_init__(self) -> None:
        mean, std = self.mean, self.std
        if isinstance(mean, str):
            if mean != "imagenet":
                raise ValueError(f'mean is {mean!r}, expected numbers or "imagenet"')
            mean, std = IMAGENET_MEAN, IMAGENET_STD
        size = self.image_size
        whole = isinstance(size, int | np.integer) and not isinstance(size, bool)
        if not whole or not SMALLEST_SIDE <= size <= LARGEST_SIDE:
            raise ValueError(
                f"image_size is {size!r}, expected a whole number from {SMALLEST_SIDE} to "
                f"{LARGEST_SIDE}"
            )
        if self.fit not in FITS:
            raise ValueError(f'fit is {self.fit!r}, expected "pad" or "crop"')
        std = _three(std, "std")
        if min(std) <= 0:
            raise ValueError(f"std is {self.std!r}, expected positive numbers")
        object.__setattr__(self, "image_size", int(size))
        object.__setattr__(self, "mean", _three(mean, "mean"))
        object.__setattr__(self, "std", std)

    def square(self, picture: np.ndarray) -> np.ndarray:
        """An (h, w, 3) uint8 picture as the (image_size, image_size, 3) that `fit` makes of it."""
        return core.fit_image(picture, self.image_size, self.fit)

    def normalise(self, pictures: np.ndarray, flips: np.ndarray | None = None) -> np.ndarray:
        """(N, H, W, 3) uint8 pictures to the network's (N, 3, H, W) float32 input. `flips`, one a
        picture: bit 0 mirrors left and right, bit 1 turns upside down."""
        return core.normalise(pictures, self.mean, self.std, flips)

    def to_dict(self) -> dict[str, Any]:
        return {
            "image_size": self.image_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "fit": self.fit,
        }
