"""What a picture may be given as besides a file: an array or a PIL image. And how Pillow, an extra
that is imported where it is used, decodes the files that the C library leaves to it: TIFF and WebP.
"""

import atexit
import io
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from .read import brief

FOREIGN_FORMATS = ("TIFF", "WEBP")  # as Pillow calls them


def to_picture(image: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 pixels of a path, a PIL image or a uint8 array: (H, W, 3), (H, W, 4) whose
    alpha is dropped, or (H, W), which is grey. TypeError, ValueError: something else; BadFileError,
    OSError: a file that is no picture."""
    if isinstance(image, str | os.PathLike):
        return core.read_image(os.fspath(image))
    if hasattr(image, "convert") and hasattr(image, "mode"):
        image = _from_pil(image)
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"a {type(image).__name__} is no picture; expected a path, a PIL image or an array"
        )
    if image.dtype != np.uint8:
        raise ValueError(f"a picture of {image.dtype}, expected uint8")
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] not in (3, 4) or not image.size:
        raise ValueError(f"a picture of the shape {image.shape}, expected (H, W, 3)")
    return np.ascontiguousarray(image[:, :, :3])


def _from_pil(image: Any) -> NDArray[np.uint8]:
    """As a file would be decoded: upright, 16-bit samples by their high byte, no alpha."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
    if image.mode == "F":
        raise ValueError('a PIL image of mode "F" (floats), expected 8 or 16 bits a sample')
    return np.asarray(image.convert("RGB"))


def decode_by_pillow(data: bytes, name: str) -> NDArray[np.uint8]:
    """The first picture of a TIFF's or a WebP's bytes, (H, W, 3) uint8. BadFileError, which calls
    it `name`: it is damaged, too large, or Pillow is not installed."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise core.BadFileError(
            f"{name}: TIFF and WebP are decoded by Pillow, which is not installed: "
            'pip install "squeezenet_c[pillow]"'
        ) from None
    try:
        with Image.open(io.BytesIO(data), formats=FOREIGN_FORMATS) as image:
            width, height = image.size
            most = core.get_max_pixels()
            if width * height > most:  # before any of them is decoded
                raise core.BadFileError(
                    f"{name}: is too large ({width} x {height} pixels, expected at most {most} in "
                    "all, which set_max_pixels changes)"
                )
            return to_picture(image)
    except (core.BadFileError, MemoryError):
        raise
    except UnidentifiedImageError:  # which says where our copy of it lies in memory
        raise core.BadFileError(f"{name}: Pillow cannot decode it: its header is damaged") from None
    except Exception as error:  # of many kinds, by what is damaged
        reason = brief(error) or type(error).__name__
        raise core.BadFileError(f"{name}: Pillow cannot decode it: {reason}") from None


core.set_decoder(decode_by_pillow)
atexit.register(core.set_decoder, None)  # no thread of ours may be in Python when it ends
