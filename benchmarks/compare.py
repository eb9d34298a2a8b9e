"""One row: the libraries take turns, their answers are compared, and what they took is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from typing import Any

import measure
import numpy as np
from rows import ROWS, Column, Row

NOT_OFFERED = "not offered by this CPU"
# Of --quick: all the way, but the figures mean nothing.
QUICK = {"seconds": 0.0, "least_steps": 2, "size": 64}


@dataclass(frozen=True)
class Settings:
    """Of a whole run. `folder` holds the weights and the photograph; `libraries` are the peers that
    are there; `backends` are ours, the default one first."""

    folder: str
    libraries: frozenset[str]
    backends: tuple[str, ...]
    bfloat16: bool
    threads: int
    rounds: int
    seconds: float
    quick: bool
    say: Callable[[str], None]

    def job(self, **job: Any) -> dict[str, Any]:
        defaults = {"folder": self.folder, "seconds": self.seconds, "threads": self.threads}
        return defaults | job | (QUICK if self.quick else {})


def chosen(patterns: list[str] | None, name: str) -> bool:
    """Whether --only, if given, has a pattern for the name."""
    return patterns is None or any(fnmatch(name, pattern) for pattern in patterns)


def compare(row: Row, settings: Settings) -> dict[str, Any]:
    """The row as it stands in the JSON file: its `rounds` by column, how far answers are `apart`
    from ours, its `errors` (answers that differ, processes that failed); or `why` it was not
    measured."""
    about = {"name": row.name, "title": row.title, "task": row.task, "goal": row.goal}
    about |= {"tolerance": row.tolerance, "peers": [peer.name for peer in row.peers]}
    if row.precision == "bfloat16" and not settings.bfloat16:
        return about | {"why": NOT_OFFERED}
    answers: dict[str, np.ndarray] = {}

    def turn(column: Column, number: int) -> measure.Result:
        job = row.job(settings.threads) | {"variant": column.variant, "answer": number == 0}
        (result,) = measure.run_worker(column.library, [settings.job(**job)])
        if "answer" in result:
            answers[column.name] = np.load(result.pop("answer"))
        return result

    def say(name: str, result: measure.Result) -> None:
        settings.say(f"{row.name}: {name}: {result['images_per_second']:.1f} pictures a second")

    columns = row.columns(set(settings.libraries), list(settings.backends))
    workers = {column.name: partial(turn, column) for column in columns}
    rounds, failures = measure.take_turns(workers, settings.rounds, say)
    apart = differences(row.task, answers)
    errors = [f"{row.name}: {failure}" for failure in failures] + disagreements(row, apart)
    return about | {"rounds": rounds, "apart": apart, "errors": errors}


def differences(task: str, answers: dict[str, np.ndarray]) -> dict[str, float]:
    """How far each answer is from ours, if we have one, as Row.tolerance has it."""
    if "ours" not in answers:
        return {}
    ours = answers["ours"]
    return {name: difference(task, ours, a) for name, a in answers.items() if name != "ours"}


def difference(task: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """How far two answers are apart, as Row.tolerance has it."""
    if ours.shape != theirs.shape:
        return float("inf")
    apart = float(np.abs(ours.astype(np.float64) - theirs).max())
    if not np.isfinite(apart):
        return float("inf")
    return apart if task == "photograph" else apart / max(float(np.abs(ours).max()), 1e-30)


def disagreements(row: Row, apart: dict[str, float]) -> list[str]:
    """A sentence for each column whose answer is not ours."""
    unit = "levels" if row.task == "photograph" else "of the largest"
    return [
        f"{row.name}: {name} does not give our answer: {distance:.2g} {unit} apart, expected at "
        f"most {row.tolerance:g}"
        for name, distance in apart.items()
        if not distance <= row.tolerance
    ]


def chosen_rows(patterns: list[str] | None) -> list[Row]:
    return [row for row in ROWS if chosen(patterns, row.name)]
