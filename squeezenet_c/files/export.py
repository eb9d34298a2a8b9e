"""Models for other programs, and a check that those compute what we compute."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..base.pictures import to_picture
from ..base.write import write_bytes
from ..network import Network
from . import native
from .c_write import c_source
from .graph import LOGITS, PICTURES, PROBABILITIES, Graph, graph_of
from .integers import convolutions_of
from .page_write import html_page
from .qdq import qdq_graph_of

TOLERANCE = 1e-4  # of logits, between two programs that both compute in float32
STEPS_TOLERANCE = 1.0  # between two that both compute in 8-bit integers, in steps (see verify)
DESCRIPTION = (
    "SqueezeNet. pictures: RGB bytes, made square as fit says in the JSON of metadata "
    "preprocessing (pad: fitted into a black square; crop: the middle); the graph does the rest. "
    "metadata class_names: JSON, the names of the columns of probabilities and logits."
)


def export(model: Network, path: str | os.PathLike) -> None:
    """Write a model for other programs; the name's end says for which.

    .pth, .pt   a state_dict that torch.load(path, weights_only=True) takes, torchvision's names.
                torchvision's class puts a ReLU after the last convolution, ours only where
                final_relu is True: else make its classifier[2] a torch.nn.Identity().
    .onnx       opset 13. Input `pictures` (N, image_size, image_size, 3) uint8, RGB, any N: scaling
                and normalisation are in the graph. Outputs `probabilities` and `logits`, both
                (N, classes) float32. metadata: class_names, spec and preprocessing as JSON. Of a
                model of precision int8 in QDQ form: int8 weights with a scale a channel, int32
                biases, uint8 activations, all of zero point 0.
    .c          C99 without a library or a heap, of a quantised model, whose int8 logits it gives
                bit for bit; its first lines say how it is used. Names in it begin with the file's.
    .html       of a quantised model, a page that answers pictures in a browser (Chrome 97, Firefox
                113, Safari 16.4 or newer) and asks nothing of a network. It needs the package
                ziglang, a compiler: `pip install "squeezenet_c[web]"`.
    .safetensors   what Model.save writes.

    A quantised model goes to PyTorch, and to ONNX if its precision is not int8, as floats, with its
    rounded weights.

    Neither PyTorch nor onnx is needed. What was at `path` stays until the new file is complete.
    Model.load reads all but .onnx, .c and .html again. ValueError: another ending; .c or .html of a
    model that is not quantised. ImportError, RuntimeError: the compiler is not there, or fails.
    OSError: it cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".safetensors":
        native.save(model, path)
    elif kind in (".pth", ".pt"):
        from .torch_write import write

        state, metadata = model.state_dict(), native.metadata_of(model)
        data = io.BytesIO()
        write(data, state, metadata)
        write_bytes(path, data.getvalue())
    elif kind == ".onnx":
        write_bytes(path, _onnx(model))
    elif kind == ".c":
        write_bytes(path, c_source(model, path.stem).encode())
    elif kind == ".html":
        write_bytes(path, html_page(model, path.stem).encode())
    else:
        raise ValueError(
            f"{path} ends in {path.suffix!r}, expected .c, .html, .onnx, .pth, .pt or .safetensors"
        )


def _onnx(model: Network) -> bytes:
    from .onnx_write import encode

    side = model.image_size
    answer = ("float32", ("N", model.num_classes))
    return encode(
        qdq_graph_of(model) if model.precision == "int8" else graph_of(model),
        {PICTURES: ("uint8", ("N", side, side, 3))},
        {PROBABILITIES: answer, LOGITS: answer},
        native.metadata_of(model),
        ("squeezenet_c", __version__),
        DESCRIPTION,
    )


# -- Verification ----------------------------------------------------------------------------------


def verify(model: Network, path: str | os.PathLike, pictures: Sequence[Any]) -> float:
    """The largest difference between the model's logits of some pictures (of predict_proba's kinds)
    and those that ONNX Runtime (.onnx) or PyTorch (.pth, .pt) computes from the file, as a share of
    the largest logit (where that is above 1). Not of probabilities: where one is near 1, they are
    alike whatever was computed. Where both compute in integers (see exported_precision), it is in
    steps instead: of what 1 is worth in the last convolution's sums.
    ValueError: another ending, or no pictures. ImportError: that program is not installed.
    RuntimeError: it cannot run the file."""
    kind = Path(path).suffix.lower()
    runners = {".onnx": _run_onnx, ".pth": _run_torch, ".pt": _run_torch}
    if kind not in runners:
        raise ValueError(f"{path} ends in {kind!r}, expected .onnx, .pth or .pt")
    if not len(pictures):
        raise ValueError("no pictures to verify with, expected at least one")
    fitted = np.stack([model.preprocessing.square(to_picture(picture)) for picture in pictures])
    try:
        theirs = runners[kind](model, os.fspath(path), fitted)
    except ImportError:
        raise
    except Exception as error:  # both programs have exceptions of their own kinds
        reason = str(error).partition("\n")[0]
        raise RuntimeError(f"{path} cannot be run to verify it: {reason}") from error
    precision = exported_precision(model, path)
    if model.precision != precision:  # what is exported computes in float32, with rounded weights
        model = model.copy()
        model.precision = precision
    ours = model.forward(model.input_of(fitted))
    difference = np.abs(theirs - ours)
    if precision == "int8":
        layers = model.layers(model.image_size, model.image_size)
        return float((difference / convolutions_of(model, layers)[-1].units).max())
    return float(difference.max() / max(1.0, np.abs(ours).max()))


def exported_precision(model: Network, path: str | os.PathLike) -> str:
    """What other programs compute in that run the file: "int8" or "float32"."""
    onnx = Path(path).suffix.lower() == ".onnx"
    return "int8" if onnx and model.precision == "int8" else "float32"


def _run_onnx(model: Network, path: str, pictures: np.ndarray) -> np.ndarray:
    try:
        import onnxruntime
    except ImportError:
        raise ImportError(
            f"{path} is not verified: that needs ONNX Runtime (`pip install onnxruntime`)"
        ) from None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run([LOGITS], {PICTURES: pictures})[0]


def _run_torch(model: Network, path: str, pictures: np.ndarray) -> np.ndarray:
    try:
        import torch
    except ImportError:
        raise ImportError(f"{path} is not verified: that needs PyTorch, not installed") from None
    state = torch.load(path, weights_only=True)
    graph = graph_of(model)
    values = {name: torch.from_numpy(array) for name, array in graph.constants.items()}
    values |= state | {PICTURES: torch.from_numpy(pictures)}
    with torch.no_grad():
        return _interpret(graph, values)[LOGITS].numpy()


def _interpret(graph: Graph, values: dict[str, Any]) -> dict[str, Any]:
    """All values of a graph, by PyTorch's operations of the same meaning as ONNX's."""
    import torch
    from torch.nn import functional

    def pool(
        x: Any, kernel_shape: list[int], strides: list[int], pads: list[int], ceil_mode: int
    ) -> Any:
        padding = pads[:2]
        return functional.max_pool2d(x, kernel_shape, strides, padding, ceil_mode=bool(ceil_mode))

    def conv(x: Any, weight: Any, bias: Any, strides: list[int], pads: list[int], **_: Any) -> Any:
        return functional.conv2d(x, weight, bias, strides, pads[:2])

    operations: dict[str, Callable[..., Any]] = {
        "Cast": lambda x, to: x.to(getattr(torch, to)),
        "Div": torch.div,
        "Sub": torch.sub,
        "Add": torch.add,
        "Transpose": lambda x, perm: x.permute(perm),
        "Conv": conv,
        "Relu": torch.relu,
        "MaxPool": pool,
        "Concat": lambda *parts, axis: torch.cat(parts, axis),
        "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
        "Flatten": lambda x, axis: x.flatten(axis),
        "Softmax": lambda x, axis: x.softmax(axis),
    }
    for node in graph.nodes:
        inputs = (values[name] for name in node.inputs)
        values[node.output] = operations[node.operation](*inputs, **node.attributes)
    return values
