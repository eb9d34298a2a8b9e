"""Two models on the same pictures: tests and intervals against SciPy, brute force and print."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.inference import comparison, metrics
from squeezenet_c.inference.comparison import Judged
from squeezenet_c.reports.predictions import read_predictions, write_predictions

SIZE = 64

# -- McNemar and Newcombe --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (0, 1), (5, 5), (1, 7), (10, 30), (200, 150)]
)
def test_mcnemar_against_scipy(first: int, second: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1
    assert comparison.mcnemar(first, second) == pytest.approx(expected, rel=1e-9)
    square, p = comparison.mcnemar_chi_square(first, second)
    assert p == pytest.approx(stats.chi2.sf(square, 1), rel=1e-9)
    assert comparison.mcnemar(second, first) == comparison.mcnemar(first, second)


def test_mcnemar_of_many() -> None:
    """What has no float on the way still has a p."""
    assert comparison.mcnemar(2500, 2500) == 1
    assert 0 < comparison.mcnemar(2300, 2700) < 1e-7
    assert comparison.mcnemar(0, 5000) == 0  # 2^-4999, which is no float


def test_as_printed() -> None:
    """Two media for cultures, of which the first alone grew 12 and the second alone 2 (Armitage &
    Berry, Statistical Methods in Medical Research, 1994, p. 127); and airway hyper-responsiveness
    of 21 children before and after a transplantation (Fagerland, Lydersen & Laake, Statistics in
    Medicine 2014, 33, 2850-2875)."""
    assert comparison.mcnemar(12, 2) == pytest.approx(0.0129, abs=5e-5)
    assert comparison.mcnemar_chi_square(12, 2) == pytest.approx((5.785714, 0.0162), abs=5e-5)
    assert comparison.mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)
    assert comparison.paired_interval(1, 1, 7, 12) == pytest.approx((0.026, 0.507), abs=5e-4)


def test_intervals_of_differences_cover_the_true_one() -> None:
    """Of 60 pictures, 5 % of which the first alone has right and 15 % the second: 0.1 more."""
    random, held = np.random.default_rng(0), 0
    for counts in random.multinomial(60, [0.6, 0.05, 0.15, 0.2], 400).tolist():
        low, high = comparison.paired_interval(*counts)
        held += low <= 0.1 <= high
    assert 0.92 < held / 400 < 0.99


def test_shares_of_no_pictures_and_of_one() -> None:
    nothing = np.zeros(0, bool)
    assert comparison.compare_shares(nothing, nothing).difference is None
    found = comparison.compare_shares(np.array([True]), np.array([False]))
    assert found.difference == -1 and found.p == 1 and -1 <= found.low < found.high <= 1


# -- DeLong ----------------------------------------------------------------------------------------


def related(count: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(positive, two models' scores of the same pictures), with ties."""
    random = np.random.default_rng(seed)
    positive = random.random(count) < 0.4
    common = random.normal(positive * 1.2, 1)
    return positive, *(np.round(common + random.normal(0, s, count), 1) for s in (0.5, 0.9))


def by_brute_force(positive: np.ndarray, *scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The areas and their covariance pair by pair, as the paper of 1988 defines them."""
    pairs = [
        (score[positive][:, None] > score[~positive])
        + 0.5 * (score[positive][:, None] == score[~positive])
        for score in scores
    ]
    areas = np.array([pair.mean() for pair in pairs])
    covariance = np.zeros((2, 2))
    for r in range(2):
        for s in range(2):
            for axis in (0, 1):
                one, other = pairs[r].mean(axis=axis), pairs[s].mean(axis=axis)
                product = ((one - areas[r]) * (other - areas[s])).sum() / (len(one) - 1)
                covariance[r, s] += product / len(one)
    return areas, covariance


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_delong_against_brute_force(seed: int) -> None:
    skl = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    positive, first, second = related(seed=seed)
    areas, covariance = comparison.delong(positive, first, second)
    expected = by_brute_force(positive, first, second)
    assert areas == pytest.approx(expected[0], abs=1e-12)
    assert covariance == pytest.approx(expected[1], abs=1e-14)
    assert areas[0] == pytest.approx(skl.roc_auc_score(positive, first))
    found = comparison.compare_areas(positive, first, second)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    z = (areas[1] - areas[0]) / error
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)
    ends = stats.norm.interval(0.95, areas[1] - areas[0], error)
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-9)


def test_delong_is_right_as_often_as_it_says() -> None:
    """Of two models that are equally good, 5 % of tests find a difference at 0.05."""
    found = 0
    for seed in range(400):
        random = np.random.default_rng(seed)
        positive = np.arange(100) < 40
        common = random.normal(positive * 1.0, 1)
        scores = (common + random.normal(0, 0.7, 100) for _ in range(2))
        found += comparison.compare_areas(positive, *scores).p < 0.05
    assert 0.02 < found / 400 < 0.09


def test_areas_that_no_test_can_tell_apart() -> None:
    positive = np.array([True, True, False, False])
    score = np.array([0.9, 0.8, 0.2, 0.1])
    same = comparison.compare_areas(positive, score, score)
    assert (same.difference, same.p, same.low) == (0, 1, None)
    opposite = comparison.compare_areas(positive, score, -score)  # 1 and 0, without an error
    assert (opposite.difference, opposite.p, opposite.low) == (-1, None, None)
    few = comparison.compare_areas(positive[1:], score[1:], score[1:][::-1])
    assert few.difference == -1 and few.p is None
    assert comparison.compare_areas(positive[:2], score[:2], score[:2]).first is None


# -- Both ------------------------------------------------------------------------------------------


def judged(classes: int = 2, count: int = 90, seed: int = 0, name: str = "one") -> Judged:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    logits = random.normal(size=(count, classes)) + 1.2 * np.eye(classes)[labels]
    probabilities = metrics.softmax(logits)
    return Judged(
        name,
        [f"/data/{name}/{label}/{place}.png" for place, label in enumerate(labels)],
        tuple("abcd"[:classes]),
        labels,
        probabilities.argmax(axis=1),
        probabilities,
        1 if classes == 2 else None,
    )


def shuffled(other: Judged) -> Judged:
    """The same with its pictures and classes in another order."""
    order = np.random.default_rng(5).permutation(len(other.paths))
    last = len(other.class_names) - 1
    return replace(
        other,
        paths=[other.paths[place] for place in order],
        class_names=other.class_names[::-1],
        labels=last - other.labels[order],
        predicted=last - other.predicted[order],
        probabilities=other.probabilities[order][:, ::-1],
    )


@pytest.mark.parametrize("classes", [2, 4])
def test_the_order_of_pictures_and_classes_is_nothing(classes: int) -> None:
    first, second = judged(classes), judged(classes, seed=1, name="two")
    found = comparison.compare_judged(first, second, resamples=50)
    assert comparison.compare_judged(first, shuffled(second), resamples=50) == found
    assert found.differences["accuracy"].first == np.mean(first.predicted == first.labels)
    assert set(found.differences) == {"accuracy", "auc"} | (
        {"sensitivity", "specificity"} if classes == 2 else set()
    )
    area = found.differences["auc"]
    assert area.method == ("DeLong" if classes == 2 else "bootstrap")
    assert (area.p is None) == (classes > 2) and area.low < area.difference < area.high
    back = comparison.compare_judged(second, first, resamples=50).differences
    for name, difference in found.differences.items():
        assert back[name].difference == -difference.difference
        assert back[name].low == pytest.approx(-difference.high) and back[name].p == difference.p
    assert json.loads(json.dumps(found.to_dict()))["names"] == ["one", "two"]
    for text in ("A is one, B is two", "right in both", "McNemar"):
        assert text in str(found)


def test_what_is_not_of_the_same_pictures() -> None:
    first, second = judged(), judged(seed=1, name="two")
    for other, message in (
        (replace(second, class_names=("a", "c")), "other classes: a, b and a, c"),
        (judged(count=80), "not of the same pictures, 90 and 80: .*png is in the first alone"),
        (replace(second, labels=1 - second.labels), "do not agree on what 0/0.png shows: a and b"),
        (replace(second, paths=[*second.paths[:-1], second.paths[0]]), "the first alone"),
    ):
        with pytest.raises(ValueError, match=message):
            comparison.compare_judged(first, other)


# -- Tables ----------------------------------------------------------------------------------------


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    first = replace(judged(3), class_names=("a, b", '"quoted"', "病"))
    write_predictions(first, tmp_path / "p.csv")
    again = read_predictions(tmp_path / "p.csv")
    assert again.paths == first.paths and again.class_names == first.class_names
    for name in ("labels", "predicted", "probabilities"):
        assert np.array_equal(getattr(again, name), getattr(first, name)), name


def test_a_table_of_out_of_fold_predictions(tmp_path: Path) -> None:
    text = "path,label,fold,predicted,probability a,probability b\nx,b,1,a,0.7,0.3\n"
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    found = read_predictions(tmp_path / "p.csv")
    assert (found.labels.tolist(), found.predicted.tolist()) == ([1], [0])
    assert found.probabilities.tolist() == [[0.7, 0.3]] and found.positive == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line is no predictions.csv's"),
        ("path,true,predicted,right\n", "first line is no predictions.csv's"),
        ("path,true,predicted,right,probability a,probability a\n", "first line is no"),
        ("path,true,predicted,right,probability a\n", "no picture in it"),
        ("path,true,predicted,right,probability a\nx,a,b,0,1\n", "line 2: x,a,b,0,1 found"),
        ("path,true,predicted,right,probability a\nx,a,a,1\n", "line 2"),
        ("path,true,predicted,right,probability a\nx,a,a,1,nan\n", "line 2"),
        ("path,true,predicted,right,probability a\nx,a,a,1,one\n", "line 2"),
        ("path,true,predicted,right,probability a\nx,a,a,1,0.5,2\n", "line 2"),
        ('path,true,predicted,right,probability a\n"' + "x" * 200000 + '"\n', "field larger"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        read_predictions(tmp_path / "p.csv")
    assert "p.csv" in str(raised.value) and len(str(raised.value)) < 1000


# -- The command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of both classes, and two models, one hardly trained, of which the other has the
    classes in another order."""
    home = tmp_path_factory.mktemp("compare")
    dataset = sq.synthetic.write(home / "pictures", 24, size=SIZE)
    model = sq.Model(seed=1, image_size=SIZE, base_e=32, incr_e=32)
    sq.train(model, dataset, epochs=2, batch_size=4, progress=False)
    model.save(home / "a.safetensors")
    other = sq.Model(seed=2, image_size=SIZE, base_e=32, incr_e=32)
    other.class_names = dataset.class_names[::-1]
    other.save(home / "b.safetensors")
    return home


def test_models_and_tables_say_the_same(home: Path, tmp_path: Path, capsys) -> None:
    a, b = (str(home / f"{name}.safetensors") for name in "ab")
    data = str(home / "pictures")
    assert main(["compare", a, b, data, "--out", str(tmp_path / "c"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "c" / "comparison.json").read_text("utf-8"))
    assert printed["pictures"] == 24 and printed["differences"]["auc"]["method"] == "DeLong"
    for key, path in (("first", a), ("second", b)):
        evaluation = sq.evaluate(sq.Model.load(path), sq.Dataset.from_folder(data))
        assert printed["differences"]["accuracy"][key] == pytest.approx(evaluation.accuracy)
    assert main(["evaluate", b, data, "--out", str(tmp_path / "b")]) == 0
    capsys.readouterr()
    table = str(tmp_path / "b" / "predictions.csv")
    assert main(["compare", a, table, data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["differences"] == printed["differences"] and found["names"] == [a, table]
    assert main(["compare", table, table, "--json"]) == 0
    same = json.loads(capsys.readouterr().out)["differences"]["auc"]
    assert (same["first"], same["difference"], same["p"]) == (
        pytest.approx(printed["differences"]["auc"]["second"]), 0, 1,
    )  # fmt: skip
    assert main(["compare", a, b, data, "--out", str(tmp_path / "c")]) == 0
    assert "comparison.json" in capsys.readouterr().out
    with open(tmp_path / "c" / "comparison.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(int(row["A right"]) for row in rows) / 24
    assert right == pytest.approx(printed["differences"]["accuracy"]["first"])
    assert (tmp_path / "c" / "roc.png").stat().st_size > 5000


def test_wrong_use_of_the_command(home: Path, tmp_path: Path, capsys) -> None:
    a, table = str(home / "a.safetensors"), tmp_path / "p.csv"
    write_predictions(judged(), table)
    for command, message in (
        (["compare", a, a], "DATA is required"),
        (["compare", str(table), str(table), str(home / "pictures")], "nothing to do with it"),
    ):
        with pytest.raises(SystemExit) as raised:
            main(command)
        assert raised.value.code == 2 and message in capsys.readouterr().err
    assert main(["compare", a, str(table), str(home / "pictures")]) == 1
    assert "are of other classes" in capsys.readouterr().err
    assert main(["compare", str(table), str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in capsys.readouterr().err
    with pytest.raises(ValueError, match="B is a model and needs a set"):
        sq.compare(table, sq.Model.load(a))
