"""A quantised v1.1 as LiteRT's file, of the same integers as ours: its bytes are ours less 128. The
last convolution's output, which we keep as sums, has to be bytes here, so logits are rougher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SHIFT = -128  # LiteRT's zero point where ours is 0


class _File:
    def __init__(self, schema: Any):
        self.schema = schema
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]  # of what is computed
        self.model.operatorCodes, self.codes = [], {}
        self.model.subgraphs = [self.graph]

    def tensor(self, shape: Any, scales: Any, zero_point: int = 0, array: Any = None) -> int:
        """Its number: of int8 values, or of an array's."""
        schema, tensor = self.schema, self.schema.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}"
        tensor.shape, tensor.buffer, tensor.type = list(shape), 0, schema.TensorType.INT8
        if scales is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.atleast_1d(np.float32(scales))
            count = len(tensor.quantization.scale)
            tensor.quantization.zeroPoint = np.full(count, zero_point, np.int64)
        if array is not None:
            if array.dtype == np.int32:
                tensor.type = schema.TensorType.INT32
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def add(self, name: str, kind: str, inputs: list[int], output: int, **options: Any) -> int:
        schema, operator = self.schema, self.schema.OperatorT()
        if name not in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode = code.builtinCode
            code.version = {"CONV_2D": 3, "MAX_POOL_2D": 2, "CONCATENATION": 2, "MEAN": 2}[name]
            self.codes[name] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(code)
        operator.opcodeIndex = self.codes[name]
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        operator.builtinOptions = getattr(schema, f"{kind}T")()
        for key, value in options.items():
            setattr(operator.builtinOptions, key, value)
        self.graph.operators.append(operator)
        return output


def write_tflite(model: Any, path: Path) -> None:
    """ImportError: LiteRT or flatbuffers is not installed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    from squeezenet_c.files.integers import convolutions_of

    layers = model.layers(model.image_size, model.image_size)
    convolutions = {conv.layer["name"]: conv for conv in convolutions_of(model, layers)}
    assert model.version == "1_1" and not model.spec["bypass"]  # no window reaches past the edge
    noise = np.random.RandomState(0).randint(0, 256, (4, model.image_size, model.image_size, 3))
    largest = np.abs(model.class_maps(noise.astype(np.uint8))).max() / 127
    file = _File(schema)
    side = model.image_size
    values = {0: file.tensor((1, side, side, 3), 1, SHIFT)}
    picture, parts = values[0], []
    for layer in layers:
        channels, rows, columns = layer["out_shape"]
        if layer["kind"] == "dropout":
            values[layer["output"]] = values[layer["inputs"][0]]
            continue
        source = values[layer["inputs"][0]]
        shape = (1, rows, columns, channels)
        window = {"strideW": layer["stride"], "strideH": layer["stride"]}
        window["padding"] = schema.Padding.SAME if layer["padding"] else schema.Padding.VALID
        if layer["kind"] == "max_pool":
            window |= {"filterWidth": layer["kernel"], "filterHeight": layer["kernel"]}
            output = file.tensor(shape, 1, SHIFT)
            file.add("MAX_POOL_2D", "Pool2DOptions", [source], output, **window)
        elif layer["kind"] == "average_pool":
            axes = file.tensor((2,), None, array=np.array([1, 2], np.int32))
            output = file.tensor((1, channels), largest)
            file.add("MEAN", "ReducerOptions", [source, axes], output)
        else:
            conv, last = convolutions[layer["name"]], layer is layers[-2]
            scales = conv.units / (1 if last else conv.output_scale)
            whole = conv.weights.transpose(0, 2, 3, 1)
            weights = file.tensor(whole.shape, scales, array=whole)
            biases = file.tensor((channels,), scales, array=conv.biases)
            output = file.tensor(shape, largest if last else 1, 0 if last else SHIFT)
            relu = schema.ActivationFunctionType.RELU if layer["relu"] else 0
            window |= {"dilationWFactor": 1, "dilationHFactor": 1}
            operands = [source, weights, biases]
            file.add(
                "CONV_2D",
                "Conv2DOptions",
                operands,
                output,
                **window,
                fusedActivationFunction=relu,
            )
            if ".expand" in layer["name"]:
                parts.append((layer["first_channel"], output, channels))
        if len(parts) == 2:
            parts.sort()
            whole_shape = (1, rows, columns, sum(part[2] for part in parts))
            output = file.tensor(whole_shape, 1, SHIFT)
            inputs = [part[1] for part in parts]
            file.add("CONCATENATION", "ConcatenationOptions", inputs, output, axis=3)
            parts = []
        values[layer["output"]] = output
    file.graph.inputs, file.graph.outputs = [picture], [values[layers[-1]["output"]]]
    builder = flatbuffers.Builder()
    builder.Finish(file.model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def answer_of(interpreter: Any, picture: np.ndarray) -> np.ndarray:
    """The logits of a picture of bytes."""
    (source,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(source["index"], (picture ^ np.uint8(128)).view(np.int8))
    interpreter.invoke()
    scale, zero_point = answer["quantization"]
    return (interpreter.get_tensor(answer["index"])[0].astype(np.float32) - zero_point) * scale
