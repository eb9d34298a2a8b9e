"""Measurements of our package alone: each function takes a peers.Job, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import memory
import numpy as np
from peers import Job, ours

import squeezenet_c as sq

Result = dict[str, Any]


def info(job: Job) -> Result:
    """What is installed; and the weights all libraries use, written into the job's folder."""
    for arch in ("1_0", "1_1"):
        np.savez(Path(job.folder, f"weights-{arch}.npz"), **sq.Model(arch, seed=0).state_dict())
    return sq.build_info()


def bound(job: Job) -> Result:
    """Pictures a second if oneDNN's convolutions were all there is, from the plan's own timings (of
    int8 from OpenVINO's) on one thread, times the number of threads."""
    if job.precision == "int8":
        from peers import open_vino

        seconds = open_vino.convolution_seconds(job, 100 if job.seconds else 2)
        return {"images_per_second": job.threads / seconds}
    sq.set_backend("onednn")
    plan = ours.model(job).plan(job.size, job.size, job.task == "train", 15 if job.seconds else 1)
    milliseconds = sum(row["milliseconds"] for row in plan if row["op"].startswith("conv"))
    return {"images_per_second": 1000 * job.threads / milliseconds}


def flat(job: Job) -> Result:
    """Memory after 50 steps of training and after 1000."""
    sq.set_num_threads(job.threads)
    step = _train_step(job)
    early, late = (50, 1000) if job.seconds else (2, 4)
    after = {}
    for number in range(1, late + 1):
        step()
        if number in (early, late):
            after[number] = memory.resident_mib()
    return {"steps": [early, late], "mib": [after[early], after[late]]}


def epoch(job: Job) -> Result:
    """Seconds of an epoch of sq.train, its pictures cached, and of its train_steps alone. They take
    turns: a list of each."""
    sq.set_num_threads(job.threads)
    count, turns = (160, 7) if job.seconds else (6, 1)
    result: Result = {"epoch_seconds": [], "steps_seconds": [], "arch": job.arch, "pictures": count}
    step = _train_step(job)
    with _pictures(count, job.size) as paths:
        dataset = sq.Dataset(paths, np.arange(count) % 2, image_size=job.size)
        model = sq.Model(job.arch, image_size=job.size)

        def one_epoch() -> float:
            history = sq.train(
                model, dataset, epochs=1, batch_size=job.batch, lr=1e-4, progress=False
            )
            return history.rows[0].seconds

        one_epoch()  # decodes the pictures
        step()
        for _ in range(turns):
            result["epoch_seconds"].append(one_epoch())
            result["steps_seconds"].append(_seconds(step, -(-count // job.batch)))
    return result


def files(job: Job) -> Result:
    """predict_proba over job.batch picture files, from opening them to the answers."""
    sq.set_num_threads(job.threads)
    model = ours.model(job)
    with _pictures(job.batch, job.size) as paths:

        def step() -> np.ndarray:
            labels = np.zeros(len(paths), np.int64)
            return model.predict_proba(sq.Dataset(paths, labels, ["a", "b"], image_size=job.size))

        step()
        times = [_seconds(step, 1) for _ in range(3)]
    return {
        "images_per_second": job.batch / statistics.median(times),
        "slowest": job.batch / max(times),
        "quickest": job.batch / min(times),
    }


def coexistence(job: Job) -> Result:
    """Ratios of time in one process, interleaved over alone, of a loop of NumPy's (or PyTorch's, if
    that is the variant), and of our training steps: a list of each, one a turn."""
    sq.set_num_threads(job.threads)
    other = (_torch_loop if job.variant == "pytorch" else _numpy_loop)(job)
    step = _train_step(job)
    steps, turns = (5, 5) if job.seconds else (1, 1)
    _interleaved(step, other, 1)
    result: Result = {"ours": [], "other": []}
    for _ in range(turns):
        alone = _seconds(step, steps), _seconds(other, steps)
        together = _interleaved(step, other, steps)
        result["ours"].append(together[0] / alone[0])
        result["other"].append(together[1] / alone[1])
    return result


def _train_step(job: Job) -> Callable[[], float]:
    model = ours.model(job)
    return partial(model.train_step, job.pictures(), job.labels(), sq.Adam(model, lr=1e-4))


def _seconds(step: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - start


def _interleaved(
    one: Callable[[], Any], other: Callable[[], Any], count: int
) -> tuple[float, float]:
    totals = [0.0, 0.0]
    for _ in range(count):
        totals[0] += _seconds(one, 1)
        totals[1] += _seconds(other, 1)
    return totals[0], totals[1]


def _numpy_loop(job: Job) -> Callable[[], Any]:
    side = 1024 if job.seconds else 64
    a = np.random.default_rng(0).random((side, side), np.float32)
    out = np.empty_like(a)
    return lambda: [np.matmul(a, a, out=out) for _ in range(4)]


def _torch_loop(job: Job) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(job.threads)
    x, weight = torch.rand(8, 64, 56, 56), torch.rand(64, 64, 3, 3)
    return lambda: [torch.nn.functional.conv2d(x, weight, padding=1) for _ in range(4)]


@contextlib.contextmanager
def _pictures(count: int, size: int):
    """Paths of `count` synthetic picture files, in a folder that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, f"{index}.png") for index in range(count)]
        drawn = [sq.synthetic.draw(index % 2, index, size) for index in range(min(count, 8))]
        encoded = [sq.synthetic.encode_png(picture) for picture in drawn]
        for index, path in enumerate(paths):
            Path(path).write_bytes(encoded[index % len(encoded)])
        yield paths
