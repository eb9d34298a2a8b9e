"""Calibrated confidence: the calibration error, the temperature and where it is kept."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.cli import main
from squeezenet_c.inference import intervals
from squeezenet_c.inference.calibration import FEWEST, HIGHEST, LOWEST, best_temperature
from squeezenet_c.inference.metrics import (
    BINS,
    calibration_bins,
    cross_entropy,
    decide,
    expected_calibration_error,
    softmax,
)
from squeezenet_c.inference.predict import dataset_logits

SIZE = 48


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures to train on, others, and a model of the former in a run's folder that is too sure
    of itself: it says of half the others that they are one class, and gets some wrong."""
    home = tmp_path_factory.mktemp("calibration")
    sq.synthetic.write(home / "train", 16, seed=0, size=SIZE)
    sq.synthetic.write(home / "other", 24, seed=1, size=SIZE + 2)
    model = sq.Model(seed=1, image_size=SIZE, base_e=32, incr_e=32)
    sq.train(model, sq.Dataset.from_folder(home / "train"), epochs=3, batch_size=4, progress=False)
    weights = model.state_dict()
    logits = dataset_logits(model, sq.Dataset.from_folder(home / "other"))
    weights["classifier.1.bias"][0] -= np.median(logits[:, 0] - logits[:, 1])
    model.load_state_dict(weights)
    model.divide_logits(0.02)
    model.temperature = 1.0
    (home / "run" / "weights").mkdir(parents=True)
    model.save(home / "run" / "weights" / "best.safetensors")
    return home


def _answers(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too sure, three times what they should be, and labels drawn by the third."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, classes))
    labels = [random.choice(classes, p=row) for row in softmax(logits)]
    return 3 * logits, np.array(labels)


# -- The calibration error -------------------------------------------------------------------------


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.7, 0.3], [0.31, 0.69], [0.97, 0.03], [0.5, 0.5]])
    # Of 15 bins: 0.7 and 0.69 are in the one up to 11/15, right and wrong; 0.97 in the last, right;
    # 0.5, an answer of class 0, in the one up to 8/15, wrong.
    expected = (abs(1 + 0 - 0.7 - 0.69) + abs(1 - 0.97) + abs(0 - 0.5)) / 4
    found = expected_calibration_error([0, 0, 0, 1], probabilities)
    assert found == pytest.approx(expected, abs=1e-12)
    # In one bin: the mean confidence against the share of right answers.
    found = expected_calibration_error([0, 0, 0, 1], probabilities, bins=1)
    assert found == pytest.approx(abs(0.5 - (0.7 + 0.69 + 0.97 + 0.5) / 4), abs=1e-12)
    assert expected_calibration_error([0, 1], np.eye(2)) == 0
    assert expected_calibration_error([1, 0], np.eye(2)) == 1
    for labels, bins in (([], 15), ([0], 0)):
        with pytest.raises(ValueError, match="expected some of both"):
            expected_calibration_error(labels, np.full((len(labels), 2), 0.5), bins)


def test_an_edge_belongs_to_the_bin_below() -> None:
    assert calibration_bins([0, 0.1, 0.2, 0.21, 0.8, 1.0], 5).tolist() == [0, 0, 0, 1, 3, 4]


@pytest.mark.parametrize("classes", [2, 5])
def test_calibration_error_against_scikit_learn(classes: int) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    logits, labels = _answers(400, classes)
    probabilities = softmax(logits)
    right, confidence = probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
    shares, means = calibration.calibration_curve(right, confidence, n_bins=BINS)
    counts = np.histogram(confidence, np.linspace(0, 1, BINS + 1))[0]
    expected = (counts[counts > 0] * np.abs(shares - means)).sum() / 400
    found = expected_calibration_error(labels, probabilities)
    assert found == pytest.approx(expected, abs=1e-12)
    # One definition everywhere: the report's, with its interval, and evaluate's. A threshold is of
    # no concern to it.
    figures = intervals.measure(labels, probabilities, decide(probabilities), resamples=200)
    figure = figures["calibration_error"]
    assert figure.value == pytest.approx(expected, abs=1e-12)
    assert figure.low < figure.value < figure.high
    threshold = 0.3 if classes == 2 else None
    names = tuple("abcde"[:classes])
    result = sq.Evaluation.from_logits(logits, labels, names, threshold)
    assert result.calibration_error == pytest.approx(expected, abs=1e-12)
    assert f"calibration_error {expected:.4f}" in str(result)
    assert result.to_dict()["calibration_error"] == result.calibration_error


# -- The temperature -------------------------------------------------------------------------------


def test_temperature_by_hand() -> None:
    # Three answers of four are right, each of the logits (2, 0): the best probability is 3/4, and
    # sigmoid(2 / T) = 3/4 where 2 / T = ln 3.
    logits = np.tile([2.0, 0.0], (4, 1))
    assert best_temperature(logits, [0, 0, 0, 1]) == pytest.approx(2 / math.log(3), rel=1e-12)
    assert best_temperature(logits.astype(np.float32), [0, 0, 0, 1]) == pytest.approx(
        2 / math.log(3)
    )
    # A constant added to a picture's logits changes no probability, and so no temperature.
    shifted = logits + np.array([[5.0], [-300.0], [0.0], [1e4]])
    assert best_temperature(shifted, [0, 0, 0, 1]) == pytest.approx(2 / math.log(3), rel=1e-9)


@pytest.mark.parametrize("classes", [2, 5])
def test_temperature_against_scipy(classes: int) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    logits, labels = _answers(300, classes, seed=classes)
    found = best_temperature(logits, labels)
    best = optimize.minimize_scalar(
        lambda t: cross_entropy(logits / t, labels), (1, 3), tol=1e-10
    ).x
    assert found == pytest.approx(best, rel=1e-6)
    assert 2 < found < 4  # they were made three times too sure
    assert best_temperature(logits, labels) == found
    before = expected_calibration_error(labels, softmax(logits))
    assert expected_calibration_error(labels, softmax(logits / found)) < before / 2


def test_temperatures_at_the_ends() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 2.0]] * 5)
    right, wrong = [0, 1] * 5, [1, 0] * 5
    for scale in (1, 1e-6, 1e6):
        assert best_temperature(logits * scale, right) == pytest.approx(LOWEST)
        assert best_temperature(logits * scale, wrong) == pytest.approx(HIGHEST)
    with pytest.raises(ValueError, match="the same for all classes"):
        best_temperature(np.ones((10, 2)), right)


@pytest.mark.parametrize(
    "spec", [{}, {"final_relu": True}, {"version": "1_0", "num_classes": 5, "bypass": "simple"}]
)
def test_logits_are_divided(spec: dict, tmp_path: Path) -> None:
    model = sq.Model(**spec, seed=3, image_size=SIZE)
    x = np.random.default_rng(0).normal(0, 1, (4, 3, SIZE, SIZE)).astype(np.float32)
    before = model.forward(x)
    for temperature, whole in ((2.5, 2.5), (0.5, 1.25)):  # temperatures multiply
        model.divide_logits(temperature)
        assert model.forward(x) == pytest.approx(before / whole, rel=1e-5, abs=1e-7)
        assert model.temperature == whole == model.copy().temperature
    weights = model.state_dict()
    model.divide_logits(1.0)
    assert all((weights[name] == value).all() for name, value in model.state_dict().items())
    for wrong in (0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="expected a finite number above 0"):
            model.divide_logits(wrong)
    with pytest.raises(ValueError, match="would leave float32"):
        model.divide_logits(1e-60)
    assert model.temperature == 1.25
    # Every file has the weights; ours has the number too.
    model.save(tmp_path / "m.safetensors")
    again = sq.Model.load(tmp_path / "m.safetensors")
    assert again.temperature == 1.25 and (again.forward(x) == model.forward(x)).all()
    model.export(tmp_path / "m.pth")
    again = sq.Model.load(tmp_path / "m.pth")
    assert all((again.state_dict()[name] == value).all() for name, value in weights.items())


@pytest.mark.parametrize("threshold", [0.02, 0.3, 0.5, 0.97, 1e-9])
@pytest.mark.parametrize("temperature", [0.5, 0.8, 3.0, HIGHEST])
def test_a_threshold_is_mapped(threshold: float, temperature: float) -> None:
    logits = np.random.default_rng(1).normal(0, 3, (500, 2))
    model = sq.Model(image_size=SIZE)
    model.threshold = threshold
    model.divide_logits(temperature)
    assert 0 < model.threshold < 1
    before = decide(softmax(logits), threshold)
    assert (decide(softmax(logits / temperature), model.threshold) == before).all()
    if threshold == 0.3:
        expected = 1 / (1 + (0.7 / 0.3) ** (1 / temperature))
        assert model.threshold == pytest.approx(expected, rel=1e-12)


def test_a_threshold_stays_between_0_and_1() -> None:
    for threshold in (5e-324, 1 - 2**-53):
        for temperature in (LOWEST, HIGHEST):
            model = sq.Model(image_size=SIZE)
            model.threshold = threshold
            model.divide_logits(temperature)
            assert 0 < model.threshold < 1


def test_calibrating_a_model(home: Path) -> None:
    model, other = sq.Model.load(home / "run"), sq.Dataset.from_folder(home / "other")
    positive = sq.predict_proba(model, other)[:, 1]
    model.threshold = float(np.sort(positive)[10:12].astype(np.float64).mean())
    before, answers = sq.evaluate(model, other), sq.predict(model, other)
    assert before.accuracy < 1
    temperature = model.calibrate(other)
    after = sq.evaluate(model, other)
    assert temperature == model.temperature != 1
    assert after.loss < before.loss
    assert [answer.label for answer in sq.predict(model, other)] == [a.label for a in answers]
    assert (after.confusion_matrix == before.confusion_matrix).all() and after.auc == before.auc
    # Once is enough: the best temperature of what is calibrated is 1.
    assert sq.calibrate(model, other) == pytest.approx(1, abs=1e-4)
    # Training on gives other weights.
    sq.train(model, other, epochs=1, batch_size=8, progress=False)
    assert model.temperature == 1


def test_what_cannot_be_calibrated_on(home: Path) -> None:
    model, other = sq.Model.load(home / "run"), sq.Dataset.from_folder(home / "other")
    weights = model.state_dict()
    one = np.flatnonzero(other.labels == 1)
    for dataset, message in (
        (other.subset([0, 1]), f"2 pictures to find a temperature on, expected at least {FEWEST}"),
        (other.subset(one), "are of one class, .*; expected pictures of at least two"),
        (sq.Dataset.from_folder(home / "train"), "was trained on 16 of its 16 pictures"),
    ):
        with pytest.raises(ValueError, match=message):
            sq.calibrate(model, dataset)
    assert all((weights[name] == value).all() for name, value in model.state_dict().items())


def test_all_right_makes_no_model_surer(home: Path) -> None:
    """Else a few easy pictures would make all answers certain."""
    model, other = sq.Model.load(home / "run"), sq.Dataset.from_folder(home / "other")
    said = np.array([answer.label for answer in sq.predict(model, other)])
    assert len(set(said)) == 2
    agreeing = sq.Dataset(other.paths, said, class_names=other.class_names)
    with pytest.warns(UserWarning, match="all 24 answers are right.*stays 1"):
        assert sq.calibrate(model, agreeing) == 1
    assert model.temperature == 1


def test_a_broken_temperature_in_a_file(home: Path, tmp_path: Path) -> None:
    state, metadata = core.read_safetensors(home / "run" / "weights" / "best.safetensors")
    for wrong in ("0", "-1", "NaN", "Infinity", '"a"', "null", "x", "true", "9" * 400):
        core.write_safetensors(tmp_path / "b", state, metadata | {"temperature": wrong})
        with pytest.raises(sq.BadFileError, match="temperature|metadata"):
            sq.Model.load(tmp_path / "b")


# -- The command, and train ------------------------------------------------------------------------


def test_the_command(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other, run, out = str(home / "other"), str(home / "run"), str(tmp_path / "m.safetensors")
    pictures = sq.Dataset.from_folder(other)
    before = sq.evaluate(sq.Model.load(run), pictures)
    assert main(["calibrate", run, other, "--out", out]) == 0
    printed, model = capsys.readouterr().out, sq.Model.load(out)
    after = sq.evaluate(model, pictures)
    assert f"Temperature: {model.temperature:.4f}, in {out}" in printed
    assert "On the 24 pictures" in printed and "Threshold" not in printed
    error = f"{before.calibration_error:.4f} and {after.calibration_error:.4f}"
    assert f"expected calibration error {error}" in printed
    assert f"negative log-likelihood {before.loss:.4f} and {after.loss:.4f}" in printed
    assert sq.Model.load(run).temperature == 1
    assert main(["threshold", out, other]) == 0
    former = sq.Model.load(out).threshold
    capsys.readouterr()
    assert main(["calibrate", out, other]) == 0  # into MODEL
    assert f"Threshold: {former:.4f} has become" in capsys.readouterr().out
    for data, message in (
        (home / "train", "was trained on 16 of its 16 pictures"),
        (home / "none", "none"),
    ):
        assert main(["calibrate", run, str(data), "--out", str(tmp_path / "no")]) == 1
        assert message in capsys.readouterr().err
    model.export(tmp_path / "m.pth")
    assert main(["calibrate", str(tmp_path / "m.pth"), other]) == 1
    assert "saves the model with its calibrated confidence" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_train_calibrates(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data, run = str(home / "other"), tmp_path / "run"
    command = ["train", data, data, "--epochs", "1", "--batch-size", "4"]
    assert main([*command, "--calibrate", "--out", str(run)]) == 1
    assert "--calibrate needs --valid-fraction" in capsys.readouterr().err
    assert not run.exists()
    command += ["--valid-fraction", "0.5"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main([*command, "--out", str(tmp_path / "plain")]) == 0
        capsys.readouterr()
        assert main([*command, "--calibrate", "--choose-threshold", "--out", str(run)]) == 0
    printed = capsys.readouterr().out
    model, plain = sq.Model.load(run), sq.Model.load(tmp_path / "plain")
    assert f"Temperature: {model.temperature:.4f}, found on the 12 pictures" in printed
    assert "calibrate: true" in (run / "args.yaml").read_text("utf-8")
    # The best model of the same run without it, divided; no training weight is another.
    selection = sq.Dataset.from_folder(data).split(0.5, 0)[1]
    plain.calibrate(selection)
    assert plain.temperature == model.temperature
    assert (plain.predict_proba(selection) == model.predict_proba(selection)).all()
    for name in ("last.safetensors", "last.state"):
        ours, theirs = (
            core.read_safetensors(folder / "weights" / name)[0]
            for folder in (run, tmp_path / "plain")
        )
        assert all((ours[key] == theirs[key]).all() for key in ours)
    assert str(sq.evaluate(model, sq.Dataset.from_folder(data))) in printed
    # Resumed, a run that is complete ends in the same file.
    best = (run / "weights" / "best.safetensors").read_bytes()
    assert main(["train", "--resume", str(run)]) == 0
    assert (run / "weights" / "best.safetensors").read_bytes() == best
    assert main(["train", "--resume", str(tmp_path / "plain"), "--calibrate"]) == 1
    assert "calibrate is True, expected False" in capsys.readouterr().err


def test_a_run_from_before_there_was_a_choice(home: Path, tmp_path: Path) -> None:
    data, run = str(home / "other"), tmp_path / "run"
    assert main(["train", data, "--epochs", "1", "--batch-size", "8", "--out", str(run)]) == 0
    text = (run / "args.yaml").read_text("utf-8")
    (run / "args.yaml").write_text(text.replace("calibrate: false\n", ""), "utf-8")
    state = run / "weights" / "last.state"
    tensors, metadata = core.read_safetensors(state)
    arguments = json.loads(metadata["arguments"])
    assert arguments.pop("calibrate") is False
    core.write_safetensors(state, tensors, metadata | {"arguments": json.dumps(arguments)})
    assert main(["train", "--resume", str(run)]) == 0


def test_train_refuses_before_it_trains(home: Path, tmp_path: Path) -> None:
    other, file = sq.Dataset.from_folder(home / "other"), tmp_path / "m"
    model = sq.Model(image_size=SIZE)
    of_training = sq.Model.load(home / "run")
    for network, dataset, options, message in (
        (model, other, {"checkpoint": file}, "calibrate needs valid_fraction"),
        (model, other, {"valid_fraction": 0.5}, "calibrate needs checkpoint"),
        (model, other, {"valid_fraction": 0.2, "checkpoint": file}, "expected at least 10"),
        (
            of_training,
            sq.Dataset.from_folder(home / "train"),
            {"valid_fraction": 0.7, "checkpoint": file},
            "the selection set: the model was trained on",
        ),
    ):
        before = network.state_dict()
        with pytest.raises(ValueError, match=message):
            sq.train(network, dataset, epochs=1, calibrate=True, progress=False, **options)
        assert all((before[name] == value).all() for name, value in network.state_dict().items())
    assert not file.exists()


def test_a_quantised_model_stays_one(home: Path) -> None:
    training = sq.Dataset.from_folder(home / "train")
    model = sq.quantize(sq.Model.load(home / "run"), training)
    before, scales = dataset_logits(model, training), model.quantization
    assert scales is not None
    steps = (
        model.state_dict()["classifier.1.weight"] / scales["weight_scales"][-2:, None, None, None]
    )
    model.divide_logits(3.0)
    divided = model.quantization
    assert divided is not None and model.precision == "int8"
    after = (
        model.state_dict()["classifier.1.weight"] / divided["weight_scales"][-2:, None, None, None]
    )
    assert np.array_equal(np.rint(steps), np.rint(after))
    np.testing.assert_allclose(dataset_logits(model, training), before / 3, rtol=1e-6)
