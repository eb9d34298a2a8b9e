"""OpenVINO inference. One picture is asked for with its latency hint. A batch is tried in one piece
with that hint, and dealt to parallel requests with its throughput hint; the faster is kept."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import openvino

from . import Job, Prepared, onnx_model

Step = Callable[[], np.ndarray]


def prepare(job: Job) -> Prepared:
    x = job.pictures()
    steps = {"LATENCY": _in_one_piece(job, x)}
    if job.batch > 1:
        steps["THROUGHPUT"] = _dealt(job, x)
    hint = min(steps, key=lambda name: _seconds(steps[name]))
    return Prepared(steps[hint], steps[hint], job.batch, x.nbytes, {"hint": hint})


def _compiled(job: Job, batch: int, hint: str) -> openvino.CompiledModel:
    core = openvino.Core()
    model = core.read_model(onnx_model.serialize(job))
    model.reshape([batch, 3, job.size, job.size])
    options = {
        "INFERENCE_NUM_THREADS": job.threads,
        "PERFORMANCE_HINT": hint,
        "INFERENCE_PRECISION_HINT": "bf16" if job.precision == "bfloat16" else "f32",
    }
    return core.compile_model(model, "CPU", options)


def _in_one_piece(job: Job, x: np.ndarray) -> Step:
    request = _compiled(job, job.batch, "LATENCY").create_infer_request()
    return lambda: request.infer([x], share_inputs=True)[0].copy()


def _dealt(job: Job, x: np.ndarray) -> Step:
    """One picture a request, as many at a time as OpenVINO says is best."""
    queue = openvino.AsyncInferQueue(_compiled(job, 1, "THROUGHPUT"))
    logits = np.empty((job.batch, 2), np.float32)

    def keep(request: openvino.InferRequest, index: int) -> None:
        logits[index] = request.get_output_tensor().data[0]

    queue.set_callback(keep)

    def step() -> np.ndarray:
        for index in range(job.batch):
            queue.start_async([x[index : index + 1]], userdata=index, share_inputs=True)
        queue.wait_all()
        return logits.copy()

    return step


def _seconds(step: Step) -> float:
    step()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times)
