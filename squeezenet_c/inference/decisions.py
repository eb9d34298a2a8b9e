"""Whether acting on a model's answers does good: decision-curve analysis.

Who acts on a picture from a probability of t on says by it what a wrong alarm costs: t / (1 - t)
times what a find is worth. The net benefit (Vickers & Elkin, "Decision curve analysis", Medical
Decision Making 2006, 26, 565-574) counts finds less wrong alarms at that price, in finds a picture:

    TP / N - FP / N * t / (1 - t) = sensitivity p - (1 - specificity) (1 - p) t / (1 - t)

at the prevalence p. A model is of use at a threshold where its curve is above both that of acting
on every picture (sensitivity 1, specificity 0) and 0, that of acting on none.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from .weighted import check_prevalence

THRESHOLDS = tuple(percent / 100 for percent in range(1, 100))


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefits at each threshold: of acting where the model's probability is at least that, and
    of acting on every picture."""

    thresholds: tuple[float, ...]
    model: tuple[float, ...]
    treat_all: tuple[float, ...]
    prevalence: float

    def to_dict(self) -> dict:
        return asdict(self)


def decision_curve(
    positive: NDArray[np.bool_],
    score: NDArray[np.float64],
    prevalence: float | None = None,
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> DecisionCurve | None:
    """The curve of N scores; None without a positive or a negative. prevalence: that it is to hold
    for (default: the set's own). thresholds: between 0 and 1. ValueError: a prevalence is not."""
    check_prevalence(prevalence, 2)
    if positive.all() or not positive.any():
        return None
    share = float(positive.mean()) if prevalence is None else prevalence
    at = np.array(thresholds)
    found, alarms = (
        1 - np.searchsorted(np.sort(score[side]), at) / side.sum() for side in (positive, ~positive)
    )
    price = (1 - share) * at / (1 - at)
    model, treat_all = found * share - alarms * price, share - price
    return DecisionCurve(thresholds, tuple(model.tolist()), tuple(treat_all.tolist()), share)
