"""One measurement of one library, in a process of its own.

    python benchmarks/worker.py LIBRARY JOB

JOB is a JSON object of peers.Job. Prints a JSON object: images_per_second and step_seconds (the
median step), steps, peak_mib (of the process), memory_mib (of that, beyond what the process had
after its imports and the input), and where the answer was saved.
"""

from __future__ import annotations

import importlib
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peers import Job

LEAST_STEPS = 5


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(library: str, job: Job) -> dict:
    module = importlib.import_module(f"peers.{library}")
    before = resident_mib()
    prepared = module.prepare(job)
    prepared.step()
    times: list[float] = []
    end = time.perf_counter() + job.seconds
    while time.perf_counter() < end or len(times) < LEAST_STEPS:
        start = time.perf_counter()
        prepared.step()
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.NamedTemporaryFile(dir=job.folder, suffix=".npy", delete=False) as file:
        np.save(file, prepared.answer)
    return {
        "images_per_second": prepared.images / seconds,
        "step_seconds": seconds,
        "steps": len(times),
        "peak_mib": peak,
        "memory_mib": peak - before - job.batch * 3 * job.size**2 * 4 / 2**20,
        "answer": file.name,
        **prepared.notes,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Job(**json.loads(sys.argv[2])))))
