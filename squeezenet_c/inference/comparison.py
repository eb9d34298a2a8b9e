"""Whether one model is better than another on the same pictures, or only luckier.

Both judge each picture, so the answers are pairs, which tests and intervals for independent groups
do not know. Here are

McNemar     of pictures that one model alone has right (Psychometrika 1947, 12, 153-157): b of one,
            c of the other. Where none is better, each of the b + c is either's with a chance of a
            half, so that the binomial distribution gives p exactly: that p is the one reported. Its
            approximation by chi-square with one degree of freedom, (|b - c| - 1)^2 / (b + c), with
            Edwards' correction for continuity (Psychometrika 1948, 13, 185-187), stands beside it
Newcombe    the interval of a difference of two shares of the same pictures: method 10 of Newcombe
            1998 (Statistics in Medicine 17, 2635-2650), of both shares' Wilson intervals and the
            correlation of the answers
DeLong      of the AUCs of two classes (DeLong, DeLong & Clarke-Pearson, Biometrics 1988, 44,
            837-845): an AUC is a mean over pictures of how many of the other class they are above
            or below, so two AUCs have a covariance, and their difference a standard error; the
            shares are found by ranks (Sun & Xu, IEEE Signal Processing Letters 2014, 21, 1389-1393)
bootstrap   of the mean AUC of more than two classes, to which DeLong's test is not made: the
            percentile interval of the difference over resampled pictures, without a p value

A p value is two-sided, and no correction is made for there being several.
"""

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .intervals import RESAMPLES, SEED, Z, bootstrap, wilson_interval
from .metrics import mid_ranks
from .weighted import Floats, mean_roc_area

Answers = NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """A figure of both models, and what is between them: second - first with its 95 % interval.
    None where it is not defined, or there is no interval or test. method: "Newcombe", "DeLong" or
    "bootstrap", see the head of this file. p: McNemar's exact one, or DeLong's."""

    first: float | None
    second: float | None
    difference: float | None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    p: float | None = None
    besides: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """`besides` among the rest."""
        said = asdict(self)
        return said | said.pop("besides")


@dataclass(frozen=True)
class Comparison:
    """What `compare` found of two models, called by `names`, on the same pictures.

    differences     by name: accuracy and auc; with two classes sensitivity and specificity too
    class_names, positive   of the classes; positive is None where there are not two
    """

    names: tuple[str, str]
    pictures: int
    class_names: tuple[str, ...]
    positive: int | None
    differences: dict[str, Difference]

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON knows."""
        found = {name: difference.to_dict() for name, difference in self.differences.items()}
        return asdict(self) | {
            "names": list(self.names),
            "class_names": list(self.class_names),
            "differences": found,
        }

    def __str__(self) -> str:
        first, second = self.names
        lines = [f"{self.pictures} pictures; A is {first}, B is {second}"]
        lines.append(f"{'':12} {'A':>7} {'B':>7} {'B - A':>8}  95 % interval           p")
        for name, found in self.differences.items():
            lines.append(_line(name, found))
        split = self.differences["accuracy"].besides
        lines.append(
            f"right in both {split['both_right']}, A alone {split['first_alone']}, B alone "
            f"{split['second_alone']}, neither {split['neither']}"
        )
        lines.append(
            "p of shares: McNemar's exact test; intervals of shares: Newcombe 1998, method 10"
        )
        if "auc" in self.differences and self.differences["auc"].method == "DeLong":
            lines.append("p and interval of the AUC: DeLong 1988")
        return "\n".join(lines)


def _line(name: str, found: Difference) -> str:
    first, second = (
        "-" if value is None else f"{value:.4f}" for value in (found.first, found.second)
    )
    between = "-" if found.difference is None else f"{found.difference:+.4f}"
    interval = "(no interval)" if found.low is None else f"({found.low:+.4f} to {found.high:+.4f})"
    p = "-" if found.p is None else f"{found.p:.4f}" if found.p >= 1e-4 else f"{found.p:.1e}"
    return f"{name:12} {first:>7} {second:>7} {between:>8}  {interval:22}  {p}"


# -- Shares ----------------------------------------------------------------------------------------


def mcnemar(first_alone: int, second_alone: int) -> float:
    """The exact two-sided p of so many pictures that one of two models alone has right; 1 where
    there are none."""
    count, least = first_alone + second_alone, min(first_alone, second_alone)
    ways = total = 1  # of drawing 0, and at most so many so far, of `count`, in whole numbers
    for drawn in range(least):
        ways = ways * (count - drawn) // (drawn + 1)
        total += ways
    return 1.0 if 2 * total >= 1 << count else 2 * total / (1 << count)


def mcnemar_chi_square(first_alone: int, second_alone: int) -> tuple[float, float]:
    """(chi-square with Edwards' correction for continuity, its p); 0 and 1 where both are alike."""
    count, apart = first_alone + second_alone, abs(first_alone - second_alone)
    square = max(0, apart - 1) ** 2 / count if count else 0.0
    return square, math.erfc(math.sqrt(square / 2))


def paired_interval(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Newcombe's 95 % interval (1998, method 10) of the second share less the first, of pictures
    that both, the first alone, the second alone and neither has right; at least one."""
    count = both + first + second + neither
    one, other = (both + first) / count, (both + second) / count
    low_one, high_one = wilson_interval(both + first, count)
    low_other, high_other = wilson_interval(both + second, count)
    product: float = both * neither - first * second
    if product > 0:
        product = max(product - count / 2, 0)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    correlation = product / math.sqrt(margins) if margins else 0.0

    def length(near: float, far: float) -> float:
        return math.sqrt(max(0.0, near**2 - 2 * correlation * near * far + far**2))

    below = length(other - low_other, high_one - one)
    above = length(high_other - other, one - low_one)
    return other - one - below, other - one + above


def compare_shares(first: Answers, second: Answers) -> Difference:
    """Of which of the same N pictures each model has right."""
    if not len(first):
        return Difference(None, None, None)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    alone = int((first & ~second).sum()), int((~first & second).sum())
    low, high = paired_interval(both, *alone, neither)
    square, approximate = mcnemar_chi_square(*alone)
    shares = float(first.mean()), float(second.mean())
    return Difference(
        *shares, shares[1] - shares[0], low, high, "Newcombe", mcnemar(*alone),
        {
            "both_right": both, "first_alone": alone[0], "second_alone": alone[1],
            "neither": neither, "chi_square": square, "chi_square_p": approximate,
        },
    )  # fmt: skip


# -- Areas -----------------------------------------------------------------------------------------


def _placements(positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """(of each positive the share of negatives that it is above, of each negative that of positives
    that it is below), equal scores counting half: the means of both are the AUC."""
    among_all = mid_ranks(scores)
    above, below = (among_all[side] - mid_ranks(scores[side]) for side in (positive, ~positive))
    return above / (~positive).sum(), 1 - below / positive.sum()


def delong(
    positive: NDArray[np.bool_], first: Floats, second: Floats
) -> tuple[Floats, NDArray[np.float64]]:
    """(the AUCs of two models' scores of the same pictures, the (2, 2) covariance of both). At
    least two positives and two negatives are needed for the latter, which is NaN otherwise."""
    pairs = [_placements(positive, scores) for scores in (first, second)]
    areas = np.array([above.mean() for above, _ in pairs])
    covariance = np.zeros((2, 2))
    for side in range(2):
        shares = np.stack([pair[side] for pair in pairs])
        count = shares.shape[1]
        if count < 2:
            return areas, np.full((2, 2), np.nan)
        covariance += np.cov(shares) / count
    return areas, covariance


def compare_areas(positive: NDArray[np.bool_], first: Floats, second: Floats) -> Difference:
    """DeLong's test of two models' scores of the same N pictures. Without a standard error there is
    no interval, and a p only of no difference at all: 1."""
    if positive.all() or not positive.any():
        return Difference(None, None, None)
    areas, covariance = delong(positive, first, second)
    difference = float(areas[1] - areas[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    values = float(areas[0]), float(areas[1]), difference
    if not variance > 1e-20:
        return Difference(*values, p=1.0 if variance == variance and not difference else None)
    error = math.sqrt(variance)
    p = math.erfc(abs(difference) / error / math.sqrt(2))
    low, high = difference - Z * error, difference + Z * error
    return Difference(*values, low, high, "DeLong", p, {"z": difference / error})


def compare_mean_areas(
    labels: NDArray[np.int64], first: Floats, second: Floats, resamples: int, seed: int
) -> Difference:
    """Of (N, classes) probabilities, the mean AUC of each class against the rest."""
    areas = [mean_roc_area(labels, probabilities) for probabilities in (first, second)]
    once = np.ones((1, len(labels)))
    values = float(areas[0](once)[0]), float(areas[1](once)[0])
    if not np.isfinite(values).all():
        return Difference(None, None, None)

    def between(weights: Floats) -> Floats:
        return areas[1](weights) - areas[0](weights)

    found = bootstrap({"auc": between}, len(labels), resamples, seed)["auc"]
    return Difference(*values, found.value, found.low, found.high, found.method)


# -- Both ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A model's answers to N labelled pictures, as a report's predictions.csv has them: `labels`
    and `predicted` are numbers of `class_names`, probabilities (N, classes)."""

    name: str
    paths: list[str]
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: Floats
    positive: int | None = 1


def compare_judged(
    first: Judged, second: Judged, resamples: int = RESAMPLES, seed: int = SEED
) -> Comparison:
    """The Comparison of two models' answers; the second's pictures and classes are put in the
    first's order. resamples, seed: of the bootstrap. ValueError: they are not of the same pictures
    and classes, or do not agree on what a picture shows."""
    second = aligned(second, first)
    labels, right = first.labels, first.predicted == first.labels
    right_too = second.predicted == labels
    differences = {"accuracy": compare_shares(right, right_too)}
    positive = first.positive if len(first.class_names) == 2 else None
    if positive is None:
        differences["auc"] = compare_mean_areas(
            labels, first.probabilities, second.probabilities, resamples, seed
        )
    else:
        true = labels == positive
        scores = (judged.probabilities[:, positive] for judged in (first, second))
        differences["auc"] = compare_areas(true, *scores)
        differences["sensitivity"] = compare_shares(right[true], right_too[true])
        differences["specificity"] = compare_shares(right[~true], right_too[~true])
    names = (first.name, second.name)
    return Comparison(names, len(labels), first.class_names, positive, differences)


def aligned(judged: Judged, like: Judged) -> Judged:
    """`judged` with pictures and classes in the order of `like`. A picture is known by its path
    within the folder that all of a set are in. ValueError: see compare_judged."""
    pair = f"{like.name} and {judged.name}"
    if sorted(judged.class_names) != sorted(like.class_names):
        raise ValueError(
            f"{pair} are of other classes: {', '.join(like.class_names)} and "
            f"{', '.join(judged.class_names)}"
        )
    wanted, found = _within(like), _within(judged)
    places = {path: place for place, path in enumerate(found)}
    missing = [path for path in wanted if path not in places]
    order = np.arange(len(found))
    if found != wanted and (missing or not len(places) == len(found) == len(wanted)):
        which = f"{missing[0]} is in the first alone" if missing else "some are there twice or more"
        raise ValueError(
            f"{pair} are not of the same pictures, {len(wanted)} and {len(found)}: {which}"
        )
    if found != wanted:
        order = np.array([places[path] for path in wanted])
    columns = np.array([judged.class_names.index(name) for name in like.class_names])
    numbers = np.argsort(columns)  # from the number of a class in `judged` to that in `like`
    labels = numbers[judged.labels[order]]
    other = np.flatnonzero(labels != like.labels)
    if len(other):
        truly, said = (like.class_names[given[other[0]]] for given in (like.labels, labels))
        raise ValueError(
            f"{pair} do not agree on what {wanted[other[0]]} shows: {truly} and {said}"
        )
    return Judged(
        judged.name, like.paths, like.class_names, labels, numbers[judged.predicted[order]],
        judged.probabilities[order][:, columns], like.positive,
    )  # fmt: skip


def _within(judged: Judged) -> list[str]:
    try:
        common = os.path.commonpath({os.path.dirname(path) for path in judged.paths})
    except ValueError:  # some are absolute paths, some are not
        return judged.paths
    return [Path(path).relative_to(common).as_posix() for path in judged.paths]
