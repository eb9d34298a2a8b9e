"""squeezenet_c. The variant names a backend; none is the default one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

import squeezenet_c as sq
from squeezenet_c._native import core

from . import Job, Prepared


def prepare(job: Job) -> Prepared:
    if job.variant:
        sq.set_backend(job.variant)
    sq.set_num_threads(job.threads)
    if job.task == "photograph":
        return _photograph(job)
    model = _model(job)
    x = job.pictures()
    if job.task == "infer":
        return Prepared(partial(model.forward, x), model.forward(x), job.batch)
    without_dropout = _model(job, dropout=0.0)
    loss = without_dropout.compute_gradients(x, job.labels())
    del without_dropout
    optimizer = sq.Adam(model, lr=1e-4)
    step = partial(model.train_step, x, job.labels(), optimizer)
    return Prepared(step, np.array([loss]), job.batch)


def _model(job: Job, dropout: float | None = None) -> sq.Model:
    model = sq.Model(
        job.arch,
        num_classes=2,
        dropout=job.dropout if dropout is None else dropout,
        precision=job.precision,
    )
    if model.precision != job.precision:
        raise RuntimeError(f"{job.precision} is not offered here")
    model.load_state_dict(job.weights())
    return model


def _photograph(job: Job) -> Prepared:
    data = Path(job.folder, "photograph.jpg").read_bytes()

    def step() -> np.ndarray:
        return core.fit_image(core.decode_image(data), 224)

    return Prepared(step, step(), 1)
