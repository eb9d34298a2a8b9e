"""Figures of a classifier with 95 % intervals.

Which interval depends on the figure, and each Figure names its own (`method`):

Wilson      of shares of pictures: accuracy, sensitivity, specificity, and the predictive values at
            the set's own prevalence (Wilson 1927, JASA 22, 209)
Newcombe    of the AUC of two classes: method 5 of Newcombe 2006 (Statistics in Medicine 25,
            559-573), the AUCs from which the one found is no further than 1.96 standard errors of
            Hanley & McNeil's (Radiology 1982, 143, 29-36), with mean class sizes in them
Simel       of likelihood ratios: of the ratio of two shares, by the normal distribution of its
            logarithm (Simel, Samsa & Matchar, J Clin Epidemiol 1991, 44, 763-770); none where a
            count is 0
Mercaldo    of predictive values at a stated prevalence: on the logit, where Bayes' theorem adds the
            prevalence's to the likelihood ratio's logarithm (Mercaldo, Lau & Zhou, Statistics in
            Medicine 2007, 26, 2170-2183); none where a likelihood ratio has none
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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .weighted import FIRST, PAPER, Floats, Statistic, check_prevalence, statistics_of

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)  # 1.96
RESAMPLES, SEED = 2000, 0
CHUNK = 1 << 22  # weights held at a time


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval. value is None where it is not defined (no picture of a class),
    low, high and method where there is no interval. method: "Wilson" or another, see the head of
    this file; a bootstrap leaves out draws in which the value is not defined."""

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
    prevalence: float | None = None,
) -> dict[str, Figure]:
    """Figures by name, of N labels, (N, classes) probabilities and the N classes predicted; what
    each is computed by is in weighted.py.

    accuracy, auc, f1, calibration_error, balanced_accuracy, average_precision and kappa. With two
    classes, of which class 1 is the positive, sensitivity, specificity,
    sensitivity_at_95_specificity, ppv, npv, lr_positive and lr_negative too. With more classes auc,
    f1 and average_precision are the mean of each class's, against the rest; and there are
    weighted_auc, whose mean is weighed by pictures, and quadratic_kappa, which is of use where the
    classes have an order.

    prevalence: of the positive class, for ppv and npv (default: the set's own). resamples, seed: of
    the bootstrap. ValueError: a prevalence that is none, or no resample.
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, expected at least 1")
    check_prevalence(prevalence, probabilities.shape[1])
    statistics = statistics_of(labels, probabilities, predicted, prevalence)
    found = _closed_forms(labels, predicted, probabilities.shape[1], statistics, prevalence)
    others = {name: statistics[name] for name in statistics if name not in found}
    found |= bootstrap(others, len(labels), resamples, seed)
    return {name: found[name] for name in FIRST + PAPER if name in found}


def _closed_forms(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: int,
    statistics: dict[str, Statistic],
    prevalence: float | None,
) -> dict[str, Figure]:
    """The figures whose intervals need no resampling."""
    right = predicted == labels
    found = {"accuracy": _share(right)}
    if classes != 2:
        return found
    once = np.ones((1, len(labels)))
    values = {name: float(statistic(once)[0]) for name, statistic in statistics.items()}
    positive, called = labels == 1, predicted == 1
    found["sensitivity"] = _share(right[positive])
    found["specificity"] = _share(right[~positive])
    found["auc"] = _area(values["auc"], int(positive.sum()), int((~positive).sum()))
    wholes = int(positive.sum()), int((~positive).sum())
    for name, answer in (("lr_positive", called), ("lr_negative", ~called)):
        parts = int((answer & positive).sum()), int((answer & ~positive).sum())
        found[name] = _ratio(values[name], parts, wholes)
    if prevalence is None:
        return found | {"ppv": _share(right[called]), "npv": _share(right[~called])}
    for name, ratio in (("ppv", "lr_positive"), ("npv", "lr_negative")):
        found[name] = _predictive(values[name], found[ratio], prevalence, name == "npv")
    return found


def _ratio(value: float, parts: tuple[int, int], wholes: tuple[int, int]) -> Figure:
    """Of the shares parts / wholes, value = the first's over the second's."""
    if not np.isfinite(value):
        return Figure(None, None, None)
    if 0 in parts:
        return Figure(float(value), None, None)
    error = np.sqrt(sum(1 / part - 1 / whole for part, whole in zip(parts, wholes, strict=True)))
    low, high = (float(value * np.exp(side * error)) for side in (-Z, Z))
    return Figure(float(value), low, high, "Simel")


def _predictive(value: float, ratio: Figure, prevalence: float, negative: bool) -> Figure:
    """Of the value that Bayes' theorem gives with the likelihood ratio."""
    if not np.isfinite(value):
        return Figure(None, None, None)
    if ratio.low is None or ratio.high is None:
        return Figure(float(value), None, None)
    odds = prevalence / (1 - prevalence)
    low, high = (odds * end / (1 + odds * end) for end in (ratio.low, ratio.high))
    if negative:
        low, high = 1 - high, 1 - low
    return Figure(float(value), low, high, "Mercaldo")


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


def bootstrap(
    statistics: dict[str, Statistic], count: int, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Figure]:
    """A Figure by each name, of statistics of the same `count` pictures."""
    drawn: dict[str, list[Floats]] = {name: [] for name in statistics}
    for weights in _draws(count, resamples, seed):
        for name, values in drawn.items():
            values.append(statistics[name](weights))
    once = np.ones((1, count))
    return {
        name: _bootstrapped(float(statistics[name](once)[0]), np.concatenate(values))
        for name, values in drawn.items()
    }


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
