"""The charts of what run.py measured. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from report import summarise

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  after the choice of what draws

DOTS_PER_INCH = 110
COLOURS = {"training": "tab:blue", "inference": "tab:orange"}


def speed_chart(path: Path, rows: list[dict[str, Any]], heading: str) -> bool:
    """Ratio to the best peer, row by row, with the spread over rounds and the goal. False: no row
    has a peer, and nothing was drawn."""
    summaries = [summarise(row) for row in rows if "why" not in row]
    summaries = [summary for summary in summaries if summary["best_peer"]][::-1]
    if not summaries:
        return False
    figure, axis = pyplot.subplots(figsize=(10, 1.6 + 0.5 * len(summaries)), layout="constrained")
    for at, one in enumerate(summaries):
        axis.barh(
            at,
            one["ratio"],
            xerr=[[one["ratio"] - one["least"]], [one["greatest"] - one["ratio"]]],
            color="tab:green" if one["reached"] else "tab:orange",
            height=0.6,
            capsize=3,
        )
        axis.plot([one["goal"]] * 2, [at - 0.4, at + 0.4], color="black", linewidth=2)
        axis.annotate(
            f"{one['ratio']:.2f} x {one['best_peer']}",
            (max(one["greatest"], one["goal"]), at),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
        )
    axis.axvline(1, color="grey", linestyle=":")
    axis.set_yticks(range(len(summaries)), [one["title"] for one in summaries])
    axis.set_xlim(0, 1.45 * max(max(one["greatest"], one["goal"]) for one in summaries))
    axis.set_xlabel(
        "speed, times that of the fastest other library (median, least and greatest of the rounds; "
        "black: the goal)"
    )
    axis.set_title(f"squeezenet_c and other libraries on the same CPU\n{heading}")
    figure.savefig(path, dpi=DOTS_PER_INCH)
    pyplot.close(figure)
    return True


def growth_chart(path: Path, panels: list[dict[str, Any]], heading: str) -> None:
    """One panel a quantity that grows, one line a task and library, of the median step; a band from
    the slowest to the quickest."""
    rows = -(-len(panels) // 2)
    figure, axes = pyplot.subplots(
        rows, 2, figsize=(12, 4 * rows), layout="constrained", squeeze=False
    )
    for axis, panel in zip(axes.flat, panels, strict=False):
        for name, line in panel["lines"].items():
            task, _, library = name.partition(", ")
            theirs = library not in ("", "ours")
            middle, slowest, quickest = (
                [a * b for a, b in zip(line[figure], line["per_picture"], strict=True)]
                for figure in ("images_per_second", "slowest", "quickest")
            )
            colour = COLOURS.get(task, "tab:green")
            axis.fill_between(line["x"], slowest, quickest, color=colour, alpha=0.12)
            axis.plot(
                line["x"],
                middle,
                marker="s" if theirs else "o",
                linestyle="--" if theirs else "-",
                color=colour,
                label=name,
            )
        if panel["log"]:
            axis.set_xscale("log", base=2)
        axis.set_xticks(panel["ticks"], [str(tick) for tick in panel["ticks"]])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel(panel["x_label"])
        axis.set_ylabel(panel["y_label"])
        axis.grid(alpha=0.3)
        axis.legend()
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(
        "SqueezeNet v1.1, float32, batch 16 where not said otherwise; the median step, and the "
        f"slowest to the quickest\n{heading}"
    )
    figure.savefig(path, dpi=DOTS_PER_INCH)
    pyplot.close(figure)
