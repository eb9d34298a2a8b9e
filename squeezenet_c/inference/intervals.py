"""Figures of a classifier with 95 % intervals.

Which interval depends on the figure, and each Figure names its own (`method`):

Wilson      of shares of pictures: accuracy, sensitivity, specificity (Wilson 1927, JASA 22, 209)
Newcombe    of the AUC of two classes: method 5 of Newcombe 2006 (Statistics in Medicine 25,
            559-573), the AUCs from which the one found is no further than 1.96 standard errors of
            Hanley & McNeil's (Radiology 1982, 143, 29-36), with mean class sizes in them
Student     of a mean over runs, such as seeds (Student 1908, Biometrika 6, 1)
bootstrap   of all else, the percentile interval (Efron & Tibshirani, "An Introduction to the
            Bootstrap", 1993, chapter 13): pictures are drawn with replacement, as many as there
            are, the figure is computed anew, and the interval holds the middle 95 % of the results.
            A draw is a row of weights, how often each picture was drawn, so that all draws are
            computed at once as sums over pictures

The first two hold at 0 and 1 too, where resampling pictures that are all right can find no error.
A bootstrap whose draws are all alike says nothing, and there is no interval then.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metrics import calibration_bins

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)  # 1.96
SPECIFICITY = 0.95  # of "sensitivity at 95 % specificity"
RESAMPLES, SEED = 2000, 0
CHUNK = 1 << 22  # weights held at a time

Floats = NDArray[np.float64]
# From (draws, N) weights to one value a draw, NaN where it is not defined.
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval. value is None where it is not defined (no picture of a class),
    low, high and method where there is no interval. method: "Wilson", "Newcombe", "Student" or
    "bootstrap", see the head of this file; a bootstrap leaves out draws in which the value is not
    defined."""

    value: float | None
    low: float | None
    high: float | None
    method: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        if self.low is None:
            return f"{self.value:.4f} (no interval)"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f}, {self.method})"


def measure(
    labels: NDArray[np.int64],
    probabilities: Floats,
    predicted: NDArray[np.int64],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Figure]:
    """Figures by name, of N labels, (N, classes) probabilities and the N classes predicted.

    accuracy, auc, f1 and calibration_error; with two classes, of which class 1 is the positive,
    sensitivity, specificity and sensitivity_at_95_specificity too. With more classes auc is the
    mean of each class against the rest, and f1 the mean of each class's. resamples, seed: of the
    bootstrap.
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, expected at least 1")
    statistics = _statistics(labels, probabilities, predicted)
    figures = {name: statistic(np.ones((1, len(labels)))) for name, statistic in statistics.items()}
    found = _closed_forms(labels, predicted, probabilities.shape[1], figures)
    drawn: dict[str, list[Floats]] = {name: [] for name in statistics if name not in found}
    for weights in _draws(len(labels), resamples, seed):
        for name, values in drawn.items():
            values.append(statistics[name](weights))
    for name, values in drawn.items():
        found[name] = _bootstrapped(figures[name][0], np.concatenate(values))
    return {name: found[name] for name in statistics}


def _closed_forms(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: int,
    values: dict[str, Floats],
) -> dict[str, Figure]:
    """The figures whose intervals need no resampling."""
    right = predicted == labels
    found = {"accuracy": _share(right)}
    if classes == 2:
        positives = labels == 1
        found["sensitivity"] = _share(right[positives])
        found["specificity"] = _share(right[~positives])
        found["auc"] = _area(values["auc"][0], int(positives.sum()), int((~positives).sum()))
    return found


def _share(right: NDArray[np.bool_]) -> Figure:
    if not len(right):
        return Figure(None, None, None)
    return Figure(float(right.mean()), *wilson_interval(int(right.sum()), len(right)), "Wilson")


def _area(value: float, positives: int, negatives: int) -> Figure:
    if not np.isfinite(value):
        return Figure(None, None, None)
    return Figure(float(value), *area_interval(value, positives, negatives), "Newcombe")


def wilson_interval(part: int, whole: int) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) of the share part / whole."""
    share, extra = part / whole, Z * Z / whole
    middle = (share + extra / 2) / (1 + extra)
    half = Z / (1 + extra) * np.sqrt(share * (1 - share) / whole + extra / (4 * whole))
    # Exactly 0 and 1 at these, where rounding would miss them.
    low = 0.0 if part == 0 else middle - half
    return float(low), 1.0 if part == whole else float(middle + half)


def area_interval(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """Newcombe's 95 % interval (2006, method 5) of an area under the ROC curve."""
    others = (positives + negatives) / 2 - 1

    def error(true: float) -> float:
        """The standard error of what is found where the area is `true`."""
        spread = 1 + others * ((1 - true) / (2 - true) + true / (1 + true))
        return float(np.sqrt(true * (1 - true) * spread / (positives * negatives)))

    def bound(end: float) -> float:
        """Of the areas from the one found to `end`, the furthest that may be the true one."""
        near, far = area, end
        for _ in range(60):
            middle = (near + far) / 2
            if abs(area - middle) <= Z * error(middle):
                near = middle
            else:
                far = middle
        return near

    return bound(0.0), bound(1.0)


def mean_figure(values: Sequence[float]) -> Figure:
    """The mean of shares between 0 and 1, one a run, with Student's 95 % interval, no further than
    0 and 1; of one run without interval."""
    if not len(values):
        return Figure(None, None, None)
    mean = float(np.mean(values))
    if len(values) == 1:
        return Figure(mean, None, None)
    half = student_quantile(len(values) - 1) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Figure(mean, max(0.0, mean - half), min(1.0, mean + half), "Student")


def student_quantile(degrees: int) -> float:
    """What Student's t of so many degrees of freedom, at least 1, is within with probability 0.95,
    either side of 0. By bisection of Abramowitz & Stegun's finite sums 26.7.3 and 26.7.4, in the
    angle whose tangent is t / sqrt(degrees)."""

    def within(angle: float) -> float:
        sine, cosine = math.sin(angle), math.cos(angle)
        odd = degrees % 2
        term = cosine if odd else 1.0
        total = term if degrees > 1 else 0.0
        for k in range(2 + odd, degrees - 1, 2):
            term *= cosine * cosine * (k - 1) / k
            total += term
        return 2 / math.pi * (angle + sine * total) if odd else sine * total

    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < CONFIDENCE else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _draws(count: int, resamples: int, seed: int) -> Iterator[Floats]:
    random = np.random.default_rng(seed)
    share = np.full(count, 1 / count)
    step = max(1, CHUNK // count)
    for start in range(0, resamples, step):
        yield random.multinomial(count, share, min(step, resamples - start)).astype(np.float64)


def _bootstrapped(value: float, drawn: Floats) -> Figure:
    if not np.isfinite(value):
        return Figure(None, None, None)
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or np.ptp(drawn) < 1e-12:
        return Figure(float(value), None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return Figure(float(value), float(low), float(high), "bootstrap")


def _statistics(
    labels: NDArray[np.int64], probabilities: Floats, predicted: NDArray[np.int64]
) -> dict[str, Statistic]:
    classes = probabilities.shape[1]
    right = predicted == labels
    calibration = calibration_error(
        probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
    )
    if classes != 2:
        return {
            "accuracy": _share_of(right),
            "auc": _mean([roc_area(labels == c, probabilities[:, c]) for c in range(classes)]),
            "f1": _mean([_f1(labels == c, predicted == c) for c in range(classes)]),
            "calibration_error": calibration,
        }
    positive, score = labels == 1, probabilities[:, 1]
    return {
        "accuracy": _share_of(right),
        "auc": roc_area(positive, score),
        "sensitivity": _share_of(right, positive),
        "specificity": _share_of(right, ~positive),
        "sensitivity_at_95_specificity": sensitivity_at(positive, score, SPECIFICITY),
        "f1": _f1(positive, predicted == 1),
        "calibration_error": calibration,
    }


def _divide(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean(statistics: list[Statistic]) -> Statistic:
    return lambda weights: np.mean([statistic(weights) for statistic in statistics], axis=0)


def _share_of(right: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> Statistic:
    among = np.ones(len(right), bool) if among is None else among
    return lambda weights: _divide(weights @ (right & among), weights @ among)


def _f1(positive: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Statistic:
    """2 TP / (2 TP + FP + FN): the harmonic mean of precision and sensitivity."""
    return lambda weights: _divide(
        2 * (weights @ (positive & predicted)), weights @ positive + weights @ predicted
    )


def _by_score(
    positive: NDArray[np.bool_], score: Floats
) -> Callable[[Floats], tuple[Floats, Floats]]:
    """From weights to (positives, negatives) at each score there is, ascending: (draws, scores)."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))

    def sums(weights: Floats) -> tuple[Floats, Floats]:
        sides = (weights[:, order] * side[order] for side in (positive, ~positive))
        positives, negatives = (np.add.reduceat(side, starts, axis=1) for side in sides)
        return positives, negatives

    return sums


def roc_area(positive: NDArray[np.bool_], score: Floats) -> Statistic:
    """The chance that a positive scores above a negative, ties half (Mann & Whitney 1947)."""
    sums = _by_score(positive, score)

    def area(weights: Floats) -> Floats:
        positives, negatives = sums(weights)
        below = negatives.cumsum(axis=1) - negatives / 2
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        return _divide((positives * below).sum(axis=1), pairs)

    return area


def sensitivity_at(positive: NDArray[np.bool_], score: Floats, specificity: float) -> Statistic:
    """The largest sensitivity of a threshold whose specificity is at least `specificity`."""
    sums = _by_score(positive, score)

    def sensitivity(weights: Floats) -> Floats:
        positives, negatives = (side[:, ::-1].cumsum(axis=1) for side in sums(weights))
        all_positives, all_negatives = positives[:, -1], negatives[:, -1]
        # Half a picture of room for the rounding of a product; counts are whole.
        allowed = np.floor((1 - specificity) * all_negatives + 1e-9)
        found = np.where(negatives <= allowed[:, None], positives, 0).max(axis=1)
        found[all_negatives == 0] = np.nan
        return _divide(found, all_positives)

    return sensitivity


def calibration_error(right: NDArray[np.bool_], confidence: Floats) -> Statistic:
    """metrics.expected_calibration_error, of which answers are right and how sure each is."""
    filled, place = np.unique(calibration_bins(confidence), return_inverse=True)
    gaps = (right - confidence)[:, None] * (place[:, None] == np.arange(len(filled)))
    return lambda weights: np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
