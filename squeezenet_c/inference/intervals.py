"""Figures of a classifier with 95 % intervals.

Which interval depends on the figure, and each Figure names its own (`method`):

Wilson      of shares of pictures: accuracy, sensitivity, specificity (Wilson 1927, JASA 22, 209)
Newcombe    of the AUC of two classes: method 5 of Newcombe 2006 (Statistics in Medicine 25,
            559-573), the AUCs from which the one found is no further than 1.96 standard errors of
            Hanley & McNeil's (Radiology 1982, 143, 29-36), with mean class sizes in them
bootstrap   of all else, the percentile interval (Efron & Tibshirani, "An Introduction to the
            Bootstrap", 1993, chapter 13): pictures are drawn with replacement, as many as there
            are, the figure is computed anew, and the interval holds the middle 95 % of the results.
            A draw is a row of weights, how often each picture was drawn, so that all draws are
            computed at once as sums over pictures

The first two hold at 0 and 1 too, where resampling pictures that are all right can find no error.
A bootstrap whose draws are all alike says nothing, and there is no interval then.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .weighted import Floats, statistics_of

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)  # 1.96
RESAMPLES, SEED = 2000, 0
CHUNK = 1 << 22  # weights held at a time


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval. value is None where it is not defined (no picture of a class),
    low, high and method where there is no interval. method: "Wilson", "Newcombe" or "bootstrap",
    see the head of this file; a bootstrap leaves out draws in which the value is not defined."""

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
    statistics = statistics_of(labels, probabilities, predicted)
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
