"""Classes have names, an order and a positive one, and they travel with the model."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.data.marks import recognised

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
    assert f"positive          {ATROPHY}" in str(found)
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


# -- Names and their order -------------------------------------------------------------------------


def test_the_same_names_in_another_order_are_mapped(home: Path, tmp_path: Path) -> None:
    model = sq.Model.load(home / "model.safetensors")
    dataset = sq.Dataset.from_folder(home / "pictures")
    swapped = sq.Dataset.from_folder(home / "pictures", [NORMAL, ATROPHY])
    assert swapped.labels.tolist() == (1 - dataset.labels).tolist()
    expected = sq.evaluate(model, dataset)
    assert sq.evaluate(model, swapped) == expected
    report = sq.report(model, swapped, tmp_path / "r", training=swapped, resamples=20)
    assert report.summary == expected and report.labels.tolist() == dataset.labels.tolist()
    assert sq.choose_threshold(model, swapped) == sq.choose_threshold(model.copy(), dataset)
    only = sq.Dataset(dataset.paths[-2:], [0, 0], [NORMAL])
    assert sq.evaluate(model, only).confusion_matrix[0].sum() == 0

    # In training: the same bits whichever way they are numbered.
    def trained(valid: sq.Dataset, train: sq.Dataset) -> tuple:
        model = sq.Model(
            seed=1, image_size=SIZE, base_e=32, incr_e=32, class_names=[ATROPHY, NORMAL]
        )
        history = sq.train(model, train, valid, epochs=1, batch_size=8, progress=False)
        return model.state_dict(), history[0].valid_loss, history[0].valid_acc

    first, second = trained(dataset, dataset), trained(swapped, swapped)
    assert first[1:] == second[1:]
    assert all((first[0][key] == second[0][key]).all() for key in first[0])
    model = sq.Model(seed=1, image_size=SIZE, base_e=32, incr_e=32)  # takes the training set's
    history = sq.train(model, dataset, swapped, epochs=1, batch_size=8, progress=False)
    assert (history[0].valid_loss, history[0].valid_acc) == first[1:]


def test_other_names_are_an_error(home: Path, tmp_path: Path) -> None:
    model = sq.Model.load(home / "model.safetensors")
    other = sq.Dataset.from_folder(home / "pictures")
    other.class_names = ("apple", "pear")
    calls = (
        lambda: sq.evaluate(model, other),
        lambda: sq.choose_threshold(model, other),
        lambda: sq.report(model, other, tmp_path / "r"),
        lambda: sq.train(model, other, progress=False),
        lambda: sq.train(model, sq.Dataset.from_folder(home / "pictures"), other, progress=False),
    )
    message = f"classes apple, pear found, expected {ATROPHY}, {NORMAL}"
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    assert not (tmp_path / "r").exists()


def test_labels_without_names_are_the_models_numbers(home: Path) -> None:
    model = sq.Model.load(home / "model.safetensors")
    named = sq.Dataset.from_folder(home / "pictures")
    numbered = sq.Dataset(named.paths, named.labels)
    assert named.has_names and not numbered.has_names
    assert sq.evaluate(model, numbered) == sq.evaluate(model, named)
    assert numbered.with_class_names(["x", "y", "z"]).class_names == ("x", "y", "z")
    with pytest.raises(ValueError, match="label 1 found, expected 0 to 0"):
        numbered.with_class_names(["x"])


def test_class_names_give_the_order(home: Path, tmp_path: Path, capsys) -> None:
    data, run = str(home / "pictures"), str(tmp_path / "run")
    command = ["train", data, "--epochs", "1", "--batch-size", "8", "--out", run]
    assert main([*command, "--class-names", f"{NORMAL},{ATROPHY}", "--positive", "other"]) == 1
    assert f"positive is 'other', expected '{NORMAL}', '{ATROPHY}'" in capsys.readouterr().err
    assert main([*command, "--class-names", f"{NORMAL},{ATROPHY}"]) == 0
    assert f"0 {NORMAL} (12 training); 1 {ATROPHY}, positive" in capsys.readouterr().out
    model = sq.Model.load(tmp_path / "run" / "weights" / "best.safetensors")
    assert model.class_names == (NORMAL, ATROPHY)
    assert main([*command, "--class-names", "a,b", "--overwrite"]) == 1
    assert "none of the classes: a, b" in capsys.readouterr().err


# -- Weights that have learnt before ---------------------------------------------------------------


def test_pretrained_for_other_classes_gets_a_fresh_head(home: Path) -> None:
    path = home / "model.safetensors"
    old = sq.Model.load(path)
    with pytest.warns(UserWarning, match=r"for 2 \(.*\) classes, is replaced .* \(apple, pear\)"):
        model = sq.Model.from_pretrained(path, class_names=["apple", "pear"])
    assert model.class_names == ("apple", "pear") and model.positive == 1
    state, before = model.state_dict(), old.state_dict()
    assert (state["features.0.weight"] == before["features.0.weight"]).all()
    assert (state["classifier.1.weight"] != before["classifier.1.weight"]).any()
    with pytest.warns(UserWarning, match="for 2 classes, is replaced by a fresh one for 3"):
        assert sq.Model.from_pretrained(path, class_names=["a", "b", "c"]).class_names[2] == "c"
    for names in ([NORMAL, ATROPHY], ["0", "1"], None):
        same = sq.Model.from_pretrained(path, 2, class_names=names)
        assert same.class_names == (ATROPHY, NORMAL) and same.positive == 0
        assert (same.state_dict()["classifier.1.weight"] == before["classifier.1.weight"]).all()
    with pytest.raises(ValueError, match="1 class names for 2 classes"):
        sq.Model.from_pretrained(path, 2, class_names=["a"])


def test_train_of_pretrained_weights_on_other_classes(home: Path, tmp_path: Path, capsys) -> None:
    for old, new in ((NORMAL, "pear"), (ATROPHY, "apple")):
        (tmp_path / "fruit" / new).mkdir(parents=True)
        for picture in (home / "pictures" / old).iterdir():
            (tmp_path / "fruit" / new / picture.name).write_bytes(picture.read_bytes())
    run = tmp_path / "run"
    command = ["train", str(tmp_path / "fruit"), "--epochs", "1", "--batch-size", "8"]
    command += ["--pretrained", str(home / "model.safetensors"), "--out", str(run)]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "is replaced by a fresh one for 2 (apple, pear)" in printed.err
    assert printed.out.startswith("Classes: 0 apple (12 training); 1 pear, positive")
    best = sq.Model.load(run / "weights" / "best.safetensors")
    assert best.class_names == ("apple", "pear")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--arch", "1_0"], "--arch 1_0 and --pretrained"),
        (["--bypass", "simple"], "--bypass simple and --pretrained"),
        (["--final-relu"], "--final-relu and --pretrained"),
    ],
)
def test_pretrained_and_another_network_is_an_error(
    home: Path, tmp_path: Path, capsys, given: list[str], message: str
) -> None:
    command = ["train", str(home / "pictures"), "--pretrained", str(home / "model.safetensors")]
    assert main([*command, "--out", str(tmp_path / "run"), *given]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "args.yaml").exists()


def test_arguments_say_what_network_was_used(home: Path, tmp_path: Path) -> None:
    sq.Model(
        "1_0", 2, image_size=SIZE, bypass="simple", base_e=32, incr_e=32, final_relu=True
    ).save(tmp_path / "m")
    run = tmp_path / "run"
    command = ["train", str(home / "pictures"), "--epochs", "1", "--batch-size", "12"]
    assert main([*command, "--pretrained", str(tmp_path / "m"), "--out", str(run)]) == 0
    said = yaml.safe_load((run / "args.yaml").read_text("utf-8"))
    assert (said["arch"], said["bypass"], said["final_relu"]) == ("1_0", "simple", True)
    assert main(["train", "--resume", str(run)]) == 0


def test_pictures_held_out_are_the_callers_split(home: Path) -> None:
    """Though the model numbers the classes otherwise, `split` gives what `train` held out."""
    model = sq.Model(seed=1, image_size=SIZE, base_e=32, incr_e=32)
    model.class_names = (NORMAL, ATROPHY)
    dataset = sq.Dataset.from_folder(home / "pictures")
    sq.train(model, dataset, epochs=1, batch_size=8, progress=False, valid_fraction=0.5, seed=3)
    rest, part = dataset.split(0.5, 3)
    assert recognised(model.trained_on, part) == []
    assert recognised(model.trained_on, rest) == rest.paths
