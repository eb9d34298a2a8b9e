"""The table, the chart and README's section, from what run.py measured."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

NOT_OFFERED = "not offered by this CPU"
BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


def ratios(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest of the rounds' ratios: the two of a round were neighbours."""
    each = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(each), min(each), max(each)


def speed(rounds: list[dict[str, Any]]) -> float:
    return statistics.median(result["images_per_second"] for result in rounds)


def summarise(measured: dict[str, Any]) -> dict[str, Any]:
    """One row for the table: speeds, and ratios to the fastest peer of the row."""
    speeds = {name: speed(rounds) for name, rounds in measured["rounds"].items()}
    peers = [name for name in measured["peers"] if name in speeds]
    summary = {
        "title": measured["title"],
        "goal": measured["goal"],
        "speeds": speeds,
        "bound": measured.get("bound"),
        "best_peer": None,
    }
    if peers and "ours" in speeds:
        best = max(peers, key=speeds.__getitem__)
        all_rounds = {
            name: [result["images_per_second"] for result in rounds]
            for name, rounds in measured["rounds"].items()
        }
        middle, least, greatest = ratios(all_rounds["ours"], all_rounds[best])
        summary |= {
            "best_peer": best,
            "ratio": middle,
            "least": least,
            "greatest": greatest,
            "reached": middle >= measured["goal"],
        }
    return summary


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def table(rows: list[dict[str, Any]], style: str = "simple") -> str:
    """rows: measured, or {"title", "why"} for one that was not."""
    from tabulate import tabulate

    head = ["pictures a second", "ours", "others", "bound", "ratio to the best", "goal", ""]
    lines = []
    for row in rows:
        if "why" in row:
            lines.append([row["title"], row["why"]])
            continue
        one = summarise(row)
        others = ", ".join(
            f"{name} {number(value)}" for name, value in one["speeds"].items() if name != "ours"
        )
        line = [one["title"], number(one["speeds"]["ours"]) if "ours" in one["speeds"] else "-"]
        line += [others, number(one["bound"]) if one["bound"] else ""]
        if one["best_peer"]:
            line += [
                f"{one['ratio']:.2f} ({one['least']:.2f} to {one['greatest']:.2f})",
                f"{one['goal']:.2f}",
                "reached" if one["reached"] else "not reached",
            ]
        lines.append(line)
    return tabulate(lines, head, tablefmt=style, disable_numparse=True)


def other_table(others: list[tuple[str, str]], style: str = "simple") -> str:
    from tabulate import tabulate

    return tabulate(others, ["also measured", ""], tablefmt=style, disable_numparse=True)


def write_readme(path: Path, result: dict[str, Any], command: str) -> None:
    """Rewrite the marked section. ValueError: README has no such section."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no section between {BEGIN} and {END}")
    machine = result["machine"]
    section = [
        f"Measured {result['date']} on {machine['cpu']} ({machine['isa']}), "
        f"{result['threads']} threads, {result['rounds']} rounds, with `{command}`. Higher is "
        "faster; a ratio is the median over rounds in which the two took turns (least to greatest).",
        table(result["rows"], "github"),
        other_table(result["others"], "github"),
    ]
    body = "\n\n".join(part for part in section if part)
    path.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


# -- Charts ----------------------------------------------------------------------------------------


def _axes(rows: int, columns: int, width: float, height: float):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=(width, height), layout="constrained")


def chart(path: Path, rows: list[dict[str, Any]], title: str) -> None:
    """Ratio to the best peer, row by row, with the spread over rounds and the goal."""
    summaries = [summarise(row) for row in rows if "why" not in row]
    summaries = [one for one in summaries if one["best_peer"]][::-1]
    if not summaries:
        return
    figure, axis = _axes(1, 1, 9, 1.4 + 0.5 * len(summaries))
    for at, one in enumerate(summaries):
        colour = "tab:green" if one["reached"] else "tab:orange"
        spread = [[one["ratio"] - one["least"]], [one["greatest"] - one["ratio"]]]
        axis.barh(at, one["ratio"], xerr=spread, color=colour, height=0.6, capsize=3)
        axis.plot([one["goal"]] * 2, [at - 0.42, at + 0.42], color="black")
        axis.annotate(
            f"{one['ratio']:.2f} x {one['best_peer']}",
            (one["greatest"], at),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axis.axvline(1, color="grey", linestyle=":")
    axis.set_yticks(range(len(summaries)), [one["title"] for one in summaries])
    axis.set_xlim(0, 1.35 * max(max(one["greatest"], one["goal"]) for one in summaries))
    axis.set_xlabel("speed, times that of the fastest other library (black line: the goal)")
    axis.set_title(title)
    figure.savefig(path, dpi=110)


def growth_chart(path: Path, panels: list[dict[str, Any]], title: str) -> None:
    """One panel a quantity that grows, one line a library."""
    if not panels:
        return
    columns = 2
    figure, axes = _axes(-(-len(panels) // columns), columns, 11, 3.4 * -(-len(panels) // columns))
    flat = list(axes.ravel())
    for axis, panel in zip(flat, panels, strict=False):
        for name, line in panel["lines"].items():
            axis.plot(line["x"], line["y"], marker="o", label=name)
        if panel.get("log"):
            axis.set_xscale("log", base=2)
        axis.set_xticks(panel["ticks"], [str(tick) for tick in panel["ticks"]])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel(panel["x_label"])
        axis.set_ylabel(panel["y_label"])
        axis.set_title(panel["title"])
        axis.legend()
    for axis in flat[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
