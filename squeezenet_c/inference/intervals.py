"""Figures of a classifier with 95 % intervals.

The interval is the percentile bootstrap (Efron & Tibshirani, "An Introduction to the Bootstrap",
1993, chapter 13): pictures are drawn with replacement, as many as there are, the figure is computed
anew, and the interval holds the middle 95 % of the results. A draw is a row of weights, how often
each picture was drawn, so that all draws are computed at once as sums over pictures.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
SPECIFICITY = 0.95  # of "sensitivity at 95 % specificity"
BINS = 10  # of the calibration error, equally wide
RESAMPLES, SEED = 2000, 0
CHUNK = 1 << 22  # weights held at a time

Floats = NDArray[np.float64]
# From (draws, N) weights to one value a draw, NaN where it is not defined.
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval; all None where it is not defined (no picture of a class). The
    interval leaves out draws in which it is not defined."""

    value: float | None
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


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
    mean of each class against the rest, and f1 the mean of each class's.
    """
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, expected at least 1")
    statistics = _statistics(labels, probabilities, predicted)
    values = {name: statistic(np.ones((1, len(labels)))) for name, statistic in statistics.items()}
    drawn: dict[str, list[Floats]] = {name: [] for name in statistics}
    for weights in _draws(len(labels), resamples, seed):
        for name, statistic in statistics.items():
            drawn[name].append(statistic(weights))
    return {name: _figure(values[name][0], np.concatenate(drawn[name])) for name in statistics}


def _draws(count: int, resamples: int, seed: int) -> Iterator[Floats]:
    random = np.random.default_rng(seed)
    share = np.full(count, 1 / count)
    step = max(1, CHUNK // count)
    for start in range(0, resamples, step):
        yield random.multinomial(count, share, min(step, resamples - start)).astype(np.float64)


def _figure(value: float, drawn: Floats) -> Figure:
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(drawn):
        return Figure(None, None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return Figure(float(value), float(low), float(high))


def _statistics(
    labels: NDArray[np.int64], probabilities: Floats, predicted: NDArray[np.int64]
) -> dict[str, Statistic]:
    classes = probabilities.shape[1]
    right = predicted == labels
    if classes != 2:
        return {
            "accuracy": _share_of(right),
            "auc": _mean([roc_area(labels == c, probabilities[:, c]) for c in range(classes)]),
            "f1": _mean([_f1(labels == c, predicted == c) for c in range(classes)]),
            # Of the class predicted, as in Guo et al. 2017 (arXiv:1706.04599).
            "calibration_error": calibration_error(right, probabilities.max(axis=1)),
        }
    positive, score = labels == 1, probabilities[:, 1]
    return {
        "accuracy": _share_of(right),
        "auc": roc_area(positive, score),
        "sensitivity": _share_of(right, positive),
        "specificity": _share_of(right, ~positive),
        "sensitivity_at_95_specificity": sensitivity_at(positive, score, SPECIFICITY),
        "f1": _f1(positive, predicted == 1),
        # Of the positive class, as in Naeini et al., AAAI 2015.
        "calibration_error": calibration_error(positive, score),
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


def calibration_bins(score: Floats, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each score: `bins` equally wide ones from 0 to 1."""
    return np.minimum((score * bins).astype(np.int64), bins - 1)


def calibration_error(happened: NDArray[np.bool_], score: Floats, bins: int = BINS) -> Statistic:
    """The expected calibration error: over `bins` equally wide bins, the mean, by pictures, of how
    far the mean probability is from the share in which it happened."""
    place = calibration_bins(score, bins)[:, None] == np.arange(bins)
    gaps = (happened - score)[:, None] * place
    return lambda weights: np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
