"""A quantised model as a graph in ONNX's QDQ form: bytes, between QuantizeLinear and
DequantizeLinear computing in floats, which runtimes turn into sums of whole numbers.

Every activation is told in steps: its scale is 1, and what a convolution's input and output steps
are worth is in its weights' scales, which are the multipliers from sums to bytes (csrc/README.md,
"int8"). It is the same network, for ReLU, maximum and sum do not mind a factor. So a runtime that
computes input scale * weight scale / output scale, each rounded, has our multiplier to the bit, and
with it our bytes; with the scales that activations have in floats, a few bytes in a million differ.

What only moves or compares bytes, a max-pool or the two parts of a Fire module, has no such nodes
around it. Values bear their layers' names. The pictures' mean and std are in the first convolution.
"""

from typing import Any

import numpy as np

from ..network import Network
from .graph import PICTURES, Graph, GraphBuilder
from .integers import Layer, convolutions_of

BYTE = ("one", "zero")  # scale and zero point of all activations


def qdq_graph_of(model: Network) -> Graph:
    """From pictures to LOGITS and PROBABILITIES, of a quantised model."""
    return _Builder(model).graph()


class _Builder(GraphBuilder):
    def __init__(self, model: Network):
        scale, zero_point = BYTE
        super().__init__(
            {scale: np.ones((), np.float32), zero_point: np.zeros((), np.uint8)},
            model.layers(model.image_size, model.image_size),
        )
        self.convolutions = {
            conv.layer["name"]: conv for conv in convolutions_of(model, self.layers)
        }

    def pictures(self) -> str:
        return self.add("Transpose", (PICTURES,), "planes", perm=[0, 3, 1, 2])

    def sum(self, layer: Layer, *inputs: str) -> str:
        name = layer["name"]
        parts = tuple(
            self.add("DequantizeLinear", (value, *BYTE), f"{name}.input.{place}")
            for place, value in enumerate(inputs)
        )
        total = self.add("Add", parts, f"{name}.floats")
        return self.add("QuantizeLinear", (total, *BYTE), name)

    def convolution(self, layer: Layer, source: str, window: dict[str, Any]) -> str:
        name, conv = layer["name"], self.convolutions[layer["name"]]
        last = layer is self.layers[-2]  # of which the average is taken as it is
        multipliers = (conv.units / (1 if last else conv.output_scale)).astype(np.float32)
        source = self.add("DequantizeLinear", (source, *BYTE), f"{name}.input")
        self.constants[f"{name}.scale"] = multipliers
        for part, whole in (("weight", conv.weights), ("bias", conv.biases)):
            steps = f"{name}.{part}.steps"
            self.constants[steps] = whole
            floats = f"{name}.{part}"
            self.add("DequantizeLinear", (steps, f"{name}.scale"), floats, axis=0)
        value = self.add(
            "Conv", (source, f"{name}.weight", f"{name}.bias"), f"{name}.linear", **window
        )
        if layer["relu"]:
            value = self.add("Relu", (value,), f"{name}.relu")
        return value if last else self.add("QuantizeLinear", (value, *BYTE), name)
