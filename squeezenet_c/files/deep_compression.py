"""Reads Deep Compression's own release, compressed_SqueezeNet.net: SqueezeNet v1.0 for ImageNet in
0.68 MB (Han, Mao & Dally 2016, arXiv:1510.00149; csrc/io/deep_compression.c has the form).

It is Caffe's network, whose pictures are B, G, R from 0 to 255 less ImageNet's mean. What is handed
on takes pictures as all our ImageNet networks do: R, G, B in [0, 1], normalised by ImageNet's mean
and standard deviation.
"""

import os

import numpy as np

from .._native import core
from ..base.read import first_bytes
from ..preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

SPEC = {"version": "1_0", "num_classes": 1000, "final_relu": True}
# It was trained on squares of 227 cut from pictures of 256. "crop" shows it 227 of 259.
PREPROCESSING = Preprocessing(image_size=227, mean="imagenet", fit="crop")
CAFFE_MEAN = (123.0, 117.0, 104.0)  # R, G, B

CONVOLUTIONS = 26
COUNT_BOUND = 1 << 24  # no convolution has as many weights


def is_deep_compression(path: str | os.PathLike) -> bool:
    """Whether the file begins with a count for each convolution; there is no mark to tell by. None
    is 0 or has a highest byte, and neither text nor the beginning of a zip archive, pickle or
    safetensors file (a header length's upper half is 0) is like that 26 times."""
    start = first_bytes(path, 4 * CONVOLUTIONS)
    if len(start) < 4 * CONVOLUTIONS:
        return False
    counts = np.frombuffer(start, "<u4")
    return bool(counts.min() > 0 and counts.max() < COUNT_BOUND)


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of SPEC's network, by torchvision's names. BadFileError names the file, what was
    found and what was expected. OSError: it cannot be read."""
    state = core.read_deep_compression(path, **SPEC)
    _take_normalised_rgb(state, "features.0")
    return state


def _take_normalised_rgb(state: dict[str, np.ndarray], first: str) -> None:
    """Fold Caffe's input into the first convolution. For a channel x of a normalised picture Caffe
    has 255 (x std + mean) - CAFFE_MEAN. The convolution pads nothing, so that its bias alone takes
    what is added."""
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    scale, shift = 255 * std, 255 * mean - CAFFE_MEAN
    weight = state[f"{first}.weight"][:, ::-1].astype(np.float64)  # of R, G, B
    bias = state[f"{first}.bias"] + np.einsum("ochw,c->o", weight, shift)
    with np.errstate(over="ignore"):  # what becomes infinite is refused, as in every file
        state[f"{first}.weight"] = (weight * scale[:, None, None]).astype(np.float32)
        state[f"{first}.bias"] = bias.astype(np.float32)
