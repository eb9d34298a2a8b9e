"""For the tests of what happens when something goes wrong: files that fail (faults/preload.c), a
small run of `train`, and what its folder must be like whenever the run was ended."""

import contextlib
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.training.resume import RunState

HERE = Path(__file__).resolve().parent / "faults"
SIDE = 48  # of the pictures: a step takes milliseconds
ENDS_WITHIN = 10  # seconds after one of its processes, a launched command's others
COMMAND = [sys.executable, "-m", "squeezenet_c"]


def preload(folder: Path) -> Path:
    """faults/preload.c, compiled into the folder."""
    library = folder / "preload.so"
    compiler = os.environ.get("CC", "gcc").split()
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*compiler, *flags, HERE / "preload.c", "-o", library, "-ldl"], check=True)
    return library


def faulty(library: Path, folder: Path, fault: str, count: Path | None = None) -> dict[str, str]:
    """The environment of a process to which this happens below the folder."""
    environment = quiet() | {
        "LD_PRELOAD": str(library),
        "SQZ_FAULT": fault,
        "SQZ_FAULT_FOLDER": str(folder.resolve()),
    }
    return environment | ({"SQZ_FAULT_COUNT": str(count)} if count else {})


def quiet() -> dict[str, str]:
    """An environment of one thread, in English; what is printed is held back as it is for users."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


def start(
    arguments: Sequence[str | Path],
    environment: dict[str, str] | None = None,
    launcher: Sequence[str] = (),
) -> subprocess.Popen:
    """The command, started in a process group of its own, where no source hides the package."""
    return subprocess.Popen(
        [*launcher, *COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=HERE,
        env=environment or quiet(),
        start_new_session=True,
    )


def _session(process: subprocess.Popen) -> list[int]:
    """Those of its processes, itself and what a launcher has started, that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has ended meanwhile
            continue
        if state not in "ZX" and int(session) == process.pid:
            found.append(int(stat.parent.name))
    return found


def kill_session(process: subprocess.Popen) -> None:
    """kill -9 of all its processes, as a power cut would."""
    while left := _session(process):
        for pid in left:
            _kill(pid)


def kill_one(process: subprocess.Popen, chance: random.Random) -> None:
    """Of one of its processes."""
    if left := _session(process):
        _kill(chance.choice(left))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for_session(process: subprocess.Popen) -> None:
    """Until none of its processes is left. AssertionError: ENDS_WITHIN is over."""
    end = time.monotonic() + ENDS_WITHIN
    while left := _session(process):
        assert time.monotonic() < end, f"processes {left} go on"
        time.sleep(0.01)


def command(
    arguments: Sequence[str | Path],
    environment: dict[str, str] | None = None,
    launcher: Sequence[str] = (),
) -> tuple[int, str]:
    """(status, stderr) of the command."""
    process = start(arguments, environment, launcher)
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def sentences(said: str) -> list[str]:
    """The lines of stderr that are no warnings, as that a plot needs matplotlib."""
    return [line for line in said.splitlines() if "warning:" not in line]


# -- A run -----------------------------------------------------------------------------------------


def make_data(home: Path) -> None:
    """Pictures, and a model of their size to start from."""
    sq.synthetic.write(home / "pictures", 24, size=SIDE)
    sq.Model("1_1", 2, seed=4, image_size=SIDE).save(home / "start.safetensors")


def train_command(home: Path, out: Path, *more: str) -> list[str | Path]:
    start = home / "start.safetensors"
    given = "--epochs 3 --batch-size 4 --valid-fraction 0.25 --lr 0.001".split()
    return ["train", home / "pictures", "--pretrained", start, "--out", out, *given, *more]


def check_run_folder(run: Path) -> None:
    """Whatever is there is whole; but for at most one temporary file in each folder."""
    weights = run / "weights"
    for name in ("best.safetensors", "last.safetensors"):
        if (weights / name).exists():
            sq.Model.load(weights / name)
    if (weights / "last.state").exists():
        RunState.read(run)
        assert isinstance(yaml.safe_load((run / "args.yaml").read_text()), dict)
    if (run / "results.csv").exists():
        rows = list(csv.reader((run / "results.csv").open(newline="")))
        assert rows and all(len(row) == len(rows[0]) for row in rows)
    for picture in run.glob("*.png"):
        core.read_image(str(picture))
    for folder in (run, weights):
        assert len(temporary(folder)) <= 1, temporary(folder)


def temporary(folder: Path) -> list[str]:
    """What writers that were killed left in it."""
    return [path.name for path in folder.glob(".sqz-*")]


def check_same_run(run: Path, whole: Path) -> None:
    """What the two ended in is the same, bit for bit (times differ); and nothing lies about."""
    for name in ("best.safetensors", "last.safetensors"):
        ours, theirs = (folder / "weights" / name for folder in (run, whole))
        assert ours.read_bytes() == theirs.read_bytes(), name
    ours, theirs = (
        core.read_safetensors(str(x / "weights" / "last.state"))[0] for x in (run, whole)
    )
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], name)
    ours, theirs = (
        [line.split(",")[:6] for line in (x / "results.csv").read_text().splitlines()]
        for x in (run, whole)
    )
    assert ours == theirs
    names = [{path.name for path in x.rglob("*")} for x in (run, whole)]
    assert names[0] == names[1], names[0] ^ names[1]


def copy_run(run: Path, to: Path) -> None:
    shutil.copytree(run, to)
