"""Nothing is lost: processes that are killed, disks that are full, files that cannot be written.
Each failure is one sentence and status 1, and leaves what was there before it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fault_support as faults
import pytest
from faults.kill import kill_runs
from faults.take_out import PROTECTIONS, ROOT, Protection, changed

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="hardware: LD_PRELOAD and tmpfs are Linux's"
)

FULL, FAILS, READ_ONLY, REFUSED = 28, 5, 30, 13  # ENOSPC, EIO, EROFS, EACCES


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a model, an int8 model, and preload.so."""
    home = tmp_path_factory.mktemp("faults")
    faults.make_data(home)
    faults.preload(home)
    model, out = home / "start.safetensors", home / "int8.safetensors"
    assert faults.command(["quantize", model, home / "pictures", "--out", out])[0] == 0
    return home


Cases = list[tuple[str, list[str | Path]]]
Results = list[tuple[int, str]]


@pytest.fixture(scope="module")
def tried(home: Path) -> Callable[[Path, Cases], Results]:
    """tried(folder, [(fault, arguments)]): status and stderr of each command."""

    def run(folder: Path, cases: Cases) -> Results:
        given = json.dumps([[fault, list(map(str, words))] for fault, words in cases])
        result = subprocess.run(
            [sys.executable, faults.HERE / "many.py", folder, given],
            capture_output=True,
            text=True,
            env={**faults.quiet(), "LD_PRELOAD": str(home / "preload.so")},
            cwd=faults.HERE,
            timeout=200,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


def check_sentence(status: int, said: str, words: str) -> None:
    """That a command failed with one sentence, with these words in it."""
    lines = faults.sentences(said)
    assert status == 1 and len(lines) == 1, said
    assert lines[0].startswith("squeezenet-c: ") and words in lines[0], said


# -- Killed ----------------------------------------------------------------------------------------


def test_killed_runs(tmp_path: Path) -> None:
    """tests/faults/kill.py --count 500 is the long form."""
    kills = kill_runs(tmp_path, 20)
    assert kills.total() == 20 and kills["too late"] < 12, kills


# -- For a long time -------------------------------------------------------------------------------


def test_memory_stays_flat() -> None:
    """tests/faults/soak.py has the long form: 10^5 predictions and 10^4 steps."""
    command = [sys.executable, "soak.py", "--predictions", "3520", "--steps", "352"]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=faults.HERE, env=faults.quiet(), timeout=200
    )
    assert result.returncode == 0, result.stdout + result.stderr


# -- Files that fail -------------------------------------------------------------------------------

WAYS = {
    "the disk is full": f"write:1:{FULL}+",
    "fsync fails": f"fsync:1:{FAILS}",
    "rename fails": f"rename:1:{REFUSED}",
    "read-only": f"open:1:{READ_ONLY}+",
}


def outputs(home: Path) -> dict[str, tuple[str, list[str | Path]]]:
    """Of each command that writes one file, its name and its arguments."""
    pictures, model, int8 = home / "pictures", home / "start.safetensors", home / "int8.safetensors"
    compress = ["--size-kb", "150", "--epochs", "1", "--sharing-epochs", "1"]
    return {
        "predict": ("answers.csv", ["predict", model, pictures, "--out"]),
        "quantize": ("a.safetensors", ["quantize", model, pictures, "--out"]),
        "export": ("a.onnx", ["export", model]),
        "export C": ("a.c", ["export", int8]),
        "export PyTorch": ("a.pth", ["export", model]),
        "compress": ("b.safetensors", ["compress", model, pictures, *compress, "--out"]),
    }


def test_a_file_that_cannot_be_written(home: Path, tmp_path: Path, tried) -> None:
    cases: Cases = []
    for name, arguments in outputs(home).values():
        (tmp_path / name).write_bytes(b"old")
        ways = WAYS.values() if arguments[0] != "compress" else [f"rename:1:{FAILS}"]
        cases += [(fault, [*arguments, tmp_path / name]) for fault in ways]
    for (fault, arguments), (status, said) in zip(cases, tried(tmp_path, cases), strict=True):
        path = Path(arguments[-1])
        check_sentence(status, said, str(path) if arguments[0] != "compress" else path.name)
        assert path.read_bytes() == b"old", fault
    assert not faults.temporary(tmp_path)


def test_a_report_that_cannot_be_written(home: Path, tmp_path: Path, tried) -> None:
    """Of its files each is the old or the new one."""
    out = tmp_path / "report"
    evaluate: list[str | Path] = ["evaluate", home / "start.safetensors", home / "pictures"]
    evaluate += ["--out", out]
    assert faults.command(evaluate)[0] == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    cases: Cases = [(f"write:{place}:{FULL}+", evaluate) for place in (1, 3, 6)]
    cases += [(f"rename:{len(before)}:{FAILS}", evaluate)]
    for status, said in tried(tmp_path, cases):
        check_sentence(status, said, str(out))
    assert {path: path.stat().st_size for path in before} == {
        path: len(content) for path, content in before.items()
    }
    assert not faults.temporary(out)


def test_a_run_of_which_a_file_cannot_be_written(home: Path, tmp_path: Path, tried) -> None:
    """Whichever it is, the run can be resumed (or begun) and ends as if nothing had been."""
    whole = tmp_path / "whole"
    assert faults.command(faults.train_command(home, whole))[0] == 0
    cases: Cases = []
    for place in range(1, 30):
        run = tmp_path / f"run{place}"
        cases.append((f"rename:{place}:{FULL}", faults.train_command(home, run)))
        cases.append(("rename:0:0", ["train", "--resume", run]))
    results = tried(tmp_path, cases)
    failed = [place for place, (status, _) in enumerate(results[::2], 1) if status]
    assert failed == list(range(1, len(failed) + 1)) and 8 < len(failed) < 29
    for place in failed:
        run = tmp_path / f"run{place}"
        check_sentence(*results[2 * place - 2], str(run))
        faults.check_run_folder(run)
        if results[2 * place - 1][0] == 0:
            faults.check_same_run(run, whole)
        else:  # it had no state yet
            assert not (run / "weights" / "last.state").exists()
            assert faults.command(faults.train_command(home, run))[0] == 0


def test_what_a_power_cut_leaves(home: Path, tmp_path: Path) -> None:
    """The new file or the old one: each is synced before it takes its place, and its folder
    afterwards."""
    count, out = tmp_path / "count", tmp_path / "out"
    out.mkdir()
    environment = faults.faulty(home / "preload.so", out, "write:0:0", count)
    words = ["predict", home / "start.safetensors", home / "pictures", "--out", out / "answers.csv"]
    assert faults.command(words, environment)[0] == 0
    assert count.read_text().split() == "open 1 write 1 fsync 2 rename 1 unlink 0".split()


# -- Protections -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)
def test_protections_can_be_taken_out(protection: Protection) -> None:
    """By tests/faults/take_out.py, which sees that the tests it names then fail."""
    text = (ROOT / protection.file).read_text("utf-8")
    assert changed(protection, text) != text
    file, name = protection.test.split("::")
    assert f"def {name}(" in (ROOT / "tests" / file).read_text("utf-8")


# -- Real disks ------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("hardware: nothing can be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk(home: Path, small_disk: Path) -> None:
    """A state takes 12 MB, and so fits once there is room; the run is resumed where it was."""
    run = small_disk / "run"
    status, said = faults.command(faults.train_command(home, run))
    check_sentence(status, said, "No space left on device")
    assert str(run) in said
    faults.check_run_folder(run)
    assert not faults.temporary(run / "weights")
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    assert faults.command(faults.train_command(home, run))[0] == 0
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for arguments in (
        ["train", "--resume", run],
        ["predict", run, home / "pictures", "--out", run / "answers.csv"],
        ["evaluate", run, home / "pictures", "--out", run / "report"],
    ):
        check_sentence(*faults.command(arguments), str(run))


def test_a_folder_that_vanishes(home: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = faults.start(faults.train_command(home, run, "--epochs", "2000"))
    end = time.monotonic() + 60
    while not (run / "weights" / "best.safetensors").exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.rename(run, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere")
    _, said = process.communicate(timeout=60)
    check_sentence(process.returncode, said, str(run))
    assert not run.exists()


@pytest.mark.parametrize(
    "arguments", [["info"], ["summary"], ["train"]], ids=lambda words: words[0]
)
def test_an_output_that_is_full(home: Path, tmp_path: Path, arguments: list[str]) -> None:
    """Where the shell has sent what a command prints."""
    if arguments == ["train"]:
        arguments = list(map(str, faults.train_command(home, tmp_path / "run")))
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*faults.COMMAND, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=faults.HERE,
            env=faults.quiet(),
            timeout=60,
        )
    check_sentence(result.returncode, result.stderr, "No space left on device")
