"""ONNX Runtime, float32 inference."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnxruntime

from . import Job, Prepared, onnx_model


def prepare(job: Job) -> Prepared:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_model.serialize(job), options, providers=["CPUExecutionProvider"]
    )
    x = job.pictures()
    step = partial(session.run, None, {"x": x})

    def answer() -> np.ndarray:
        return step()[0]

    return Prepared(step, answer, job.batch, x.nbytes)
