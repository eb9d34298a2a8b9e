"""How good predictions are. Labels are (N,) whole numbers, probabilities (N, classes)."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.equality import EqualByValue


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


def auc(positive: ArrayLike, scores: ArrayLike) -> float | None:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half.
    By ranks (Mann & Whitney 1947). None where there are no positives or no negatives."""
    positive = np.asarray(positive, dtype=bool)
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place.reshape(-1)]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / positives / negatives)


@dataclass(frozen=True, eq=False)
class Evaluation(EqualByValue):
    """What `evaluate` found. With two classes, of which `positive` is the number of the positive
    one, sensitivity is the share of positives that were found, specificity that of negatives. With
    more, sensitivity, specificity and positive are None and auc is the mean over the classes, each
    against the rest. What cannot be computed (no picture of a class) is None.
    calibration_error is what expected_calibration_error says."""

    accuracy: float
    loss: float
    calibration_error: float
    auc: float | None
    sensitivity: float | None
    specificity: float | None
    confusion_matrix: NDArray[np.int64]
    class_names: tuple[str, ...]
    positive: int | None = None

    @classmethod
    def from_logits(
        cls,
        logits: NDArray[np.float32],
        labels: ArrayLike,
        class_names: tuple[str, ...],
        threshold: float | None = None,
        positive: int | None = 1,
    ) -> "Evaluation":
        """Of (N, classes) logits and N labels, N at least 1; threshold, positive: see `decide`.
        ValueError: other shapes, labels that are no classes, another number of class names."""
        logits, labels = np.asarray(logits), np.asarray(labels)
        if logits.ndim != 2 or labels.shape != logits.shape[:1] or not logits.size:
            raise ValueError(
                f"logits of the shape {logits.shape} and labels of {labels.shape}, expected "
                "(N, classes) and (N,)"
            )
        classes = logits.shape[1]
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
            raise ValueError(f"labels are to be whole numbers from 0 to {classes - 1}")
        if len(class_names) != classes:
            raise ValueError(f"{len(class_names)} class names for {classes} classes")
        labels = labels.astype(np.int64)
        predicted = logits.argmax(axis=1)
        if threshold is not None:
            predicted = decide(softmax(logits), threshold, positive)
        matrix = confusion_matrix(labels, predicted, classes)
        sensitivity = specificity = None
        if classes != 2:
            positive = None
        if positive is not None:
            specificity, sensitivity = (
                _share(int(matrix[i, i]), int(matrix[i].sum())) for i in (1 - positive, positive)
            )
        return cls(
            accuracy=float((predicted == labels).mean()),
            loss=cross_entropy(logits, labels),
            calibration_error=expected_calibration_error(labels, softmax(logits)),
            auc=_mean_auc(labels, softmax(logits), positive),
            sensitivity=sensitivity,
            specificity=specificity,
            confusion_matrix=matrix,
            class_names=tuple(class_names),
            positive=positive,
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON knows."""
        return asdict(self) | {
            "confusion_matrix": self.confusion_matrix.tolist(),
            "class_names": list(self.class_names),
        }

    def __str__(self) -> str:
        lines = []
        for name in (
            "accuracy",
            "loss",
            "calibration_error",
            "auc",
            "sensitivity",
            "specificity",
        ):
            value = getattr(self, name)
            lines.append(f"{name:17} {'-' if value is None else format(value, '.4f')}")
        if self.positive is not None:
            lines.append(f"{'positive':17} {self.class_names[self.positive]}")
        lines.append("confusion matrix (row: true, column: predicted)")
        width = max(5, len(str(self.confusion_matrix.max())) + 1)
        for name, row in zip(self.class_names, self.confusion_matrix, strict=True):
            lines.append("".join(f"{count:{width}d}" for count in row) + f"  {name}")
        return "\n".join(lines)

    __repr__ = __str__


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _mean_auc(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], positive: int | None
) -> float | None:
    classes = probabilities.shape[1]
    if classes < 2:
        return None
    columns = range(classes) if positive is None else [positive]
    areas = [auc(labels == column, probabilities[:, column]) for column in columns]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if len(known) == len(areas) else None
