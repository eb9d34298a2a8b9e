"""A model as a list of the elementary operations that other runtimes know, by ONNX's names.

Values have names; the first node reads PICTURES. In float32, as here, the preprocessing turns them
into the network's input as normalise does, one operation after the other; qdq.py has the graph of a
quantised model. Dropout is not there: it does nothing in a prediction.
"""

from abc import ABC, abstractmethod
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
    """From pictures to LOGITS and PROBABILITIES, in float32."""
    return _FloatBuilder(model).graph()


class GraphBuilder(ABC):
    """Turns layers, which read and write numbered activations, into nodes over named values. What
    depends on the numbers that are computed with is a subclass's: pictures, sum, convolution."""

    def __init__(self, constants: dict[str, np.ndarray], layers: list[dict[str, Any]]):
        self.nodes: list[Node] = []
        self.constants = dict(constants)
        self.layers = layers
        self.values: dict[int, str] = {}  # by activation

    def graph(self) -> Graph:
        self.values[0] = self.pictures()
        self.network()
        self.add("Flatten", (self.last,), LOGITS, axis=1)
        self.add("Softmax", (LOGITS,), PROBABILITIES, axis=1)
        return Graph(self.nodes, self.constants)

    @abstractmethod
    def pictures(self) -> str:
        """What the network reads of PICTURES."""

    @abstractmethod
    def sum(self, layer: dict[str, Any], *inputs: str) -> str:
        """The output of a row of Model.layers for its inputs' values."""

    @abstractmethod
    def convolution(self, layer: dict[str, Any], source: str, window: dict[str, Any]) -> str:
        """The same, `window` being its kernel's attributes."""

    @property
    def last(self) -> str:
        """The value that the last layer made."""
        return self.values[self.layers[-1]["output"]]

    def add(self, operation: str, inputs: tuple[str, ...], output: str, **attributes: Any) -> str:
        self.nodes.append(Node(operation, inputs, output, attributes))
        return output

    def network(self) -> None:
        """Where several layers write one activation, it is their outputs side by side, in the order
        of their channels."""
        for layer in self.layers:
            writers = [other for other in self.layers if other["output"] == layer["output"]]
            value = self.layer(layer, *(self.values[number] for number in layer["inputs"]))
            if len(writers) == 1:
                self.values[layer["output"]] = value
            elif layer is writers[-1]:
                writers.sort(key=lambda writer: writer["first_channel"])
                name = layer["name"].rpartition(".")[0] + ".concat"
                parts = tuple(writer["name"] for writer in writers)
                self.values[layer["output"]] = self.add("Concat", parts, name, axis=1)

    def layer(self, layer: dict[str, Any], *inputs: str) -> str:
        name, kind = layer["name"], layer["kind"]
        if kind == "dropout":
            return inputs[0]
        if kind == "sum":
            return self.sum(layer, *inputs)
        if kind == "average_pool":
            return self.add("GlobalAveragePool", inputs, name)
        window: dict[str, Any] = {
            "kernel_shape": [layer["kernel"]] * 2,
            "strides": [layer["stride"]] * 2,
            "pads": [layer["padding"]] * 4,
        }
        if kind == "max_pool":  # the last window may reach past the edge
            return self.add("MaxPool", inputs, name, **window, ceil_mode=1)
        return self.convolution(layer, inputs[0], window)


class _FloatBuilder(GraphBuilder):
    """Parameters are the constants of their names."""

    def __init__(self, model: Network):
        super().__init__(model.state_dict(), model.layers(model.image_size, model.image_size))
        self.preprocessing = model.preprocessing

    def pictures(self) -> str:
        mean, std = self.preprocessing.mean, self.preprocessing.std
        self.constants["white"] = np.float32(255).reshape(1)
        self.constants["mean"] = np.asarray(mean, np.float32).reshape(1, 3, 1, 1)
        self.constants["std"] = np.asarray(std, np.float32).reshape(1, 3, 1, 1)
        self.add("Cast", (PICTURES,), "samples", to="float32")
        self.add("Div", ("samples", "white"), "shares")
        self.add("Transpose", ("shares",), "planes", perm=[0, 3, 1, 2])
        self.add("Sub", ("planes", "mean"), "centred")
        return self.add("Div", ("centred", "std"), "input")

    def sum(self, layer: dict[str, Any], *inputs: str) -> str:
        return self.add("Add", inputs, layer["name"])

    def convolution(self, layer: dict[str, Any], source: str, window: dict[str, Any]) -> str:
        name = layer["name"]
        linear = f"{name}.linear" if layer["relu"] else name
        self.add("Conv", (source, f"{name}.weight", f"{name}.bias"), linear, **window)
        return self.add("Relu", (linear,), name) if layer["relu"] else name
