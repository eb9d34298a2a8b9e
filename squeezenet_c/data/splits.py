"""How a set is divided: into two parts, or into folds.

Without groups a class's pictures are shuffled, and dealt by themselves.

With groups, of which none may be divided, this rule, which is StratifiedGroupKFold's of
scikit-learn with parts of any size, and with a count of its own: a part is to have a share of the
pictures, and so of each class's. How full it is of a class is the count it has over the count it is
to have. Groups are shuffled, and ordered by how uneven their counts of the classes are (their
standard deviation), the most uneven first. Each then goes to the part in which it leaves the sum
over the classes of the variance over the parts of how full they are the least; of equals to the one
that is emptiest as a whole. At last a part that has got no group is given that of another part,
which has more than one, that leaves this sum the least.

Who is drawn is a function of the labels, the groups, the shares and the seed.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._native import core


def checked_groups(groups: ArrayLike | None, count: int) -> NDArray[np.object_] | None:
    """As an array of `count` str; None of None. ValueError: another shape."""
    if groups is None:
        return None
    given = np.asarray(groups)
    if given.shape != (count,):
        raise ValueError(f"groups have the shape {given.shape}, expected ({count},)")
    # Of objects, for one long name would make an array of texts that long.
    return np.array([str(group) for group in given.tolist()], dtype=object)


def draw_part(
    labels: NDArray[np.int64], groups: NDArray[np.object_] | None, fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Which pictures are of the part that is to have this fraction of each class's. ValueError: no
    class has two pictures, or all are of one group."""
    drawn = np.zeros(len(labels), bool)
    if groups is not None:
        counts, group_of = _count(labels, groups)
        if len(counts) < 2:
            raise ValueError(f"all pictures are of the group {groups[0]!r}: it cannot be divided")
        return _assign(counts, np.array([1 - fraction, fraction]), seed)[group_of] == 1
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            continue
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        drawn[members[core.shuffle(len(members), seed, int(label))[:count]]] = True
    if not drawn.any():
        raise ValueError("no class has two pictures, so the set cannot be split")
    return drawn


def deal_folds(
    labels: NDArray[np.int64], groups: NDArray[np.object_] | None, k: int, seed: int
) -> NDArray[np.int64]:
    """The fold, 0 to k - 1, of each picture. ValueError: see Dataset.folds."""
    counts, group_of = (None, None) if groups is None else _count(labels, groups)
    most, what = (len(labels), "pictures") if counts is None else (len(counts), "groups")
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or not 2 <= k <= most:
        raise ValueError(f"{k!r} folds, expected a whole number from 2 to {most}, the {what}")
    if counts is not None:
        return _assign(counts, np.full(k, 1 / k), seed)[group_of]
    dealt = [
        members[core.shuffle(len(members), seed, int(label))]
        for label in np.unique(labels)
        for members in [np.flatnonzero(labels == label)]
    ]
    fold = np.empty(len(labels), np.int64)
    fold[np.concatenate(dealt)] = np.arange(len(labels)) % k  # each class goes on where one ended
    return fold


def _count(
    labels: NDArray[np.int64], groups: NDArray[np.object_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """((groups, classes) pictures of each class that there is in each group, each picture's
    group)."""
    _, group_of = np.unique(groups, return_inverse=True)
    _, class_of = np.unique(labels, return_inverse=True)
    shape = (int(group_of.max()) + 1, int(class_of.max()) + 1)
    flat = np.bincount(group_of * shape[1] + class_of, minlength=shape[0] * shape[1])
    return flat.reshape(shape), group_of


def _assign(counts: NDArray[np.int64], shares: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """The part of each group, by the rule at the head of this file."""
    wanted = counts.sum(axis=0) * shares[:, None]  # (parts, classes)
    full = np.zeros_like(wanted)
    size = np.zeros(len(shares))
    order = core.shuffle(len(counts), seed, 0)
    order = order[np.argsort(-counts[order].std(axis=1), kind="stable")]
    part_of = np.empty(len(counts), np.int64)
    for group in order.tolist():
        cost = _costs(full, counts[group] / wanted)
        equal = np.flatnonzero(cost <= cost.min() + 1e-12)
        part = equal[size[equal].argmin()]
        part_of[group] = part
        full[part] += counts[group] / wanted[part]
        size[part] += counts[group].sum() / shares[part]
    for part in range(len(shares)):
        if (part_of == part).any():
            continue
        movable = np.flatnonzero(np.bincount(part_of, minlength=len(shares))[part_of] > 1)
        costs = []
        for group in movable:
            without = full.copy()
            without[part_of[group]] -= counts[group] / wanted[part_of[group]]
            costs.append(_costs(without, counts[group] / wanted)[part])
        group = movable[int(np.argmin(costs))]
        full[part_of[group]] -= counts[group] / wanted[part_of[group]]
        full[part] += counts[group] / wanted[part]
        part_of[group] = part
    return part_of


def _costs(full: NDArray[np.float64], more: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each part: the sum over classes of the variance over parts of how full they are, once it
    is fuller by its row of `more`."""
    parts = len(full)
    sums, squares = full.sum(axis=0) + more, (full**2).sum(axis=0) + (2 * full + more) * more
    return (squares / parts - (sums / parts) ** 2).sum(axis=1)
