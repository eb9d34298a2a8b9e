"""The figures of a paper against scikit-learn and SciPy, by hand, and where there are none."""

import json
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.inference import intervals, metrics
from squeezenet_c.inference.decisions import decision_curve
from squeezenet_c.inference.weighted import PAPER

skl = pytest.importorskip("sklearn.metrics")


def scored(classes: int, count: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(logits, labels) that are related, with ties."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, count, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    logits = random.normal(size=(count, classes)).round(1)
    logits[np.arange(count), labels] += 1
    return logits.astype(np.float32), labels


def evaluated(logits: np.ndarray, labels: np.ndarray, **options) -> sq.Evaluation:
    names = tuple("abcdef"[: logits.shape[1]])
    return sq.Evaluation.from_logits(logits, labels, names, **options)


@pytest.mark.parametrize("positive", [0, 1])
def test_two_classes_against_scikit_learn(positive: int) -> None:
    logits, labels = scored(2)
    found = evaluated(logits, labels, threshold=0.4, positive=positive)
    score = metrics.softmax(logits)[:, positive]
    true, said = labels == positive, score >= 0.4
    ratios = skl.class_likelihood_ratios(true, said)
    expected = {
        "balanced_accuracy": skl.balanced_accuracy_score(true, said),
        "average_precision": skl.average_precision_score(true, score),
        "ppv": skl.precision_score(true, said),
        "npv": skl.precision_score(~true, ~said),
        "lr_positive": ratios[0],
        "lr_negative": ratios[1],
        "kappa": skl.cohen_kappa_score(true, said),
    }
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found.weighted_auc is None and found.quadratic_kappa is None


def test_several_classes_against_scikit_learn() -> None:
    logits, labels = scored(4)
    found = evaluated(logits, labels)
    probabilities, said = metrics.softmax(logits), logits.argmax(axis=1)
    expected = {
        "auc": skl.roc_auc_score(labels, probabilities, multi_class="ovr"),
        "balanced_accuracy": skl.balanced_accuracy_score(labels, said),
        "average_precision": skl.average_precision_score(np.eye(4)[labels], probabilities),
        "weighted_auc": skl.roc_auc_score(
            labels, probabilities, multi_class="ovr", average="weighted"
        ),
        "kappa": skl.cohen_kappa_score(labels, said),
        "quadratic_kappa": skl.cohen_kappa_score(labels, said, weights="quadratic"),
    }
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found.ppv is None and found.lr_positive is None
    rows = skl.classification_report(labels, said, output_dict=True)
    for number, row in enumerate(found.per_class):
        theirs = rows[str(number)]
        ours = [row.precision, row.recall, row.f1, row.support]
        assert ours == pytest.approx(
            [theirs[n] for n in ("precision", "recall", "f1-score", "support")]
        )
        assert row.auc == pytest.approx(
            skl.roc_auc_score(labels == number, probabilities[:, number])
        )
    text = str(found)
    for said_of_them in (
        "quadratic_kappa",
        "precision   recall",
        f"{found.per_class[3].support}  d",
    ):
        assert said_of_them in text
    assert "ppv" not in text


def test_at_another_prevalence() -> None:
    """A test of sensitivity 0.9 and specificity 0.8, where 1 % are ill: by natural frequencies, of
    1000 people 10 are ill, 9 of whom are found, and 198 of the other 990 are reported."""
    labels = np.repeat([1, 0], [10, 10])
    said = np.concatenate([np.ones(9), np.zeros(1), np.ones(2), np.zeros(8)]).astype(int)
    found = evaluated(np.eye(2, dtype=np.float32)[said], labels, prevalence=0.01)
    assert found.ppv == pytest.approx(9 / (9 + 198))
    assert found.npv == pytest.approx(792 / (792 + 1))
    assert "at a prevalence of 0.01" in str(found)
    same = evaluated(np.eye(2, dtype=np.float32)[said], labels, prevalence=0.5)
    own = evaluated(np.eye(2, dtype=np.float32)[said], labels)
    assert (same.ppv, same.npv) == pytest.approx((own.ppv, own.npv))
    for wrong in (0, 1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="prevalence is .*expected a share between 0 and 1"):
            evaluated(np.eye(2, dtype=np.float32)[said], labels, prevalence=wrong)
    with pytest.raises(ValueError, match="of two classes, not of 3"):
        evaluated(np.eye(3, dtype=np.float32), np.arange(3), prevalence=0.5)


def figures(logits: np.ndarray, labels: np.ndarray, **options) -> dict[str, intervals.Figure]:
    probabilities = metrics.softmax(logits)
    said = probabilities.argmax(axis=1)
    return intervals.measure(labels, probabilities, said, resamples=200, **options)


def test_intervals_of_ratios_against_scipy() -> None:
    contingency = pytest.importorskip("scipy.stats.contingency")
    logits, labels = scored(2)
    found = figures(logits, labels)
    said = logits.argmax(axis=1)
    for name, answer in (("lr_positive", 1), ("lr_negative", 0)):
        counts = [
            value
            for side in (1, 0)
            for value in (
                int(((said == answer) & (labels == side)).sum()),
                int((labels == side).sum()),
            )
        ]
        expected = contingency.relative_risk(*counts)
        ends = expected.confidence_interval(0.95)
        figure = found[name]
        assert figure.value == pytest.approx(expected.relative_risk)
        assert (figure.low, figure.high, figure.method) == (
            pytest.approx(ends.low), pytest.approx(ends.high), "Simel",
        )  # fmt: skip
    assert found["ppv"].method == "Wilson" and found["ppv"].low < found["ppv"].value


def test_intervals_at_a_prevalence_are_those_of_the_logit() -> None:
    """Mercaldo, Lau & Zhou 2007, as the paper writes the variance."""
    logits, labels = scored(2)
    found, prevalence = figures(logits, labels, prevalence=0.05), 0.05
    positives, negatives = (labels == 1).sum(), (labels == 0).sum()
    se, sp = found["sensitivity"].value, found["specificity"].value
    variances = {
        "ppv": (1 - se) / (se * positives) + sp / ((1 - sp) * negatives),
        "npv": se / ((1 - se) * positives) + (1 - sp) / (sp * negatives),
    }
    assert found["ppv"].value == pytest.approx(
        se * prevalence / (se * prevalence + (1 - sp) * (1 - prevalence))
    )
    for name, variance in variances.items():
        middle = np.log(found[name].value / (1 - found[name].value))
        ends = [middle + side * 1.959964 * np.sqrt(variance) for side in (-1, 1)]
        low, high = (1 / (1 + np.exp(-end)) for end in ends)
        assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=1e-6)
        assert found[name].method == "Mercaldo"


@pytest.mark.parametrize("classes", [2, 4])
def test_every_figure_is_the_evaluations(classes: int) -> None:
    logits, labels = scored(classes)
    found, summary = figures(logits, labels), evaluated(logits, labels)
    of_them = set(PAPER) & set(found)
    assert len(of_them) == (7 if classes == 2 else 5)
    for name in of_them:
        assert found[name].value == pytest.approx(getattr(summary, name), abs=1e-12)
        assert found[name].low < found[name].value < found[name].high, name


def test_what_is_not_defined() -> None:
    logits = np.array([[2, 0], [0, 2], [2, 0]], np.float32)
    nobody = evaluated(logits, np.zeros(3, int))
    for name in ("balanced_accuracy", "average_precision", "lr_positive", "lr_negative"):
        assert getattr(nobody, name) is None, name
    assert nobody.ppv == 0 and nobody.npv == 1 and nobody.kappa == 0
    assert (nobody.per_class[1].recall, nobody.per_class[1].auc) == (None, None)
    perfect = figures(logits, logits.argmax(axis=1))
    assert perfect["lr_positive"] == intervals.Figure(None, None, None)  # it has no end
    assert perfect["lr_negative"] == intervals.Figure(0, None, None)
    at = figures(logits, logits.argmax(axis=1), prevalence=0.1)
    assert at["ppv"] == at["npv"] == intervals.Figure(1, None, None)
    one_answer = evaluated(np.array([[2, 0], [2, 0]], np.float32), [0, 0])
    assert one_answer.kappa is None and one_answer.per_class[1].precision is None
    missing = evaluated(
        *(array[:3] for array in (np.eye(3, dtype=np.float32), np.array([0, 1, 1])))
    )
    for name in ("auc", "weighted_auc", "average_precision", "balanced_accuracy"):
        assert getattr(missing, name) is None, name
    json.dumps(missing.to_dict())


def test_net_benefit_by_hand() -> None:
    """Ten pictures, three positives; at 0.2 a wrong alarm costs a quarter of a find."""
    positive = np.array([True] * 3 + [False] * 7)
    score = np.array([0.9, 0.5, 0.1, 0.8, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1])
    curve = decision_curve(positive, score, thresholds=(0.2, 0.95))
    assert curve.model == pytest.approx((2 / 10 - 2 / 10 * 0.25, 0))
    assert curve.treat_all == pytest.approx((3 / 10 - 7 / 10 * 0.25, 0.3 - 0.7 * 19))
    rare = decision_curve(positive, score, 0.03, (0.2,))
    assert rare.model == pytest.approx((2 / 3 * 0.03 - 2 / 7 * 0.97 * 0.25,))
    assert decision_curve(positive[:3], score[:3]) is None
    least = decision_curve(positive, score)
    assert len(least.thresholds) == 99 and max(least.model) <= 0.3


# -- Commands --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("paper")
    sq.synthetic.write(home / "pictures", 12, size=64)
    sq.Model(seed=1, image_size=64, base_e=32, incr_e=32).save(home / "model.safetensors")
    return home


def test_evaluate_at_a_prevalence(home: Path, tmp_path: Path, capsys) -> None:
    command = ["evaluate", str(home / "model.safetensors"), str(home / "pictures")]
    assert main([*command, "--prevalence", "0.05", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["prevalence"] == 0.05 and set(PAPER) <= set(printed)
    assert [row["support"] for row in printed["per_class"]] == [6, 6]
    assert main([*command, "--prevalence", "0.05", "--out", str(tmp_path / "r")]) == 0
    assert "at a prevalence of 0.05" in capsys.readouterr().out
    saved = json.loads((tmp_path / "r" / "metrics.json").read_text("utf-8"))
    assert saved["prevalence"] == 0.05 and saved["net_benefit"]["prevalence"] == 0.05
    assert saved["figures"]["kappa"]["value"] == pytest.approx(printed["kappa"])
    page = (tmp_path / "r" / "index.html").read_text("utf-8")
    assert "for a stated prevalence: 0.05 of all" in page and "Decision curve" in page
    assert (
        page.index("<h2>Figures")
        < page.index("<h2>Where it is most")
        < page.index("<h2>For a paper")
    )
    assert main([*command, "--prevalence", "5"]) == 1
    assert "prevalence is 5.0, expected a share" in capsys.readouterr().err
