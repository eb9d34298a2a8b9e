"""Cross-validation: who is judged by whom, its table and files, and how it is resumed."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.data.splits import deal_folds
from squeezenet_c.training import cross_validation

OPTIONS = {"folds": 3, "epochs": 2, "batch_size": 8, "valid_fraction": 0.25, "progress": False}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> sq.Dataset:
    """30 drawn pictures, three a person."""
    made = sq.synthetic.write(tmp_path_factory.mktemp("drawn"), 30, size=64)
    return sq.Dataset(made.paths, made.labels, ["no", "yes"], groups=np.arange(30) // 3)


@pytest.fixture(scope="module")
def model() -> sq.Model:
    return sq.Model(base_e=16, incr_e=16, image_size=64)


@pytest.fixture(scope="module")
def whole(
    model: sq.Model, dataset: sq.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[sq.CrossValidation, Path]:
    """One that nothing happened to, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return sq.cross_validate(model, dataset, folder=folder, **OPTIONS), folder


def test_each_picture_is_judged_by_the_model_that_knows_nobody_of_its_fold(
    whole: tuple[sq.CrossValidation, Path], dataset: sq.Dataset
) -> None:
    found, folder = whole
    assert (found.fold == deal_folds(dataset.labels, dataset.groups, 3, 0) + 1).all()
    assert dataset.groups is not None
    for number in (1, 2, 3):
        best = sq.Model.load(folder / f"fold{number}" / "weights" / "best.safetensors")
        fold = dataset.subset(np.flatnonzero(found.fold == number))
        rest = dataset.subset(np.flatnonzero(found.fold != number))
        learnt, chosen_on = rest.split(0.25, 0)
        assert set(best.trained_on) == set(learnt.marks())
        sides = [set(part.groups) for part in (fold, learnt, chosen_on)]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 10
        expected = best.predict_proba(fold)
        np.testing.assert_allclose(found.probabilities[found.fold == number], expected, atol=1e-6)
        right = best.evaluate(fold)
        assert found.folds[number - 1]["accuracy"].value == right.accuracy
        assert found.folds[number - 1]["auc"].value == pytest.approx(right.auc)
    correct = found.predicted == dataset.labels
    assert found.pooled["accuracy"].value == correct.mean()
    assert found.mean("accuracy")[0] == pytest.approx(
        np.mean([correct[found.fold == number].mean() for number in (1, 2, 3)])
    )


def test_table_and_csv(whole: tuple[sq.CrossValidation, Path], tmp_path: Path) -> None:
    found, _ = whole
    lines = str(found).splitlines()
    assert lines[0].split() == ["fold", "pictures", *cross_validation.SHOWN]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "mean", "pooled"]
    pooled = found.pooled["accuracy"]
    assert f"{pooled.value:.4f} ({pooled.low:.4f} to {pooled.high:.4f})" in lines[-1]
    found.to_csv(tmp_path / "predictions.csv")
    with open(tmp_path / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == found.paths
    assert [float(row["probability yes"]) for row in rows] == found.probabilities[:, 1].tolist()
    assert [row["label"] for row in rows] == ["no", "yes"] * 15
    again = sq.Dataset.from_csv(tmp_path / "predictions.csv")
    assert again.groups is not None and again.groups.tolist() == found.groups.tolist()


def test_positive_class(whole: tuple[sq.CrossValidation, Path], dataset: sq.Dataset) -> None:
    found, folder = whole
    other = sq.Model(base_e=16, incr_e=16, image_size=64, class_names=["no", "yes"], positive="no")
    turned = sq.cross_validate(other, dataset, folder=folder, **OPTIONS)  # nothing is trained
    assert turned.pooled["sensitivity"] == found.pooled["specificity"]
    assert turned.pooled["auc"].value == pytest.approx(found.pooled["auc"].value)


@pytest.mark.parametrize("after", [1, 6])
def test_resumed(
    whole: tuple[sq.CrossValidation, Path],
    model: sq.Model,
    dataset: sq.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    """Stopped in the first fold and in the second; finished folds are not trained again."""
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > after

    stopped = sq.cross_validate(model, dataset, folder=tmp_path, stop=stop, **OPTIONS)
    assert stopped.interrupted and len(stopped.folds) == (0 if after == 1 else 1)
    assert (stopped.fold > 0).sum() == (0 if after == 1 else (whole[0].fold == 1).sum())
    steps = []
    step = sq.Adam.step
    monkeypatch.setattr(sq.Adam, "step", lambda self: (steps.append(1), step(self)))
    found = sq.cross_validate(model, dataset, folder=tmp_path, **OPTIONS)
    assert np.array_equal(found.probabilities, whole[0].probabilities)
    trained = len(steps)
    sq.cross_validate(model, dataset, folder=tmp_path, **OPTIONS)
    assert len(steps) == trained < 3 * 2 * 2 * 2
    with pytest.raises(ValueError, match="batch_size is 4, expected 8, with which the run in"):
        sq.cross_validate(model, dataset, folder=tmp_path, **{**OPTIONS, "batch_size": 4})


def test_without_a_selection_set_the_last_epoch_is_judged(dataset: sq.Dataset) -> None:
    def make() -> sq.Model:
        return sq.Model(base_e=16, incr_e=16, image_size=64)

    options = {**OPTIONS, "valid_fraction": None, "epochs": 1, "folds": 2}
    found = sq.cross_validate(make, dataset, groups=range(30), **options)
    rest, fold = dataset.with_groups(range(30)).folds(2)[1]
    network = make()
    sq.train(network, rest, epochs=1, batch_size=8, progress=False)
    np.testing.assert_allclose(
        found.probabilities[found.fold == 2], network.predict_proba(fold), atol=1e-6
    )
    with pytest.raises(ValueError, match="11 folds, expected a whole number from 2 to 10"):
        sq.cross_validate(make, dataset, **{**options, "folds": 11})


def test_the_command(
    dataset: sq.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "eyes.csv"
    few = dataset[:12]
    rows = zip(few.paths, few.labels, few.groups, strict=True)
    lines = [f"{path},{('no', 'yes')[label]},{group}" for path, label, group in rows]
    table.write_text("\n".join(["image,label,patient", *lines]) + "\n", encoding="utf-8")
    out = tmp_path / "run"
    command = ["cross-validate", str(table), "--folds", "2", "--epochs", "1", "--out", str(out)]
    assert main([*command, "--batch-size", "16"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Classes: 0 no (6 in folds); 1 yes, positive (6 in folds)"
    assert said[-2].startswith("pooled  12") and said[-1] == f"Written: {out / 'predictions.csv'}"
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["pictures"] == 12 and len(metrics["folds"]) == 2
    assert (out / "fold2" / "results.csv").exists()
    first = (out / "predictions.csv").read_bytes()
    assert main(command) == 1
    assert "fold1 holds an earlier run" in capsys.readouterr().err
    assert main(["cross-validate", "--resume", str(out)]) == 0
    assert (out / "predictions.csv").read_bytes() == first
    assert main([*command, "--overwrite", "--folds", "1"]) == 1
    assert "1 folds, expected a whole number from 2 to 4, the groups" in capsys.readouterr().err


def test_photographs(palm_folder: Path) -> None:
    """PALM says of no picture whose eye it is, so that its folds are stratified and not grouped."""
    training, _ = sq.palm.load(palm_folder)
    assert training.groups is None
    found = sq.cross_validate(
        sq.Model(image_size=64), training[::20], folds=2, epochs=1, progress=False
    )
    assert (found.fold > 0).all() and np.isfinite(found.probabilities).all()
    counts = [np.bincount(training[::20].labels[found.fold == fold]) for fold in (1, 2)]
    assert np.abs(counts[0] - counts[1]).max() <= 1
