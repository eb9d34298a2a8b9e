"""What run.py measures besides speed: memory, an epoch, other libraries in the process, imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import import_time
import measure
from compare import Settings
from rows import CHANNELS_LAST, OURS

# Each of training, and of inference; PyTorch's at the first batch alone.
BATCHES = {"train": (16, 256), "infer": (1, 32)}


def memory(settings: Settings) -> dict[str, Any]:
    """By "task/arch/batch/column": what a process takes beyond its imports and its input."""
    results = {}
    for task, batches in BATCHES.items():
        for arch in ("1_0", "1_1"):
            for batch in batches[:1] if settings.quick else batches:
                for column in (OURS, CHANNELS_LAST):
                    theirs = column is not OURS
                    if theirs and (column.library not in settings.libraries or batch > 32):
                        continue
                    job = {"task": task, "arch": arch, "batch": batch, "variant": column.variant}
                    job = settings.job(**job) | {"seconds": 0.0, "least_steps": 2}
                    (result,) = measure.run_worker(column.library, [job])
                    results[f"{task}/{arch}/{batch}/{column.name}"] = result
                    settings.say(f"memory: {task} {arch} {batch} {column.name}: "
                                 f"{result['memory_mib']:.0f} MiB")  # fmt: skip
    return results


def flat(settings: Settings) -> dict[str, Any]:
    job = settings.job(task="train", batch=4) | {"size": 64}
    return measure.run_worker("own.flat", [job])[0]


def epoch(settings: Settings) -> dict[str, Any]:
    return measure.run_worker("own.epoch", [settings.job(task="train", batch=16)])[0]


def coexistence(settings: Settings) -> dict[str, Any]:
    """By library: the slowdowns of our steps and of its loop."""
    libraries = {"NumPy": "numpy"}
    if "pytorch" in settings.libraries:
        libraries["PyTorch"] = "pytorch"
    return {
        name: measure.run_worker(
            "own.coexistence", [settings.job(task="train", batch=16, variant=library)]
        )[0]
        for name, library in libraries.items()
    }


def imports(settings: Settings) -> dict[str, list[float]]:
    """Seconds of a Python that does no more than the statement, by statement, one a round."""
    statements = ["pass", "import numpy", "import squeezenet_c"]
    if "pytorch" in settings.libraries:
        statements.append("import torch")
    return import_time.seconds_by_turns(statements, settings.rounds)


OTHERS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "memory": memory,
    "flat": flat,
    "epoch": epoch,
    "coexistence": coexistence,
    "import": imports,
}
