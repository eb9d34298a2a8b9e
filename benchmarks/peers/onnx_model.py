"""Our weights as an ONNX model, for the peers that read one."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import Job

FIRES = {"1_0": (3, 4, 5, 7, 8, 9, 10, 12), "1_1": (3, 4, 6, 7, 9, 10, 11, 12)}
POOLS = {"1_0": (2, 6, 11), "1_1": (2, 5, 8)}  # both: indices in torchvision's `features`


class _Graph:
    """Nodes added one after the other; a value is known by the name of the node that makes it."""

    def __init__(self, weights: dict) -> None:
        self.weights, self.nodes = weights, []

    def add(self, operator: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def conv(
        self, layer: str, source: str, stride: int = 1, padding: int = 0, relu: bool = True
    ) -> str:
        name = self.add(
            "Conv",
            [source, f"{layer}.weight", f"{layer}.bias"],
            layer,
            kernel_shape=list(self.weights[f"{layer}.weight"].shape[2:]),
            strides=[stride, stride],
            pads=[padding] * 4,
        )
        return self.add("Relu", [name], f"{layer}.relu") if relu else name

    def fire(self, layer: str, source: str) -> str:
        squeezed = self.conv(f"{layer}.squeeze", source)
        parts = [
            self.conv(f"{layer}.expand1x1", squeezed),
            self.conv(f"{layer}.expand3x3", squeezed, padding=1),
        ]
        return self.add("Concat", parts, layer, axis=1)

    def max_pool(self, layer: str, source: str) -> str:
        return self.add(
            "MaxPool", [source], layer, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
        )


def serialize(job: Job) -> bytes:
    """The job's model as ONNX's bytes; batch, height and width are free."""
    return encode(job.arch, job.weights())


def encode(arch: str, weights: dict[str, np.ndarray]) -> bytes:
    """A network without ReLU after its last convolution as ONNX's bytes; likewise."""
    graph = _Graph(weights)
    values = graph.conv("features.0", "x", stride=2)
    for index in range(2, 13):
        layer = f"features.{index}"
        if index in POOLS[arch]:
            values = graph.max_pool(layer, values)
        elif index in FIRES[arch]:
            values = graph.fire(layer, values)
    values = graph.conv("classifier.1", values, relu=False)
    values = graph.add("GlobalAveragePool", [values], "pooled")
    graph.add("Flatten", [values], "logits")
    classes = len(weights["classifier.1.bias"])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "squeezenet",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()
