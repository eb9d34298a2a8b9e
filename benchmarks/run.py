"""squeezenet_c beside other libraries on this CPU: speed, memory, growth.

    python benchmarks/run.py                    everything, about 15 minutes; files in results/
    python benchmarks/run.py --only 'infer1-*'  some rows; printed, and written with --out FOLDER
    python benchmarks/run.py --readme           README.md's section, from results/benchmark.json

Nothing is installed: the peers that are there take part, each in a process of its own, in turns
with ours, on the same weights and pictures, and their answers are compared. Exit status 1: answers
differ, or a measurement failed. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import compare
import growth
import measure
import photograph
import report
from others import OTHERS
from rows import LIBRARIES, ROWS, TITLES, missing_modules

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
RESULTS = HERE / "results"
NAMES = [*(row.name for row in ROWS), *OTHERS, "growth"]
PACKAGES = (
    "numpy", "torch", "onnxruntime", "openvino", "nncf", "onnx", "Pillow", "onednn-cpu-gomp"
)  # fmt: skip


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="names: " + " ".join(NAMES)
    )
    parser.add_argument("--list", action="store_true", help="print the names for --only, and end")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names, or patterns of names")
    parser.add_argument("--peers", nargs="*", choices=tuple(LIBRARIES), help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="turns (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of a measurement (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, help="default: all the process may use")
    parser.add_argument("--quick", action="store_true", help="tiny: only to see that it works")
    parser.add_argument("--photograph", type=Path, metavar="JPEG", help="default: one in ../shared")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for benchmark.json and charts (default: "
        "results, if everything is measured)"
    )  # fmt: skip
    parser.add_argument(
        "--readme", action="store_true", help="measure nothing: rewrite README.md's table"
    )
    options = parser.parse_args(arguments)
    for name in ("rounds", "threads"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}, expected at least 1")
    unknown = [p for p in options.only or [] if not any(compare.chosen([p], n) for n in NAMES)]
    if unknown:
        parser.error(f"--only {unknown[0]!r} is no name; --list prints them")
    if options.photograph is not None and not options.photograph.is_file():
        parser.error(f"there is no file {options.photograph}")
    if options.out is None and not (options.only or options.quick or options.peers is not None):
        options.out = RESULTS
    return options


def find_peers(wanted: list[str] | None) -> frozenset[str]:
    """The peers that are installed; a sentence for each that takes no part."""
    there = set()
    for library in LIBRARIES:
        missing = missing_modules(library)
        if wanted is not None and library not in wanted:
            say(f"{TITLES[library]} is left out: --peers does not name it.")
        elif missing:
            say(
                f"{TITLES[library]} takes no part, without {' and '.join(missing)}: "
                'pip install ".[bench]" brings what is missing.'
            )
        else:
            there.add(library)
    return frozenset(there)


def machine(info: dict[str, Any]) -> dict[str, Any]:
    """What the figures depend on."""
    facts = {"model name": "", "flags": "", "Features": ""}
    cpu_info = Path("/proc/cpuinfo")
    for line in cpu_info.read_text().splitlines() if cpu_info.exists() else []:
        key, _, value = line.partition(":")
        if facts.get(key.strip()) == "":
            facts[key.strip()] = value.strip()
    variables = {key: value for key, value in os.environ.items()
                 if key.startswith(("OMP_", "GOMP_", "KMP_", "SQZ_"))}  # fmt: skip
    return {
        "cpu": facts["model name"] or platform.processor() or platform.machine(),
        "flags": facts["flags"] or facts["Features"],
        "isa": info["cpu_isa"],
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "environment": variables,
    }


def versions(info: dict[str, Any]) -> dict[str, str]:
    found = {"python": platform.python_version(), "squeezenet_c": info["version"]}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def prepare_photograph(folder: str, options: argparse.Namespace) -> str | None:
    """Put it into the folder; what it is, or None where none can be had."""
    target = Path(folder, "photograph.jpg")
    found = photograph.find(options.photograph)
    if found is not None:
        shutil.copyfile(found, target)
        return found.name
    if importlib.util.find_spec("PIL") is None:
        return None
    subprocess.run([sys.executable, str(HERE / "photograph.py"), str(target)], check=True)
    return "synthetic"


def measure_all(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Everything that was asked for: the object that becomes benchmark.json."""
    (info,) = measure.run_worker("own.info", [{"task": "info", "folder": folder}])
    threads = options.threads or info["threads"]
    backends = sorted(info["backends"], key=lambda name: name != info["backend"])
    settings = compare.Settings(
        folder=folder,
        libraries=find_peers(options.peers),
        backends=tuple(backends),
        bfloat16=info.get("bfloat16", False),
        isa=info["cpu_isa"],
        threads=threads,
        rounds=1 if options.quick else options.rounds,
        seconds=options.seconds,
        quick=options.quick,
        say=say,
    )
    result = {
        "command": shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "threads": threads,
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "quick": settings.quick,
        "machine": machine(info),
        "versions": versions(info),
        "build": info,
        "photograph": prepare_photograph(folder, options),
        "rows": [],
        "others": {},
        "growth": [],
        "errors": [],
    }
    rows = compare.chosen_rows(options.only)
    result["errors"] += compare.quantise(rows, settings)
    for row in rows:
        if row.task == "photograph" and result["photograph"] is None:
            say("There is no photograph: give one with --photograph, or install Pillow.")
            continue
        result["rows"].append(compare.compare(row, settings))
        result["errors"] += result["rows"][-1].get("errors", [])
    for name, function in {**OTHERS, "growth": growth.panels}.items():
        if not compare.chosen(options.only, name):
            continue
        say(f"{name} ...")
        try:
            measured = function(settings)
        except measure.WorkerError as error:
            result["errors"].append(f"{name}: {error}")
            continue
        if name == "growth":
            result["growth"] = measured
        else:
            result["others"][name] = measured
    return result


def write(result: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if importlib.util.find_spec("matplotlib") is None:
        say('No charts without matplotlib, which pip install ".[bench]" brings.')
        return
    import charts

    charts.speed_chart(folder / "benchmark.png", result["rows"], report.heading(result))
    if result["growth"]:
        charts.growth_chart(folder / "growth.png", result["growth"], report.heading(result))


def show(result: dict[str, Any]) -> None:
    print(f"\n{report.heading(result)}; pictures a second where no unit is named\n")
    if result["quick"]:
        print("--quick: small pictures, a step or two. The figures mean nothing.\n")
    if result["rows"]:
        print(report.table(result["rows"]) + "\n")
    if result["others"]:
        print(report.other_table(result["others"]) + "\n")
    for panel in result["growth"]:
        print(f"{panel['x_label']}: {', '.join(map(str, panel['ticks']))}")
        for name, line in panel["lines"].items():
            figures = ", ".join(report.number(speed) for speed in line["images_per_second"])
            print(f"    {name}: {figures}")
    for error in result["errors"]:
        say(f"error: {error}")


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        print("\n".join(NAMES))
        return 0
    if options.readme:
        path = (options.out or RESULTS) / "benchmark.json"
        try:
            report.write_readme(README, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            say(f"error: {error}")
            return 1
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = measure_all(options, folder)
        except measure.WorkerError as error:
            say(f"error: {error}")
            return 1
    show(result)
    if options.out is not None:
        write(result, options.out)
    return 1 if result["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
