"""Class activation maps: where in a picture a class's score comes from.

Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016 (arXiv:1512.04150),
weight the last convolution's channels by the classifier that follows the average pool. SqueezeNet
has no such classifier: its last convolution has a channel a class, whose mean is the class's logit.
That channel is the map itself, exact and at no cost but the pass (their equation 2 with unit
weights).
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.equality import EqualByValue
from ..base.pictures import to_picture
from ..base.png import encode_png
from ..base.write import write_bytes
from ..network import Network
from .metrics import decide, softmax

# Of the colours in an overlay where the evidence is least and most; the rest is the picture.
OVERLAY_SHARES = (0.12, 0.5)
# From little to much evidence, as red, green and blue at equal distances. Fundus photographs are
# orange, so that what is low is blue.
COLOURS = np.array(
    [(0.0, 0.0, 0.45), (0.0, 0.4, 1.0), (0.1, 0.85, 0.75), (1.0, 0.9, 0.1), (0.8, 0.0, 0.0)]
)
STRIDE = 16  # input pixels between neighbours in a map: the first convolution and three max-pools
FIRST_KERNEL = {"1_0": 7, "1_1": 3}


@dataclass(frozen=True, eq=False)
class Explanation(EqualByValue):
    """Why a picture is class `label`, or how far it is.

    map          (size, size) float32, size the model's image size: 0 where the evidence is least,
                 1 where it is most (all 0 where it is the same everywhere); raw: in logits, and
                 what the network computed is `cells`, between which it is interpolated
    cells        (h, w) float32: the class's channel of the last convolution; its mean is the logit
    overlay      (size, size, 3) uint8: the picture as the network sees it, under the map's colours
    picture      the same without them
    label, name, probability    the class that is explained, and its softmax probability
    """

    map: NDArray[np.float32]
    cells: NDArray[np.float32]
    overlay: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    label: int
    name: str
    probability: float

    def save(self, path: str | os.PathLike) -> None:
        """Write the overlay as a PNG file."""
        write_bytes(path, encode_png(self.overlay))


def explain(
    model: Network, image: Any, label: int | None = None, *, raw: bool = False
) -> Explanation:
    """The Explanation of one picture (what predict_proba takes) for the class `label`; None: for
    the one it is given. The picture is fitted into the model's square as for prediction, and the
    map is of that square. raw: the map is in logits, not scaled to 0..1.

    ValueError: label is none of the model's classes. Else as predict_proba.
    """
    if label is not None and not 0 <= label < model.num_classes:
        raise ValueError(f"label is {label!r}, expected 0 to {model.num_classes - 1}")
    picture = model.preprocessing.square(to_picture(image))
    maps = model.class_maps(model.input_of(picture[None]))[0]
    probabilities = softmax(maps.mean(axis=(1, 2), dtype=np.float64)[None])[0]
    if not np.isfinite(probabilities).all():
        raise ValueError("the model's maps are not finite numbers: its weights are broken")
    if label is None:
        label = int(decide(probabilities[None], model.threshold, model.positive)[0])
    evidence = enlarge(maps[label], model.image_size, FIRST_KERNEL[model.version])
    scaled = scale(evidence)
    return Explanation(
        map=evidence if raw else scaled,
        cells=maps[label],
        overlay=colour(picture, scaled),
        picture=picture,
        label=int(label),
        name=model.name_of(label),
        probability=float(probabilities[label]),
    )


def enlarge(cells: NDArray[np.float32], size: int, first_kernel: int) -> NDArray[np.float32]:
    """(h, w) cells to (size, size), bilinear. A cell's value is put where the cell looks, the
    centre of its receptive field, which is at pixel STRIDE * i + (first_kernel - 1) / 2 + 14: half
    a kernel less a pixel for the first convolution, and 2 + 4 + 8 for the three max-pools of 3.
    Beyond the first and last centres the edge's value goes on."""
    rows, columns = (_weights(count, size, first_kernel) for count in cells.shape)
    return (rows @ cells.astype(np.float64) @ columns.T).astype(np.float32)


def centres(cells: int, first_kernel: int) -> NDArray[np.float64]:
    """The pixels at which the cells of a row or a column look."""
    return STRIDE * np.arange(cells, dtype=np.float64) + (first_kernel - 1) / 2 + 14


def _weights(cells: int, size: int, first_kernel: int) -> NDArray[np.float64]:
    """(size, cells): what share each cell of a row has in each pixel."""
    places, pixels = centres(cells, first_kernel), np.arange(size)
    return np.stack([np.interp(pixels, places, unit) for unit in np.eye(cells)], axis=1)


def scale(evidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """To 0..1 by its least and its largest value; all 0 where these are one."""
    least, span = evidence.min(), np.ptp(evidence)
    return (evidence - least) / span if span > 0 else np.zeros_like(evidence)


def colour(picture: NDArray[np.uint8], scaled: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 under the colours of an (H, W) map of 0..1."""
    stops = np.linspace(0, 1, len(COLOURS))
    heat = np.stack([np.interp(scaled, stops, channel) for channel in COLOURS.T], axis=-1)
    share = np.interp(scaled, (0, 1), OVERLAY_SHARES)[..., None]
    mixed = (1 - share) * picture + share * 255 * heat
    return mixed.round().clip(0, 255).astype(np.uint8)
