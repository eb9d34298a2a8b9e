"""Figures as functions of how often each picture counts, for resampling: a set with its pictures
drawn anew is a row of weights, and each function here takes many such rows at once."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .metrics import calibration_bins

SPECIFICITY = 0.95  # of "sensitivity at 95 % specificity"

Floats = NDArray[np.float64]
# From (draws, N) weights to one value a draw, NaN where it is not defined.
Statistic = Callable[[Floats], Floats]


def statistics_of(
    labels: NDArray[np.int64], probabilities: Floats, predicted: NDArray[np.int64]
) -> dict[str, Statistic]:
    """Each figure by name; see intervals.measure."""
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
