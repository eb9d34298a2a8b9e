"""ONNX Runtime, float32 inference."""

from __future__ import annotations

import onnxruntime

from . import Job, Prepared, onnx_model


def prepare(job: Job) -> Prepared:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(onnx_model.write(job)), options, providers=["CPUExecutionProvider"]
    )
    feed = {"x": job.pictures()}

    def step():
        return session.run(None, feed)[0]

    return Prepared(step, step(), job.batch)
