"""What `evaluate` finds out about a model: its figures on a labelled set, as one record."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.equality import EqualByValue
from .metrics import (
    auc,
    confusion_matrix,
    cross_entropy,
    decide,
    expected_calibration_error,
    softmax,
)


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
