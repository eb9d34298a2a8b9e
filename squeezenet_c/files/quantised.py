"""Quantised models in files: whole numbers and scales, in few tensors, for each costs 90 bytes.

  weights            int8 [all weights]: q of csrc/README.md, in the order of the parameters
  codes              uint8: the same as Huffman codes (csrc/README.md), a convolution's after the
                     other's; in place of weights where that is smaller
  biases             [all output channels], float16 where that says the same, else float32
  weight_scales      [all output channels], bfloat16 where that says the same, else float32
  activation_scales  float32 [activations]
  last_convolution   float32 [2, classes], in some files: the last convolution's weight scales and
                     biases, which the two tensors then lack. Calibrated confidence leaves it with
                     numbers that are no halves, and all others may stay what they are

Of a float model's file it is told by its tensors; the metadata are the same.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..network import Network

WEIGHTS, CODES, BIASES = "weights", "codes", "biases"
WEIGHT_SCALES, ACTIVATION_SCALES = "weight_scales", "activation_scales"
LAST = "last_convolution"
TENSORS = (WEIGHTS, CODES, BIASES, WEIGHT_SCALES, ACTIVATION_SCALES, LAST)
LARGEST_WEIGHT = 127
MOST_VALUES = 15  # besides 0, that codes are for
# So that a small file cannot ask for a large network: a layer of zeros takes five bytes, whatever
# its size. At a density of 0.02, the least that `compress` leaves a layer, it is about 50.
MOST_WEIGHTS_A_BYTE = 1024

Tensors = dict[str, NDArray[Any]]


def is_quantised(tensors: Tensors) -> bool:
    """Whether a file's tensors are a quantised model's."""
    return WEIGHT_SCALES in tensors and ACTIVATION_SCALES in tensors


# -- Writing ---------------------------------------------------------------------------------------


def tensors_of(model: Network) -> Tensors:
    """What is written of a quantised model."""
    quantization = model.quantization
    assert quantization is not None
    whole = list(whole_weights(model).values())
    biases = [values for values in model.state_dict().values() if values.ndim == 1]
    codes = _codes(whole)
    tensors = {
        **({WEIGHTS: np.concatenate([q.ravel() for q in whole])} if codes is None else codes),
        BIASES: np.concatenate(biases),
        WEIGHT_SCALES: quantization[WEIGHT_SCALES],
        ACTIVATION_SCALES: quantization[ACTIVATION_SCALES],
    }
    others = tensors | {
        name: tensors[name][: -model.num_classes] for name in (WEIGHT_SCALES, BIASES)
    }
    if len(dtypes_of(others)) <= len(dtypes_of(tensors)):
        return tensors
    last = [tensors[name][-model.num_classes :] for name in (WEIGHT_SCALES, BIASES)]
    return others | {LAST: np.stack(last)}


def whole_weights(model: Network) -> dict[str, NDArray[np.int8]]:
    """A quantised model's weights in steps of their scale, by name."""
    quantization = model.quantization
    assert quantization is not None
    units, state = weight_units(model, quantization[WEIGHT_SCALES]), model.state_dict()
    return {
        name: np.rint(state[name].astype(np.float64) / unit).astype(np.int8)
        for name, unit in units.items()
    }


def code(weights: NDArray[np.int8]) -> bytes | None:
    """A convolution's weights as Huffman codes; None: they have too many values."""
    few = np.count_nonzero(np.bincount(weights.ravel().view(np.uint8))[1:]) <= MOST_VALUES
    return core.encode_weights(weights) if few else None


def _codes(whole: list[NDArray[np.int8]]) -> Tensors | None:
    """The tensor of codes; None where plain weights are smaller, or it would not be read."""
    coded = [stream for weights in whole if (stream := code(weights)) is not None]
    size, count = sum(map(len, coded)), sum(weights.size for weights in whole)
    if len(coded) < len(whole) or not size < count <= MOST_WEIGHTS_A_BYTE * size:
        return None
    return {CODES: np.frombuffer(b"".join(coded), np.uint8)}


def dtypes_of(tensors: Tensors) -> dict[str, str]:
    """Which of them are written in half the bytes: those of which nothing is lost."""
    dtypes = {}
    biases, scales = tensors[BIASES], tensors[WEIGHT_SCALES]
    with np.errstate(over="ignore"):
        if np.array_equal(biases.astype(np.float16).astype(np.float32), biases):
            dtypes[BIASES] = "F16"
    if not (scales.view(np.uint32) & 0xFFFF).any():
        dtypes[WEIGHT_SCALES] = "BF16"
    return dtypes


def weight_units(model: Network, weight_scales: NDArray[np.float32]) -> Tensors:
    """What 1 is worth in each convolution's weights, by their name, to be multiplied with them:
    the output channel's scale, in the first convolution times 255 std of the input channel."""
    units: Tensors = {}
    place = 0
    for name, shape in core.parameter_shapes(**model.spec).items():
        if len(shape) == 4:
            scales = weight_scales[place : place + shape[0]].astype(np.float64)
            units[name] = scales[:, None, None, None]
            place += shape[0]
    first = next(iter(units))
    std = np.array(model.preprocessing.std, np.float32).astype(np.float64)
    units[first] = units[first] * 255.0 * std[None, :, None, None]
    return units


# -- Reading ---------------------------------------------------------------------------------------


def checked(path: str, tensors: Tensors, shapes: dict[str, tuple[int, ...]]) -> Tensors:
    """The tensors with weights for codes. BadFileError where they are not those of a quantised
    network with parameters of these shapes. To be called before one is made, which is then a few
    times the weights at most, and these are MOST_WEIGHTS_A_BYTE times the codes."""
    for name in tensors:
        if name not in TENSORS:
            raise core.BadFileError(f"{path}: tensor {name:.200} is none of a quantised model's")
    if LAST in tensors:
        tensors = _with_last(path, tensors, list(shapes.values())[-1][0])
    if CODES in tensors:
        if WEIGHTS in tensors:
            raise core.BadFileError(f"{path}: {WEIGHTS} and {CODES} found, expected one of them")
        tensors = tensors | {WEIGHTS: _decoded(path, tensors[CODES], shapes)}
    outputs = sum(shape[0] for shape in shapes.values() if len(shape) == 1)
    weights = sum(int(np.prod(shape)) for shape in shapes.values() if len(shape) == 4)
    expected = {WEIGHTS: weights, BIASES: outputs, WEIGHT_SCALES: outputs, ACTIVATION_SCALES: None}
    for name, count in expected.items():
        if name not in tensors:
            raise core.BadFileError(f"{path}: tensor {name} is missing")
        tensor = tensors[name]
        kind = "int8" if name == WEIGHTS else "float32"
        if tensor.dtype != kind:
            raise core.BadFileError(f"{path}: {name} is {tensor.dtype}, expected {kind}")
        if tensor.ndim != 1 or (count is not None and len(tensor) != count):
            size = "one dimension" if count is None else f"[{count}]"
            raise core.BadFileError(
                f"{path}: {name} has the shape {list(tensor.shape)}, expected {size}"
            )
        if not np.isfinite(tensor).all():
            raise core.BadFileError(f"{path}: {name} has values that are not finite numbers")
    for name in (WEIGHT_SCALES, ACTIVATION_SCALES):
        if not (tensors[name] > 0).all():
            raise core.BadFileError(f"{path}: {name} has values that are not above 0")
    if (tensors[WEIGHTS] < -LARGEST_WEIGHT).any():
        raise core.BadFileError(f"{path}: weights has a value below -{LARGEST_WEIGHT}")
    return tensors


def _with_last(path: str, tensors: Tensors, classes: int) -> Tensors:
    """The tensors with the last convolution's numbers where they belong."""
    last = tensors[LAST]
    if last.dtype != np.float32 or last.shape != (2, classes):
        raise core.BadFileError(
            f"{path}: {LAST} is {last.dtype} of the shape {list(last.shape)}, expected float32 of "
            f"[2, {classes}]"
        )
    joined = {name: tensor for name, tensor in tensors.items() if name != LAST}
    for name, values in zip((WEIGHT_SCALES, BIASES), last, strict=True):
        if (
            name in joined and joined[name].ndim == 1
        ):  # what it should be is checked with the others
            joined[name] = np.concatenate([joined[name], values])
    return joined


def _decoded(
    path: str, codes: NDArray[Any], shapes: dict[str, tuple[int, ...]]
) -> NDArray[np.int8]:
    """All weights. BadFileError: these are not their codes."""
    if codes.dtype != np.uint8 or codes.ndim != 1:
        raise core.BadFileError(
            f"{path}: {CODES} is {codes.dtype} of the shape {list(codes.shape)}, expected uint8 of "
            "one dimension"
        )
    counts = {name: math.prod(shape) for name, shape in shapes.items() if len(shape) == 4}
    if sum(counts.values()) > MOST_WEIGHTS_A_BYTE * len(codes):
        raise core.BadFileError(
            f"{path}: {CODES} has {len(codes)} bytes for the {sum(counts.values())} weights of the "
            f"spec, expected at least one for {MOST_WEIGHTS_A_BYTE}"
        )
    left, whole = codes, []
    for name, count in counts.items():
        try:
            weights, used = core.decode_weights(left, count)
        except core.BadFileError as error:
            raise core.BadFileError(f"{path}: {CODES} of {name}: {error}") from None
        left = left[used:]
        whole.append(weights)
    if len(left):
        raise core.BadFileError(f"{path}: {CODES} has {len(left)} bytes after the last weights")
    return np.concatenate(whole)


def take(path: str, model: Network, tensors: Tensors) -> None:
    """Put checked tensors into a fresh model of their spec. BadFileError: scales that no sums can
    be computed by."""
    activations = len(model.activation_groups())
    if len(tensors[ACTIVATION_SCALES]) != activations:
        raise core.BadFileError(
            f"{path}: {ACTIVATION_SCALES} has the shape {[len(tensors[ACTIVATION_SCALES])]}, "
            f"expected [{activations}]"
        )
    units = weight_units(model, tensors[WEIGHT_SCALES])
    state: Tensors = {}
    weights, biases = tensors[WEIGHTS], tensors[BIASES]
    for name, shape in core.parameter_shapes(**model.spec).items():
        if len(shape) == 1:
            state[name], biases = biases[: shape[0]], biases[shape[0] :]
            continue
        count = int(np.prod(shape))
        whole, weights = weights[:count].reshape(shape), weights[count:]
        with np.errstate(over="ignore"):
            state[name] = (whole.astype(np.float64) * units[name]).astype(np.float32)
        if not np.isfinite(state[name]).all():
            raise core.BadFileError(f"{path}: {WEIGHT_SCALES} makes {name} larger than a float32")
    model.load_state_dict(state)
    preprocessing = model.preprocessing
    try:
        model.set_quantization(
            np.array(preprocessing.mean, np.float32),
            np.array(preprocessing.std, np.float32),
            tensors[ACTIVATION_SCALES],
            tensors[WEIGHT_SCALES],
        )
    except ValueError as error:
        raise core.BadFileError(f"{path}: {error}") from None
