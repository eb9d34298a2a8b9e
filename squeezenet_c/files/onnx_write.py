"""Writes a graph as an ONNX file, without the onnx package.

An ONNX file is one protocol buffer message, ModelProto of onnx/onnx.proto in
https://github.com/onnx/onnx; the numbers in the code below are its fields'. On the wire
(https://protobuf.dev/programming-guides/encoding/) a message is its fields one after the other. A
field is a key, number * 8 + wire type, and then for wire type 0 a varint; for 2 a length and that
many bytes: text, arrays, or a message.
"""

import numpy as np

from .graph import Graph, Node

# Operator set 13 is from ONNX 1.8 (2020), the file's format version 7 too: read by all runtimes
# since. https://github.com/onnx/onnx/blob/main/docs/Versioning.md has the table.
OPERATOR_SET, IR_VERSION = 13, 7
ELEMENTS = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6}  # TensorProto.DataType
INT, INTS = 2, 7  # AttributeProto.AttributeType
VARINT, BYTES = 0, 2  # wire types

Shape = tuple[int | str, ...]  # a name for a size that is not fixed


def encode(
    graph: Graph,
    inputs: dict[str, tuple[str, Shape]],
    outputs: dict[str, tuple[str, Shape]],
    metadata: dict[str, str],
    producer: tuple[str, str],
    description: str = "",
) -> bytes:
    """The file's contents. inputs, outputs: name -> (element type, shape). producer: a program's
    name and version. metadata: read by onnxruntime as session.get_modelmeta().custom_metadata_map.
    """
    body = b"".join(
        [
            *(_bytes(1, _node(node)) for node in graph.nodes),
            _text(2, "squeezenet"),
            *(_bytes(5, _tensor(name, array)) for name, array in graph.constants.items()),
            *(_bytes(11, _value(name, *kind)) for name, kind in inputs.items()),
            *(_bytes(12, _value(name, *kind)) for name, kind in outputs.items()),
        ]
    )
    pairs = (_text(1, key) + _text(2, value) for key, value in metadata.items())
    return b"".join(
        [
            _whole(1, IR_VERSION),
            _text(2, producer[0]),
            _text(3, producer[1]),
            _text(6, description),
            _bytes(7, body),
            _bytes(8, _text(1, "") + _whole(2, OPERATOR_SET)),  # "": ONNX's own operators
            *(_bytes(14, pair) for pair in pairs),
        ]
    )


# -- Messages --------------------------------------------------------------------------------------


def _node(node: Node) -> bytes:
    """NodeProto."""
    attributes = (_attribute(name, value) for name, value in node.attributes.items())
    return b"".join(
        [
            *(_text(1, name) for name in node.inputs),
            _text(2, node.output),
            _text(3, f"{node.output}:{node.operation}"),
            _text(4, node.operation),
            *(_bytes(5, attribute) for attribute in attributes),
        ]
    )


def _attribute(name: str, value: int | list[int] | str) -> bytes:
    """AttributeProto; text is the name of an element type."""
    if isinstance(value, list):
        return _text(1, name) + b"".join(_whole(8, item) for item in value) + _whole(20, INTS)
    number = ELEMENTS[value] if isinstance(value, str) else value
    return _text(1, name) + _whole(3, number) + _whole(20, INT)


def _tensor(name: str, array: np.ndarray) -> bytes:
    """TensorProto; raw data is little-endian, row by row."""
    sizes = b"".join(_whole(1, side) for side in array.shape)
    values = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return sizes + _whole(2, ELEMENTS[array.dtype.name]) + _text(8, name) + _bytes(9, values)


def _value(name: str, element: str, shape: Shape) -> bytes:
    """ValueInfoProto of a tensor: TypeProto, TypeProto.Tensor, TensorShapeProto and its Dimensions
    in each other."""
    dimensions = b"".join(_bytes(1, _dimension(side)) for side in shape)
    tensor = _whole(1, ELEMENTS[element]) + _bytes(2, dimensions)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _dimension(side: int | str) -> bytes:
    return _text(2, side) if isinstance(side, str) else _whole(1, side)


# -- The wire --------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _whole(field: int, number: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(number)


def _bytes(field: int, contents: bytes) -> bytes:
    return _varint(field << 3 | BYTES) + _varint(len(contents)) + contents


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())
