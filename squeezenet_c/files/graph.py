"""A model as a list of the elementary operations that other runtimes know, by ONNX's names.

Values have names; the first node reads PICTURES, which the preprocessing turns into the network's
input as normalise does, one float32 operation after the other. Dropout is not there: it does
nothing in a prediction.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..network import Network

PICTURES = "pictures"  # (N, image_size, image_size, 3) uint8, RGB
LOGITS, PROBABILITIES = "logits", "probabilities"  # both (N, classes) float32


@dataclass(frozen=True)
class Node:
    """operation(inputs) -> output, all by name."""

    operation: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """`nodes` in an order they can run in; `constants`: arrays by name, the weights among them."""

    nodes: list[Node]
    constants: dict[str, np.ndarray]


def graph_of(model: Network) -> Graph:
    """From pictures to LOGITS and PROBABILITIES."""
    builder = _Builder(model.state_dict())
    features = builder.preprocessing(model.preprocessing.mean, model.preprocessing.std)
    for layer in model.layers(model.image_size, model.image_size):
        features = builder.layer(layer, features)
    builder.add("Flatten", (features,), LOGITS, axis=1)
    builder.add("Softmax", (LOGITS,), PROBABILITIES, axis=1)
    return Graph(builder.nodes, builder.constants)


class _Builder:
    """Walks the layers in their order, in which a Fire module is squeeze, expand1x1, expand3x3, and
    with a bypass around it [bypass,] sum."""

    def __init__(self, state: dict[str, np.ndarray]):
        self.nodes: list[Node] = []
        self.constants = dict(state)
        self.fire_input = self.squeezed = self.shortcut = ""

    def add(self, operation: str, inputs: tuple[str, ...], output: str, **attributes: Any) -> str:
        self.nodes.append(Node(operation, inputs, output, attributes))
        return output

    def preprocessing(self, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
        self.constants["white"] = np.float32(255).reshape(1)
        self.constants["mean"] = np.float32(mean).reshape(1, 3, 1, 1)
        self.constants["std"] = np.float32(std).reshape(1, 3, 1, 1)
        self.add("Cast", (PICTURES,), "samples", to="float32")
        self.add("Div", ("samples", "white"), "shares")
        self.add("Transpose", ("shares",), "planes", perm=[0, 3, 1, 2])
        self.add("Sub", ("planes", "mean"), "centred")
        return self.add("Div", ("centred", "std"), "input")

    def layer(self, layer: dict[str, Any], features: str) -> str:
        """The output of a row of Model.layers, whose input is `features` but in a Fire module."""
        name, kind = layer["name"], layer["kind"]
        if kind == "dropout":
            return features
        if kind == "max_pool":  # the last window may reach past the edge
            sides = {"kernel_shape": [3, 3], "strides": [2, 2]}
            return self.add("MaxPool", (features,), name, **sides, ceil_mode=1)
        if kind == "average_pool":
            return self.add("GlobalAveragePool", (features,), name)
        if kind == "sum":
            return self.add("Add", (features, self.shortcut), name)
        fire, _, part = name.rpartition(".")
        if part == "squeeze":
            self.fire_input = self.shortcut = features
            self.squeezed = self.convolution(layer, features)
            return self.squeezed
        if part == "expand1x1":
            self.convolution(layer, self.squeezed)
            return self.squeezed
        if part == "expand3x3":
            parts = (f"{fire}.expand1x1", self.convolution(layer, self.squeezed))
            return self.add("Concat", parts, f"{fire}.concat", axis=1)
        if part == "bypass":
            self.shortcut = self.convolution(layer, self.fire_input)
            return features
        return self.convolution(layer, features)

    def convolution(self, layer: dict[str, Any], features: str) -> str:
        name = layer["name"]
        side = self.constants[f"{name}.weight"].shape[2]
        padding = 1 if name.endswith("expand3x3") else 0
        stride = 2 if name == "features.0" else 1
        linear = f"{name}.linear" if layer["relu"] else name
        self.add(
            "Conv",
            (features, f"{name}.weight", f"{name}.bias"),
            linear,
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[padding] * 4,
        )
        return self.add("Relu", (linear,), name) if layer["relu"] else name
