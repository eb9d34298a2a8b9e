"""Ranks that share their work by MPI: the bits of one process, and an end for all where one ends.

Ranks are more than the cores, and the pictures small, so nothing here says how fast it is."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq

pytest.importorskip("mpi4py", reason="mpi4py is not installed")

RUNS = Path(__file__).resolve().parent / "mpi_runs.py"
SECONDS = 10  # in which a run has to end that cannot go on
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "SQZ_BF16": "emulate",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


@pytest.fixture(scope="module")
def launcher():
    """mpirun of this environment, or of the system."""
    beside = Path(sys.executable).with_name("mpirun")
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None:
        pytest.skip("mpirun is not installed")
    return [found, "--oversubscribe", "--bind-to", "none"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mpi") / "pictures"
    sq.synthetic.write(folder, 44, size=64)
    return folder


def run(command, **variables):
    """The process, once it has ended, well or not."""
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **ENVIRONMENT, **variables},
        cwd=RUNS.parent,  # where no source hides the package
        capture_output=True,
        text=True,
        timeout=240,
    )


def squeezenet(*arguments):
    return [sys.executable, "-m", "squeezenet_c", *arguments]


def done(command, **variables):
    result = run(command, **variables)
    assert result.returncode == 0, result.stderr
    return result


def sentences(result):
    """What we say on stderr; the launcher says things too."""
    return [line for line in result.stderr.splitlines() if line.startswith("squeezenet-c: ")]


# -- The bits of one process -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(pictures, tmp_path_factory):
    results = tmp_path_factory.mktemp("alone") / "results.json"
    done([sys.executable, RUNS, pictures, results])
    return json.loads(results.read_text())


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_have_the_bits_of_one_process(launcher, pictures, alone, tmp_path, ranks):
    results = tmp_path / "results.json"
    done([*launcher, "-n", ranks, sys.executable, RUNS, pictures, results, "mpi"])
    found = json.loads(results.read_text())
    assert found.keys() == alone.keys()
    for name, ending in alone.items():  # "decoded", too: each picture by one rank
        assert found[name] == ending, name


def course(folder):
    with open(folder / "results.csv", encoding="utf-8", newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


OPTIONS = ["--epochs", "3", "--batch-size", "24", "--arch", "1_1", "--threads", "1"]
OPTIONS += ["--valid-fraction", "0.3", "--choose-threshold", "--calibrate"]


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory):
    """A run on one process."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    done(squeezenet("train", pictures, "--out", folder, *OPTIONS))
    return folder


def same_runs(one, other):
    for name in ("best.safetensors", "last.safetensors"):
        assert (one / "weights" / name).read_bytes() == (other / "weights" / name).read_bytes()
    assert course(one) == course(other)


def runs(child):
    """Whether a process has not ended; whoever has to note that it has may be late."""
    try:
        return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ended(process, within):
    """The status of a process that ends by itself, and what it said."""
    begun = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - begun < within
    return process.returncode, out, err


def test_a_killed_rank_ends_all_and_the_run_is_resumed(launcher, pictures, whole, tmp_path):
    """By other numbers of ranks, and of processes."""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [*launcher, "-n", "2", *squeezenet("train", pictures, "--out", folder, *OPTIONS)],
        env={**os.environ, **ENVIRONMENT},
        cwd=RUNS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("Epoch: 1"):
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    started = time.monotonic()
    os.kill(int(children[-1]), signal.SIGKILL)
    status, _, err = ended(process, SECONDS)
    assert status != 0 and "signal 9" in err
    while any(runs(child) for child in children):
        assert time.monotonic() < started + SECONDS
        time.sleep(0.05)
    resumed = [*squeezenet("train", "--resume", folder), "--threads", "1"]
    result = done([*launcher, "-n", "4", *resumed])
    assert result.stdout.count("Epoch: 3") == 1 and "Epoch: 1," not in result.stdout
    same_runs(folder, whole)
    # Its state is one process's, too.
    done(resumed)
    same_runs(folder, whole)


def test_predict_and_evaluate(launcher, pictures, whole, tmp_path):
    printed = {}
    for ranks, begin in ((1, []), (3, [*launcher, "-n", "3"])):
        table, report = tmp_path / f"{ranks}.csv", tmp_path / f"report{ranks}"
        command = squeezenet("predict", whole, pictures, RUNS, "--skip-bad", "--out", table)
        predicted = done([*begin, *command]).stdout
        evaluated = done([*begin, *squeezenet("evaluate", whole, pictures, "--out", report)]).stdout
        printed[ranks] = predicted, evaluated.replace(str(report), "")
    assert printed[1] == printed[3] and printed[1][0].count("\n") == 44
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "3.csv").read_bytes()
    for name in ("predictions.csv", "metrics.json"):
        one, three = (tmp_path / f"report{ranks}" / name for ranks in (1, 3))
        assert one.read_bytes() == three.read_bytes()


# -- What is refused -------------------------------------------------------------------------------


def test_ranks_that_differ_are_refused(launcher, pictures, whole, tmp_path):
    """With the name of what differs, said once, before an earlier run is replaced."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    other = tmp_path / "others"
    shutil.copytree(pictures, other / "pictures")
    next((other / "pictures").rglob("*.png")).unlink()
    base = squeezenet("train", pictures, "--out", folder, "--overwrite", *OPTIONS)
    link = tmp_path / "link"  # the same path on both, as on two machines; there one is in error
    command = f'ln -sfn "$1" {link}$OMPI_COMM_WORLD_RANK; cd {link}$OMPI_COMM_WORLD_RANK; '
    command += f'shift; exec "$@" {folder} --overwrite'
    shell = ["sh", "-c", command, "sh"]
    relative = squeezenet("train", "pictures", "--epochs", "1", "--out")
    for begin, changed, what in (
        (base, [*base, "--seed", "5"], "seed is 5 on rank 1 (HOST), expected 0, as on rank 0"),
        (base, [*base, "--backend", "openmp"], "backend is 'openmp' on rank 1"),
        (base, ["env", "SQZ_ISA=avx2", *base], "the isa is 'avx2' on rank 1"),
        (
            [*shell, pictures.parent, *relative],
            [*shell, other, *relative],
            "train is '35 pictures with names and labels of hash",
        ),
    ):
        if "avx2" in what and sq.build_info()["isa"] != "avx512":
            continue  # nothing lower is at hand that differs and is the same build
        result = run([*launcher, "-n", "1", *begin, ":", "-n", "1", *changed])
        assert result.returncode == 1
        said = sentences(result)
        assert len(said) == 1, result.stderr
        assert what.replace("HOST", os.uname().nodename) in said[0]
        if changed[0] == sys.executable or changed[0] == "env":
            same_runs(folder, whole)


@pytest.mark.parametrize(
    "ranks, command, words",
    [
        (3, ["train", "PICTURES"], "3 ranks, expected 1, 2, 4, 8 or 16"),
        (2, ["train", "PICTURES/none"], "there is no file or folder PICTURES/none"),
        (2, ["info"], "this command is for one process, and an MPI launcher has started 2"),
    ],
)
def test_what_all_ranks_refuse_is_said_once(launcher, pictures, tmp_path, ranks, command, words):
    command = [word.replace("PICTURES", str(pictures)) for word in command]
    if command[0] == "train":
        command += ["--out", tmp_path / "run"]
    result = run([*launcher, "-n", ranks, *squeezenet(*command)])
    assert result.returncode == 1
    said = sentences(result)
    assert len(said) == 1 and words.replace("PICTURES", str(pictures)) in said[0], result.stderr


def test_a_rank_that_raises_ends_all_with_its_sentence(launcher, pictures, tmp_path):
    """A picture that only the rank which decodes it finds broken."""
    shutil.copytree(pictures, tmp_path / "pictures")
    broken = sorted((tmp_path / "pictures").rglob("*.png"))[3]
    broken.write_bytes(broken.read_bytes()[:300])
    begun = time.monotonic()
    command = squeezenet("train", tmp_path / "pictures", "--out", tmp_path / "run", *OPTIONS)
    result = run([*launcher, "-n", "2", *command])
    assert result.returncode == 1 and time.monotonic() - begun < 60
    said = sentences(result)
    assert len(said) == 1 and str(broken) in said[0] and "of 2, on " in said[0]


def test_a_launcher_without_mpi4py(pictures, tmp_path):
    """One sentence that names the extra, and no run."""
    (tmp_path / "mpi4py.py").write_text("raise ImportError('No module named mpi4py')")
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"):
        command = squeezenet("train", pictures, "--out", tmp_path / "run")
        result = run(command, **{name: "4", "PYTHONPATH": str(tmp_path)})
        assert result.returncode == 1 and len(sentences(result)) == 1
        assert 'pip install "squeezenet_c[mpi]"' in result.stderr and "4 processes" in result.stderr
    assert not (tmp_path / "run").exists()


def test_another_launcher_than_mpi4py_s(pictures, tmp_path):
    command = squeezenet("train", pictures, "--out", tmp_path / "run")
    result = run(command, SLURM_STEP_NUM_TASKS="4")
    assert result.returncode == 1
    assert "has started 4 processes, and the MPI of mpi4py knows of 1" in result.stderr
    assert not (tmp_path / "run").exists()


def test_one_process_does_not_import_mpi4py(pictures):
    code = "import sys; from squeezenet_c.cli import main; "
    code += f"main(['predict', 'palm', {str(next(pictures.rglob('*.png')))!r}]); "
    code += "sys.exit('mpi4py' in sys.modules)"
    done([sys.executable, "-c", code], SLURM_STEP_NUM_TASKS="1")


def test_what_is_no_communicator():
    with pytest.raises(TypeError, match="comm is 3, expected an mpi4py communicator"):
        sq.predict(sq.Model(image_size=64), np.zeros((64, 64, 3), np.uint8), comm=3)
