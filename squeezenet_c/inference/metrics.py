"""How good predictions are. Labels are (N,) whole numbers, probabilities (N, classes)."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """Probabilities of (N, classes) logits, in double precision."""
    logits = np.asarray(logits, dtype=np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> float:
    """The mean over pictures of -log of the right class's probability."""
    logits = np.asarray(logits, dtype=np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(logits)), labels]
    return float(logs.mean())


BINS = 15  # of the calibration error, as in Guo et al.


def calibration_bins(confidence: ArrayLike, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each confidence, of `bins` equally wide ones from 0 to 1: bin m holds those above
    m / bins, up to (m + 1) / bins; the first has 0 too."""
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(inner, np.asarray(confidence, dtype=np.float64)).astype(np.int64)


def expected_calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS
) -> float:
    """How far confidence is from accuracy (Guo et al., "On Calibration of Modern Neural Networks",
    2017, arXiv:1706.04599, section 2): 0 where of all answers given with probability p a share p is
    right.

        ECE = sum over bins m of |B_m| / N * |accuracy(B_m) - confidence(B_m)|

    A picture's confidence is its largest probability, its answer the class that has it, whatever a
    decision threshold says. B_m are the pictures whose confidence is in bin m of `bins` equally
    wide ones (see calibration_bins), accuracy(B_m) the share of them whose answer is right, and
    confidence(B_m) the mean of their confidences.

    labels: N whole numbers. probabilities: (N, classes). ValueError: no picture, or no bin.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if not len(probabilities) or bins < 1:
        raise ValueError(f"{len(probabilities)} pictures and {bins} bins, expected some of both")
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    confidence = probabilities.max(axis=1)
    gaps = np.bincount(calibration_bins(confidence, bins), right - confidence)
    return float(np.abs(gaps).sum() / len(probabilities))


def accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """The share of pictures whose largest logit is the right class's."""
    return float((np.asarray(logits).argmax(axis=1) == np.asarray(labels)).mean())


def decide(
    probabilities: ArrayLike, threshold: float | None = None, positive: int | None = 1
) -> NDArray[np.int64]:
    """The class of each row of (N, classes): the one with the largest probability; of two classes
    with a threshold, the positive one where its probability is at least that."""
    probabilities = np.asarray(probabilities)
    if threshold is None or positive is None:
        return probabilities.argmax(axis=1).astype(np.int64)
    called = probabilities[:, positive] >= threshold
    return np.where(called, positive, 1 - positive).astype(np.int64)


def youden_threshold(positive: ArrayLike, scores: ArrayLike) -> float:
    """The threshold of the largest sensitivity + specificity - 1 (Youden, "Index for rating
    diagnostic tests", Cancer 1950), half way between two scores; of equally good ones the nearest
    to 0.5. ValueError: no positive, no negative, or all scores are one."""
    positive, scores = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    known = np.unique(scores)
    if positive.all() or not positive.any() or len(known) < 2:
        raise ValueError("a threshold needs pictures of both classes, with different scores")
    between = (known[1:] + known[:-1]) / 2
    below = [np.searchsorted(np.sort(scores[side]), between) for side in (positive, ~positive)]
    merit = below[1] / (~positive).sum() - below[0] / positive.sum()
    best = between[merit > merit.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])


def threshold_at(
    positive: ArrayLike,
    scores: ArrayLike,
    sensitivity: float | None = None,
    specificity: float | None = None,
) -> float:
    """The greatest threshold whose sensitivity is at least `sensitivity`, or the least whose
    specificity is at least `specificity`; half way between two scores, or between the last one and
    0 or 1. ValueError: not one of the two, or no share above 0; no positive or no negative; or only
    thresholds of 0 or 1 would do."""
    positive, scores = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    name, share = "sensitivity", sensitivity
    if share is None:
        name, share = "specificity", specificity
    if share is None or None not in (sensitivity, specificity):
        raise ValueError("both a sensitivity and a specificity or neither, expected one of them")
    if not 0 < share <= 1:
        raise ValueError(f"{name} is {share!r}, expected more than 0, at most 1")
    if positive.all() or not positive.any():
        raise ValueError("a threshold needs pictures of both classes")
    known = np.unique(scores)
    candidates = np.concatenate([[0], known]) / 2 + np.concatenate([known, [1]]) / 2
    side = np.sort(scores[positive if name == "sensitivity" else ~positive])
    below = np.searchsorted(side, candidates) / len(side)
    reached = (1 - below if name == "sensitivity" else below) >= share - 1e-12
    reached &= (candidates > 0) & (candidates < 1)
    if not reached.any():
        raise ValueError(f"no threshold between 0 and 1 has a {name} of {share:g} on these scores")
    return float(candidates[reached][-1 if name == "sensitivity" else 0])


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts: row the true class, column the predicted one."""
    flat = np.asarray(labels, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def positive_last(
    positive: int | None,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    predicted: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """The three with the classes numbered so that class 1 of two is the positive."""
    if positive != 0:
        return labels, probabilities, predicted
    return 1 - labels, probabilities[:, ::-1], 1 - predicted


def mid_ranks(scores: NDArray[Any]) -> NDArray[np.float64]:
    """The rank of each of N scores, from 1; equal ones share the mean of theirs."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place.reshape(-1)]


def auc(positive: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half.
    By ranks (Mann & Whitney 1947). None where there are no positives or no negatives."""
    positive = np.asarray(positive, dtype=bool)
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    ranks = mid_ranks(np.asarray(scores))
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / positives / negatives)
