"""Quantised models in files: whole numbers and scales, in few tensors, for each costs 90 bytes.

  weights            int8 [all weights]: q of csrc/README.md, in the order of the parameters
  biases             [all output channels], float16 where that says the same, else float32
  weight_scales      [all output channels], bfloat16 where that says the same, else float32
  activation_scales  float32 [activations]

Of a float model's file it is told by its tensors; the metadata are the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..network import Network

WEIGHTS, BIASES = "weights", "biases"
WEIGHT_SCALES, ACTIVATION_SCALES = "weight_scales", "activation_scales"
TENSORS = (WEIGHTS, BIASES, WEIGHT_SCALES, ACTIVATION_SCALES)
LARGEST_WEIGHT = 127

Tensors = dict[str, NDArray[Any]]


def is_quantised(tensors: Tensors) -> bool:
    """Whether a file's tensors are a quantised model's."""
    return WEIGHT_SCALES in tensors and ACTIVATION_SCALES in tensors


# -- Writing ---------------------------------------------------------------------------------------


def tensors_of(model: Network) -> Tensors:
    """What is written of a quantised model."""
    quantization = model.quantization
    assert quantization is not None
    units = _units(model, quantization[WEIGHT_SCALES])
    state = model.state_dict()
    whole = [np.rint(state[name].astype(np.float64) / unit) for name, unit in units.items()]
    return {
        WEIGHTS: np.concatenate([values.ravel() for values in whole]).astype(np.int8),
        BIASES: np.concatenate([values for values in state.values() if values.ndim == 1]),
        WEIGHT_SCALES: quantization[WEIGHT_SCALES],
        ACTIVATION_SCALES: quantization[ACTIVATION_SCALES],
    }


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


def _units(model: Network, weight_scales: NDArray[np.float32]) -> Tensors:
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


def check(path: str, tensors: Tensors, shapes: dict[str, tuple[int, ...]]) -> None:
    """BadFileError where the tensors are not those of a quantised network with parameters of these
    shapes. To be called before one is made, which is then a few times the file at most."""
    for name in tensors:
        if name not in TENSORS:
            raise core.BadFileError(f"{path}: tensor {name} is none of a quantised model's")
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


def take(path: str, model: Network, tensors: Tensors) -> None:
    """Put checked tensors into a fresh model of their spec. BadFileError: scales that no sums can
    be computed by."""
    activations = len(model.activation_groups())
    if len(tensors[ACTIVATION_SCALES]) != activations:
        raise core.BadFileError(
            f"{path}: {ACTIVATION_SCALES} has the shape {[len(tensors[ACTIVATION_SCALES])]}, "
            f"expected [{activations}]"
        )
    units = _units(model, tensors[WEIGHT_SCALES])
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
