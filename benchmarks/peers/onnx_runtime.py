"""ONNX Runtime inference. Of int8, that starts from bytes is tried, and that starts from floats of
the same values; the faster is kept."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from . import Job, Prepared, as_floats, fastest, onnx_model


def prepare(job: Job) -> Prepared:
    if job.precision == "int8":
        return _prepare_int8(job)
    x = job.pictures()
    step = _step(job, onnx_model.serialize(job), x)
    return Prepared(step, step, job.batch, x.nbytes)


def _step(job: Job, model: bytes, x: np.ndarray) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    run = partial(session.run, None, {"x": x})
    return lambda: run()[0]


def _prepare_int8(job: Job) -> Prepared:
    pictures = job.bytes()
    model = job.file("qdq.onnx").read_bytes()
    steps = {
        "float32 NCHW": _step(job, model, as_floats(pictures)),
        "uint8 NHWC": _step(job, _of_bytes(model), pictures),
    }
    kept = fastest(steps)
    return Prepared(steps[kept], steps[kept], job.batch, pictures.nbytes, {"input": kept})


def _of_bytes(data: bytes) -> bytes:
    """The model without the step that rounds its input to bytes, because it gets bytes; they are
    transposed, and stand for themselves."""
    model = onnx.load_from_string(data)
    graph = model.graph
    (rounds,) = (node for node in graph.node if "x" in node.input)
    (restores,) = (node for node in graph.node if rounds.output[0] in node.input)
    for name, value in zip(restores.input[1:], (np.float32(1), np.uint8(0)), strict=True):
        (there,) = (tensor for tensor in graph.initializer if tensor.name == name)
        there.CopyFrom(numpy_helper.from_array(np.asarray(value), name))
    graph.node.remove(rounds)
    graph.node.insert(
        0, helper.make_node("Transpose", ["x"], [rounds.output[0]], perm=[0, 3, 1, 2])
    )
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", "h", "w", 3]))
    return model.SerializeToString()
