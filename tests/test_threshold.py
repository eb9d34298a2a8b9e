"""The decision threshold: how it is chosen, on which pictures, and where it is kept."""

from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.data.marks import MOST_MARKS, add_marks, recognised
from squeezenet_c.inference.metrics import threshold_at

SIZE = 48
NORMAL, ATROPHY = sq.synthetic.CLASS_NAMES


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures to train on, others, and a model of the former in a run's folder."""
    home = tmp_path_factory.mktemp("threshold")
    sq.synthetic.write(home / "train", 16, seed=0, size=SIZE)
    sq.synthetic.write(home / "other", 12, seed=1, size=SIZE + 2)
    model = sq.Model(seed=1, image_size=SIZE, base_e=32, incr_e=32)
    sq.train(model, sq.Dataset.from_folder(home / "train"), epochs=3, batch_size=4, progress=False)
    (home / "run" / "weights").mkdir(parents=True)
    model.save(home / "run" / "weights" / "best.safetensors")
    return home


def test_thresholds_of_a_wanted_share() -> None:
    random = np.random.default_rng(0)
    positive = np.arange(60) % 3 == 0
    scores = (random.normal(0, 1, 60) + positive).round(1)
    scores = (scores - scores.min() + 0.05) / (np.ptp(scores) + 0.1)
    for share in (0.05, 0.5, 0.9, 0.95, 1.0):
        for name, side in (("sensitivity", positive), ("specificity", ~positive)):
            found = threshold_at(positive, scores, **{name: share})
            assert 0 < found < 1 and found not in scores
            called = scores >= found
            reached = (called if name == "sensitivity" else ~called)[side].mean()
            assert reached >= share - 1e-12
            # One score further on the other share would be greater, and this one is no longer.
            steps = np.unique(scores[scores > found] if name == "sensitivity" else scores[~called])
            if len(steps) and share < 1:
                called = scores > steps[0] if name == "sensitivity" else scores >= steps[-1]
                assert (called if name == "sensitivity" else ~called)[side].mean() < share


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "expected one of them"),
        ({"sensitivity": 0.5, "specificity": 0.5}, "expected one of them"),
        ({"sensitivity": 0}, "sensitivity is 0, expected more than 0"),
        ({"specificity": 1.5}, "specificity is 1.5"),
        ({"specificity": float("nan")}, "specificity is nan"),
    ],
)
def test_no_shares(wanted: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        threshold_at([True, False], [0.9, 0.1], **wanted)
    with pytest.raises(ValueError, match="both classes"):
        threshold_at([True, True], [0.9, 0.1], sensitivity=0.5)
    with pytest.raises(ValueError, match="no threshold between 0 and 1 has a specificity of 1"):
        threshold_at([True, False], [0.1, 1.0], specificity=1.0)


def test_the_command(home: Path, tmp_path: Path, capsys) -> None:
    other, run = str(home / "other"), str(home / "run")
    before = (home / "run" / "weights" / "best.safetensors").read_bytes()
    for wanted in (["--sensitivity", "1"], ["--specificity", "0.9"], ["--youden"], []):
        out = str(tmp_path / "model.safetensors")
        assert main(["threshold", run, other, "--out", out, *wanted]) == 0
        model, printed = sq.Model.load(out), capsys.readouterr().out
        assert f"Threshold: {model.threshold:.4f} of {NORMAL}, in {out}" in printed
        found = sq.evaluate(model, sq.Dataset.from_folder(other))
        assert f"sensitivity {found.sensitivity:.4f}" in printed
        if wanted[:1] == ["--sensitivity"]:
            assert found.sensitivity == 1
        if wanted[:1] == ["--specificity"]:
            assert found.specificity >= 0.9
    assert main(["threshold", run, other, "--out", out, "--positive", ATROPHY]) == 0
    assert sq.Model.load(out).positive == 0
    assert (home / "run" / "weights" / "best.safetensors").read_bytes() == before
    assert main(["threshold", out, other, "--sensitivity", "1"]) == 0  # into MODEL
    assert sq.evaluate(sq.Model.load(out), sq.Dataset.from_folder(other)).sensitivity == 1
    with pytest.raises(SystemExit):
        main(["threshold", out, other, "--sensitivity", "1", "--youden"])
    sq.Model.load(out).export(tmp_path / "model.pth")
    capsys.readouterr()
    assert main(["threshold", str(tmp_path / "model.pth"), other]) == 1
    assert "a PyTorch file is not written anew" in capsys.readouterr().err


def test_training_pictures_are_refused(home: Path, tmp_path: Path, capsys) -> None:
    moved = tmp_path / "moved"
    sq.synthetic.write(moved, 16, seed=0, size=SIZE)
    for name in (NORMAL, ATROPHY):  # among others
        for picture in (home / "other" / name).iterdir():
            (moved / name / f"other{picture.name}").write_bytes(picture.read_bytes())
    assert main(["threshold", str(home / "run"), str(moved), "--out", str(tmp_path / "m")]) == 1
    assert "was trained on 16 of its 28 pictures" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_set_of_parts_gives_its_validation_part(home: Path, tmp_path: Path, capsys) -> None:
    for part, seed in (("train", 0), ("val", 2), ("test", 3)):
        sq.synthetic.write(tmp_path / "set" / part, 4, seed=seed, size=SIZE + seed)
    (tmp_path / "set" / "val" / NORMAL / "bad.png").write_bytes(b"")
    command = ["threshold", str(home / "run"), str(tmp_path / "set"), "--out", str(tmp_path / "m")]
    assert main(command) == 1
    assert "bad.png" in capsys.readouterr().err
    assert main([*command, "--skip-bad", "--sensitivity", "0.5"]) == 0
    assert main([*command, "--split", "test", "--sensitivity", "0.5"]) == 0
    assert main([*command, "--split", "train"]) == 1  # drawn as those it was trained on


def test_evaluate_names_the_command(home: Path, capsys) -> None:
    data = str(home / "other")
    with pytest.raises(SystemExit) as raised:
        main(["evaluate", str(home / "run"), data, "--threshold-from", data])
    assert raised.value.code == 2
    assert "squeezenet-c threshold MODEL DATA" in capsys.readouterr().err


# -- Marks of training pictures --------------------------------------------------------------------


def test_marks_travel_and_are_a_sample_of_many(home: Path, tmp_path: Path) -> None:
    model = sq.Model.load(home / "run")
    training = sq.Dataset.from_folder(home / "train")
    assert len(model.trained_on) == 16 and recognised(model.trained_on, training) == training.paths
    assert recognised(model.trained_on, sq.Dataset.from_folder(home / "other")) == []
    assert model.copy().trained_on == model.trained_on
    paths = []
    for index in range(3 * MOST_MARKS):
        paths.append(tmp_path / f"{index}.png")
        paths[-1].write_bytes(b"")
    many = sq.Dataset(paths, [0] * len(paths))
    marks = add_marks(model.trained_on, many)
    assert len(marks) == MOST_MARKS == len(set(marks))
    assert recognised(marks, many.subset(range(0, len(paths), 10)))
    paths[0].unlink()
    assert add_marks((), many.subset([0])) == ()


def test_a_resumed_run_knows_what_its_weights_learnt_from_before(
    home: Path, tmp_path: Path
) -> None:
    model = sq.Model.from_pretrained(home / "run")
    other = sq.Dataset.from_folder(home / "other")
    sq.train(model, other, epochs=1, batch_size=4, progress=False, state=tmp_path / "state")
    assert len(model.trained_on) == 28
    again = sq.Model.load(home / "run")
    again.trained_on = ()
    sq.train(
        again,
        other,
        epochs=1,
        batch_size=4,
        progress=False,
        resume=tmp_path / "state",
        recipe=sq.Recipe.fine_tuning(),
    )
    assert again.trained_on == model.trained_on
