"""Measurements of one library, in a process of its own.

    python benchmarks/worker.py WHAT JOBS

JOBS is a JSON list of peers.Job. WHAT is a library, a module of peers/, whose speed and memory are
measured for each job; or MODULE.NAME, a function of own.py or quantise.py. Prints a JSON list, an
object a job. Of a library: images_per_second and step_seconds (of the median step), steps, peak_mib
(of the process), memory_mib (of that, beyond what the process had after its imports and the input),
and the file that has the answer, if the job wants it.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import tempfile
import time
from typing import Any

import memory
import numpy as np
from peers import Job

WARM_UP_SECONDS = 0.2


def measure(module: Any, job: Job) -> dict[str, Any]:
    before = memory.resident_mib()
    prepared = module.prepare(job)
    end = time.perf_counter() + WARM_UP_SECONDS
    prepared.step()
    while job.seconds and time.perf_counter() < end:
        prepared.step()
    times: list[float] = []
    end = time.perf_counter() + job.seconds
    while not times or len(times) < job.least_steps or time.perf_counter() < end:
        start = time.perf_counter()
        prepared.step()
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times)
    peak = memory.peak_mib()
    result = {
        "images_per_second": prepared.images / seconds,
        "step_seconds": seconds,
        "slowest": prepared.images / max(times),  # images a second, of the slowest step
        "quickest": prepared.images / min(times),
        "steps": len(times),
        "peak_mib": peak,
        "memory_mib": peak - before - prepared.input_bytes / 2**20,
        **prepared.notes,
    }
    if job.answer:
        with tempfile.NamedTemporaryFile(dir=job.folder, suffix=".npy", delete=False) as file:
            # The answer of an int8 row is to photographs: a model of their size and number.
            judged = module.prepare(job.judging()) if job.subject else prepared
            np.save(file, judged.answer())
        result["answer"] = file.name
    return result


def main(what: str, jobs: list[Job]) -> None:
    script, _, name = what.rpartition(".")
    if script:
        function = getattr(importlib.import_module(script), name)
        print(json.dumps([function(job) for job in jobs]))
        return
    module = importlib.import_module(f"peers.{what}")
    print(json.dumps([measure(module, job) for job in jobs]))


if __name__ == "__main__":
    main(sys.argv[1], [Job(**job) for job in json.loads(sys.argv[2])])
