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
    positive_last,
    softmax,
)
from .weighted import PAPER, check_prevalence, statistics_of


@dataclass(frozen=True)
class ClassRow:
    """What a class is found by: precision is the share of its answers that is right, recall that of
    its pictures (there are `support`) that are found, f1 the harmonic mean of the two, auc against
    the rest. None where there is nothing to divide by."""

    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None
    auc: float | None


@dataclass(frozen=True, eq=False)
class Evaluation(EqualByValue):
    """What `evaluate` found. With two classes, of which `positive` is the number of the positive
    one, sensitivity is the share of positives that were found, specificity that of negatives. With
    more, sensitivity, specificity and positive are None and auc is the mean over the classes, each
    against the rest. What cannot be computed (no picture of a class) is None.
    calibration_error is what expected_calibration_error says.

    The rest is for papers; weighted.py has the formulas. Of two classes: ppv and npv, how often a
    positive and a negative answer is right where a share `prevalence` of all are positive (None:
    where the share is the set's own), and the likelihood ratios lr_positive and lr_negative (None
    where nothing is divided by: an lr_positive at a specificity of 1 has no end). Of more:
    weighted_auc, whose mean is weighed by pictures; quadratic_kappa, for classes in an order; and
    average_precision is the mean over the classes, as auc is. per_class has a row a class."""

    accuracy: float
    loss: float
    calibration_error: float
    auc: float | None
    sensitivity: float | None
    specificity: float | None
    confusion_matrix: NDArray[np.int64]
    class_names: tuple[str, ...]
    positive: int | None = None
    balanced_accuracy: float | None = None
    average_precision: float | None = None
    weighted_auc: float | None = None
    prevalence: float | None = None
    ppv: float | None = None
    npv: float | None = None
    lr_positive: float | None = None
    lr_negative: float | None = None
    kappa: float | None = None
    quadratic_kappa: float | None = None
    per_class: tuple[ClassRow, ...] = ()

    @classmethod
    def from_logits(
        cls,
        logits: NDArray[np.float32],
        labels: ArrayLike,
        class_names: tuple[str, ...],
        threshold: float | None = None,
        positive: int | None = 1,
        prevalence: float | None = None,
    ) -> "Evaluation":
        """Of (N, classes) logits and N labels, N at least 1; threshold, positive: see `decide`;
        prevalence: of the positive class, for ppv and npv (default: the set's own). ValueError:
        other shapes, labels that are no classes, another number of class names, a prevalence that
        is no share between 0 and 1 or not of two classes."""
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
        check_prevalence(prevalence, classes)
        labels, probabilities = labels.astype(np.int64), softmax(logits)
        predicted = logits.argmax(axis=1)
        if threshold is not None:
            predicted = decide(probabilities, threshold, positive)
        matrix = confusion_matrix(labels, predicted, classes)
        sensitivity = specificity = None
        if classes != 2:
            positive = None
        if positive is not None:
            specificity, sensitivity = (
                _share(int(matrix[i, i]), int(matrix[i].sum())) for i in (1 - positive, positive)
            )
        statistics = statistics_of(
            *positive_last(positive, labels, probabilities, predicted), prevalence
        )
        once = np.ones((1, len(labels)))
        paper = {name: float(statistics[name](once)[0]) for name in PAPER if name in statistics}
        return cls(
            accuracy=float((predicted == labels).mean()),
            loss=cross_entropy(logits, labels),
            calibration_error=expected_calibration_error(labels, probabilities),
            auc=mean_auc(labels, probabilities, positive),
            sensitivity=sensitivity,
            specificity=specificity,
            confusion_matrix=matrix,
            class_names=tuple(class_names),
            positive=positive,
            prevalence=prevalence,
            per_class=_rows(labels, probabilities, matrix, class_names),
            **{name: value if np.isfinite(value) else None for name, value in paper.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON knows."""
        return asdict(self) | {
            "confusion_matrix": self.confusion_matrix.tolist(),
            "class_names": list(self.class_names),
            "per_class": [asdict(row) for row in self.per_class],
        }

    def __str__(self) -> str:
        names = ("accuracy", "loss", "calibration_error", "auc", "sensitivity", "specificity")
        lines = [self._line(name) for name in names]
        if self.positive is not None:
            lines.append(f"{'positive':17} {self.class_names[self.positive]}")
        lines.append("confusion matrix (row: true, column: predicted)")
        width = max(5, len(str(self.confusion_matrix.max())) + 1)
        for name, row in zip(self.class_names, self.confusion_matrix, strict=True):
            lines.append("".join(f"{count:{width}d}" for count in row) + f"  {name}")
        several = len(self.class_names) > 2
        of_two = ("ppv", "npv", "lr_positive", "lr_negative")
        of_several = ("weighted_auc", "quadratic_kappa")
        left_out = of_two if several else of_several
        lines += ["for a paper"] + [self._line(name) for name in PAPER if name not in left_out]
        if self.prevalence is not None:
            lines.append(f"ppv and npv are at a prevalence of {self.prevalence:g}")
        if several:
            lines += _table(self.per_class)
        return "\n".join(lines)

    __repr__ = __str__

    def _line(self, name: str) -> str:
        return f"{name:17} {_shown(getattr(self, name))}"


def _shown(value: float | None) -> str:
    return "-" if value is None else format(value, ".4f")


def _table(rows: tuple[ClassRow, ...]) -> list[str]:
    lines = ["precision   recall       f1      auc  pictures"]
    for row in rows:
        shares = (row.precision, row.recall, row.f1, row.auc)
        texts = "  ".join(f"{_shown(share):>7}" for share in shares)
        lines.append(f"  {texts}  {row.support:8d}  {row.name}")
    return lines


def _rows(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    matrix: NDArray[np.int64],
    names: tuple[str, ...],
) -> tuple[ClassRow, ...]:
    supports, called = matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist()
    return tuple(
        ClassRow(
            name=names[c],
            support=supports[c],
            precision=_share(int(matrix[c, c]), called[c]),
            recall=_share(int(matrix[c, c]), supports[c]),
            f1=_share(2 * int(matrix[c, c]), supports[c] + called[c]),
            auc=auc(labels == c, probabilities[:, c]),
        )
        for c in range(len(names))
    )


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def mean_auc(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], positive: int | None
) -> float | None:
    """Of the positive class; where there is none, the mean over all, each against the rest. None
    where a class has no picture, or all."""
    classes = probabilities.shape[1]
    if classes < 2:
        return None
    columns = range(classes) if positive is None else [positive]
    areas = [auc(labels == column, probabilities[:, column]) for column in columns]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if len(known) == len(areas) else None
