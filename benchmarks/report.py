"""The table and README's section, from what run.py measured (its JSON file)."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from measure import ratios, spread

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"
NOT_PEERS = ("ours", "bound")
GOALS_MIB = {"train-1_0": 200, "train-1_1": 150, "infer-1_0": 100, "infer-1_1": 100}
EPOCH_GOAL_PERCENT = 3

Record = dict[str, Any]


def speeds_of(results: list[Record]) -> list[float]:
    return [result["images_per_second"] for result in results]


def summarise(row: Record) -> Record:
    """A measured row's median speeds by column, and its ratio to the fastest peer, where there is
    one and all answers agree: median, least and greatest over the rounds, and whether the median
    reaches the goal."""
    rounds = {name: speeds_of(results) for name, results in row["rounds"].items()}
    speeds = {name: statistics.median(values) for name, values in rounds.items()}
    summary = {key: row[key] for key in ("title", "task", "goal")} | {"speeds": speeds}
    peers = [name for name in row["peers"] if name in speeds]
    if not peers or "ours" not in speeds or row.get("errors"):
        return summary | {"best_peer": None}
    best = max(peers, key=speeds.__getitem__)
    middle, least, greatest = ratios(rounds["ours"], rounds[best])
    return summary | {
        "best_peer": best,
        "ratio": middle,
        "least": least,
        "greatest": greatest,
        "reached": middle >= row["goal"],
    }


# -- Tables ----------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Three digits at least, none after the point from 100."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"


def with_spread(values: list[float], digits: int = 2, unit: str = "") -> str:
    middle, least, greatest = spread(values)
    return f"{middle:.{digits}f}{unit} ({least:.{digits}f} to {greatest:.{digits}f})"


def lay_out(head: list[str], lines: list[list[str]], markdown: bool = False) -> str:
    """A table; the first column is text, to the left, the others to the right."""
    lines = [line + [""] * (len(head) - len(line)) for line in lines]
    if markdown:
        rule = ["---"] + ["---:"] * (len(head) - 1)
        return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *lines])
    widths = [max(map(len, cells)) for cells in zip(head, *lines, strict=True)]
    lines = [head, ["-" * width for width in widths], *lines]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in lines
    )


def _speed(summary: Record, name: str) -> str:
    speed = summary["speeds"].get(name)
    if speed is None:
        return ""
    return f"{1000 / speed:.1f} ms" if summary["task"] == "photograph" else number(speed)


def table(rows: list[Record], markdown: bool = False) -> str:
    """Pictures a second by row and column; a row that was not measured says why."""
    measured = [summarise(row) for row in rows if "why" not in row]
    order = [name for summary in measured for name in summary["speeds"]]
    columns = sorted(dict.fromkeys(order), key=_place)
    head = ["", *columns, "ratio to the best peer", "goal", "reached"]
    lines = []
    for row in rows:
        if "why" in row:
            line = [row["title"], *[""] * len(columns), row["why"], f"{row['goal']:.2f}"]
            lines.append(line)
            continue
        summary = summarise(row)
        line = [row["title"], *(_speed(summary, name) for name in columns)]
        if summary["best_peer"]:
            ratio, least, greatest = (summary[key] for key in ("ratio", "least", "greatest"))
            line.append(f"{ratio:.2f} ({least:.2f} to {greatest:.2f})")
            line += [f"{row['goal']:.2f}", "yes" if summary["reached"] else "no"]
        else:
            why = "see the errors" if row.get("errors") else "no peer here"
            line += [why, f"{row['goal']:.2f}"]
        lines.append(line)
    return lay_out(head, lines, markdown)


def _place(column: str) -> tuple[int, str]:
    """Ours first, the bound last."""
    return (0 if column.startswith("ours") else 2 if column == "bound" else 1, column)


def other_lines(others: Record) -> list[list[str]]:
    """What is measured besides speed: [what, figure, goal, reached]."""
    lines = []
    for name, results in others.get("memory", {}).items():
        task, arch, batch, column = name.split("/")
        title = f"memory, {task} v{arch.replace('_', '.')}, batch {batch}, {column}"
        more, peak = (results[key] for key in ("memory_mib", "peak_mib"))
        line = [title, f"{more:.0f} MiB (process {peak:.0f})"]
        if column == "ours":
            goal = GOALS_MIB[f"{task}-{arch}"]
            line += [f"under {goal} MB", _yes(more * 2**20 < goal * 1e6)]
        lines.append(line)
    if flat := others.get("flat"):
        first, last = flat["mib"]
        title = f"memory of the process after {flat['steps'][0]} / {flat['steps'][1]} steps"
        lines.append([title, f"{first:.1f} / {last:.1f} MiB", "flat", _yes(last < first + 1)])
    if epoch := others.get("epoch"):
        percents = epoch_percents(epoch)
        title = f"an epoch beyond its steps, v{epoch['arch'].replace('_', '.')}, percent"
        reached = statistics.median(percents) < EPOCH_GOAL_PERCENT
        lines.append(
            [title, with_spread(percents, 1), f"under {EPOCH_GOAL_PERCENT}", _yes(reached)]
        )
    for name, result in others.get("coexistence", {}).items():
        title = f"our training steps and {name}, interleaved over alone"
        texts = [with_spread(result["ours"]), with_spread(result["other"])]
        lines.append([title, f"ours {texts[0]}, {name} {texts[1]}", "about 1"])
    for statement, seconds in others.get("import", {}).items():
        lines.append([f"python -c {statement!r}", with_spread(seconds, 3, " s")])
    return lines


def epoch_percents(epoch: Record) -> list[float]:
    pairs = zip(epoch["epoch_seconds"], epoch["steps_seconds"], strict=True)
    return [100 * (whole / steps - 1) for whole, steps in pairs]


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"


def other_table(others: Record, markdown: bool = False) -> str:
    lines = other_lines(others)
    return lay_out(["", "median (least to greatest)", "goal", "reached"], lines, markdown)


# -- README ----------------------------------------------------------------------------------------


def heading(result: Record) -> str:
    """Where, when and how often."""
    machine = result["machine"]
    return (
        f"{machine['cpu']}, {machine['isa']}, {result['threads']} threads, "
        f"{result['date'][:10]}, {result['rounds']} rounds"
    )


def write_readme(path: Path, result: Record) -> None:
    """Rewrite the marked section. ValueError: README has no such section."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no section between {BEGIN} and {END}")
    parts = [
        f"Measured with `{result['command']}` ({heading(result)}). Pictures a second; a ratio is "
        "the median over rounds in which the two took turns, with the least and the greatest.",
        table(result["rows"], markdown=True),
    ]
    if result.get("others"):
        parts.append(other_table(result["others"], markdown=True))
    body = "\n\n".join(parts)
    path.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")
