"""How sets are divided: no group on two sides, classes balanced, and ungrouped sets as ever."""

from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.data.splits import deal_folds, draw_part


def made(labels: np.ndarray, groups: np.ndarray | None = None) -> sq.Dataset:
    """A set of files that are not there, which no division looks at."""
    return sq.Dataset([f"{place}.png" for place in range(len(labels))], labels, groups=groups)


def eyes(people: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels, groups) of one to four pictures a person, most of one class each; a fifth are 1."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(people), random.integers(1, 5, people))
    ill = (random.random(people) < 0.2)[groups]
    flipped = random.random(len(groups)) < 0.1
    return (ill ^ flipped).astype(np.int64), groups


def test_without_groups_a_split_is_what_it_was() -> None:
    labels = np.array([0] * 11 + [1] * 7 + [3])
    drawn = [
        members[core.shuffle(len(members), 5, label)[: round(0.3 * len(members))]]
        for label in (0, 1)
        for members in [np.flatnonzero(labels == label)]
    ]
    rest, part = made(labels).split(0.3, 5)
    assert part.paths == [f"{place}.png" for place in np.sort(np.concatenate(drawn))]
    assert len(rest) + len(part) == len(labels)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_a_split_divides_no_group(seed: int, fraction: float) -> None:
    labels, groups = eyes(120, seed)
    rest, part = made(labels, groups).split(fraction, seed)
    assert rest.groups is not None and part.groups is not None
    assert not set(rest.groups) & set(part.groups) and len(rest) + len(part) == len(labels)
    for label in (0, 1):  # a share of each class, but for a person
        count, wanted = (part.labels == label).sum(), fraction * (labels == label).sum()
        assert abs(count - wanted) <= 2.5, (label, count, wanted)
    assert made(labels).split(fraction, seed, groups)[1].paths == part.paths
    assert made(labels, groups).split(fraction, seed)[1].paths == part.paths
    assert made(labels, groups).split(fraction, seed + 1)[1].paths != part.paths


@pytest.mark.parametrize("seed", range(3))
def test_folds_divide_no_group(seed: int) -> None:
    labels, groups = eyes(150, seed)
    folds = made(labels, groups).folds(5, seed)
    assert sorted(path for _, valid in folds for path in valid.paths) == sorted(made(labels).paths)
    for rest, valid in folds:
        assert rest.groups is not None and valid.groups is not None
        assert not set(rest.groups) & set(valid.groups) and len(rest) + len(valid) == len(labels)


def test_grouped_folds_are_as_even_as_those_of_scikit_learn() -> None:
    """How unequally the classes are dealt, on average over ten sets."""
    from sklearn.model_selection import StratifiedGroupKFold

    unevenness = []
    for seed in range(10):
        labels, groups = eyes(150, seed)
        theirs = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        dealt = (
            [
                labels[deal_folds(labels, groups.astype(object), 5, seed) == fold]
                for fold in range(5)
            ],
            [labels[test] for _, test in theirs.split(labels, labels, groups)],
        )
        counts = np.array([[np.bincount(fold, minlength=2) for fold in folds] for folds in dealt])
        unevenness.append((counts / counts.sum(axis=1, keepdims=True)).std(axis=1).sum(axis=1))
    ours, theirs = np.mean(unevenness, axis=0)
    assert ours <= 1.25 * theirs and ours < 0.01, unevenness


def test_folds_without_groups() -> None:
    labels = np.array([0] * 13 + [1] * 9 + [2] * 3)
    folds = made(labels).folds(4, seed=3)
    counts = np.array([np.bincount(valid.labels, minlength=3) for _, valid in folds])
    assert counts.sum(axis=0).tolist() == [13, 9, 3]
    assert (np.ptp(counts, axis=0) <= 1).all() and np.ptp(counts.sum(axis=1)) <= 1
    assert folds[0][1].paths == made(labels).folds(4, seed=3)[0][1].paths
    assert folds[0][1].paths != made(labels).folds(4, seed=4)[0][1].paths


def test_every_part_gets_a_group() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    for fraction in (0.01, 0.5, 0.99):
        drawn = draw_part(labels, np.array(list("aaabbc"), object), fraction, 0)
        assert 0 < drawn.sum() < 6
    groups = np.array([*("big",) * 20, "b", "c"], object)
    fold = deal_folds(np.arange(22) % 2, groups, 3, 0)
    assert sorted(np.bincount(fold).tolist()) == [1, 1, 20]


def test_what_cannot_be_divided() -> None:
    dataset = made(np.array([0, 1, 0, 1]), np.array(["p", "p", "p", "p"]))
    with pytest.raises(ValueError, match="all pictures are of the group 'p'"):
        dataset.split(0.5)
    with pytest.raises(
        ValueError, match="2 folds, expected a whole number from 2 to 1, the groups"
    ):
        dataset.folds(2)
    for k in (1, 5, 2.0, True):
        with pytest.raises(ValueError, match="from 2 to 4, the pictures"):
            made(dataset.labels).folds(k)
    with pytest.raises(ValueError, match=r"groups have the shape \(3,\), expected \(4,\)"):
        dataset.split(0.5, groups=[1, 2, 3])
    with pytest.raises(ValueError, match=r"groups have the shape \(0,\)"):
        sq.Dataset(["a.png"], [0], groups=[])


def test_groups_stay_with_their_pictures(tmp_path: Path) -> None:
    dataset = sq.synthetic.write(tmp_path, 6, size=32)
    (tmp_path / "broken.png").write_bytes(b"")
    paths, labels = [*dataset.paths, tmp_path / "broken.png"], [*dataset.labels, 0]
    with pytest.warns(UserWarning, match="1 files were skipped"):
        grouped = sq.Dataset(paths, labels, ["a", "b"], groups=range(7), on_error="skip")
    for part, expected in (
        (grouped, "012345"),
        (grouped[::-2], "531"),
        (grouped.with_class_names(["b", "a"]), "012345"),
        (grouped[1:3].at_size(32), "12"),
    ):
        assert part.groups is not None and "".join(part.groups) == expected


def test_training_splits_by_groups(tmp_path: Path) -> None:
    """What chooses the best epoch has nobody in it whom the network has seen."""
    dataset = sq.synthetic.write(tmp_path, 24, size=32)
    grouped = sq.Dataset(dataset.paths, dataset.labels, groups=np.arange(24) // 4)
    model = sq.Model(base_e=2, incr_e=0, image_size=32)
    sq.train(model, grouped, epochs=1, valid_fraction=0.3, progress=False)
    rest, chosen_on = grouped.split(0.3, 0)
    assert len(chosen_on) % 4 == 0 and set(model.trained_on) == set(rest.marks())
