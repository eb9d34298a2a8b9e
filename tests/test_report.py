"""Reports: figures against scikit-learn, intervals, the files of a report, thresholds."""

import csv
import json
import re
import sys

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.inference import intervals, weighted
from squeezenet_c.inference.metrics import decide, youden_threshold

SIZE = 64


def _scores(count=150, seed=0, ties=True):
    """Labels and probabilities of class 1 that are related, with ties."""
    random = np.random.default_rng(seed)
    labels = (random.random(count) < 0.4).astype(np.int64)
    score = 1 / (1 + np.exp(-random.normal(1.5 * labels - 0.7, 1)))
    return labels, np.round(score, 2) if ties else score


def _measure(labels, score, **options):
    probabilities = np.stack([1 - score, score], axis=1)
    return intervals.measure(labels, probabilities, decide(probabilities), **options)


@pytest.mark.parametrize("ties", [False, True])
def test_figures_against_scikit_learn(ties):
    metrics = pytest.importorskip("sklearn.metrics")
    labels, score = _scores(ties=ties)
    said = (score > 0.5).astype(int)
    figures = _measure(labels, score, resamples=5)
    found = {name: figures[name].value for name in weighted.FIRST}
    false_positives, true_positives, _ = metrics.roc_curve(labels, score, drop_intermediate=False)
    assert found.pop("calibration_error") > 0
    expected = {
        "accuracy": metrics.accuracy_score(labels, said),
        "auc": metrics.roc_auc_score(labels, score),
        "sensitivity": metrics.recall_score(labels, said),
        "specificity": metrics.recall_score(labels, said, pos_label=0),
        "sensitivity_at_95_specificity": true_positives[false_positives <= 0.05].max(),
        "f1": metrics.f1_score(labels, said),
    }
    assert found == pytest.approx(expected, abs=1e-12)


def test_many_classes_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    labels = random.integers(0, 4, 200)
    probabilities = random.dirichlet(np.ones(4), 200)
    probabilities[np.arange(200), labels] += 0.3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    said = decide(probabilities)
    found = intervals.measure(labels, probabilities, said, resamples=5)
    assert set(found) & set(weighted.FIRST) == {"accuracy", "auc", "f1", "calibration_error"}
    area = metrics.roc_auc_score(labels, probabilities, multi_class="ovr")
    assert found["auc"].value == pytest.approx(area, abs=1e-12)
    assert found["f1"].value == pytest.approx(metrics.f1_score(labels, said, average="macro"))


def test_calibration_error_by_hand():
    labels = np.array([0, 1, 1, 1])
    score = np.array([0.15, 0.15, 0.95, 1.0])  # answers 0, 0, 1, 1; bins of 0.85 and 0.95, 1
    found = _measure(labels, score, resamples=2)["calibration_error"].value
    assert found == pytest.approx((2 * abs(0.5 - 0.85) + abs(2 - 0.95 - 1)) / 4)


def test_a_weight_is_a_repeated_picture():
    """Weighted figures are those of the set with pictures repeated."""
    labels, score = _scores(40)
    weights = np.random.default_rng(2).integers(0, 3, 40)
    again = np.repeat(np.arange(40), weights)
    probabilities = np.stack([1 - score, score], axis=1)
    statistics = weighted.statistics_of(labels, probabilities, decide(probabilities))
    repeated = _measure(labels[again], score[again], resamples=1)
    for name, statistic in statistics.items():
        value = statistic(weights[None].astype(float))[0]
        assert value == pytest.approx(repeated[name].value, abs=1e-12), name


def test_intervals():
    labels, score = _scores(200)
    first, second = (_measure(labels, score, seed=seed) for seed in (0, 0))
    assert first == second and first != _measure(labels, score, seed=1)
    for figure in first.values():
        assert figure.low < figure.high
    # A share's standard error is sqrt(p (1 - p) / n), and 95 % are within 1.96 of it.
    share = first["accuracy"]
    half = 1.96 * np.sqrt(share.value * (1 - share.value) / 200)
    assert share.low == pytest.approx(share.value - half, abs=0.012)
    assert share.high == pytest.approx(share.value + half, abs=0.012)


def test_intervals_at_the_ends():
    """Where everything is right, figures are 1 and the true ones need not be."""
    labels = np.array([0] * 20 + [1] * 10)
    figures = _measure(labels, np.where(labels == 1, 0.9, 0.1))
    low = {name: figure.low for name, figure in figures.items()}
    # k of k: n / (n + z^2), Wilson's lower end, by hand.
    square = 1.959964**2
    for name, count in (("accuracy", 30), ("sensitivity", 10), ("specificity", 20)):
        assert low[name] == pytest.approx(count / (count + square), abs=1e-6)
        assert (figures[name].high, figures[name].method) == (1, "Wilson")
    assert 0.8 < low["auc"] < 0.97 and figures["auc"].method == "Newcombe"
    assert figures["auc"].high == 1 and "Newcombe)" in str(figures["auc"])
    for name in ("f1", "sensitivity_at_95_specificity"):  # the bootstrap finds nothing else
        assert (figures[name].value, low[name], figures[name].method) == (1, None, None)
        assert str(figures[name]) == "1.0000 (no interval)"
    wrong = _measure(labels, np.where(labels == 0, 0.9, 0.1))
    assert wrong["accuracy"].low == 0 and wrong["accuracy"].high == pytest.approx(
        1 - low["accuracy"]
    )
    assert wrong["auc"].low == 0 and wrong["auc"].high == pytest.approx(1 - low["auc"])
    alone = _measure(labels[-1:], np.array([0.9]), resamples=9)
    assert alone["accuracy"].low == pytest.approx(1 / (1 + square), abs=1e-6)


@pytest.mark.parametrize(("part", "whole", "low", "high"), [
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
    (1, 29, 0.0061, 0.1718)
])  # fmt: skip
def test_wilsons_interval_as_printed(part, whole, low, high):
    """The examples of Newcombe, Statistics in Medicine 17, 1998, table I, method 3."""
    assert intervals.wilson_interval(part, whole) == pytest.approx((low, high), abs=5e-5)


def test_the_areas_interval_inverts_hanley_and_mcneil():
    """Its ends are 1.96 of the standard errors there away, as the paper of 1982 gives them."""

    def error(area, count):
        q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
        both = (count - 1) * (q1 - area**2) + (count - 1) * (q2 - area**2)
        return np.sqrt((area * (1 - area) + both) / count**2)

    for area in (0.5, 0.8, 0.99):
        for end in intervals.area_interval(area, 40, 40):
            assert abs(area - end) == pytest.approx(1.959964 * error(end, 40), rel=1e-5)


def test_intervals_of_areas_cover_the_true_one():
    random = np.random.default_rng(0)
    true, held = 0.921350, 0  # of normal scores two apart: the normal distribution at sqrt(2)
    for _ in range(400):
        score = random.normal(np.repeat([0, 2], 30), 1)
        figure = weighted.roc_area(np.repeat([False, True], 30), score)(np.ones((1, 60)))[0]
        low, high = intervals.area_interval(figure, 30, 30)
        held += low <= true <= high
    assert 0.92 < held / 400 < 0.99


def test_what_is_not_defined_is_none():
    figures = _measure(np.zeros(5, np.int64), np.linspace(0, 0.4, 5), resamples=10)
    for name in ("auc", "sensitivity", "sensitivity_at_95_specificity", "f1"):
        assert figures[name] == intervals.Figure(None, None, None), name
    assert figures["specificity"].value == 1


def test_youden_threshold():
    metrics = pytest.importorskip("sklearn.metrics")
    labels, score = _scores(ties=True)
    threshold = youden_threshold(labels == 1, score)
    assert threshold not in score
    false_positives, true_positives, _ = metrics.roc_curve(labels, score)
    said = score >= threshold
    merit = said[labels == 1].mean() - said[labels == 0].mean()
    assert merit == pytest.approx((true_positives - false_positives).max())
    assert youden_threshold([False, True], [0.1, 0.2]) == pytest.approx(0.15)
    for labels, score in (([True, True], [0.1, 0.2]), ([False, True], [0.3, 0.3])):
        with pytest.raises(ValueError, match="both classes"):
            youden_threshold(labels, score)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Pictures of both classes, and a model, hardly trained."""
    home = tmp_path_factory.mktemp("report")
    dataset = sq.synthetic.write(home / "pictures", 24, size=SIZE)
    model = sq.Model(seed=1, image_size=SIZE, base_e=32, incr_e=32)
    sq.train(model, dataset, epochs=3, batch_size=4, progress=False)
    model.save(home / "model.safetensors")
    return home


def test_report(home, tmp_path):
    model = sq.Model.load(home / "model.safetensors")
    dataset = sq.Dataset.from_folder(home / "pictures", model.class_names)
    findings = sq.report(model, dataset, tmp_path / "report", title="A <title>", resamples=50)
    names = {path.name for path in (tmp_path / "report").iterdir()}
    plots = {"confusion_matrix.png", "roc.png", "reliability.png", "scores.png"}
    plots |= {"precision_recall.png", "net_benefit.png"}
    tables = {"metrics.json", "provenance.json", "predictions.csv"}
    assert names == {"index.html", "worst", *plots, *tables}
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))
    evaluated = sq.evaluate(model, dataset)
    for name in ("accuracy", "auc", "sensitivity", "specificity"):
        assert metrics["figures"][name]["value"] == pytest.approx(getattr(evaluated, name))
    assert metrics["confusion_matrix"] == evaluated.confusion_matrix.tolist()

    with open(tmp_path / "report" / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == dataset.paths
    risks = sq.predict_proba(model, dataset)[:, 1]
    assert [float(row["probability synthetic atrophy"]) for row in rows] == pytest.approx(
        risks.tolist(), abs=1e-6
    )

    of_truth = np.where(dataset.labels == 1, risks, 1 - risks)
    assert [place for place, _ in findings.worst] == np.argsort(of_truth, kind="stable")[
        :8
    ].tolist()
    assert len(list((tmp_path / "report" / "worst").iterdir())) == 8


def test_the_page_needs_no_other_file(home, tmp_path):
    model = sq.Model.load(home / "model.safetensors")
    dataset = sq.Dataset.from_folder(home / "pictures", model.class_names)
    sq.report(model, dataset, tmp_path, title="A <title>", resamples=50)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 6 + 2 * 8
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in re.sub(r'src="[^"]*"', "", page) and "<script" not in page
    assert "A &lt;title&gt;" in page and "<title>A <" not in page
    for text in ("Sensitivity at 95 % specificity", "synthetic atrophy", "no medical device"):
        assert text in page
    from html.parser import HTMLParser

    class Balance(HTMLParser):
        open_tags: list[str] = []

        def handle_starttag(self, tag, attributes):
            if tag not in ("meta", "img"):
                self.open_tags.append(tag)

        def handle_endtag(self, tag):
            assert self.open_tags.pop() == tag

    parser = Balance()
    parser.feed(page)
    assert parser.open_tags == []


def test_without_matplotlib(home, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    model = sq.Model.load(home / "model.safetensors")
    dataset = sq.Dataset.from_folder(home / "pictures", model.class_names)
    with pytest.warns(UserWarning, match="matplotlib is not installed") as said:
        sq.report(model, dataset, tmp_path, resamples=5)
    assert len(said) == 1
    assert not list(tmp_path.glob("*.png"))
    assert "matplotlib is not installed" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_threshold_is_stored_and_used(home, tmp_path):
    model = sq.Model.load(home / "model.safetensors")
    dataset = sq.Dataset.from_folder(home / "pictures", model.class_names)
    risks = np.sort(sq.predict_proba(model, dataset)[:, 1])
    assert model.threshold is None
    model.threshold = float((risks[5] + risks[6]) / 2)
    model.save(tmp_path / "a.safetensors")
    again = sq.Model.load(tmp_path / "a.safetensors")
    assert again.threshold == model.threshold == again.copy().threshold
    answers = sq.predict(again, dataset)
    assert sum(answer.label for answer in answers) == 18
    assert all(answer.confidence == answer.probabilities[answer.label] for answer in answers)
    assert sq.evaluate(again, dataset).confusion_matrix[:, 1].sum() == 18
    assert sq.report(again, dataset, tmp_path / "r", resamples=5).predicted.sum() == 18
    for wrong in (0, 1, 1.5, float("nan"), True, "0.5"):
        with pytest.raises(ValueError, match="threshold"):
            model.threshold = wrong
    with pytest.raises(ValueError, match="expected two"):
        sq.Model(num_classes=3).threshold = 0.5


def test_choose_threshold(home):
    model = sq.Model.load(home / "model.safetensors")
    dataset = sq.Dataset.from_folder(home / "pictures", model.class_names)
    threshold = sq.choose_threshold(model, dataset)
    scores = sq.predict_proba(model, dataset)[:, 1].astype(float)
    assert threshold == model.threshold
    assert threshold == pytest.approx(youden_threshold(dataset.labels == 1, scores), abs=1e-6)


def test_a_broken_threshold_in_a_file(home, tmp_path):
    from squeezenet_c._native import core

    state, metadata = core.read_safetensors(home / "model.safetensors")
    for wrong in ("7", '"a"', "null", "x", "true"):
        core.write_safetensors(tmp_path / "b", state, metadata | {"threshold": wrong})
        with pytest.raises(sq.BadFileError, match="threshold"):
            sq.Model.load(tmp_path / "b")


def test_command_line(home, tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    model.write_bytes((home / "model.safetensors").read_bytes())
    data, out = str(home / "pictures"), tmp_path / "report"
    loaded = sq.Model.load(model)
    loaded.threshold = 0.4
    loaded.save(model)
    assert main(["evaluate", str(model), data, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "sensitivity_at_95_specificity" in printed and "index.html" in printed
    assert "a threshold that is stored in the model" in (out / "index.html").read_text("utf-8")


def test_train_chooses_a_threshold(home, tmp_path, capsys):
    data, run = str(home / "pictures"), tmp_path / "run"
    command = ["train", data, data, "--epochs", "1", "--batch-size", "4", "--out", str(run)]
    assert main([*command, "--choose-threshold"]) == 1
    assert "--choose-threshold needs --valid-fraction" in capsys.readouterr().err
    assert not run.exists()
    assert main([*command, "--choose-threshold", "--valid-fraction", "0.5"]) == 0
    printed = capsys.readouterr().out
    assert "chosen on the 12 pictures of the selection set" in printed
    model = sq.Model.load(run / "weights" / "best.safetensors")
    assert f"Threshold: {model.threshold:.4f}" in printed
    report = sq.evaluate(model, sq.Dataset.from_folder(data))
    assert str(report) in printed
    assert (run / "confusion_matrix.png").stat().st_size > 5000
    sq.train(model, sq.Dataset.from_folder(data), epochs=1, progress=False)
    assert model.threshold is None


def test_many_classes_and_few_pictures(home, tmp_path):
    """Three classes, one of them without a picture; then one picture alone."""
    paths = sq.Dataset.from_folder(home / "pictures").paths[:6]
    names = ("a", "b<i>", "é")
    model = sq.Model(num_classes=3, image_size=SIZE, class_names=names)
    dataset = sq.Dataset(paths, [0, 1, 0, 1, 0, 1], names)
    findings = sq.report(model, dataset, tmp_path / "three", resamples=20)
    assert findings.figures["auc"].value is None and findings.figures["accuracy"].value is not None
    assert len(findings.worst) == 6
    assert not (tmp_path / "three" / "Classification_Results.csv").exists()
    page = (tmp_path / "three" / "index.html").read_text(encoding="utf-8")
    assert "b&lt;i&gt;" in page and "é" in page and "b<i>" not in page
    rows = json.loads((tmp_path / "three" / "metrics.json").read_text("utf-8"))["per_class"]
    assert [row["support"] for row in rows] == [3, 3, 0] and rows[2]["recall"] is None
    assert "Each class against the rest" in page and "PPV" not in page
    assert not (tmp_path / "three" / "net_benefit.png").exists()
    model = sq.Model.load(home / "model.safetensors")
    model.class_names = sq.palm.CLASS_NAMES
    alone = sq.Dataset(paths[:1], [1], sq.palm.CLASS_NAMES)
    findings = sq.report(model, alone, tmp_path / "one", resamples=20)
    assert findings.figures["specificity"].value is None
    assert findings.figures["sensitivity"].value in (0, 1)
    assert "病理性近视 (pathologic myopia)" in (tmp_path / "one" / "index.html").read_text("utf-8")
    assert '<td class="number">-</td>' in (tmp_path / "one" / "index.html").read_text("utf-8")


def test_a_report_replaces_its_own_maps_only(home, tmp_path):
    dataset = sq.Dataset.from_folder(home / "pictures")
    model = sq.Model.load(home / "model.safetensors")
    (tmp_path / "worst").mkdir()
    (tmp_path / "worst" / "holiday.png").write_bytes(b"mine")
    (tmp_path / "worst" / "1_holiday.png").write_bytes(b"mine")
    sq.report(model, dataset.subset([0]), tmp_path, resamples=1)
    sq.report(model, dataset.subset([1]), tmp_path, resamples=1)
    found = {path.name for path in (tmp_path / "worst").iterdir()}
    stem = dataset.paths[1].rpartition("/")[2].removesuffix(".png")
    assert found == {"holiday.png", "1_holiday.png", f"1_{stem}.cam.png"}


def test_labels_that_are_no_class_of_the_model(home, tmp_path):
    paths = sq.Dataset.from_folder(home / "pictures").paths[:2]
    model = sq.Model.load(home / "model.safetensors")
    with pytest.raises(ValueError, match="has the label 5, expected 0 to 1"):
        sq.report(model, sq.Dataset(paths, [0, 5]), tmp_path / "r")
    assert not (tmp_path / "r").exists()
