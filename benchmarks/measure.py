"""What the benchmarks share: one process a measurement, turns taken, medians and ratios.

Machines are shared and noisy: a figure alone means little, the ratio of two that took turns in one
run means something. So every library runs in a process of its own, the libraries take turns for
several rounds, and what is reported is the median of each and the ratio to a peer.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

WORKER = Path(__file__).resolve().parent / "worker.py"

# Set on some machines; they choose slower NumPy kernels than NumPy would.
UNWANTED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE")

Result = dict[str, Any]


class WorkerError(RuntimeError):
    """A measurement's process failed; the message is the last line it wrote."""


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without what would disturb, and with `variables`."""
    return {key: value for key, value in os.environ.items() if key not in UNWANTED} | variables


def run_worker(what: str, jobs: Sequence[dict[str, Any]], **variables: str) -> list[Result]:
    """Measure `jobs` in turn in one new process: a result each. See worker.py for `what`. The
    process may use as many threads as the last job names, or what it would use by itself;
    `variables` are added to its environment."""
    threads = jobs[-1].get("threads")
    if threads:
        variables = {"OMP_NUM_THREADS": str(threads)} | variables
    result = subprocess.run(
        [sys.executable, str(WORKER), what, json.dumps(list(jobs))],
        env=environment(**variables),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise WorkerError(lines[-1])
    return json.loads(result.stdout.strip().splitlines()[-1])


def take_turns(
    workers: dict[str, Callable[[int], Result]], rounds: int, say: Callable[[str, Result], None]
) -> tuple[dict[str, list[Result]], list[str]]:
    """Run every worker once a round, with the round's number from 0: results by name, one a round,
    and what went wrong. Every other round goes the other way round, so that nobody is always the
    first. A worker that fails is out, with what it had. `say(name, result)` follows each turn."""
    results: dict[str, list[Result]] = {name: [] for name in workers}
    errors = []
    for number in range(rounds):
        names = list(results)
        for name in names if number % 2 == 0 else reversed(names):
            try:
                results[name].append(workers[name](number))
            except WorkerError as error:
                errors.append(f"{name}: {error}")
                del results[name]
            else:
                say(name, results[name][-1])
    return results, errors


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and greatest."""
    return statistics.median(values), min(values), max(values)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and greatest of the rounds' ratios: the two of a round were neighbours."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])
