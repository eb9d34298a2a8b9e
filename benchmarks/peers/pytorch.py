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


def prepare(job: Job) -> Prepared:
    torch.set_num_threads(job.threads)
    layout = torch.channels_last if job.variant == "channels_last" else torch.contiguous_format
    state = {
        name: torch.tensor(value).to(memory_format=layout if value.ndim == 4 else torch.preserve_format)
        for name, value in job.weights().items()
    }
    x = torch.from_numpy(job.pictures()).contiguous(memory_format=layout)
    spec = {"version": job.arch, "bypass": None, "final_relu": False}

    def logits(mask: torch.Tensor | None = None) -> torch.Tensor:
        autocast = (
            torch.autocast("cpu", torch.bfloat16)
            if job.precision == "bfloat16"
            else contextlib.nullcontext()
        )
        with autocast:
            return networks.torch_forward(state, x, spec, mask)

    if job.task == "infer":

        def infer() -> np.ndarray:
            with torch.inference_mode():
                return logits().float().numpy()

        return Prepared(infer, infer(), job.batch)

    for value in state.values():
        value.requires_grad_(True)
    labels = torch.from_numpy(job.labels())
    optimizer = torch.optim.Adam(state.values(), lr=1e-4)
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(logits().float(), labels).item()

    def train() -> float:
        optimizer.zero_grad()
        # The features' size is the last map's: a mask of it, as torch.nn.Dropout makes one.
        side = _last_side(job.arch, job.size)
        ones = torch.ones(job.batch, 512, side, side).contiguous(memory_format=layout)
        mask = torch.nn.functional.dropout(ones, job.dropout)
        loss = torch.nn.functional.cross_entropy(logits(mask).float(), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return Prepared(train, np.array([loss]), job.batch)


def _last_side(arch: str, size: int) -> int:
    """Of the map before the classifier: the first convolution, then three pools, ceil_mode."""
    side = (size - (7 if arch == "1_0" else 3)) // 2 + 1
    for _ in range(3):
        side = -(-(side - 3) // 2) + 1
    return side
