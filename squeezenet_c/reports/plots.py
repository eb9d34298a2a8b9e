"""The plots of a report. Each is written to a path, or shown."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.plots import caption, draw_figure, label
from ..inference.decisions import DecisionCurve
from ..inference.intervals import wilson_interval
from ..inference.metrics import BINS, calibration_bins

Path = str | os.PathLike


def roc_points(
    positive: NDArray[np.bool_], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(false positive rates, true positive rates) of all thresholds, from none to all positive."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=-np.inf))  # of each score
    sides = (side[order].cumsum()[last] / max(1, side.sum()) for side in (~positive, positive))
    false_positives, true_positives = (np.concatenate([[0], side]) for side in sides)
    return false_positives, true_positives


def confusion_plot(matrix: NDArray[np.int64], names: tuple[str, ...], path: Path | None) -> None:
    """Counts, coloured by the share of the true class."""
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(matrix):
            axes.text(
                column, row, f"{count}\n{shares[row, column]:.1%}", ha="center", va="center",
                color="white" if shares[row, column] > 0.5 else "black",
            )  # fmt: skip
        ticks, texts = range(len(names)), [label(name) for name in names]
        axes.set_xticks(ticks, texts, rotation=0 if len(names) < 4 else 45)
        axes.set_yticks(ticks, texts, rotation=90 if len(names) < 4 else 0, va="center")
        axes.set(
            xlabel=caption("predicted"),
            ylabel=caption("true"),
            title=caption("confusion matrix (pictures)"),
        )
        figure.colorbar(image, label=caption("share of the true class"))

    draw_figure(draw, (5.6, 4.6) if len(names) < 6 else (9, 8), path)


def roc_plot(
    positives: NDArray[np.bool_], scores: NDArray[np.float64], names: tuple[str, ...],
    point: tuple[float, float] | None, path: Path | None,
) -> None:  # fmt: skip
    """Curves of the columns of (N, K) positives and scores, one a name; `point`: the decision's
    (false, true) positive rates."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], "--", color="0.6", linewidth=1, label=caption("chance"))
        for column, name in enumerate(names):
            axes.plot(*roc_points(positives[:, column], scores[:, column]), label=label(name))
        if point is not None:
            axes.plot(*point, "o", color="black", label=caption("the model's decision"))
        axes.set(
            xlabel=caption("false positive rate (1 - specificity)"),
            ylabel=caption("true positive rate (sensitivity)"),
            title=caption("ROC curve"), xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal",
        )  # fmt: skip
        axes.legend(loc="lower right")

    draw_figure(draw, (5, 4.6), path)


def precision_recall_plot(
    positives: NDArray[np.bool_], scores: NDArray[np.float64], names: tuple[str, ...],
    path: Path | None,
) -> None:  # fmt: skip
    """Curves of the columns of (N, K) positives and scores, one a name, as steps: a threshold's
    precision holds for the sensitivities that it gains. Dotted: the share that is positive."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for column, name in enumerate(names):
            positive, score = positives[:, column], scores[:, column]
            false_rates, true_rates = roc_points(positive, score)
            found, wrong = true_rates * positive.sum(), false_rates * (~positive).sum()
            precision = found[1:] / np.maximum(1, found[1:] + wrong[1:])
            line = axes.step(true_rates, np.concatenate([[1], precision]), label=label(name))
            axes.axhline(positive.mean(), linestyle=":", linewidth=1, color=line[0].get_color())
        axes.set(
            xlabel=caption("sensitivity (recall)"), ylabel=caption("precision (PPV)"),
            title=caption("precision and sensitivity"), xlim=(-0.01, 1.01), ylim=(-0.01, 1.01),
            aspect="equal",
        )  # fmt: skip
        axes.legend(loc="lower left")

    draw_figure(draw, (5, 4.6), path)


def net_benefit_plot(curve: DecisionCurve, threshold: float | None, path: Path | None) -> None:
    """The decision curve, beside acting on all and on none; threshold: the model's own."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.plot(curve.thresholds, curve.model, label=caption("the model"))
        axes.plot(curve.thresholds, curve.treat_all, "--", color="0.5", label=caption("act on all"))
        axes.axhline(0, color="0.5", linewidth=1, label=caption("act on none"))
        if threshold is not None:
            text = caption("threshold {threshold:g}", threshold=threshold)
            axes.axvline(threshold, color="black", linestyle=":", label=text)
        axes.set(
            xlabel=caption("probability from which one acts"),
            ylabel=caption("net benefit (finds a picture)"),
            title=caption("decision curve"), xlim=(0, 1),
            ylim=(-0.15 * curve.prevalence, 1.1 * curve.prevalence),
        )  # fmt: skip
        axes.legend(loc="lower left")

    draw_figure(draw, (5, 4.6), path)


def reliability_plot(
    right: NDArray[np.bool_], confidence: NDArray[np.float64], error: float, path: Path | None
) -> None:
    """Mean confidence of answers against the share of them that is right, a bin a point, with the
    share's 95 % interval (Wilson's); below, the pictures in each bin. error: the expected
    calibration error, which is how far the points are from the diagonal, weighed by pictures."""
    place = calibration_bins(confidence)
    counts = np.bincount(place, minlength=BINS)
    filled = counts > 0
    wholes, parts = counts[filled], np.bincount(place, right, BINS)[filled].astype(np.int64)
    means, shares = np.bincount(place, confidence, BINS)[filled] / wholes, parts / wholes
    low, high = np.transpose(list(map(wilson_interval, parts.tolist(), wholes.tolist())))

    def draw(figure: Any) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], "--", color="0.6", linewidth=1, label=caption("perfect"))
        above.errorbar(
            means, shares, (shares - low, high - shares), fmt="o", capsize=3,
            label=caption("the model"),
        )  # fmt: skip
        above.set(
            ylabel=caption("share of right answers"),
            title=caption("reliability (calibration error {error:.3f})", error=error),
            ylim=(-0.03, 1.03),
        )
        above.legend(loc="upper left")
        below.bar((np.arange(BINS) + 0.5) / BINS, counts, width=0.9 / BINS, color="0.5")
        below.set(
            xlabel=caption("probability of {what}", what=caption("the most probable class")),
            ylabel=caption("pictures"),
            xlim=(-0.02, 1.02),
        )

    draw_figure(draw, (5, 5), path)


def scores_plot(
    labels: NDArray[np.int64], score: NDArray[np.float64], names: tuple[str, ...], what: str,
    threshold: float | None, path: Path | None,
) -> None:  # fmt: skip
    """Histograms of the probability, one a true class."""

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        groups = [score[labels == c] for c in range(len(names))]
        axes.hist(groups, bins=np.linspace(0, 1, 21), label=[label(name) for name in names])
        if threshold is not None:
            axes.axvline(
                threshold,
                color="black",
                linestyle="--",
                label=caption("threshold {threshold:g}", threshold=threshold),
            )
        axes.set_yscale("symlog", linthresh=10)  # a few pictures are seen beside many
        most = axes.get_ylim()[1]
        ticks = [m * 10**e for e in range(1, 8) for m in (1, 2, 5) if m * 10**e <= most]
        axes.set_yticks([0, 5, *ticks], [str(tick) for tick in (0, 5, *ticks)])
        axes.minorticks_off()
        axes.set(
            xlabel=caption("probability of {what}", what=label(what)),
            ylabel=caption("pictures (linear to 10, then logarithmic)"),
            title=caption("scores by true class"), xlim=(0, 1),
        )  # fmt: skip
        axes.legend(loc="upper center")

    draw_figure(draw, (6, 4), path)
