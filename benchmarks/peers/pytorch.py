"""PyTorch. The variant is "eager", what the tutorial runs, or "channels_last"; bfloat16 is
torch.autocast, as PyTorch's own recipe has it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import torch

from . import Job, Prepared

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
import networks  # noqa: E402  SqueezeNet in PyTorch, shared with the tests

loss_of = torch.nn.functional.cross_entropy


def prepare(job: Job) -> Prepared:
    torch.set_num_threads(job.threads)
    x = torch.from_numpy(job.pictures()).contiguous(memory_format=_layout(job))
    state = _state(job)
    return (_infer if job.task == "infer" else _train)(job, state, x)


def _layout(job: Job) -> torch.memory_format:
    return torch.channels_last if job.variant == "channels_last" else torch.contiguous_format


def _state(job: Job) -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(value).contiguous(memory_format=_layout(job))
        if value.ndim == 4
        else torch.from_numpy(value)
        for name, value in job.weights().items()
    }


def _logits(
    job: Job, state: dict[str, torch.Tensor], x: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """float32, whatever was computed in."""
    spec = {"version": job.arch, "bypass": None, "final_relu": False}
    half = job.precision == "bfloat16"
    with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
        return networks.torch_forward(state, x, spec, mask).float()


def _infer(job: Job, state: dict[str, torch.Tensor], x: torch.Tensor) -> Prepared:
    def step() -> np.ndarray:
        with torch.inference_mode():
            return _logits(job, state, x).numpy()

    return Prepared(step, step, job.batch, x.nbytes)


def _train(job: Job, state: dict[str, torch.Tensor], x: torch.Tensor) -> Prepared:
    for value in state.values():
        value.requires_grad_(True)
    labels = torch.from_numpy(job.labels())
    optimizer = torch.optim.Adam(state.values(), lr=1e-4)
    side = last_side(job.arch, job.size)
    ones = torch.ones(job.batch, 512, side, side).contiguous(memory_format=_layout(job))

    def step() -> float:
        optimizer.zero_grad()
        mask = torch.nn.functional.dropout(ones, job.dropout)
        loss = loss_of(_logits(job, state, x, mask), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    def first_loss() -> np.ndarray:
        with torch.no_grad():
            return loss_of(_logits(job, _state(job), x), labels).reshape(1).numpy()

    return Prepared(step, first_loss, job.batch, x.nbytes)


def last_side(arch: str, size: int) -> int:
    """Of the map before the classifier: the first convolution, then three pools, ceil_mode."""
    side = (size - (7 if arch == "1_0" else 3)) // 2 + 1
    for _ in range(3):
        side = -(-(side - 3) // 2) + 1
    return side
