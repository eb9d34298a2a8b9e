"""Our weights as an ONNX model, for the peers that read one."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from . import Job

FIRES = {  # index in `features` of each Fire module, and of each max-pool
    "1_0": ((3, 4, 5, 7, 8, 9, 10, 12), (2, 6, 11)),
    "1_1": ((3, 4, 6, 7, 9, 10, 11, 12), (2, 5, 8)),
}


class _Graph:
    def __init__(self, weights: dict) -> None:
        self.weights, self.nodes, self.values = weights, [], "x"

    def add(self, operator: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def conv(self, layer: str, source: str, stride: int = 1, pad: int = 0, relu: bool = True) -> str:
        kernel = list(self.weights[f"{layer}.weight"].shape[2:])
        name = self.add(
            "Conv",
            [source, f"{layer}.weight", f"{layer}.bias"],
            layer,
            kernel_shape=kernel,
            strides=[stride, stride],
            pads=[pad] * 4,
        )
        return self.add("Relu", [name], f"{layer}.relu") if relu else name


def write(job: Job) -> Path:
    """The model for pictures of job.size; its batch is free."""
    path = Path(job.folder, f"model-{job.arch}.onnx")
    weights = job.weights()
    graph = _Graph(weights)
    fires, pools = FIRES[job.arch]
    values = graph.conv("features.0", "x", stride=2)
    for index in range(2, 13):
        layer = f"features.{index}"
        if index in pools:
            values = graph.add(
                "MaxPool", [values], layer, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
            )
        elif index in fires:
            squeezed = graph.conv(f"{layer}.squeeze", values)
            parts = [
                graph.conv(f"{layer}.expand1x1", squeezed),
                graph.conv(f"{layer}.expand3x3", squeezed, pad=1),
            ]
            values = graph.add("Concat", parts, layer, axis=1)
    values = graph.conv("classifier.1", values, relu=False)
    values = graph.add("GlobalAveragePool", [values], "pooled")
    graph.add("Flatten", [values], "logits")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "squeezenet",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
