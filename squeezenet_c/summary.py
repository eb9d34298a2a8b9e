"""The table of a model's layers.

It counts as paddle.summary does, which the tutorial shows: a row for each convolution, ReLU, pool
and dropout, and one for each Fire module's joined output; the memory forward and backward is twice
that of all rows' outputs.
"""

import math
from typing import Any

from .network import Network

MEGABYTE = 1 << 20
FLOAT_BYTES = 4
KINDS = {
    "max_pool": "MaxPool2D",
    "dropout": "Dropout",
    "sum": "Sum",
    "average_pool": "AdaptiveAvgPool2D",
}

Shape = tuple[int, int, int]
Row = tuple[str, Shape, Shape, int]


def summary_rows(model: Network, image_size: int) -> list[Row]:
    """(kind, input shape, output shape, parameters) of each row; shapes are (C, H, W)."""
    rows: list[Row] = []
    fire_input: Shape = (0, 0, 0)
    joined = 0
    for layer in model.layers(image_size, image_size):
        source, output = layer["in_shape"], layer["out_shape"]
        kind = "Conv2D" if layer["kind"] == "conv" else KINDS[layer["kind"]]
        rows.append((kind, source, output, layer["parameter_count"]))
        if layer["relu"]:
            rows.append(("ReLU", output, output, 0))
        part = layer["name"].rpartition(".")[2]
        if part == "squeeze":
            fire_input, joined = source, 0
        elif part in ("expand1x1", "expand3x3"):
            joined += output[0]
        if part == "expand3x3":
            rows.append(("Fire", fire_input, (joined, *output[1:]), 0))
    return rows


def summary_totals(model: Network, image_size: int) -> dict[str, Any]:
    """Parameters, and megabytes (2**20 bytes) of input, activations both ways, and parameters."""
    size = FLOAT_BYTES / MEGABYTE
    outputs = sum(c * h * w for _, _, (c, h, w), _ in summary_rows(model, image_size))
    megabytes = {
        "input_mb": 3 * image_size * image_size * size,
        "forward_backward_mb": 2 * outputs * size,
        "parameters_mb": model.parameter_count * size,
    }
    return {
        "parameters": model.parameter_count,
        **megabytes,
        "total_mb": sum(megabytes.values()),
    }


def multiplications(model: Network, image_size: int) -> int:
    """How many multiplications, each with its addition, the convolutions take for one picture."""
    return sum(
        math.prod(layer["out_shape"]) * layer["in_shape"][0] * layer["kernel"] ** 2
        for layer in model.layers(image_size, image_size)
        if layer["kind"] == "conv"
    )


def summary_table(model: Network, image_size: int) -> str:
    """See Model.summary."""
    line = "-" * 80
    lines = [line, f"{'Layer':20}{'Input shape':>22}{'Output shape':>22}{'Param #':>16}", "=" * 80]
    numbers: dict[str, int] = {}
    for kind, source, output, parameters in summary_rows(model, image_size):
        numbers[kind] = numbers.get(kind, 0) + 1
        name = f"{kind}-{numbers[kind]}"
        shapes = [str([1, *shape]) for shape in (source, output)]
        lines.append(f"{name:20}{shapes[0]:>22}{shapes[1]:>22}{parameters:>16,}")
    totals = summary_totals(model, image_size)
    lines += [
        "=" * 80,
        f"Total parameters: {totals['parameters']:,}",
        line,
        f"Input size (MB): {totals['input_mb']:.2f}",
        f"Forward/backward pass size (MB): {totals['forward_backward_mb']:.2f}",
        f"Parameters size (MB): {totals['parameters_mb']:.2f}",
        f"Estimated total size (MB): {totals['total_mb']:.2f}",
        line,
    ]
    return "\n".join(lines)
