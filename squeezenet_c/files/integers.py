"""A quantised model's whole numbers, as what computes with them takes them: by the formulas of
csrc/README.md, "int8"."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Network
from .quantised import whole_weights

LARGEST_BIAS = 1 << 30

Layer = dict[str, Any]  # a row of Model.layers


@dataclass(frozen=True)
class Convolution:
    """Of n output channels. A sum is its bias and the products of whole weights and bytes."""

    layer: Layer
    weights: NDArray[np.int8]  # (n, inputs, height, width)
    biases: NDArray[np.int32]  # (n)
    weight_scales: NDArray[np.float64]  # (n): what 1 is worth in the weights
    input_scale: float  # in the bytes that are read
    output_scale: float  # in the bytes that are written; of the last one meaningless

    @property
    def units(self) -> NDArray[np.float64]:
        """(n): what 1 is worth in a sum."""
        return self.weight_scales * self.input_scale


def convolutions_of(model: Network, layers: Sequence[Layer]) -> list[Convolution]:
    """Of the layers of a quantised model those that are convolutions."""
    quantization = model.quantization
    assert quantization is not None
    state, whole = model.state_dict(), whole_weights(model)
    scales = quantization["activation_scales"].astype(np.float64)
    found: list[Convolution] = []
    place = 0
    for layer in layers:
        if layer["kind"] != "conv":
            continue
        bias = state[f"{layer['name']}.bias"].astype(np.float64)
        if not found:
            bias = bias - _shift(state[f"{layer['name']}.weight"], quantization)
        weight_scales = quantization["weight_scales"][place : place + len(bias)].astype(np.float64)
        place += len(bias)
        input_scale = float(scales[layer["inputs"][0]])
        steps = np.rint(bias / (weight_scales * input_scale))
        found.append(
            Convolution(
                layer,
                whole[f"{layer['name']}.weight"],
                np.clip(steps, -LARGEST_BIAS, LARGEST_BIAS).astype(np.int32),
                weight_scales,
                input_scale,
                float(scales[layer["output"]]),
            )
        )
    return found


def _shift(weight: NDArray[np.float32], quantization: dict[str, Any]) -> NDArray[np.float64]:
    """What the pictures' mean takes off the first convolution's biases."""
    mean, std = (
        quantization[key].astype(np.float64)[None, :, None, None] for key in ("mean", "std")
    )
    terms = (weight.astype(np.float64) * mean / std).reshape(len(weight), -1)
    shift = np.zeros(len(weight))
    for column in range(terms.shape[1]):  # one after the other, as everywhere
        shift = shift + terms[:, column]
    return shift
