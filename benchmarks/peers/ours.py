"""squeezenet_c. The variant names a backend; none is the default one."""

from __future__ import annotations

from functools import partial

import numpy as np

import squeezenet_c as sq
from squeezenet_c._native import core

from . import PICTURE_SIDE, Job, Prepared


def prepare(job: Job) -> Prepared:
    if job.variant:
        sq.set_backend(job.variant)
    sq.set_num_threads(job.threads)
    if job.task == "photograph":
        return _photograph(job)
    if job.subject:
        return _quantised(job)
    x, labels = job.pictures(), job.labels()
    network = model(job)
    if job.task == "infer":
        step = partial(network.forward, x)
        return Prepared(step, step, job.batch, x.nbytes)
    step = partial(network.train_step, x, labels, sq.Adam(network, lr=1e-4))

    def first_loss() -> np.ndarray:
        return np.array([model(job, dropout=0.0).compute_gradients(x, labels)])

    return Prepared(step, first_loss, job.batch, x.nbytes)


def _quantised(job: Job) -> Prepared:
    """An int8 model on bytes, or the float32 model it was made from on floats of the same bytes."""
    network = sq.Model.load(job.file(f"{job.precision}.safetensors"))
    if network.precision != job.precision:
        raise RuntimeError(f"{job.precision} was asked for, {network.precision} was given")
    x = network.input_of(job.bytes())
    step = partial(network.forward, x)
    return Prepared(step, step, job.batch, x.nbytes)


def model(job: Job, dropout: float | None = None) -> sq.Model:
    """The network with the job's weights."""
    network = sq.Model(
        job.arch, dropout=job.dropout if dropout is None else dropout, precision=job.precision
    )
    if network.precision != job.precision:
        raise RuntimeError(f"{job.precision} was asked for, {network.precision} was given")
    network.load_state_dict(job.weights())
    return network


def _photograph(job: Job) -> Prepared:
    data = job.photograph()

    def step() -> np.ndarray:
        return core.fit_image(core.decode_image(data), PICTURE_SIDE)

    return Prepared(step, step, 1, len(data))
