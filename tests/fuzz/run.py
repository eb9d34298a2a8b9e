"""Fuzzes all that reads files which users name: builds the harnesses, runs each for some seconds,
and fails where one finds something, naming the input that shows it again.

    python tests/fuzz/run.py                     # 20 seconds each, as .ci/run does
    python tests/fuzz/run.py --hours 1           # all together
    python tests/fuzz/run.py pictures --seconds 600
    python tests/fuzz/run.py --coverage          # which lines the inputs found so far reach
    python tests/fuzz/run.py --sanitizer memory  # reads of memory that nobody wrote

What was found worth keeping grows in a folder outside the repository (--corpus) and is where the
next run begins. Needs clang with libFuzzer; --coverage needs LLVM's tools; what is written in
Python is fuzzed where atheris is installed (pip install atheris).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import builder
import seeds
import targets

WORKER = builder.HERE / "worker.py"
SPECS = "specs"  # the harness that is a program of its own, specs.py
MOST_BYTES = 1 << 16  # of an input
MOST_SECONDS = 60  # of one input: generous, for the machine may be busy. Else it is a finding
MOST_MEGABYTES = 4000
# Of what is printed by an exported program nothing is to be seen.
SILENT = ("program",)
ENVIRONMENT = {
    "ASAN_OPTIONS": "quarantine_size_mb=16:allocator_may_return_null=1:detect_odr_violation=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass
class Result:
    name: str
    executions: int = 0
    edges: int = 0
    inputs: int = 0  # in the corpus
    finding: str = ""  # what was found, in a line; "" for nothing
    again: str = ""  # the command that shows it


def default_corpus() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "squeezenet_c" / "fuzz"


def python_names() -> list[str]:
    """The harnesses that are Python; only one without atheris."""
    return [SPECS, *(sorted(targets.TARGETS) if importlib.util.find_spec("atheris") else [])]


def makers() -> dict[str, Callable[[], seeds.Seeds]]:
    """By a harness's name what makes its seeds."""
    others = {name: target.seeds for name, target in targets.TARGETS.items()}
    return {SPECS: dict, **seeds.MAKERS, **others}


# -- One harness -----------------------------------------------------------------------------------


def fuzz(name: str, program: list[str], corpus: Path, seconds: int, seed: int = 0) -> Result:
    """Runs a harness and reads what libFuzzer says of it. seed: of its random numbers; 0: others
    each time."""
    own, findings = corpus / "inputs" / name, corpus / "findings"
    own.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory_folder()) as scratch:
        first = Path(scratch, "seeds")
        seeds.write(makers()[name](), first)
        command = [
            *program,
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-max_len={MOST_BYTES}",
            f"-timeout={MOST_SECONDS}",
            f"-rss_limit_mb={MOST_MEGABYTES}",
            f"-artifact_prefix={findings / name}-",
            "-print_final_stats=1",
            *(["-close_fd_mask=3"] if name in SILENT else []),
            str(own),
            str(first),
        ]
        dictionary = builder.HARNESSES / f"{name}.dict"
        if dictionary.is_file():
            command.insert(1, f"-dict={dictionary}")
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=scratch,
            env={**os.environ, **ENVIRONMENT, "TMPDIR": scratch},
        )
    return _read(name, program, result.returncode, result.stdout, len(list(own.iterdir())))


def _memory_folder() -> str | None:
    """Where files are written without a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _read(name: str, program: list[str], status: int, said: str, inputs: int) -> Result:
    counts = re.findall(r"stat::number_of_executed_units: (\d+)", said)
    counts = counts or re.findall(r"^#(\d+)\t", said, re.MULTILINE)
    edges = re.findall(r"\bcov: (\d+)", said)
    found = Result(name, int(counts[-1]) if counts else 0, int(edges[-1]) if edges else 0, inputs)
    if status == 0:
        return found
    reasons = re.findall(
        r"^(?:SUMMARY: .*|.*does not hold: .*|.*runtime error: .*|(?<=exception: ===\n).+)$",
        said,
        re.MULTILINE,
    )
    found.finding = (reasons or said.strip().splitlines() or [f"it ended with status {status}"])[0]
    written = re.findall(r"Test unit written to (\S+)", said)
    if written:
        found.again = shlex.join([*program, written[-1]])
        Path(written[-1]).with_suffix(".log").write_text(said, "utf-8")
    else:
        found.finding += "\n" + "\n".join(said.splitlines()[-20:])
    return found


def table(results: list[Result]) -> str:
    lines = [f"{'':20}{'executions':>12}{'edges':>8}{'inputs':>8}  finding"]
    for result in results:
        finding = result.finding.splitlines()[0] if result.finding else "none"
        lines.append(
            f"{result.name:20}{result.executions:12,}{result.edges:8,}{result.inputs:8,}  {finding}"
        )
    lines.append(f"{'together':20}{sum(result.executions for result in results):12,}")
    return "\n".join(lines)


# -- Coverage --------------------------------------------------------------------------------------


def coverage(names: list[str], corpus: Path, folder: Path) -> str:
    """Lines of csrc/image and csrc/io that the corpus and the seeds reach, by llvm-cov; on each
    instruction set that this CPU has."""
    for tool in ("llvm-profdata", "llvm-cov"):
        if not shutil.which(tool):
            raise builder.BuildError(f"{tool} is not installed (Debian: apt-get install llvm)")
    builder.build(folder, "address", coverage=True)
    profiles = []
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory_folder()) as scratch:
        for name in names:
            seeds.write(makers()[name](), Path(scratch, name))
            for isa in ("baseline", "avx2", "avx512"):
                profiles.append(f"{scratch}/{name}-{isa}.profraw")
                own = corpus / "inputs" / name
                places = [scratch + f"/{name}", *([str(own)] if own.is_dir() else [])]
                options = ["-runs=0", f"-max_len={MOST_BYTES}"]
                options += ["-close_fd_mask=3"] if name in SILENT else []
                where = {"LLVM_PROFILE_FILE": profiles[-1], "SQZ_ISA": isa, "TMPDIR": scratch}
                subprocess.run(
                    [folder / name, *options, *places],
                    capture_output=True,
                    check=True,
                    cwd=scratch,
                    env={**os.environ, **ENVIRONMENT, **where},
                )
        merged = folder / "merged.profdata"
        subprocess.run(["llvm-profdata", "merge", *profiles, "-o", merged], check=True)
    programs = [str(folder / name) for name in names]
    objects = [word for program in programs[1:] for word in ("-object", program)]
    command = ["llvm-cov", "export", "-summary-only", f"-instr-profile={merged}"]
    result = subprocess.run([*command, programs[0], *objects], capture_output=True, check=True)
    return _covered(json.loads(result.stdout)["data"][0]["files"])


def _covered(files: list[dict]) -> str:
    lines, sums = [], {"image": [0, 0], "io": [0, 0]}
    for file in sorted(files, key=lambda file: file["filename"]):
        path = Path(file["filename"])
        if not path.is_relative_to(builder.ROOT / "csrc"):
            continue
        name = path.relative_to(builder.ROOT / "csrc")
        if name.parts[0] not in sums or path.suffix != ".c":
            continue
        counted = file["summary"]["lines"]
        for place, key in enumerate(("covered", "count")):
            sums[name.parts[0]][place] += counted[key]
        lines.append(f"{str(name):40}{counted['covered']:6} of {counted['count']:6}")
    for part, (covered, count) in sums.items():
        lines.append(f"{part:40}{covered:6} of {count:6}  {covered / max(count, 1):.1%}")
    return "\n".join(lines)


# -- All -------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="harnesses (default: all)")
    time = parser.add_mutually_exclusive_group()
    time.add_argument("--seconds", type=int, default=20, help="for each harness (default: 20)")
    time.add_argument("--hours", type=float, help="for all of them together")
    parser.add_argument("--seed", type=int, default=0, help="of random numbers (default: others)")
    cpus = len(os.sched_getaffinity(0))
    parser.add_argument("--jobs", type=int, default=cpus, help=f"at a time (default: {cpus})")
    parser.add_argument(
        "--corpus", type=Path, default=default_corpus(), help="inputs and findings (%(default)s)"
    )
    parser.add_argument("--sanitizer", choices=builder.SANITIZERS, default="address")
    parser.add_argument("--build", type=Path, help="where to build (default: in the corpus folder)")
    parser.add_argument("--coverage", action="store_true", help="measure, and fuzz nothing")
    options = parser.parse_args(arguments)
    compiled = builder.names(options.sanitizer)
    interpreted = python_names() if options.sanitizer == "address" else []
    unknown = set(options.names) - {*compiled, *interpreted}
    if unknown:
        parser.error(
            f"no harness {', '.join(sorted(unknown))}; there are {', '.join(compiled)}"
            + f", {', '.join(interpreted)}"
        )
    wanted = options.names or [*compiled, *interpreted]
    folder = options.build or options.corpus / f"build-{options.sanitizer}"
    in_c = [name for name in compiled if name in wanted]
    try:
        if options.coverage:
            print(coverage(in_c, options.corpus, folder.with_name("build-coverage")))
            return 0
        if in_c:
            builder.build(folder, options.sanitizer)
    except (builder.BuildError, builder.externals.Missing) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    if importlib.util.find_spec("atheris") is None:
        print("run.py: atheris is not installed: what is written in Python is not fuzzed")
    seconds = options.seconds
    if options.hours is not None:
        seconds = max(1, round(options.hours * 3600 * min(options.jobs, len(wanted)) / len(wanted)))

    def run(name: str) -> Result:
        if name in compiled:
            program = [str(folder / name)]
        elif name == SPECS:
            program = [sys.executable, str(builder.HERE / "specs.py")]
        else:
            program = [sys.executable, str(WORKER), name]
        return fuzz(name, program, options.corpus, seconds, options.seed)

    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(run, wanted))
    print(table(results))
    for result in results:
        if result.finding:
            print(f"run.py: {result.name}: {result.finding}", file=sys.stderr)
            print(f"run.py: see it again: {result.again or 'no input was kept'}", file=sys.stderr)
    return 1 if any(result.finding for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
