"""The loop: what it learns, keeps, prints and refuses, on small synthetic pictures."""

import math
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.training.history import Epoch
from squeezenet_c.training.recipe import Recipe
from squeezenet_c.training.resume import RunState

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    dataset = sq.synthetic.write(tmp_path_factory.mktemp("pictures"), 48, size=64)
    return dataset.at_size(64).split(0.33)


def fresh(**options):
    return sq.Model("1_1", 2, **{"seed": 1, "image_size": 64, **options})


def test_it_learns_and_keeps_the_best(sets, tmp_path, capsys):
    model = fresh()
    best = tmp_path / "best.safetensors"
    history = sq.train(model, *sets, epochs=8, batch_size=8, checkpoint=best)
    row = history.best
    assert row.merit() == max(other.merit() for other in history)
    assert history[-1].train_loss < history[0].train_loss
    report = sq.evaluate(sq.Model.load(best), sets[1])
    assert (report.accuracy, report.loss) == (row.valid_acc, row.valid_loss)
    last = sq.evaluate(model, sets[1])
    assert (last.accuracy, last.loss) == (history[-1].valid_acc, history[-1].valid_loss)
    assert model.class_names == sq.synthetic.CLASS_NAMES
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    number = r"\d\.\d{3}"
    assert re.fullmatch(
        rf"Epoch: 1, Train_acc:\d+\.\d%, Train_loss:{number}, Test_acc:\d+\.\d%, "
        rf"Test_loss:{number}, Lr:\d\.\d\dE[+-]\d\d",
        lines[0],
    )
    history.to_csv(tmp_path / "a.csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 9
    history.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_the_tutorials_line():
    row = Epoch(1, 0.533, 0.6931, 0.528, 0.6932, 1e-3, 1.0)
    assert row.line() == (
        "Epoch: 1, Train_acc:53.3%, Train_loss:0.693, Test_acc:52.8%, Test_loss:0.693, Lr:1.00E-03"
    )


def test_bits_do_not_depend_on_run_or_threads(sets):
    states = []
    threads = sq.get_num_threads()
    try:
        for count in (1, 2, 2):
            sq.set_num_threads(count)
            model = fresh()
            sq.train(model, *sets, epochs=2, batch_size=7, **QUIET)
            states.append(model.state_dict())
    finally:
        sq.set_num_threads(threads)
    other = fresh()
    sq.train(other, *sets, epochs=2, batch_size=7, seed=1, **QUIET)
    for key, tensor in states[0].items():
        assert np.array_equal(tensor, states[1][key]) and np.array_equal(tensor, states[2][key])
    assert any(not np.array_equal(states[0][k], v) for k, v in other.state_dict().items())


def test_held_out_set_has_no_part_in_the_choice(sets):
    model = fresh()
    history = sq.train(model, *sets, epochs=2, valid_fraction=0.25, batch_size=8, **QUIET)
    assert history.held_out.confusion_matrix.sum() == len(sets[1])
    alone = sq.train(fresh(), sets[0], epochs=2, valid_fraction=0.25, batch_size=8, **QUIET)
    assert alone.held_out is None
    assert [row.valid_loss for row in alone] == [row.valid_loss for row in history]


def test_without_validation_and_with_early_stopping(sets, tmp_path):
    history = sq.train(fresh(), sets[0], epochs=1, checkpoint=tmp_path / "a", **QUIET)
    assert history[0].valid_acc is None and "Test" not in history[0].line()
    assert (tmp_path / "a").exists()
    stopped = sq.train(fresh(), *sets, epochs=9, lr=0.0, early_stopping=2, **QUIET)
    assert len(stopped) == 3 and stopped.best.epoch == 1


def test_dead_logits_are_called_so(sets):
    model = fresh(final_relu=True)
    state = model.state_dict()
    state["classifier.1.bias"][:] = -100
    model.load_state_dict(state)
    with pytest.warns(sq.CollapseWarning, match="same logits.*final_relu=True.*final_relu=False"):
        history = sq.train(model, *sets, epochs=2, **QUIET)
    assert "in epoch 1" in history.collapsed


def test_pinned_loss_is_called_so(sets):
    model = fresh(dropout=0.0)
    state = model.state_dict()
    state["classifier.1.weight"][:] *= 1e-6
    model.load_state_dict(state)
    with pytest.warns(sq.CollapseWarning, match="0.693, the ln of 2 classes, for 4 epochs"):
        history = sq.train(model, *sets, epochs=4, lr=0.0, **QUIET)
    assert "in epoch 4" in history.collapsed


def test_a_healthy_run_is_not_called_collapsed(sets):
    with warnings.catch_warnings():
        warnings.simplefilter("error", sq.CollapseWarning)
        sq.train(fresh(), *sets, epochs=4, batch_size=8, **QUIET)


def test_loss_that_is_no_number(sets, tmp_path):
    best = tmp_path / "best.safetensors"
    best.write_bytes(b"the best of an earlier run")
    model = fresh()
    state = model.state_dict()
    state["classifier.1.bias"][:] = 3e38  # finite, but the sum over a map is not
    model.load_state_dict(state)
    with pytest.raises(sq.TrainingError, match="the loss became .* lower learning rate") as raised:
        sq.train(model, *sets, epochs=1, checkpoint=best, **QUIET)
    assert len(raised.value.history) == 0
    assert best.read_bytes() == b"the best of an earlier run"
    for key, tensor in model.state_dict().items():
        assert np.array_equal(tensor, state[key])


@pytest.mark.parametrize("later", [1.0, 1e4, 1e30])
@pytest.mark.parametrize("alone", [False, True], ids=["validated", "alone"])
def test_divergence_is_an_error_that_keeps_what_was_done(sets, tmp_path, monkeypatch, later, alone):
    """A good epoch, and then a rate that is far too high."""
    steps = math.ceil(len(sets[0]) / 8)
    monkeypatch.setattr(Recipe, "rate", lambda self, step, *_: 5e-4 if step < steps else later)
    best, state = tmp_path / "best", tmp_path / "state"
    model = fresh()
    with pytest.raises(
        sq.TrainingError,
        match=rf"diverged: .* epoch 2.*than {re.escape(f'{later:g}')}; the best .* in .*best",
    ) as raised:
        sq.train(
            model, sets[0], None if alone else sets[1], epochs=3, batch_size=8, lr=later,
            checkpoint=best, state=state, **QUIET,
        )  # fmt: skip
    assert len(raised.value.history) == 1
    kept = RunState.read(state)
    assert len(kept.history) == 1
    for weights in (kept.groups["model"], sq.Model.load(best).state_dict()):
        assert all(np.array_equal(weights[key], v) for key, v in model.state_dict().items())


def test_divergence_of_the_command(sets, tmp_path, monkeypatch, capsys):
    folder, out = os.path.dirname(os.path.dirname(sets[0].paths[0])), tmp_path / "run"
    steps = math.ceil(36 / 16)
    monkeypatch.setattr(Recipe, "rate", lambda self, step, *_: 5e-4 if step < steps else 1e4)
    command = ["train", folder, "--valid-fraction", "0.25", "--lr", "1e4", "--out", str(out)]
    assert main(command) == 1
    assert "diverged: " in (sentence := capsys.readouterr().err) and "than 10000" in sentence
    assert len((out / "results.csv").read_text().splitlines()) == 2
    for name in ("best", "last"):
        sq.Model.load(out / "weights" / f"{name}.safetensors")


def test_bad_arguments_before_any_work(sets, tmp_path):
    model = fresh()
    before = model.state_dict()
    three = sq.Dataset(sets[0].paths[:3], [0, 1, 2])
    (tmp_path / "file").write_text("")
    for error, message, options in (
        (ValueError, "epochs is 0", {"epochs": 0}),
        (ValueError, "batch_size is 1.5", {"batch_size": 1.5}),
        (ValueError, "early_stopping is 0", {"early_stopping": 0}),
        (ValueError, "fraction is 2", {"valid_fraction": 2}),
        (ValueError, "lr is nan", {"lr": math.nan}),
        (ValueError, "precision is 'half', expected 'float32', 'bf", {"precision": "half"}),
        (ValueError, "has the label 2, expected 0 to 1", {"train": three}),
        (ValueError, "has the label 2, expected 0 to 1", {"valid": three}),
        (FileNotFoundError, "there is no folder", {"checkpoint": tmp_path / "none" / "a"}),
        (IsADirectoryError, "is a folder", {"checkpoint": tmp_path}),
        (OSError, "there is no folder", {"checkpoint": tmp_path / "file" / "a"}),
    ):
        arguments = {"train": sets[0], "valid": sets[1], "epochs": 1, **QUIET, **options}
        with pytest.raises(error, match=message):
            sq.train(model, **arguments)
    for key, tensor in model.state_dict().items():
        assert np.array_equal(tensor, before[key])


def test_one_class_is_a_warning(sets):
    one = sets[0].subset(np.flatnonzero(sets[0].labels == 1))
    with pytest.warns(UserWarning, match="all .* are of one class, synthetic atrophy"):
        sq.train(fresh(), one, epochs=1, **QUIET)


def test_broken_picture_stops_the_run_by_name(sets, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    dataset = sq.Dataset([*sets[0].paths[:5], tmp_path / "broken.png"], [0, 1, 0, 1, 0, 1])
    with pytest.raises(sq.BadFileError, match=r"broken\.png"):
        sq.train(fresh(), dataset, epochs=1, **QUIET)


def test_recipe():
    recipe = Recipe(lr=1.0, warmup_epochs=1, final_factor=0.1)
    rates = [recipe.rate(step, 10, 5) for step in range(50)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert rates[10] == 1.0 and rates[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert Recipe(0.5, 0, 1.0).rate(33, 10, 5) == 0.5


SCRIPT = """
import signal, sys
import squeezenet_c as sq
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
dataset = sq.Dataset.from_folder(sys.argv[1], image_size=64)
model = sq.Model("1_1", 2, image_size=64)
history = sq.train(model, dataset, dataset, epochs=1000, checkpoint=sys.argv[2])
print("interrupted", history.interrupted, len(history))
"""


@pytest.mark.skipif(os.name == "nt", reason="hardware: no SIGINT to send")
def test_ctrl_c_stops_and_the_best_is_there(sets, tmp_path):
    folder = os.path.dirname(os.path.dirname(sets[0].paths[0]))
    best = tmp_path / "best.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, folder, str(best)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=Path(__file__).parent,  # where no source hides the package
    )
    deadline = time.monotonic() + 60
    while not best.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert "interrupted True" in out, err
    assert "Traceback" not in err
    assert sq.Model.load(best).num_classes == 2
