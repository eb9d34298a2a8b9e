"""A stopped run goes on as if it had not been stopped, to the last bit; another run is refused."""

import argparse
import json
import signal
import warnings

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.base.earlier import EARLIER
from squeezenet_c.cli import main
from squeezenet_c.cli.arguments import begun_with, check_network
from squeezenet_c.cli.options import SHAPES, add_train_options
from squeezenet_c.training.resume import RunState

QUIET = {"progress": False}
# All that a schedule, the optimizer and the loss could have to remember.
EVERYTHING = {
    "epochs": 4,
    "batch_size": 7,
    "seed": 3,
    "freeze": 1,
    "body_lr_scale": 0.5,
    "weight_decay": 0.05,
    "label_smoothing": 0.1,
    "class_weights": "balanced",
    "recipe": sq.Recipe(1e-3, 0.5, schedule="plateau", factor=0.5, patience=0),
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    dataset = sq.synthetic.write(tmp_path_factory.mktemp("pictures"), 32, size=64)
    return dataset.at_size(64).split(0.33)


def fresh(**options):
    return sq.Model("1_1", 2, **{"seed": 1, "image_size": 64, **options})


def press_ctrl_c(monkeypatch, after):
    """A real SIGINT when the training set yields its `after`-th batch from now on."""
    left = [after]
    batches = sq.Dataset.batches

    def interrupted(self, batch_size, order=None, *own):
        for item in batches(self, batch_size, order, *own):
            if own:  # as training says which are its own
                left[0] -= 1
                if left[0] == 0:
                    signal.raise_signal(signal.SIGINT)
            yield item

    monkeypatch.setattr(sq.Dataset, "batches", interrupted)


@pytest.fixture(autouse=True)
def sigint_is_an_exception():
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def same(one, other):
    return all(np.array_equal(value, other[name]) for name, value in one.items())


def courses(history):
    return [(r.epoch, r.train_loss, r.train_acc, r.valid_loss, r.valid_acc, r.lr) for r in history]


@pytest.mark.parametrize(
    "options, stops",
    [
        (EVERYTHING, (9, 1)),  # three batches an epoch: the last of the third, the very first
        (EVERYTHING | {"recipe": None, "valid_fraction": 0.3}, (8,)),
    ],
    ids=["plateau", "cosine, held out"],
)
def test_the_resumed_run_is_the_run(sets, tmp_path, monkeypatch, options, stops):
    whole = fresh()
    straight = sq.train(whole, *sets, **options, checkpoint=tmp_path / "whole", **QUIET)
    state, best = tmp_path / "last.state", tmp_path / "best"
    for stop in stops:
        with monkeypatch.context() as patch:
            press_ctrl_c(patch, stop)
            stopped = sq.train(fresh(), *sets, **options, checkpoint=best, state=state, **QUIET)
        assert stopped.interrupted and len(stopped) < 4
        best.unlink(missing_ok=True)
        resumed = fresh(seed=77)
        history = sq.train(resumed, *sets, **options, checkpoint=best, resume=state, **QUIET)
        assert not history.interrupted and courses(history) == courses(straight)
        assert same(resumed.state_dict(), whole.state_dict())
        assert best.read_bytes() == (tmp_path / "whole").read_bytes()
        if "valid_fraction" in options:
            assert history.held_out.to_dict() == straight.held_out.to_dict()


def test_a_run_that_is_asked_to_stop(sets, tmp_path):
    """At each of the places where it asks, and again where it has been resumed: three steps and a
    validation an epoch."""
    options = {**EVERYTHING, "epochs": 2, "batch_size": 8, **QUIET}
    whole, state, best = fresh(), tmp_path / "state", tmp_path / "best"
    asked = []
    stop = lambda: asked.append(1) or False  # noqa: E731
    straight = sq.train(whole, *sets, **options, checkpoint=tmp_path / "whole", stop=stop)
    assert len(asked) == 2 * (3 + 1)

    def stop_at(place):
        left = [place]

        def stop():
            left[0] -= 1
            return left[0] == 0

        return stop

    for place in range(1, len(asked) + 1):
        files = {"checkpoint": best, "state": state}
        stopped = sq.train(fresh(), *sets, **options, **files, stop=stop_at(place))
        assert stopped.interrupted and len(stopped) == (place - 1) // 4
        assert RunState.read(state).begun.steps == (place - 1) % 4
        resume = {"checkpoint": best, "resume": state}
        if place > 1:
            again = sq.train(fresh(), *sets, **options, **resume, stop=stop_at(2))
            assert again.interrupted == (place < len(asked))
        resumed = fresh(seed=77)
        history = sq.train(resumed, *sets, **options, **resume)
        assert not history.interrupted and courses(history) == courses(straight)
        assert same(resumed.state_dict(), whole.state_dict())
        assert best.read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_begun_epoch_that_cannot_be(sets, tmp_path):
    options = {"epochs": 1, "batch_size": 8, **QUIET}
    state = tmp_path / "state"
    sq.train(fresh(), *sets, **options, state=state)
    tensors, metadata = core.read_safetensors(str(state))
    good = {"steps": 3, "loss_sum": 5.0, "weight_sum": 22.0, "correct": 3}
    for change, words in (
        ({"steps": 4}, "an epoch of 3 steps that was stopped after 4"),
        ({"weight_sum": 0.0}, "an epoch of 3 steps that was stopped after 3"),
        ({"steps": -1}, "begun has steps -1"),
        ({"steps": 0.5}, "steps is a float"),
        ({"speed": 1}, "speed"),
    ):
        begun = metadata | {"squeezenet_c.state": "2", "begun": json.dumps(good | change)}
        core.write_safetensors(str(state), tensors, begun)
        with pytest.raises(sq.BadFileError, match=words):
            sq.train(fresh(), *sets, **options, resume=state)


def test_plateau_and_early_stopping_count_over_the_stop(sets, tmp_path, monkeypatch):
    recipe = sq.Recipe(1e-30, 0, schedule="plateau", factor=0.5, patience=1)  # nothing gets better
    options = {"epochs": 9, "batch_size": 8, "early_stopping": 5, "recipe": recipe, **QUIET}
    state = tmp_path / "last.state"
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, 8)  # in the third of its epochs, where plateau has counted to 1
        stopped = sq.train(fresh(), *sets, **options, state=state)
    assert stopped.interrupted and len(stopped) == 2
    for _ in range(2):  # the second time it has nothing to do
        history = sq.train(fresh(), *sets, **options, resume=state)
        assert history.best.epoch == 1
        assert [row.lr for row in history] == pytest.approx(
            [r * 1e-30 for r in (1, 1, 1, 0.5, 0.5, 0.25)], abs=0
        )


def test_more_epochs_where_the_schedule_does_not_know_their_number(sets, tmp_path):
    options = {"batch_size": 8, "recipe": sq.Recipe(schedule="constant"), **QUIET}
    whole, parts = fresh(), fresh()
    sq.train(whole, *sets, epochs=3, **options)
    sq.train(parts, *sets, epochs=2, state=tmp_path / "a", **options)
    history = sq.train(parts, *sets, epochs=3, resume=tmp_path / "a", **options)
    assert len(history) == 3 and same(parts.state_dict(), whole.state_dict())


@pytest.fixture(scope="module")
def begun(sets, tmp_path_factory):
    state = tmp_path_factory.mktemp("run") / "last.state"
    options = {"epochs": 2, "batch_size": 8, "lr": 1e-3}
    sq.train(fresh(), *sets, **options, state=state, **QUIET)
    return state, options


@pytest.mark.parametrize(
    "other, words",
    [
        ({"batch_size": 4}, "batch_size is 4, expected 8"),
        ({"lr": 2e-3}, "lr is 0.002, expected 0.001"),
        ({"recipe": sq.Recipe(schedule="step")}, "schedule is 'step', expected 'cosine'"),
        ({"seed": 1}, "seed is 1, expected 0"),
        ({"augment": False}, "augment is 'none', expected 'flips'"),
        ({"augment": "flips,hue=0.1"}, "augment is 'hue=0.1,.*', expected 'flips'"),
        ({"early_stopping": 4}, "early_stopping is 4, expected None"),
        ({"valid_fraction": 0.5}, "valid_fraction is 0.5, expected None"),
        ({"freeze": "features"}, "freeze is 'features', expected None"),
        ({"body_lr_scale": 0.1}, "body_lr_scale is 0.1, expected 1.0"),
        ({"weight_decay": 0.1}, "weight_decay is 0.1, expected 0.0"),
        ({"label_smoothing": 0.1}, "label_smoothing is 0.1, expected 0.0"),
        ({"class_weights": [1, 2]}, r"class_weights is \[1.0, 2.0\], expected None"),
        ({"model": fresh(bypass="simple")}, "bypass is 'simple', expected None"),
        ({"model": fresh(image_size=96)}, "image_size is 96, expected 64"),
    ],
)
def test_another_run_is_refused(sets, begun, other, words):
    state, options = begun
    before = state.read_bytes()
    arguments = {"model": fresh(), "train": sets[0], "valid": sets[1], **options, **other}
    weights = arguments["model"].state_dict()
    with pytest.raises(ValueError, match=f"{words}, with which the run in .*last.state was begun"):
        sq.train(**arguments, resume=state, **QUIET)
    assert same(arguments["model"].state_dict(), weights) and state.read_bytes() == before


def test_other_pictures_are_refused(sets, begun):
    state, options = begun
    with pytest.raises(ValueError, match="train is '20 pictures .* expected '22 pictures"):
        sq.train(fresh(), sets[0].subset(np.arange(20)), sets[1], **options, resume=state, **QUIET)
    with pytest.raises(ValueError, match="valid is None, expected '10 pictures"):
        sq.train(fresh(), sets[0], **options, resume=state, **QUIET)


def test_what_is_no_state(sets, begun, tmp_path):
    state, options = begun
    fresh().save(tmp_path / "model")
    (tmp_path / "text").write_text("epoch 3")
    tensors, metadata = core.read_safetensors(str(state))

    def written(name, tensors, metadata):
        core.write_safetensors(str(tmp_path / name), tensors, metadata)
        return tmp_path / name

    fewer = {name: tensor for name, tensor in tensors.items() if name != "model.features.0.bias"}
    bytes_ = {"exp_avg.features.0.bias": np.zeros(64, np.int8)}
    rows = json.loads(metadata["history"])
    rows["rows"][0]["speed"] = 1
    for path, error, words in (
        (tmp_path / "none", FileNotFoundError, "none"),
        (tmp_path, FileNotFoundError, "last.state"),
        (tmp_path / "text", sq.BadFileError, "text"),
        (tmp_path / "model", sq.BadFileError, "this is no state of a run"),
        (written("a", fewer, metadata), sq.BadFileError, "no tensor 'features.0.bias'"),
        (written("b", tensors, metadata | {"history": "[]"}), sq.BadFileError, "no run's state"),
        (written("c", tensors, metadata | {"optimizer": "{"}), sq.BadFileError, "no run's state"),
        (
            written("d", tensors, metadata | {"history": json.dumps(rows)}),
            sq.BadFileError,
            "no run's state .*speed",
        ),
        (
            written("e", tensors, metadata | {"squeezenet_c.state": "3"}),
            sq.BadFileError,
            "format is '3'; expected one of format '1' or '2'",
        ),
        (
            written("f", tensors | bytes_, metadata),
            sq.BadFileError,
            "features.0.bias has the dtype int8, expected float32",
        ),
    ):
        model = fresh()
        with pytest.raises(error, match=words):
            sq.train(model, *sets, **options, resume=path, **QUIET)
        assert same(model.state_dict(), fresh().state_dict())


def test_a_state_that_cannot_be_written_is_said_before_any_work(sets, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        sq.train(fresh(), *sets, epochs=1, state=tmp_path / "none" / "state", **QUIET)


def test_another_machine_is_a_warning(sets, begun, tmp_path):
    state, options = begun
    tensors, metadata = core.read_safetensors(str(state))
    elsewhere = metadata | {"machine": json.dumps({"backend": "onednn", "isa": "avx1024"})}
    core.write_safetensors(str(tmp_path / "state"), tensors, elsewhere)
    with pytest.warns(UserWarning, match="computed by onednn with avx1024 and is resumed by"):
        sq.train(fresh(), *sets, **options, resume=tmp_path / "state", **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sq.train(fresh(), *sets, **options, resume=state, **QUIET)


def test_a_state_makes_its_model(sets, begun):
    state, options = begun
    model = fresh()
    sq.train(model, *sets, **options, resume=state, **QUIET)
    made = RunState.read(state).new_network(sq.Model)
    assert same(made.state_dict(), model.state_dict())
    assert (made.spec, made.preprocessing) == (model.spec, model.preprocessing)
    assert made.class_names == model.class_names


def test_a_state_from_before_a_field_was_added_to_the_spec(sets, begun, tmp_path, monkeypatch):
    state, options = begun
    tensors, metadata = core.read_safetensors(str(state))
    arguments = json.loads(metadata["arguments"])
    del arguments["freq"]
    old = metadata | {"arguments": json.dumps(arguments)}
    core.write_safetensors(str(tmp_path / "state"), tensors, old)
    with pytest.raises(ValueError, match="freq is 2, expected None"):
        sq.train(fresh(), *sets, **options, resume=tmp_path / "state", **QUIET)
    monkeypatch.setitem(EARLIER, "freq", 2)
    sq.train(fresh(), *sets, **options, resume=tmp_path / "state", **QUIET)
    assert RunState.read(tmp_path / "state").new_network(sq.Model).spec["freq"] == 2


def test_options_from_before_one_was_added(tmp_path, monkeypatch):
    (tmp_path / "args.yaml").write_text("bypass: null\nfinal_relu: false\n", encoding="utf-8")
    options = argparse.Namespace(
        out=None,
        resume=str(tmp_path),
        arch="1_1",
        bypass=None,
        final_relu=False,
        pretrained=None,
        overwrite=False,
        parser=argparse.ArgumentParser(),
        **dict.fromkeys(SHAPES),
    )
    add_train_options(options.parser)
    with pytest.raises(ValueError, match="--arch is '1_1', expected None"):
        check_network(options, begun_with(options))
    monkeypatch.setitem(EARLIER, "arch", "1_1")
    check_network(options, begun_with(options))


def test_a_state_of_empty_tensors_asks_for_no_memory(begun, tmp_path):
    tensors, metadata = core.read_safetensors(str(begun[0]))
    arguments = json.loads(metadata["arguments"]) | {"base_e": 65536, "squeeze_ratio": 1.0}
    tensors["model.features.3.squeeze.weight"] = np.zeros((65536, 0), np.float32)
    metadata["arguments"] = json.dumps(arguments)
    core.write_safetensors(str(tmp_path / "state"), tensors, metadata)
    message = r"state: features\.3\.squeeze\.weight has the shape \[65536, 0\], expected"
    with pytest.raises(sq.BadFileError, match=message):
        RunState.read(tmp_path / "state").new_network(sq.Model)


# -- The command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures and a model of their size to start from."""
    home = tmp_path_factory.mktemp("cli")
    sq.synthetic.write(home / "pictures", 16, size=64)
    sq.Model("1_1", 3, seed=4, image_size=64).save(home / "start.safetensors")
    return home


def command(home, out, *more):
    given = "--epochs 3 --batch-size 4 --freeze features.0,features.3 --body-lr-scale 0.1"
    given += " --weight-decay 0.01 --label-smoothing 0.1 --class-weights 1,2 --schedule step"
    given += " --step-epochs 1 --factor 0.5 --warmup-epochs 0 --pretrained"
    data = str(home / "pictures")
    start = str(home / "start.safetensors")
    return ["train", data, *given.split(), start, "--out", str(out), *more]


def test_resume_at_the_command_line(pictures, tmp_path, monkeypatch, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(command(pictures, whole)) == 0
    first = sq.Model.load(pictures / "start.safetensors").state_dict()
    last = sq.Model.load(whole / "weights" / "last.safetensors").state_dict()
    for name in ("features.0.weight", "features.3.squeeze.bias", "features.4.squeeze.weight"):
        frozen = not name.startswith("features.4")
        assert np.array_equal(first[name], last[name]) == frozen
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, 6)
        assert main(command(pictures, stopped)) == 1
    assert f"to resume it: squeezenet-c train --resume {stopped}" in capsys.readouterr().err
    arguments = (stopped / "args.yaml").read_text()
    for other, words in (
        (["--batch-size", "8"], "batch_size is 8, expected 4"),
        (["--arch", "1_0"], "--arch is '1_0', expected '1_1'"),
        (["--freeze", "2"], r"freeze is 2, expected ['features.0', 'features.3']"),
    ):
        assert main(["train", "--resume", str(stopped), *other]) == 1
        assert words in capsys.readouterr().err
        assert (stopped / "args.yaml").read_text() == arguments
    assert main(["train", "--resume", str(stopped)]) == 0
    for name in ("last.safetensors", "best.safetensors", "last.state"):
        mine, theirs = (run / "weights" / name for run in (stopped, whole))
        if name.endswith("state"):  # times differ
            mine, theirs = (core.read_safetensors(str(path))[0] for path in (mine, theirs))
            assert mine.keys() == theirs.keys() and same(mine, theirs)
        else:
            assert mine.read_bytes() == theirs.read_bytes()
    lr = sq.Recipe.fine_tuning().lr
    rows = [line.split(",")[:6] for line in (stopped / "results.csv").read_text().splitlines()]
    assert rows == [
        line.split(",")[:6] for line in (whole / "results.csv").read_text().splitlines()
    ]
    assert [float(row[5]) for row in rows[1:]] == pytest.approx([lr, lr / 2, lr / 4])


def test_a_run_begun_before_an_option_is_resumed(pictures, tmp_path, monkeypatch):
    """As if label_smoothing were new, with 0.1 for what runs did before."""
    run = tmp_path / "run"
    assert main(command(pictures, run, "--epochs", "1")) == 0
    state = run / "weights" / "last.state"
    tensors, metadata = core.read_safetensors(str(state))
    arguments = json.loads(metadata["arguments"])
    assert arguments.pop("label_smoothing") == 0.1
    core.write_safetensors(str(state), tensors, metadata | {"arguments": json.dumps(arguments)})
    lines = (run / "args.yaml").read_text().splitlines(keepends=True)
    (run / "args.yaml").write_text("".join(x for x in lines if "label_smoothing" not in x))
    resume = ["train", "--resume", str(run), "--epochs", "2"]
    assert main(resume) == 1
    monkeypatch.setitem(EARLIER, "label_smoothing", 0.1)
    assert main(resume) == 0


def test_more_epochs_at_the_command_line(pictures, tmp_path):
    run = tmp_path / "run"
    assert main(command(pictures, run, "--epochs", "1")) == 0
    assert main(["train", "--resume", str(run), "--epochs", "2"]) == 0
    assert "epochs: 2\n" in (run / "args.yaml").read_text()
    assert len((run / "results.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--resume", "a", "--out", "b"],
        ["train", "a", "--class-weights", "1,x"],
        ["train", "a", "--schedule", "linear"],
    ],
)
def test_wrong_usage(arguments):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2


def test_nothing_to_resume(tmp_path, capsys):
    assert main(["train", "--resume", str(tmp_path)]) == 1
    assert "args.yaml" in capsys.readouterr().err
    (tmp_path / "args.yaml").write_text("epochs: two\n")
    assert main(["train", "--resume", str(tmp_path)]) == 1
    assert "epochs is 'two': two found, a whole number" in capsys.readouterr().err
