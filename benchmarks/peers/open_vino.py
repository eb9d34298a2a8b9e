"""OpenVINO inference. One picture is asked for with its latency hint. A batch is tried in one piece
with that hint, and dealt to parallel requests with its throughput hint. An int8 model is tried on
bytes, and on floats of the same values. The fastest is kept."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from . import Job, Prepared, as_floats, fastest, onnx_model

Step = Callable[[], np.ndarray]


def prepare(job: Job) -> Prepared:
    if job.precision == "int8":
        pictures = job.bytes()
        inputs = {"float32 NCHW": as_floats(pictures), "uint8 NHWC": pictures}
    else:
        inputs = {"float32 NCHW": job.pictures()}
    steps: dict[tuple[str, str], Step] = {}
    for name, x in inputs.items():
        steps[name, "LATENCY"] = _in_one_piece(job, x)
        if job.batch > 1:
            steps[name, "THROUGHPUT"] = _dealt(job, x)
    kept = fastest(steps)
    notes = dict(zip(("input", "hint"), kept, strict=True))
    return Prepared(steps[kept], steps[kept], job.batch, inputs[kept[0]].nbytes, notes)


def convolution_seconds(job: Job, passes: int) -> float:
    """What the convolutions of one picture take on one thread: the median of OpenVINO's own
    timings."""
    pictures = job.bytes()[:1]
    request = _compiled(
        job, pictures, "LATENCY", {"INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True}
    ).create_infer_request()
    times = []
    for _ in range(passes):
        request.infer([pictures])
        layers = request.get_profiling_info()
        spent = [one.real_time.total_seconds() for one in layers if one.node_type == "Convolution"]
        times.append(sum(spent))
    return statistics.median(times)


def _compiled(
    job: Job, x: np.ndarray, hint: str, more: dict[str, object] | None = None
) -> openvino.CompiledModel:
    """Of as many pictures as x has; of bytes in NHWC if x is that."""
    core = openvino.Core()
    int8 = job.precision == "int8"
    model = core.read_model(job.file("nncf.xml") if int8 else onnx_model.serialize(job))
    model.reshape([len(x), 3, job.size, job.size])
    if x.dtype == np.uint8:
        steps = PrePostProcessor(model)
        steps.input().tensor().set_element_type(openvino.Type.u8)
        steps.input().tensor().set_layout(openvino.Layout("NHWC"))
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        model = steps.build()
    options = {
        "INFERENCE_NUM_THREADS": job.threads,
        "PERFORMANCE_HINT": hint,
        "INFERENCE_PRECISION_HINT": "bf16" if job.precision == "bfloat16" else "f32",
    }
    return core.compile_model(model, "CPU", options | (more or {}))


def _in_one_piece(job: Job, x: np.ndarray) -> Step:
    request = _compiled(job, x, "LATENCY").create_infer_request()
    return lambda: request.infer([x], share_inputs=True)[0].copy()


def _dealt(job: Job, x: np.ndarray) -> Step:
    """One picture a request, as many at a time as OpenVINO says is best."""
    compiled = _compiled(job, x[:1], "THROUGHPUT")
    queue = openvino.AsyncInferQueue(compiled)
    logits = np.empty((job.batch, compiled.output(0).shape[1]), np.float32)

    def keep(request: openvino.InferRequest, index: int) -> None:
        logits[index] = request.get_output_tensor().data[0]

    queue.set_callback(keep)

    def step() -> np.ndarray:
        for index in range(job.batch):
            queue.start_async([x[index : index + 1]], userdata=index, share_inputs=True)
        queue.wait_all()
        return logits.copy()

    return step
