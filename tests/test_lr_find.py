"""The learning-rate range test."""

import math
import re

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.training.lr_find import RangeTest

GIVEN = {"batch_size": 8, "steps": 24, "lowest": 1e-5, "highest": 1.0, "progress": False}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return sq.synthetic.write(tmp_path_factory.mktemp("pictures"), 24, size=64).at_size(64)


def fresh():
    return sq.Model("1_1", 2, seed=1, image_size=64)


@pytest.fixture(scope="module")
def found(dataset):
    model = fresh()
    before, model.threshold = model.state_dict(), 0.25
    found = sq.lr_find(model, dataset, **GIVEN)
    assert all(np.array_equal(value, before[k]) for k, value in model.state_dict().items())
    assert (model.threshold, model.step, model.class_names) == (0.25, 0, None)
    return found


def test_the_rates_grow_by_a_factor_and_the_first_losses_are_trainings(dataset, found):
    assert len(found.lrs) == len(found.losses) > 12
    expected = [1e-5 * 1e5 ** (step / 23) for step in range(len(found.lrs))]
    assert found.lrs == pytest.approx(expected, rel=1e-12)
    recipe = sq.Recipe(1e-5, warmup_epochs=0, schedule="constant")
    row = sq.train(fresh(), dataset, epochs=1, batch_size=24, recipe=recipe, progress=False)[0]
    whole = sq.lr_find(fresh(), dataset, **{**GIVEN, "batch_size": 24, "steps": 2})
    assert whole.losses[0] == row.train_loss


def test_it_is_a_function_of_its_arguments(dataset, found):
    threads = sq.get_num_threads()
    sq.set_num_threads(1 if threads > 1 else 2)
    assert sq.lr_find(fresh(), dataset, **GIVEN) == found
    other = sq.lr_find(fresh(), dataset, **{**GIVEN, "steps": 3, "optimizer": "sgd", "freeze": 9})
    assert len(other.lrs) == 3 and other.losses[:1] == found.losses[:1] != other.losses[1:2]


def test_it_ends_where_the_loss_leaves(dataset):
    far = {"lowest": 1.0, "highest": 1e9, "steps": 40}
    found = sq.lr_find(fresh(), dataset, **{**GIVEN, **far})
    assert len(found.lrs) < 40 and all(map(math.isfinite, found.losses))


def test_smoothed_and_suggestion_by_hand():
    lrs = tuple(10.0**power for power in range(-8, 12))
    losses = (9.0, 1.0, *[1.0] * 6, 0.5, 0.45, *[0.4] * 10)
    found = RangeTest(lrs, losses)
    weighed = [(0.98 * 0.02 * 9 + 0.02 * 1) / (1 - 0.98**2)]
    assert found.smoothed[0] == 9 and found.smoothed[1] == pytest.approx(weighed[0])
    # Of steps 2 to 14 the first falls most: the 9 is still being forgotten.
    assert found.suggestion == lrs[2]
    assert RangeTest(lrs, tuple(float(n) for n in range(20))).suggestion is None
    assert RangeTest(lrs[:6], losses[:6]).suggestion is None


def test_plot(found, tmp_path):
    found.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "options, words",
    [
        ({"steps": 1}, "steps is 1, expected at least 2"),
        ({"lowest": 0.0}, "lowest is 0.0 and highest 1.0, expected 0 < lowest < highest"),
        ({"highest": float("inf")}, "highest inf, expected"),
        ({"precision": "int8"}, "a model is not trained in int8"),
        ({"freeze": "head"}, "freeze names 'head'"),
        ({"optimizer": sq.SGD(fresh())}, "an optimizer that is made has a model already"),
    ],
)
def test_what_it_refuses(dataset, options, words):
    with pytest.raises(ValueError, match=words):
        sq.lr_find(fresh(), dataset, **{**GIVEN, **options})


def test_the_command(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dataset.write_list("a.txt")
    given = ["--batch-size", "8", "--steps", "18", "--image-size", "64", "--lowest", "1e-5"]
    assert main(["lr-find", "a.txt", *given, "--highest", "0.01"]) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"18 steps, from 1e-05 to 0\.01; the smoothed loss went from \d\.\d{3} to", out
    )
    assert re.search(r"Suggested: --lr \S+, where|falls nowhere", out)
    assert (tmp_path / "lr_find.png").exists()
