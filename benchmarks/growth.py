"""How speed grows with the batch, the threads, the number of files and the size of pictures."""

from __future__ import annotations

from typing import Any

import measure
from compare import Settings
from rows import CHANNELS_LAST, OURS, Column

ARCH = "1_1"
Panel = dict[str, Any]


def panels(settings: Settings) -> list[Panel]:
    """One a quantity: its `lines` are {"x": [...], "y": [...], "images_per_second": [...]} by name,
    `y` what the chart shows."""
    made = [
        _panel(
            settings,
            "pictures in a batch",
            "batch",
            (1, 2, 4) if settings.quick else (1, 2, 4, 8, 16, 32, 64, 128, 256),
            peers_up_to=64,  # PyTorch would need several GiB beyond
            log=True,
        ),
        _panel(settings, "threads", "threads", tuple(range(1, settings.threads + 1))),
        _panel(
            settings,
            "side of the pictures, pixels",
            "size",
            (48, 64) if settings.quick else (112, 168, 224, 336, 448),
            megapixels=True,
        ),
        _files(settings),
    ]
    return made


def _panel(
    settings: Settings,
    label: str,
    key: str,
    values: tuple[int, ...],
    peers_up_to: int | None = None,
    log: bool = False,
    megapixels: bool = False,
) -> Panel:
    """Training and inference over `values` of the jobs' `key`, ours and PyTorch's."""
    lines = {}
    for task in ("train", "infer"):
        for column in (OURS, CHANNELS_LAST):
            if column is not OURS and column.library not in settings.libraries:
                continue
            x = [value for value in values if column is OURS or value <= (peers_up_to or value)]
            speeds = _speeds(settings, column, task, key, x)
            sizes = x if key == "size" else [224] * len(x)
            y = [s * side**2 / 1e6 for s, side in zip(speeds, sizes, strict=True)]
            name = f"{'training' if task == 'train' else 'inference'}, {column.name}"
            lines[name] = {"x": x, "y": y if megapixels else speeds, "images_per_second": speeds}
            settings.say(f"growth, {label}: {name}: " + ", ".join(f"{s:.1f}" for s in speeds))
    unit = "million pixels a second" if megapixels else "pictures a second"
    return {"x_label": label, "y_label": unit, "ticks": list(values), "log": log, "lines": lines}


def _speeds(
    settings: Settings, column: Column, task: str, key: str, values: list[int]
) -> list[float]:
    common = {"task": task, "arch": ARCH, "batch": 16, "variant": column.variant}
    common |= {"seconds": min(0.5, settings.seconds), "least_steps": 2}
    # In one process, which may use as many threads as the last has.
    jobs = [settings.job(**common) | {key: value} for value in values]
    results = measure.run_worker(column.library, jobs)
    return [result["images_per_second"] for result in results]


def _files(settings: Settings) -> Panel:
    counts = [1, 3] if settings.quick else [1, 10, 100, 400]
    jobs = [settings.job(task="infer", arch=ARCH, batch=count) for count in counts]
    speeds = [result["images_per_second"] for result in measure.run_worker("own.files", jobs)]
    settings.say("growth, picture files: " + ", ".join(f"{speed:.1f}" for speed in speeds))
    return {
        "x_label": "picture files (PNG, 224 x 224), opened, decoded and predicted",
        "y_label": "pictures a second",
        "ticks": counts,
        "log": True,
        "lines": {"ours": {"x": counts, "y": speeds, "images_per_second": speeds}},
    }
