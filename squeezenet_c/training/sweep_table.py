"""What came of a sweep: its points, the networks that they are of, the table and the plot."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from .._native import core
from ..base.plots import caption, draw_figure
from ..base.write import write_table
from ..inference.intervals import Figure, mean_figure

METAPARAMETERS = ("version", "bypass", "squeeze_ratio", "pct_3x3", "base_e", "incr_e", "freq")
"""What of a network's spec a sweep varies: the paper's section 5.1, its bypasses (section 6), and
which of the two SqueezeNets."""

MEGABYTE = 1e6
MOST_NAMED = 9  # lines that a plot's legend names


@dataclass(frozen=True)
class Point:
    """A network trained from one seed.

    outcome         "trained", "collapsed", "diverged" or "failed"; "" where it is yet to be trained
    reason          why, where it is not trained
    accuracy, auc   of the best epoch's model on the validation set, as Evaluation has them
    bytes           of the model's file
    multiplications     and additions, of one picture
    """

    version: str
    bypass: str | None
    squeeze_ratio: float
    pct_3x3: float
    base_e: int
    incr_e: int
    freq: int
    seed: int
    parameters: int
    multiplications: int
    outcome: str = ""
    accuracy: float | None = None
    auc: float | None = None
    bytes: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    reason: str = ""

    @property
    def metaparameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in METAPARAMETERS}

    @property
    def name(self) -> str:
        """What its folder is called: the metaparameters that are not the default, and the seed."""
        said = {**self.metaparameters, "seed": self.seed}
        return ",".join(f"{key}={value}" for key, value in said.items() if value != _DEFAULT[key])

    def with_outcome(self, outcome: str, reason: str = "", **found: Any) -> "Point":
        return replace(self, outcome=outcome, reason=reason, **found)

    @classmethod
    def of(cls, said: Mapping[str, Any], path: Path) -> "Point":
        """The point of a point.json."""
        names = {column.name for column in fields(cls)}
        if set(said) != names:
            raise core.BadFileError(f"{path} has {sorted(said)}, expected {sorted(names)}")
        return cls(**said)

    def __str__(self) -> str:
        if self.outcome != "trained":
            return f"{self.name}: {self.outcome}: {self.reason}"
        area = "" if self.auc is None else f", AUC {self.auc:.4f}"
        size = (self.bytes or 0) / MEGABYTE
        return f"{self.name}: accuracy {self.accuracy:.4f}{area}, {size:.3g} MB"


_DEFAULT = {**core.SPEC_FIELDS, "seed": None}  # the seed is always said


@dataclass(frozen=True)
class Candidate:
    """A network of a sweep: means over its seeds, with Student's 95 % intervals, of those that
    trained. pareto: no other network of the sweep that is at most as large is as accurate."""

    points: tuple[Point, ...]
    accuracy: Figure
    auc: Figure
    pareto: bool = False

    @property
    def trained(self) -> list[Point]:
        return [point for point in self.points if point.outcome == "trained"]

    @property
    def bytes(self) -> int | None:
        """Of its file, on average over the seeds."""
        sizes = [point.bytes for point in self.trained if point.bytes]
        return round(sum(sizes) / len(sizes)) if sizes else None


@dataclass
class Sweep:
    """The points of a sweep, in the order of their metaparameters. interrupted: it was stopped
    before all were trained."""

    points: list[Point] = field(default_factory=list)
    interrupted: bool = False

    def sort(self) -> None:
        self.points.sort(
            key=lambda point: [
                (value is not None, value) for value in (*point.metaparameters.values(), point.seed)
            ]
        )

    @property
    def varied(self) -> list[str]:
        """The metaparameters of which there are several values."""
        return [
            name
            for name in METAPARAMETERS
            if len({getattr(point, name) for point in self.points}) > 1
        ]

    def candidates(self) -> list[Candidate]:
        """The networks, in the order of the points."""
        networks: dict[tuple, list[Point]] = {}
        for point in self.points:
            networks.setdefault(tuple(point.metaparameters.values()), []).append(point)
        found = []
        for points in networks.values():
            trained = [point for point in points if point.outcome == "trained"]
            accuracies = [point.accuracy for point in trained if point.accuracy is not None]
            areas = [point.auc for point in trained if point.auc is not None]
            found.append(Candidate(tuple(points), mean_figure(accuracies), mean_figure(areas)))
        return [replace(one, pareto=_on_front(one, found)) for one in found]

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a header line and a line a point, in full precision."""
        header = [column.name for column in fields(Point)]
        write_table(path, header, (tuple(asdict(point).values()) for point in self.points))

    def __str__(self) -> str:
        """A line a network; those of the Pareto front are marked *."""
        heading = [*self.varied, "parameters", "MB", "M mult-adds"]
        heading += ["accuracy", "95 % interval", "AUC", "95 % interval", "seeds", ""]
        rows = [heading] + [self._row(candidate) for candidate in self.candidates()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
        lines = [
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        notes = ["* no other network is at most as large and as accurate (the Pareto front)"]
        lost = [point for point in self.points if point.outcome != "trained"]
        notes += [str(point) for point in lost]
        return "\n".join([*lines, *notes])

    def _row(self, candidate: Candidate) -> list[str]:
        point, size = candidate.points[0], candidate.bytes
        cells = [str(getattr(point, name)) for name in self.varied]
        cells += [f"{point.parameters:,}", "-" if size is None else f"{size / MEGABYTE:.3g}"]
        cells.append(f"{point.multiplications / 1e6:,.0f}")
        for figure in (candidate.accuracy, candidate.auc):
            cells.append("-" if figure.value is None else f"{figure.value:.4f}")
            known = figure.low is not None
            cells.append(f"{figure.low:.4f} to {figure.high:.4f}" if known else "-")
        cells.append(f"{len(candidate.trained)}/{len(candidate.points)}")
        return [*cells, "*" if candidate.pareto else ""]

    # -- The plot ----------------------------------------------------------------------------------

    def plot(self, path: str | os.PathLike | None = None) -> None:
        """The paper's figure 3: accuracy against the size of the model's file, with 95 % intervals
        over seeds; a panel for each metaparameter that varies, in which lines join networks that
        differ in it alone, and the Pareto front as a dashed line. Written to `path`, or shown.
        Without matplotlib one sentence says so."""
        shown = [one for one in self.candidates() if one.accuracy.value is not None]
        panels: list[str | None] = [*self.varied] or [None]

        def draw(figure: Any) -> None:
            for axes, name in zip(
                figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
            ):
                _draw_panel(axes, name, self.varied, shown)
            first = figure.axes[0]
            first.set_ylabel(caption("accuracy, mean and 95 % interval over seeds"))

        draw_figure(draw, (6 * len(panels), 5), path)


def _on_front(one: Candidate, candidates: list[Candidate]) -> bool:
    """Whether none of the candidates is at least as good in both size and accuracy, and better in
    one."""
    if one.bytes is None or one.accuracy.value is None:
        return False
    mine = (-one.bytes, one.accuracy.value)
    for other in candidates:
        if other.bytes is None or other.accuracy.value is None:
            continue
        theirs = (-other.bytes, other.accuracy.value)
        if theirs != mine and theirs[0] >= mine[0] and theirs[1] >= mine[1]:
            return False
    return True


def _draw_panel(axes: Any, name: str | None, varied: list[str], shown: list[Candidate]) -> None:
    others = [other for other in varied if other != name]
    lines: dict[tuple, list[Candidate]] = {}
    for candidate in shown:
        lines.setdefault(tuple(getattr(candidate.points[0], other) for other in others), []).append(
            candidate
        )
    for number, (values, line) in enumerate(lines.items()):
        said = ", ".join(f"{o} {v}" for o, v in zip(others, values, strict=True))
        sizes = [(one.bytes or 0) / MEGABYTE for one in line]
        means = [one.accuracy.value or 0 for one in line]
        bars = [
            [
                mean - (one.accuracy.low if one.accuracy.low is not None else mean),
                (one.accuracy.high if one.accuracy.high is not None else mean) - mean,
            ]
            for mean, one in zip(means, line, strict=True)
        ]
        drawn = axes.errorbar(
            sizes, means, yerr=list(zip(*bars, strict=True)), marker="o", capsize=3, linewidth=1,
            label=said or None,
        )  # fmt: skip
        for size, mean, one in zip(sizes, means, line, strict=True):
            if name is not None:
                value = getattr(one.points[0], name)
                axes.annotate(
                    str(value), (size, mean), (5, -12 if number % 2 else 5), size=8,
                    textcoords="offset points", color=drawn[0].get_color(),
                )  # fmt: skip
    front = sorted((one for one in shown if one.pareto), key=lambda one: one.bytes or 0)
    axes.plot(
        [(one.bytes or 0) / MEGABYTE for one in front], [one.accuracy.value for one in front],
        "k--*", linewidth=1, markersize=9, zorder=3, label=caption("Pareto front"),
    )  # fmt: skip
    axes.margins(x=0.12)  # room for the values
    if len(lines) <= MOST_NAMED:
        axes.legend(fontsize="small")
    axes.set(xlabel=caption("size of the model's file (MB)"), title=name or "")
