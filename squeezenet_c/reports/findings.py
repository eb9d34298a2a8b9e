"""What is found out about a model on a set of pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inference.cam import Explanation
from ..inference.decisions import DecisionCurve
from ..inference.evaluation import Evaluation
from ..inference.intervals import Figure
from ..inference.weighted import FIRST, PAPER


@dataclass(frozen=True)
class Report:
    """What `report` found.

    figures        by name, each a value with its 95 % interval; see intervals.measure
    summary        evaluate's Evaluation
    paths, labels, predicted    of the N pictures, in the set's order
    probabilities  (N, classes) float64
    class_names    one a class
    positive       the number of the positive class; None where there are not two
    threshold      of the positive class's probability; None: the larger one decides
    worst          (place, Explanation of the class that is true) of the pictures whose true class
                   was given the least probability, the worst first
    plots          files by name; none without matplotlib
    notes          sentences on the data that a reader has to know
    prevalence     of the positive class, that ppv, npv and net benefits are for; None: the set's
    curve          net benefits at each threshold; None where there are not two classes, or no
                   picture of one
    provenance     what the figures come from, see write.report
    """

    figures: dict[str, Figure]
    summary: Evaluation
    paths: list[str]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    class_names: tuple[str, ...]
    positive: int | None
    threshold: float | None
    worst: list[tuple[int, Explanation]] = field(default_factory=list)
    plots: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    prevalence: float | None = None
    curve: DecisionCurve | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        width = max(map(len, self.figures))
        lines = [f"{len(self.paths)} pictures; figures with 95 % intervals"]
        for names in (FIRST, PAPER):
            lines += [
                f"{name:{width}}  {self.figures[name]}" for name in names if name in self.figures
            ]
            if names is FIRST:
                lines.append("for a paper")
        return "\n".join(lines)
