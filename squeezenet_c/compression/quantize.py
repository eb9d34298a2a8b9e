"""Quantisation after training: the scales by which a network's floats become int8.

The arithmetic is defined in csrc/README.md and computed in C. Here are chosen the scales: of each
activation from what it reaches on training pictures, of each output channel of a convolution from
its weights. Both are the largest magnitude over the largest integer. That was compared, on the
selection set of PALM (v1.1, from scratch and fine-tuned) and by the logits of ImageNet's v1.0 and
v1.1, with percentiles of the activations and with a search of the clip of the least squared error,
neither of which is better on all of these.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..data.dataset import Dataset
from ..inference.predict import NotFiniteError
from ..network import AnyNetwork, Network

CALIBRATION_PICTURES = 80
FEWEST_PICTURES = 8
BATCH = 16
LARGEST_BYTE, LARGEST_WEIGHT = 255, 127


def quantize(
    model: AnyNetwork,
    data: Dataset,
    *,
    pictures: int = CALIBRATION_PICTURES,
    scales: NDArray[np.float32] | None = None,
) -> AnyNetwork:
    """A copy of `model` for int8, whose precision is set to "int8"; `model` stays as it is. Its
    weights are rounded to the 255 multiples of their channel's scale, and so in float32 and
    bfloat16, in which it computes as well. Training it, or loading weights, makes it a float32
    network again. A model that is quantised already is quantised anew, from its rounded weights.

    data        pictures it was trained on, or others like them, but none that it is to be judged on
    pictures    how many of them are looked at (default 80; fewer where `data` has fewer): of each
                class its share, always the same ones
    scales      of the weights, one an output channel in the order of the parameters (default: the
                channel's largest weight over 127)

    UserWarning: all are of one class. ValueError: fewer than 8 pictures; pictures of one colour;
    pictures that leave an activation at 0, or make one that is no finite number; a network with a
    complex bypass, which int8 does not carry.
    """
    if pictures < FEWEST_PICTURES or len(data) < FEWEST_PICTURES:
        raise ValueError(
            f"{min(pictures, len(data))} pictures to calibrate on, expected at least "
            f"{FEWEST_PICTURES}, of all kinds that the model will see"
        )
    if model.spec["bypass"] == "complex":
        raise ValueError("a network with a complex bypass, which int8 does not carry")
    if len(np.unique(data.labels)) == 1 and model.num_classes > 1:
        warnings.warn(
            f"all {len(data)} pictures to calibrate on are of one class, "
            f"{data.class_names[data.labels[0]]}: what others need of the scales is not seen",
            stacklevel=2,
        )
    twin = model.copy()
    twin.precision = "float32"
    chosen = data.at_size(twin.image_size, twin.preprocessing.fit).subset(_spread(data, pictures))
    twin.set_quantization(
        np.array(twin.preprocessing.mean, np.float32),
        np.array(twin.preprocessing.std, np.float32),
        _activation_scales(twin, chosen),
        weight_scales(twin) if scales is None else scales,
    )
    twin.precision = "int8"
    return twin


def _spread(data: Dataset, count: int) -> NDArray[np.int64]:
    """The places of `count` pictures, of each class its share, sorted; a function of the labels."""
    rank = np.empty(len(data))  # within its class, 0 to 1
    for label in np.unique(data.labels):
        members = np.flatnonzero(data.labels == label)
        order = core.shuffle(len(members), 0, int(label))
        rank[members[order]] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(rank, kind="stable")[:count])


def _activation_scales(network: Network, pictures: Dataset) -> NDArray[np.float32]:
    """One an activation, the same within a group: the largest value over 255. 1 where there is
    none to choose: the picture's values are its bytes, and behind the last convolution are none."""
    groups = np.array(network.activation_groups())
    limits = _largest_values(network, pictures)
    scales = np.ones(len(groups), np.float32)
    for group in set(groups.tolist()) - {-1}:
        scales[groups == group] = limits[groups == group].max() / LARGEST_BYTE
    dead = np.flatnonzero(scales < np.finfo(np.float32).tiny)
    if len(dead):
        writers = {layer["output"]: layer["name"] for layer in _layers(network)}
        raise ValueError(
            f"{writers[int(dead[0])]} gives nothing above 0 on any of the {len(pictures)} pictures "
            "to calibrate on: the network is dead there, or the pictures are not of its kind"
        )
    return scales


def _largest_values(network: Network, pictures: Dataset) -> NDArray[np.float32]:
    """Of each activation over all pictures."""
    limits = np.zeros(len(network.activation_groups()), np.float32)
    one_colour = True
    for _, batch in pictures.batches(BATCH):
        one_colour &= bool((batch == batch[:, :1, :1]).all())
        limits = np.maximum(limits, network.observe(network.preprocessing.normalise(batch)))
    if one_colour:
        raise ValueError(
            f"each of the {len(pictures)} pictures to calibrate on is of one colour "
            f"({pictures.paths[0]} for one): there is nothing in them to take scales from"
        )
    if not np.isfinite(limits).all():
        raise NotFiniteError(
            "the model's activations are not finite numbers: its weights are broken"
        )
    return limits


def weight_scales(network: Network) -> NDArray[np.float32]:
    """One an output channel, in the order of the convolutions: its largest weight over 127; 1 where
    that is 0, or next to it. Of the first convolution the weights are those for bytes: w / (255
    std)."""
    std = np.array(network.preprocessing.std, np.float32).astype(np.float64)
    scales: list[NDArray[np.float64]] = []
    for weights in network.state_dict().values():
        if weights.ndim != 4:
            continue
        values = np.abs(weights.astype(np.float64))
        if not scales:
            values /= 255 * std[None, :, None, None]
        wanted = values.max(axis=(1, 2, 3)) / LARGEST_WEIGHT
        scales.append(np.where(wanted >= np.finfo(np.float32).tiny, wanted, 1))
    return np.concatenate(scales).astype(np.float32)


def _layers(network: Network) -> list[dict]:
    return network.layers(network.image_size, network.image_size)
