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
ISAS = ("baseline", "avx2", "avx512")
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
    isa: str
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
    from the reference's, its `errors` (answers that differ, processes that failed); or `why` it was
    not measured."""
    about = {"name": row.name, "title": row.title, "task": row.task, "goal": row.goal}
    about |= {"tolerance": row.tolerance, "peers": [peer.name for peer in row.peers]}
    if not offered(row, settings):
        return about | {"why": NOT_OFFERED}
    answers: dict[str, np.ndarray] = {}

    def turn(column: Column, number: int) -> measure.Result:
        job = row.job(settings.threads) | {"variant": column.variant, "answer": number == 0}
        job |= {"precision": column.precision or row.precision}
        (result,) = measure.run_worker(column.library, [settings.job(**job)], **row.variables)
        if "answer" in result:
            answers[column.name] = np.load(result.pop("answer"))
        return result

    def say(name: str, result: measure.Result) -> None:
        settings.say(f"{row.name}: {name}: {result['images_per_second']:.1f} pictures a second")

    columns = row.columns(set(settings.libraries), list(settings.backends))
    workers = {column.name: partial(turn, column) for column in columns}
    rounds, failures = measure.take_turns(workers, settings.rounds, say)
    apart = distances(row, answers)
    errors = [f"{row.name}: {failure}" for failure in failures] + disagreements(row, apart)
    return about | {"rounds": rounds, "apart": apart, "errors": errors}


def offered(row: Row, settings: Settings) -> bool:
    """Whether the CPU has what the row is about."""
    if row.isa and ISAS.index(settings.isa) < ISAS.index(row.isa):
        return False
    return settings.bfloat16 or row.precision != "bfloat16"


def quantise(rows: list[Row], settings: Settings) -> list[str]:
    """Make the models that the int8 rows read, ours first; what went wrong."""
    archs = sorted({row.arch for row in rows if row.precision == "int8"})
    wanted = {peer.library for row in rows if row.precision == "int8" for peer in row.peers}
    errors = []
    for library in ("ours", *sorted(wanted & settings.libraries)):
        for arch in archs:
            job = settings.job(task="infer", arch=arch, precision="int8")
            jobs = [job | {"subject": subject} for subject in ("timed", "judged")]
            try:
                measure.run_worker(f"quantise.{library}", jobs)
            except measure.WorkerError as error:
                errors.append(f"v{arch.replace('_', '.')} in int8 for {library}: {error}")
            else:
                settings.say(f"v{arch.replace('_', '.')} in int8 for {library}: made")
    return errors


def distances(row: Row, answers: dict[str, np.ndarray]) -> dict[str, float]:
    """How far each answer is from the reference's, if there is that one."""
    if row.reference not in answers:
        return {}
    reference = answers[row.reference]
    return {
        name: distance(row, reference, answer)
        for name, answer in answers.items()
        if name != row.reference
    }


def distance(row: Row, reference: np.ndarray, answer: np.ndarray) -> float:
    """How far an answer is from the reference: for a photograph in levels of 255; for int8 by how
    much the least cosine of a picture's logits is below 1, or, if that is more, by how much the
    reference has the answer's first class below its own, as a share of that; else as a share of the
    largest value. Infinite: another shape, or not a number."""
    if reference.shape != answer.shape or not np.isfinite(answer).all():
        return float("inf")
    reference, answer = (values.astype(np.float64) for values in (reference, answer))
    if row.precision == "int8":
        lengths = np.linalg.norm(reference, axis=1) * np.linalg.norm(answer, axis=1)
        turned = 1 - (reference * answer).sum(axis=1) / np.maximum(lengths, 1e-30)
        first = reference.max(axis=1)
        chosen = np.take_along_axis(reference, answer.argmax(axis=1)[:, None], axis=1)[:, 0]
        below = (first - chosen) / np.maximum(np.abs(first), 1e-30)
        return float(max(turned.max(), below.max()))
    apart = float(np.abs(reference - answer).max())
    return apart if row.task == "photograph" else apart / max(float(np.abs(reference).max()), 1e-30)


def disagreements(row: Row, apart: dict[str, float]) -> list[str]:
    """A sentence for each column whose answer is not the reference's."""
    unit = "levels" if row.task == "photograph" else "of the largest"
    if row.precision == "int8":
        unit = "of a cosine, or of the first class's logit,"
    answer = "our answer" if row.reference == "ours" else f"the answer of {row.reference}"
    return [
        f"{row.name}: {name} does not give {answer}: {distance:.2g} {unit} apart, expected at "
        f"most {row.tolerance:g}"
        for name, distance in apart.items()
        if not distance <= row.tolerance
    ]


def chosen_rows(patterns: list[str] | None) -> list[Row]:
    return [row for row in ROWS if chosen(patterns, row.name)]
