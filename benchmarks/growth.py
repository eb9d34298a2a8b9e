"""How speed grows with the batch, the threads, the number of files and the size of pictures."""

from __future__ import annotations

from typing import Any

import measure
from compare import Settings
from rows import CHANNELS_LAST, OURS

ARCH = "1_1"
Panel = dict[str, Any]


def panels(settings: Settings) -> list[Panel]:
    """One a quantity. Its `lines` by name: lists "x"; "images_per_second", of the median step;
    "slowest" and "quickest", the same of those; "per_picture", what the chart multiplies them by.
    """
    return [
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
            common = {"task": task, "arch": ARCH, "batch": 16, "variant": column.variant}
            common |= {"seconds": min(0.5, settings.seconds), "least_steps": 3}
            # In one process, which may use as many threads as the last has.
            jobs = [settings.job(**common) | {key: value} for value in x]
            name = f"{'training' if task == 'train' else 'inference'}, {column.name}"
            lines[name] = _line(x, measure.run_worker(column.library, jobs))
            if megapixels:
                lines[name]["per_picture"] = [side**2 / 1e6 for side in x]
            _say(settings, f"{label}: {name}", lines[name])
    unit = "million pixels a second" if megapixels else "pictures a second"
    return {"x_label": label, "y_label": unit, "ticks": list(values), "log": log, "lines": lines}


def _files(settings: Settings) -> Panel:
    counts = [1, 3] if settings.quick else [1, 10, 100, 400]
    jobs = [settings.job(task="infer", arch=ARCH) | {"batch": count} for count in counts]
    line = _line(counts, measure.run_worker("own.files", jobs))
    label = "picture files (PNG, 224 x 224), opened, decoded and predicted"
    _say(settings, label, line)
    return {
        "x_label": label,
        "y_label": "pictures a second",
        "ticks": counts,
        "log": True,
        "lines": {"ours": line},
    }


def _line(x: list[int], results: list[measure.Result]) -> Panel:
    figures = ("images_per_second", "slowest", "quickest")
    line: Panel = {figure: [result[figure] for result in results] for figure in figures}
    return {"x": x, **line, "per_picture": [1] * len(x)}


def _say(settings: Settings, what: str, line: Panel) -> None:
    figures = ", ".join(f"{speed:.1f}" for speed in line["images_per_second"])
    settings.say(f"growth, {what}: {figures}")
