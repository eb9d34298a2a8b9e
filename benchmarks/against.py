"""Is this working copy slower than another commit? A short paired run.

    python benchmarks/against.py COMMIT [--rounds 7] [--seconds 1] [--threads N] [--precision P]

Builds both, each from its own sources into a temporary folder; then each trains (batch 16) and
infers (batch 32, one picture) v1.0 and v1.1 in turns, a process a measurement, and the ratio of
this copy's speed to the commit's is printed, with its least and greatest over the rounds: above 1
this copy is the faster. A ratio whose range is wide says that the machine was busy. Sources that
are not committed count as this copy's. Needs git and what a build needs; installs nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parent.parent

# Task, version, batch.
ROWS = [
    (task, arch, batch)
    for task, batch in (("train", 16), ("infer", 32), ("infer", 1))
    for arch in ("1_0", "1_1")
]


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="this working copy's speed over a commit's")
    parser.add_argument("commit", help="anything that git takes: HEAD, HEAD~3, a tag")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default: 7)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn (default: 1)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    return parser.parse_args(arguments)


def copy_sources(commit: str | None, folder: Path) -> None:
    """The sources of a commit; None: of the working copy, without what git ignores."""
    folder.mkdir()
    if commit:
        pack = ["git", "-C", str(ROOT), "archive", commit]
        archive = subprocess.run(pack, stdout=subprocess.PIPE)
        if archive.returncode:
            raise SystemExit(f"git knows no sources of {commit!r}")
        packed = archive.stdout
    else:
        tracked = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
        tracked.append("--exclude-standard")
        listed = subprocess.run(
            [*tracked, "--exclude-standard"], stdout=subprocess.PIPE, check=True
        )
        names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
        there = "\0".join(name for name in names if (ROOT / name).is_file())
        pack = ["tar", "-C", str(ROOT), "-c", "--null", "-T", "-"]
        archive = subprocess.run(pack, input=os.fsencode(there), stdout=subprocess.PIPE, check=True)
        packed = archive.stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)


def build(sources: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    if subprocess.run([*command, str(target), str(sources)], cwd=sources.parent).returncode:
        raise SystemExit(f"{sources.name} could not be built")


def measure_row(installed: dict[str, Path], job: dict[str, object], rounds: int) -> str:
    """This copy's speed over the commit's, as text."""

    def turn(path: Path, number: int) -> measure.Result:
        (result,) = measure.run_worker("ours", [job], PYTHONPATH=str(path))
        return result

    workers = {name: partial(turn, path) for name, path in installed.items()}
    results, errors = measure.take_turns(workers, rounds, lambda name, result: None)
    if errors:
        raise SystemExit("\n".join(errors))
    speeds = {name: [one["images_per_second"] for one in results[name]] for name in installed}
    median, least, greatest = measure.ratios(speeds["this"], speeds["commit"])
    figures = [measure.spread(speeds[name])[0] for name in ("this", "commit")]
    return (
        f"{figures[0]:8.1f} {figures[1]:8.1f} pictures/s   "
        f"{median:.3f} ({least:.3f} to {greatest:.3f})"
    )


def main() -> None:
    chosen = options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        installed = {}
        for copy, commit in (("this", None), ("commit", chosen.commit)):
            copy_sources(commit, folder / f"{copy}-sources")
            build(folder / f"{copy}-sources", folder / copy)
            installed[copy] = folder / copy
        job = {"folder": name, "threads": chosen.threads, "seconds": chosen.seconds}
        info = {"task": "info", "folder": name}  # which writes the weights
        measure.run_worker("own.info", [info], PYTHONPATH=str(installed["commit"]))
        print(f"{'':24}    this {chosen.commit[:12]:>12}              this over it")
        for task, arch, batch in ROWS:
            row = {"task": task, "arch": arch, "batch": batch, "precision": chosen.precision}
            title = f"{task} v{arch.replace('_', '.')}, batch {batch}"
            print(f"{title:24} {measure_row(installed, job | row, chosen.rounds)}", flush=True)


if __name__ == "__main__":
    main()
