"""What ends a command from outside, and what Python does around the library: SIGTERM as schedulers
send it, Ctrl-C, many threads, sub-interpreters."""

import importlib.util
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import fault_support as faults
import pytest

STEPS = 5  # of an epoch: 18 of the pictures, in batches of 4


@pytest.fixture(scope="module", autouse=True)
def heeded() -> Iterator[None]:
    """Ctrl-C, by what is started here: a shell's background jobs are told to ignore it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, a model to start from, and a run of it that was never stopped."""
    home = tmp_path_factory.mktemp("signals")
    faults.make_data(home)
    assert faults.command(faults.train_command(home, home / "whole", "--epochs", "40"))[0] == 0
    return home


def signalled(arguments: list, sent: int, after: float) -> tuple[int, str]:
    """Status and stderr of a run that gets a signal so many seconds after its first epoch."""
    process = faults.start(arguments)
    for line in process.stdout:
        if line.startswith("Epoch"):
            break
    time.sleep(after)
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize(
    ("sent", "name", "status"), [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "Ctrl-C", 1)]
)
def test_a_stopped_run(home: Path, tmp_path: Path, sent: int, name: str, status: int) -> None:
    """One sentence; and resumed, it ends in the weights of the run that was not stopped."""
    run, chance = tmp_path / "run", random.Random(name)
    arguments = faults.train_command(home, run, "--epochs", "40")
    for _ in range(3):
        found, said = signalled(arguments, sent, chance.uniform(0, 0.3))
        if found == 0:  # a machine so fast that the run was over
            break
        assert found == status
        (sentence,) = faults.sentences(said)
        assert sentence.startswith(f"squeezenet-c: stopped by {name} after ")
        assert sentence.endswith(f"to resume it: squeezenet-c train --resume {run}")
        faults.check_run_folder(run)
        arguments = ["train", "--resume", run]
    else:
        found, said = faults.command(arguments)
        assert found == 0, said
    faults.check_same_run(run, home / "whole")


# The command, which gets a signal once it has taken so many steps.
WITHIN_A_STEP = """
    import os, sys
    import squeezenet_c as sq
    from squeezenet_c.cli import main

    sent, last, *arguments = sys.argv[1:]
    taken = sq.Adam.step

    def step(self):
        taken(self)
        if self.step_count == int(last):
            os.kill(os.getpid(), int(sent))

    sq.Adam.step = step
    sys.exit(main(arguments))
"""


@pytest.mark.parametrize(("sent", "kept"), [(signal.SIGTERM, 2), (signal.SIGINT, 0)])
def test_a_signal_within_a_step(home: Path, tmp_path: Path, sent: int, kept: int) -> None:
    """After SIGTERM the state has all steps of the epoch so far, after Ctrl-C whole epochs."""
    run = tmp_path / "run"
    arguments = ["-c", textwrap.dedent(WITHIN_A_STEP), int(sent), STEPS + 2]
    arguments += faults.train_command(home, run)
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=faults.HERE)
    assert "after 1 whole epochs" in result.stderr
    state = faults.RunState.read(run)
    assert len(state.history) == 1 and state.begun.steps == kept


def test_sigterm_where_nothing_is_trained(home: Path) -> None:
    pictures = [str(home / "pictures")] * 2000
    process = faults.start(["predict", home / "start.safetensors", *pictures])
    process.stdout.readline()  # it is at work
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (143, "squeezenet-c: stopped by SIGTERM\n")


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=faults.HERE,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_many_threads_predict_while_one_trains() -> None:
    """64 of them. What each finds is of the weights between two steps, never of a part of one; and
    what was learnt is what is learnt alone."""
    code = """
        import threading
        import numpy as np
        from squeezenet_c._native import core

        x = np.random.default_rng(0).standard_normal((4, 3, 48, 48)).astype(np.float32)

        def train(network, after_step=lambda: None):
            adam = core.Adam(network)
            after_step()
            for step in range(12):
                network.compute_gradients(x, [0, 1, 0, 1], step=step)
                adam.step()
                after_step()
            return {name: values.tobytes() for name, values in network.state_dict().items()}

        def forward(network, index):
            return network.forward(x[: 1 + index % 4, :, : 40 + index % 3]).tobytes()

        alone, answers = core.Network("1_1", 2), {index: set() for index in range(12)}

        def note_answers():
            for index, found in answers.items():
                found.add(forward(alone, index))

        expected = train(alone, note_answers)
        network, done, wrong, predicted = core.Network("1_1", 2), False, [], [0] * 64

        def predict(index):
            while not done or not predicted[index]:
                try:
                    found = forward(network, index)
                except BaseException as error:
                    wrong.append(error)
                    return
                if found not in answers[index % 12]:
                    wrong.append(index)
                predicted[index] += 1

        threads = [threading.Thread(target=predict, args=(index,)) for index in range(64)]
        for thread in threads:
            thread.start()
        found = train(network)
        done = True
        for thread in threads:
            thread.join()
        print(found == expected, wrong[:5], min(predicted) > 0)
    """
    assert run(code) == "True [] True"


def test_a_sub_interpreter_is_refused() -> None:
    """By a sentence. NumPy, too, is for the main interpreter alone."""
    names = ("_interpreters", "_xxsubinterpreters")  # of Python 3.13 on, and before
    module = next((name for name in names if importlib.util.find_spec(name)), None)
    if module is None:
        pytest.skip("build: this Python has no sub-interpreters")
    inner = f"""
        import sys
        sys.path[:] = {sys.path!r}
        try:
            import squeezenet_c
        except ImportError as error:
            print(error)
        """
    code = f"import {module} as interpreters; number = interpreters.create()\n"
    said = run(f"{code}interpreters.run_string(number, {textwrap.dedent(inner)!r})")
    assert len(said.splitlines()) == 1 and ("sub-interpreter" in said or "subinterpreter" in said)
