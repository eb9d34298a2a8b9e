"""How long a Python that only imports the package takes, beside one that imports nothing or torch.

python benchmarks/import_time.py [--rounds 11]
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import time
from pathlib import Path

import measure


def seconds_of(statement: str) -> float:
    start = time.perf_counter()
    # Where this file is, and not in the source folder, whose package may not be compiled.
    folder = Path(__file__).resolve().parent
    command = [sys.executable, "-c", statement]
    subprocess.run(command, env=measure.environment(), cwd=folder, check=True)
    return time.perf_counter() - start


def seconds_by_turns(statements: list[str], rounds: int) -> dict[str, list[float]]:
    """By statement, one a round."""
    times: dict[str, list[float]] = {statement: [] for statement in statements}
    for _ in range(rounds):
        for statement in statements:
            times[statement].append(seconds_of(statement))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    statements = ["pass", "import numpy", "import squeezenet_c"]
    if importlib.util.find_spec("torch"):
        statements.append("import torch")
    times = seconds_by_turns(statements, parser.parse_args().rounds)
    nothing = statistics.median(times["pass"])
    print(f"{'':24}{'median s':>10}{'beyond an empty Python':>26}")
    for statement in statements:
        middle = statistics.median(times[statement])
        print(f"{statement:24}{middle:10.3f}{middle - nothing:26.3f}")


if __name__ == "__main__":
    main()
