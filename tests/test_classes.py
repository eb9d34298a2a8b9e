"""Classes have names, an order and a positive one, and they travel with the model."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq

SIZE = 64
NORMAL, ATROPHY = sq.synthetic.CLASS_NAMES


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of both classes, and a model, hardly trained, whose class 0 is "atrophy"."""
    home = tmp_path_factory.mktemp("classes")
    sq.synthetic.write(home / "pictures", 24, size=SIZE)
    model = sq.Model(seed=1, image_size=SIZE, base_e=32, incr_e=32)
    dataset = sq.Dataset.from_folder(home / "pictures")
    sq.train(model, dataset, epochs=3, batch_size=4, progress=False, positive=ATROPHY)
    model.save(home / "model.safetensors")
    return home


# -- The positive class ----------------------------------------------------------------------------


def test_the_positive_class_travels(home: Path, tmp_path: Path) -> None:
    model = sq.Model.load(home / "model.safetensors")
    assert model.class_names == (ATROPHY, NORMAL) and model.positive == 0
    assert model.copy().positive == 0
    model.export(tmp_path / "model.onnx")
    model.export(tmp_path / "model.safetensors")
    assert sq.Model.load(tmp_path / "model.safetensors").positive == 0
    fresh = sq.Model(class_names=["no", "yes"], positive="no")
    assert fresh.positive == 0 and sq.Model().positive == 1
    assert sq.Model(num_classes=3).positive is None


def test_files_without_a_positive_class_mean_class_1(home: Path, tmp_path: Path) -> None:
    from squeezenet_c._native import core
    from squeezenet_c.files.native import metadata_of

    model = sq.Model.load(home / "model.safetensors")
    metadata = metadata_of(model)
    path = str(tmp_path / "old.safetensors")
    for positive, expected in ((None, 1), ("1", 1), ("0", 0)):
        said = {} if positive is None else {"positive": positive}
        others = {key: value for key, value in metadata.items() if key != "positive"}
        core.write_safetensors(path, model.state_dict(), others | said)
        assert sq.Model.load(path).positive == expected
    for positive in ("2", '"synthetic normal"', "true", "[]"):
        core.write_safetensors(path, model.state_dict(), metadata | {"positive": positive})
        with pytest.raises(sq.BadFileError, match="positive"):
            sq.Model.load(path)


@pytest.mark.parametrize("positive", ["maybe", 2, True, 0.5])
def test_no_such_class(positive: object) -> None:
    with pytest.raises(ValueError, match="positive is .* expected 'no', 'yes', 0 or 1"):
        sq.Model(class_names=["no", "yes"], positive=positive)
    with pytest.raises(ValueError, match="a positive class of 3 classes"):
        sq.Model(num_classes=3, positive=1)


def test_figures_are_about_the_positive_class(home: Path, tmp_path: Path) -> None:
    model = sq.Model.load(home / "model.safetensors")
    dataset = sq.Dataset.from_folder(home / "pictures")
    found = sq.evaluate(model, dataset)
    matrix = found.confusion_matrix
    assert found.sensitivity == matrix[0, 0] / matrix[0].sum()
    assert found.specificity == matrix[1, 1] / matrix[1].sum()
    assert f"positive     {ATROPHY}" in str(found)
    model.positive = NORMAL
    other = sq.evaluate(model, dataset)
    assert (other.sensitivity, other.specificity) == (found.specificity, found.sensitivity)
    assert other.auc == pytest.approx(found.auc)

    model.positive = 0
    report = sq.report(model, dataset, tmp_path / "report", resamples=20)
    assert report.figures["sensitivity"].value == found.sensitivity
    assert report.figures["auc"].value == pytest.approx(found.auc)
    written = json.loads((tmp_path / "report" / "metrics.json").read_text("utf-8"))
    assert written["positive"] == 0
    page = (tmp_path / "report" / "index.html").read_text("utf-8")
    assert f"The positive class is {ATROPHY}" in page


def test_the_threshold_is_of_the_positive_class(home: Path) -> None:
    model = sq.Model.load(home / "model.safetensors")
    dataset = sq.Dataset.from_folder(home / "pictures")
    threshold = sq.choose_threshold(model, dataset)
    scores = sq.predict_proba(model, dataset)[:, 0]
    expected = np.where(scores >= threshold, 0, 1)
    assert [answer.label for answer in sq.predict(model, dataset)] == expected.tolist()
    found = sq.evaluate(model, dataset)
    assert found.sensitivity == (expected[dataset.labels == 0] == 0).mean()
    answer = sq.explain(model, dataset.paths[0])
    assert answer.label == expected[0]
    model.positive = 1  # the threshold was for the other one
    assert model.threshold is None


def test_the_challenges_table_is_of_its_classes(home: Path, tmp_path: Path) -> None:
    """The risk in it is that of pathologic myopia, whatever its number and the positive class."""
    model = sq.Model.load(home / "model.safetensors")
    paths = sq.Dataset.from_folder(home / "pictures").paths
    labels = [index % 2 for index in range(len(paths))]
    sq.report(model, sq.Dataset(paths, labels), tmp_path / "a", resamples=20)
    assert not (tmp_path / "a" / "Classification_Results.csv").exists()
    model.class_names = sq.palm.CLASS_NAMES[::-1]
    sq.report(model, sq.Dataset(paths, labels), tmp_path / "b", resamples=20)
    with open(tmp_path / "b" / "Classification_Results.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    risks = sq.predict_proba(model, paths)[:, 0]
    assert [float(row["PM Risk"]) for row in rows] == pytest.approx(risks.tolist(), abs=1e-6)
    assert [row["FileName"] for row in rows] == [Path(path).name for path in paths]


def test_a_resumed_run_keeps_it(home: Path, tmp_path: Path) -> None:
    from squeezenet_c.training.resume import RunState

    dataset = sq.Dataset.from_folder(home / "pictures")
    model = sq.Model(seed=1, image_size=SIZE, base_e=32, incr_e=32)
    sq.train(
        model, dataset, epochs=1, batch_size=12, progress=False, positive=0, state=tmp_path / "s"
    )
    assert RunState.read(tmp_path / "s").new_network(sq.Model).positive == 0
