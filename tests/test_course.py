"""How a run goes and ends: what its best epoch is, what is called after each, the set that is
looked at once, and runs that are resumed for longer."""

import csv
import json
import signal
import warnings

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.cli import main
from squeezenet_c.training.history import Epoch
from squeezenet_c.training.resume import RunState

QUIET = {"progress": False}
FEW = {"epochs": 3, "batch_size": 8, **QUIET}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("pictures")
    sq.synthetic.write(home, 40, size=64)
    return home


@pytest.fixture(scope="module")
def sets(folder):
    return sq.Dataset.from_folder(folder, image_size=64).split(0.4)


def fresh(**options):
    return sq.Model("1_1", 2, **{"seed": 1, "image_size": 64, **options})


def same(one, other):
    return all(np.array_equal(value, other[name]) for name, value in one.items())


def row(number, **values):
    return Epoch(
        number, 0.5, 0.7, **{"valid_acc": 0.5, "valid_loss": 0.7, **values}, lr=1, seconds=1
    )


# -- What is best ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "monitor, best", [("accuracy", 2), ("loss", 1), ("auc", 4), ("balanced_accuracy", 3)]
)
def test_the_best_epoch(monitor, best):
    """Of equals the lower loss, then the first."""
    rows = [
        row(1, valid_acc=0.80, valid_loss=0.30, valid_auc=0.90, valid_balanced_acc=0.80),
        row(2, valid_acc=0.90, valid_loss=0.40, valid_auc=0.90, valid_balanced_acc=0.80),
        row(3, valid_acc=0.90, valid_loss=0.50, valid_auc=0.90, valid_balanced_acc=0.90),
        row(4, valid_acc=0.80, valid_loss=0.60, valid_auc=0.95, valid_balanced_acc=0.80),
        row(5, valid_acc=0.80, valid_loss=0.60, valid_auc=0.95, valid_balanced_acc=0.90),
    ]
    history = sq.History(rows, monitor=monitor)
    assert history.best.epoch == best and history.stale == 5 - best


@pytest.fixture(scope="module")
def runs(sets, tmp_path_factory):
    """By monitor: the history, the checkpoint, the state."""
    found = {}
    for monitor in ("accuracy", "auc"):
        home = tmp_path_factory.mktemp("run")
        files = {"checkpoint": home / "best", "state": home / "state"}
        found[monitor] = sq.train(fresh(), *sets, **FEW, **files, monitor=monitor), home
    return found


def test_the_rows_are_what_evaluate_finds(sets, runs):
    for history, home in runs.values():
        found = sq.evaluate(sq.Model.load(home / "best"), sets[1])
        best = history.best
        assert (best.valid_acc, best.valid_loss) == (found.accuracy, found.loss)
        assert best.valid_auc == found.auc
        recall = (found.sensitivity + found.specificity) / 2
        assert best.valid_balanced_acc == pytest.approx(recall, rel=1e-12)


def test_the_monitor_chooses_and_changes_nothing_else(runs):
    (first, _), (second, home) = runs["accuracy"], runs["auc"]
    assert [r.valid_auc for r in first] == [r.valid_auc for r in second]
    assert second.best.valid_auc == max(r.valid_auc for r in second)
    state = RunState.read(home / "state")
    assert state.history.monitor == "auc" and state.arguments["monitor"] == "auc"
    assert same(state.best, sq.Model.load(home / "best").state_dict())


def test_csv_and_plot_have_the_auc(runs, tmp_path):
    history, _ = runs["auc"]
    history.to_csv(tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(found["valid_auc"]) for found in rows] == [r.valid_auc for r in history]
    assert [float(x["valid_balanced_acc"]) for x in rows] == [r.valid_balanced_acc for r in history]
    history.plot(tmp_path / "three.png")
    sq.History([row(1)]).plot(tmp_path / "two.png")
    widths = [core.read_image(str(tmp_path / f"{name}.png")).shape[1] for name in ("three", "two")]
    assert widths == [18 * 120, 12 * 120]


def test_early_stopping_follows_the_monitor(sets):
    """With a learning rate of 0 nothing gets better by any of them."""
    options = {**FEW, "epochs": 9, "lr": 0.0, "early_stopping": 2, "augment": False}
    for monitor in ("loss", "balanced_accuracy"):
        assert len(sq.train(fresh(), *sets, **options, monitor=monitor)) == 3


@pytest.mark.parametrize(
    "monitor, valid, words",
    [
        ("f1", True, "monitor is 'f1', expected one of accuracy, auc, balanced_accuracy, loss"),
        ("auc", False, "monitor is 'auc', and there is no validation set"),
        ("balanced_accuracy", False, "and there is no validation set"),
        ("auc", None, "monitor is 'auc', and class 1 has no picture in the set that"),
        ("balanced_accuracy", None, "and class 1 has no picture in the set that"),
    ],
)
def test_what_no_epoch_can_be_best_by(sets, monitor, valid, words):
    one = sets[1].subset(np.flatnonzero(sets[1].labels == 0))
    judged = {True: sets[1], False: None, None: one}[valid]
    with pytest.raises(ValueError, match=words):
        sq.train(fresh(), sets[0], judged, **FEW, monitor=monitor)


def test_one_class_has_no_auc_and_is_judged_all_the_same(sets):
    one = sets[1].subset(np.flatnonzero(sets[1].labels == 0))
    history = sq.train(fresh(), sets[0], one, **{**FEW, "epochs": 1})
    assert history[0].valid_auc is None and "auc" not in history[0].line()
    assert history[0].valid_balanced_acc is None


def test_a_state_from_before_there_was_a_monitor(sets, runs, tmp_path):
    """It is one of accuracy, and its rows have no AUC."""
    tensors, metadata = core.read_safetensors(str(runs["accuracy"][1] / "state"))
    arguments, history = json.loads(metadata["arguments"]), json.loads(metadata["history"])
    for said in (arguments, history):
        assert said.pop("monitor") == "accuracy"
    for said in history["rows"]:
        del said["valid_auc"], said["valid_balanced_acc"]
    del arguments["epochs"]  # of which there were none but with the cosine
    arguments["schedule"] = "constant"
    old = {"arguments": json.dumps(arguments), "history": json.dumps(history)}
    core.write_safetensors(str(tmp_path / "state"), tensors, metadata | old)
    options = {**FEW, "epochs": 4, "recipe": sq.Recipe(schedule="constant")}
    with pytest.raises(ValueError, match="monitor is 'auc', expected 'accuracy', with which the"):
        sq.train(fresh(), *sets, **options, resume=tmp_path / "state", monitor="auc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = sq.train(fresh(), *sets, **options, resume=tmp_path / "state")
    assert [r.valid_auc is None for r in history] == [True, True, True, False]


# -- The set that is looked at once ----------------------------------------------------------------


def test_a_third_set_is_looked_at_once_with_the_best(sets, tmp_path):
    valid, test = sets[1].split(0.5)
    history = sq.train(fresh(), sets[0], valid, test=test, **FEW, checkpoint=tmp_path / "best")
    found = sq.evaluate(sq.Model.load(tmp_path / "best"), test)
    assert history.held_out == found and history.selection is None
    without = sq.train(fresh(), sets[0], valid, **FEW)
    assert without.held_out is None
    assert [r.valid_loss for r in without] == [r.valid_loss for r in history]


def test_the_selection_set_is_told(sets):
    history = sq.train(fresh(), sets[0], test=sets[1], valid_fraction=0.4, **FEW)
    assert history.selection == tuple(sets[0].split(0.4, 0)[1].paths)
    assert history.held_out.confusion_matrix.sum() == len(sets[1])
    other = sq.train(fresh(), *sets, valid_fraction=0.4, **FEW)
    assert other.held_out == history.held_out and other.selection == history.selection
    valid, test = sets[1].split(0.5)
    with pytest.warns(UserWarning, match="valid is not looked at: with valid_fraction"):
        both = sq.train(fresh(), sets[0], valid, test=test, valid_fraction=0.4, **FEW)
    assert both.held_out.confusion_matrix.sum() == len(test)


# -- After each epoch ------------------------------------------------------------------------------


def test_on_epoch_is_called_when_the_epoch_is_kept(sets, tmp_path):
    best, state = tmp_path / "best", tmp_path / "state"
    seen = []

    def look(row, model):
        assert same(RunState.read(state).groups["model"], model.state_dict())
        assert best.exists() and len(RunState.read(state).history) == row.epoch
        seen.append((row, sq.evaluate(model, sets[1]).loss))

    model = fresh()
    history = sq.train(model, *sets, **FEW, checkpoint=best, state=state, on_epoch=look)
    assert [r for r, _ in seen] == history.rows
    assert [loss for _, loss in seen] == [r.valid_loss for r in history]
    plain = fresh()
    sq.train(plain, *sets, **FEW)
    assert same(plain.state_dict(), model.state_dict())


class Enough(Exception):
    """Of a callback."""


def test_what_on_epoch_raises_ends_training_and_loses_nothing(sets, tmp_path):
    def raise_it(row, model):
        if row.epoch == 2:
            raise Enough

    state, model, whole = tmp_path / "state", fresh(), fresh()
    with pytest.raises(Enough):
        sq.train(model, *sets, **FEW, state=state, on_epoch=raise_it)
    assert len(RunState.read(state).history) == 2
    resumed = fresh(seed=5)
    assert len(sq.train(resumed, *sets, **FEW, resume=state)) == 3
    sq.train(whole, *sets, **FEW)
    assert same(resumed.state_dict(), whole.state_dict())


def test_on_epoch_may_press_ctrl_c(sets):
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        press = lambda *_: signal.raise_signal(signal.SIGINT)  # noqa: E731
        history = sq.train(fresh(), *sets, **FEW, on_epoch=press)
    finally:
        signal.signal(signal.SIGINT, former)
    assert history.interrupted and len(history) == 1


def test_on_epoch_must_not_change_the_model(sets, tmp_path):
    def spoil(row, model):
        model.load_state_dict(fresh(seed=9).state_dict())

    model, state = fresh(), tmp_path / "state"
    with pytest.raises(ValueError, match="on_epoch has changed the weights of the model"):
        sq.train(model, *sets, **FEW, state=state, on_epoch=spoil)
    assert same(RunState.read(state).groups["model"], model.state_dict())


# -- For longer ------------------------------------------------------------------------------------


def test_a_cosine_run_is_resumed_for_longer_with_a_warning(sets, tmp_path):
    state = tmp_path / "state"
    sq.train(fresh(), *sets, **FEW, state=state)
    longer = {**FEW, "epochs": 5}
    model = fresh()
    with pytest.warns(UserWarning, match="begun for 3 epochs and is resumed for 5: from here on"):
        history = sq.train(model, *sets, **longer, resume=state, stop=stop_after(4))
    assert history.interrupted and len(history) == 4
    recipe, steps = sq.Recipe(), -(-len(sets[0]) // 8)
    expected = [recipe.rate(n * steps - 1, steps, 3 if n <= 3 else 5) for n in range(1, 5)]
    assert [r.lr for r in history] == expected
    with warnings.catch_warnings():  # it is a run of 5 now
        warnings.simplefilter("error")
        assert len(sq.train(model, *sets, **longer, resume=state)) == 5


def stop_after(steps_and_validations):
    """Of three steps an epoch: in the epoch after next."""
    left = [steps_and_validations + 1]

    def stop():
        left[0] -= 1
        return left[0] == 0

    return stop


def test_the_command_does_not_forget_for_how_long(folder, tmp_path, monkeypatch):
    """Killed within the longer run, of which args.yaml says nothing yet."""
    run = tmp_path / "run"
    given = ["--batch-size", "8", "--image-size", "64", "--monitor", "auc"]
    assert main(["train", str(folder), "--epochs", "1", *given, "--out", str(run)]) == 0

    class Killed(BaseException):
        """As by kill -9: nobody tidies up."""

    def kill(self):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("squeezenet_c.training.keeper.Keeper.keep_best", kill)
        main(["train", "--resume", str(run), "--epochs", "3"])
    assert "epochs: 1\n" in (run / "args.yaml").read_text()
    assert main(["train", "--resume", str(run)]) == 0
    assert "epochs: 3\n" in (run / "args.yaml").read_text()
    assert len((run / "results.csv").read_text().splitlines()) == 4
