"""Figures as functions of how often each picture counts, for resampling: a set with its pictures
drawn anew is a row of weights, and each function here takes many such rows at once."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .metrics import calibration_bins

SPECIFICITY = 0.95  # of "sensitivity at 95 % specificity"

# The figures, in the order they are shown in: what a newcomer wants to know, then what only a paper
# needs.
FIRST = (
    "accuracy",
    "auc",
    "sensitivity",
    "specificity",
    "sensitivity_at_95_specificity",
    "f1",
    "calibration_error",
)
PAPER = (
    "balanced_accuracy",
    "average_precision",
    "weighted_auc",
    "ppv",
    "npv",
    "lr_positive",
    "lr_negative",
    "kappa",
    "quadratic_kappa",
)

Floats = NDArray[np.float64]
# From (draws, N) weights to one value a draw, NaN where it is not defined.
Statistic = Callable[[Floats], Floats]


def statistics_of(
    labels: NDArray[np.int64],
    probabilities: Floats,
    predicted: NDArray[np.int64],
    prevalence: float | None = None,
) -> dict[str, Statistic]:
    """Each figure by name; see intervals.measure."""
    classes = probabilities.shape[1]
    right = predicted == labels
    columns = range(classes) if classes != 2 else (1,)
    areas = [roc_area(labels == c, probabilities[:, c]) for c in columns]
    precisions = [average_precision(labels == c, probabilities[:, c]) for c in columns]
    figures = {
        "accuracy": share_of(right),
        "auc": _mean(areas),
        "f1": _mean([_f1(labels == c, predicted == c) for c in columns]),
        "calibration_error": calibration_error(
            probabilities.argmax(axis=1) == labels, probabilities.max(axis=1)
        ),
        "balanced_accuracy": balanced_accuracy(labels, predicted, classes),
        "average_precision": _mean(precisions),
        "kappa": kappa(labels, predicted, classes),
    }
    if classes != 2:
        supports = [share_of(labels == c) for c in columns]
        return figures | {
            "weighted_auc": _mean(areas, supports),
            "quadratic_kappa": quadratic_kappa(labels, predicted),
        }
    positive, score = labels == 1, probabilities[:, 1]
    specificity, sensitivity = share_of(right, ~positive), share_of(right, positive)
    values = share_of(right, predicted == 1), share_of(right, predicted == 0)
    if prevalence is not None:
        values = (
            predictive_value(sensitivity, specificity, prevalence),
            predictive_value(specificity, sensitivity, 1 - prevalence),
        )
    return figures | {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "sensitivity_at_95_specificity": sensitivity_at(positive, score, SPECIFICITY),
        "ppv": values[0],
        "npv": values[1],
        "lr_positive": likelihood_ratio(sensitivity, share_of(~right, ~positive)),
        "lr_negative": likelihood_ratio(share_of(~right, positive), specificity),
    }


def check_prevalence(prevalence: float | None, classes: int) -> None:
    """ValueError: it is no share between 0 and 1, or there are not two classes."""
    if prevalence is None:
        return
    if classes != 2:
        raise ValueError(f"a prevalence is of the positive one of two classes, not of {classes}")
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence is {prevalence!r}, expected a share between 0 and 1")


def _divide(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean(statistics: list[Statistic], shares: list[Statistic] | None = None) -> Statistic:
    """Of all alike, or each by its share of the whole."""
    if shares is None:
        return lambda weights: np.mean([statistic(weights) for statistic in statistics], axis=0)
    pairs = list(zip(statistics, shares, strict=True))
    return lambda weights: np.sum([value(weights) * share(weights) for value, share in pairs], 0)


def share_of(right: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> Statistic:
    """The share of pictures, or of those among them, of which `right` is so."""
    among = np.ones(len(right), bool) if among is None else among
    return lambda weights: _divide(weights @ (right & among), weights @ among)


def balanced_accuracy(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> Statistic:
    """The mean over classes of the share of their pictures that is found."""
    return _mean([share_of(predicted == labels, labels == c) for c in range(classes)])


def _f1(positive: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Statistic:
    """2 TP / (2 TP + FP + FN): the harmonic mean of precision and sensitivity."""
    return lambda weights: _divide(
        2 * (weights @ (positive & predicted)), weights @ positive + weights @ predicted
    )


def kappa(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Statistic:
    """Cohen's kappa (Educational and Psychological Measurement 1960, 20, 37-46): of the agreement
    that chance does not give, the share that is there,

        (agreed - chance) / (1 - chance), chance = sum over classes of share truly so * share called
    """
    sides = [(share_of(labels == c), share_of(predicted == c)) for c in range(classes)]
    agreed = share_of(labels == predicted)

    def beyond_chance(weights: Floats) -> Floats:
        chance = np.sum([truly(weights) * called(weights) for truly, called in sides], axis=0)
        return _divide(agreed(weights) - chance, 1 - chance)

    return beyond_chance


def quadratic_kappa(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> Statistic:
    """Cohen's kappa for classes in an order, a wrong answer weighing the square of how many classes
    it is away (Cohen, Psychological Bulletin 1968, 70, 213-220):

        1 - mean (l - p)^2 / (mean l^2 + mean p^2 - 2 mean l * mean p)

    of labels l and answers p by number; below the line is what the mean above it would be where the
    two are independent."""
    l, p = labels.astype(np.float64), predicted.astype(np.float64)  # noqa: E741

    def beyond_chance(weights: Floats) -> Floats:
        apart, square, other, mean, mean_p = (
            weights @ values / weights.sum(axis=1) for values in ((l - p) ** 2, l**2, p**2, l, p)
        )
        chance = square + other - 2 * mean * mean_p
        return _divide(chance - apart, chance)

    return beyond_chance


def predictive_value(found: Statistic, others: Statistic, prevalence: float) -> Statistic:
    """How often an answer is right that is given to a share `found` of those it is right for, and
    not given to a share of the others: by Bayes' theorem, where a share p of all are the former,

        found p / (found p + (1 - others) (1 - p))
    """

    def value(weights: Floats) -> Floats:
        true = found(weights) * prevalence
        return _divide(true, true + (1 - others(weights)) * (1 - prevalence))

    return value


def likelihood_ratio(among_positives: Statistic, among_negatives: Statistic) -> Statistic:
    """How many times as often an answer is given to positives as to negatives: by how much it
    multiplies the odds of being one. Not defined where negatives never get it."""
    return lambda weights: _divide(among_positives(weights), among_negatives(weights))


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


def average_precision(positive: NDArray[np.bool_], score: Floats) -> Statistic:
    """The area under the curve of precision over sensitivity as steps: the sum over thresholds of
    precision times the sensitivity gained (Manning, Raghavan & Schuetze, "Introduction to
    Information Retrieval", 2008, section 8.4; as in scikit-learn, not interpolated)."""
    sums = _by_score(positive, score)

    def precision(weights: Floats) -> Floats:
        gained, wrong = (side[:, ::-1] for side in sums(weights))
        found = gained.cumsum(axis=1)
        called = found + wrong.cumsum(axis=1)
        shares = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
        return _divide((gained * shares).sum(axis=1), found[:, -1])

    return precision


def mean_roc_area(labels: NDArray[np.int64], probabilities: Floats) -> Statistic:
    """The mean over the classes of roc_area, each against the rest."""
    columns = range(probabilities.shape[1])
    return _mean([roc_area(labels == c, probabilities[:, c]) for c in columns])


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
