"""OpenVINO inference. One picture is asked for with its latency hint; a batch is tried with both
hints, and the faster is kept."""

from __future__ import annotations

import time

import openvino

from . import Job, Prepared, onnx_model


def prepare(job: Job) -> Prepared:
    core = openvino.Core()
    model = core.read_model(str(onnx_model.write(job)))
    model.reshape([job.batch, 3, job.size, job.size])
    x = job.pictures()

    def compiled(hint: str):
        request = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": job.threads,
                "PERFORMANCE_HINT": hint,
                "INFERENCE_PRECISION_HINT": "bf16" if job.precision == "bfloat16" else "f32",
            },
        ).create_infer_request()

        def step():
            return request.infer([x], share_inputs=True)[0]

        return step

    hints = ("LATENCY",) if job.batch == 1 else ("LATENCY", "THROUGHPUT")
    steps = {hint: compiled(hint) for hint in hints}
    hint = min(steps, key=lambda name: _seconds(steps[name]))
    return Prepared(steps[hint], steps[hint]().copy(), job.batch, {"hint": hint})


def _seconds(step) -> float:
    step()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times)
