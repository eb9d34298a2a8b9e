"""Models as files: safetensors written and read, PyTorch's read (torch_read.py) and, by export,
written, Deep Compression's read (deep_compression.py).

Tensors bear torchvision's names. Metadata is text by key:
  squeezenet_c.format  "1"
  spec                 JSON, the arguments of the network
  preprocessing        JSON, the arguments of Preprocessing
  class_names          JSON, a list, or null
  positive             JSON, the number of the positive class; absent where there are not two
                       classes, and in files of the first versions, for which it is class 1
  threshold            JSON, a number; absent where the model has none
  temperature          JSON, a number: what the logits were divided by, in the weights already;
                       absent where it is 1
  trained_on           JSON, a list of the marks of training pictures (data/marks.py); may be absent
  provenance           JSON, of the last training: its pictures' hash, seed, versions and machine
                       (data/provenance.py), for people to read; absent in older files
A file without squeezenet_c.format is taken to be torchvision's. A quantised model's tensors are
those of quantised.py.
"""

import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import numpy as np

from .._native import core
from ..base.earlier import completed
from ..base.read import first_bytes
from ..network import HEAD_WEIGHT, SPEC_KEYS, AnyNetwork, Network, are_numbers
from ..preprocessing import Preprocessing
from . import deep_compression, quantised

FORMAT_KEY, FORMAT = "squeezenet_c.format", "1"
BEST_IN_RUN_FOLDER = os.path.join("weights", "best.safetensors")
# torchvision's two networks, told apart by the shape of the first convolution.
FIRST_CONV = "features.0.weight"
VERSION_OF_FIRST_CONV = {(96, 3, 7, 7): "1_0", (64, 3, 3, 3): "1_1"}

State = dict[str, np.ndarray]


def save(model: Network, path: str | os.PathLike) -> None:
    """See Model.save."""
    tensors, dtypes = model.state_dict(), {}
    if model.quantization is not None:
        tensors = quantised.tensors_of(model)
        dtypes = quantised.dtypes_of(tensors)
    core.write_safetensors(os.fspath(path), tensors, metadata_of(model), dtypes)


def metadata_of(model: Network) -> dict[str, str]:
    """What a file says of a model besides its tensors."""
    metadata = _metadata(model.spec, model.preprocessing, model.class_names)
    if model.positive is not None:
        metadata["positive"] = json.dumps(model.positive)
    if model.threshold is not None:
        metadata["threshold"] = json.dumps(model.threshold)
    if model.temperature != 1:
        metadata["temperature"] = json.dumps(model.temperature)
    if model.trained_on:
        metadata["trained_on"] = json.dumps(model.trained_on)
    if model.provenance:
        metadata["provenance"] = json.dumps(model.provenance)
    return metadata


def _metadata(
    spec: dict[str, Any], preprocessing: Preprocessing, class_names: Sequence[str] | None
) -> dict[str, str]:
    """The keys that every file has."""
    return {
        FORMAT_KEY: FORMAT,
        "spec": json.dumps(spec),
        "preprocessing": json.dumps(preprocessing.to_dict()),
        "class_names": json.dumps(class_names, ensure_ascii=False),
    }


# What begins so is no model; of safetensors the first eight bytes are a length, far below these.
OTHER_KINDS = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"\x1f\x8b\x08": "a gzip archive",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
}


def _refuse_other_kinds(path: str) -> None:
    start = first_bytes(path, 8)
    for magic, kind in OTHER_KINDS.items():
        if start.startswith(magic):
            raise core.BadFileError(
                f"{path} is {kind}, expected a model: safetensors, or a state_dict by torch.save"
            )


def read_tensors(path: str) -> tuple[State, dict[str, str]]:
    """(arrays by name, metadata) of a file of any kind, which its contents tell. The arrays are
    float32, of a safetensors file uint8 and int8 too."""
    _refuse_other_kinds(path)
    if deep_compression.is_deep_compression(path):
        spec = core.SPEC_FIELDS | deep_compression.SPEC
        return deep_compression.read(path), _metadata(spec, deep_compression.PREPROCESSING, None)
    from . import torch_read  # here: most models need neither zip archives nor pickles

    return torch_read.read(path) if torch_read.is_torch_file(path) else core.read_safetensors(path)


def model_file(path: str | os.PathLike) -> str:
    """The file that `path`, itself one or a run's folder, means. IsADirectoryError: a folder
    without a best model."""
    path = os.fspath(path)
    if not os.path.isdir(path):
        return path
    best = os.path.join(path, BEST_IN_RUN_FOLDER)
    if not os.path.isfile(best):
        raise IsADirectoryError(
            f"{path} is a folder without {BEST_IN_RUN_FOLDER}, a run's best model"
        )
    return best


def load(
    cls: type[AnyNetwork], path: str | os.PathLike, precision: str | None = None
) -> AnyNetwork:
    """See Model.load."""
    path = model_file(path)
    state, metadata = read_tensors(path)
    arguments = _arguments(path, state, metadata)
    threshold = positive = None
    temperature: float = 1
    trained_on: list[str] = []
    provenance: dict[str, Any] = {}
    if FORMAT_KEY in metadata and "threshold" in metadata:
        threshold = _json(path, metadata, "threshold", int | float)
    if FORMAT_KEY in metadata and "temperature" in metadata:
        temperature = _json(path, metadata, "temperature", int | float)
        if isinstance(temperature, bool) or not 0 < temperature < math.inf:
            raise core.BadFileError(
                f"{path}: metadata temperature is {temperature!r:.200}, expected a finite number "
                "above 0"
            )
    if FORMAT_KEY in metadata and "positive" in metadata:
        positive = _json(path, metadata, "positive", int)
    if FORMAT_KEY in metadata and "trained_on" in metadata:
        trained_on = _json(path, metadata, "trained_on", list)
        if not all(isinstance(mark, str) for mark in trained_on):
            raise core.BadFileError(f"{path}: metadata trained_on is no list of texts")
    if FORMAT_KEY in metadata and "provenance" in metadata:
        provenance = _json(path, metadata, "provenance", dict)
    spec = {key: arguments[key] for key in SPEC_KEYS & set(arguments)}
    whole = FORMAT_KEY in metadata and quantised.is_quantised(state)
    if whole:
        with _blaming(path):
            shapes = core.parameter_shapes(**spec)
        state = quantised.checked(path, state, shapes)
    else:
        check_tensors(path, state, spec)
    with _blaming(path):
        model = cls(**arguments, positive=positive)
        model.threshold = threshold
        model.temperature = float(temperature)
        model.trained_on = tuple(trained_on)
        model.provenance = provenance
    if whole:
        quantised.take(path, model, state)
    else:
        model.load_state_dict(state)
    model.precision = precision or ("int8" if whole else "float32")
    return model


@contextmanager
def _blaming(path: str) -> Iterator[None]:
    """What is refused in here stands in the file's metadata."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        raise core.BadFileError(f"{path}: its metadata is no model's: {error!s:.1000}") from None


def load_pretrained(
    cls: type[AnyNetwork],
    path: str | os.PathLike,
    num_classes: int | None,
    seed: int,
    class_names: Sequence[str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> AnyNetwork:
    """See Model.from_pretrained; changes: of the network's arguments that leave its tensors as they
    are."""
    pretrained = load(cls, path, "float32")
    if changes:
        pretrained = pretrained.copy(**changes)
        pretrained.load_state_dict(pretrained.state_dict())  # an int8 model's scales are no more
    pretrained.pretrained = True
    if class_names is not None and num_classes not in (None, len(class_names)):
        raise ValueError(f"{len(class_names)} class names for {num_classes} classes")
    if class_names is not None:
        num_classes = len(class_names)
    if num_classes is None:
        num_classes = pretrained.num_classes
    known = pretrained.class_names
    was, now = str(pretrained.num_classes), str(num_classes)
    if num_classes == pretrained.num_classes:
        if known is None or class_names is None or are_numbers(class_names):
            return pretrained
        if set(class_names) == set(known):
            return pretrained
        was, now = (f"{len(names)} ({', '.join(names)})" for names in (known, class_names))
    warnings.warn(
        f"{os.fspath(path)}: its last convolution, for {was} classes, is replaced by a fresh one "
        f"for {now}",
        stacklevel=3,  # the caller of Model.from_pretrained
    )
    spec = pretrained.spec | {"num_classes": num_classes, "final_relu": False}
    fit = (changes or {}).get("fit", "pad")
    preprocessing = pretrained.preprocessing.to_dict() | {"fit": fit}
    model = cls(**spec, seed=seed, class_names=class_names, **preprocessing)
    head = {key: value for key, value in model.state_dict().items() if key.startswith("classifier")}
    model.load_state_dict(pretrained.state_dict() | head)
    model.pretrained = True
    model.trained_on, model.provenance = pretrained.trained_on, pretrained.provenance
    return model


def _arguments(path: str, state: State, metadata: dict[str, str]) -> dict[str, Any]:
    """The arguments of Model for a file's contents."""
    if FORMAT_KEY not in metadata:
        return _torchvision_arguments(path, state)
    if metadata[FORMAT_KEY] != FORMAT:
        raise core.BadFileError(
            f"{path}: format {metadata[FORMAT_KEY]!r:.200}, this version reads {FORMAT!r}"
        )
    preprocessing_keys = {field.name for field in fields(Preprocessing)}
    spec = completed(_json(path, metadata, "spec", dict), SPEC_KEYS)
    preprocessing = completed(_json(path, metadata, "preprocessing", dict), preprocessing_keys)
    class_names = _json(path, metadata, "class_names", list | None)
    for name, found, expected in (
        ("spec", set(spec), SPEC_KEYS),
        ("preprocessing", set(preprocessing), preprocessing_keys),
    ):
        if found != expected:
            raise core.BadFileError(
                f"{path}: metadata {name} has the keys {', '.join(sorted(found)):.1000}; expected "
                f"{', '.join(sorted(expected))}"
            )
    return spec | preprocessing | {"class_names": class_names}


def _json(path: str, metadata: dict[str, str], key: str, kind: Any) -> Any:
    try:
        value = json.loads(metadata[key])
    except KeyError:
        raise core.BadFileError(f"{path}: metadata {key} is missing") from None
    except (ValueError, RecursionError):
        raise core.BadFileError(f"{path}: metadata {key} is not JSON") from None
    if not isinstance(value, kind):
        raise core.BadFileError(f"{path}: metadata {key} is a {type(value).__name__}")
    return value


def _torchvision_arguments(path: str, state: State) -> dict[str, Any]:
    for key in (FIRST_CONV, HEAD_WEIGHT):
        if key not in state:
            raise core.BadFileError(f"{path}: no tensor {key}; this is not a SqueezeNet")
    shape = state[FIRST_CONV].shape
    if shape not in VERSION_OF_FIRST_CONV:
        expected = " (1.0) or ".join(str(list(known)) for known in VERSION_OF_FIRST_CONV)
        raise core.BadFileError(
            f"{path}: {FIRST_CONV} has the shape {list(shape)}, expected {expected} (1.1)"
        )
    head = state[HEAD_WEIGHT].shape
    if head[1:] != (512, 1, 1) or head[0] < 1:
        raise core.BadFileError(
            f"{path}: {HEAD_WEIGHT} has the shape {list(head)}, expected [classes, 512, 1, 1]"
        )
    return {
        "version": VERSION_OF_FIRST_CONV[shape],
        "num_classes": head[0],
        "final_relu": True,
        "mean": "imagenet",
        "fit": "crop",
    }


def check_tensors(path: str, state: State, spec: dict[str, Any]) -> None:
    """BadFileError where the tensors are not those of a network of `spec`, or not finite floats.
    To be called before one is made, which is then no larger than the file."""
    with _blaming(path):
        expected = core.parameter_shapes(**spec)
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    if missing and unexpected:
        raise core.BadFileError(f"{path}: tensor {unexpected[0]:.200} found, {missing[0]} expected")
    if missing:
        raise core.BadFileError(f"{path}: tensor {missing[0]} is missing ({len(missing)} in all)")
    if unexpected:
        raise core.BadFileError(f"{path}: tensor {unexpected[0]:.200} is none of this network's")
    for key, tensor in state.items():
        if tensor.shape != expected[key]:
            raise core.BadFileError(
                f"{path}: {key} has the shape {list(tensor.shape)}, expected {list(expected[key])}"
            )
        if tensor.dtype != np.float32:
            raise core.BadFileError(
                f"{path}: {key} has the dtype {tensor.dtype}, expected float32, float16 or bfloat16"
            )
        if not np.isfinite(tensor).all():
            raise core.BadFileError(f"{path}: {key} has values that are not finite numbers")
