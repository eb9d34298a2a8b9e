"""A run's folder: where it is, what stands in it, and that no earlier run is lost to it."""

import argparse
from pathlib import Path

from ..training.resume import STATE_IN_RUN_FOLDER
from .groups import group

RUNS = Path("runs")  # where runs go without --out


class RunFolder:
    """The paths of what a run writes below `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.best = folder / "weights" / "best.safetensors"
        self.last = folder / "weights" / "last.safetensors"
        self.state = folder / STATE_IN_RUN_FOLDER
        self.csv = folder / "results.csv"
        self.plot = folder / "results.png"
        self.confusion = folder / "confusion_matrix.png"

    def make(self) -> None:
        self.best.parent.mkdir(parents=True, exist_ok=True)

    def remove_run(self) -> None:
        """Remove what an earlier run wrote, and nothing else, so that the two are never mixed."""
        for path in (self.best, self.last, self.state, self.csv, self.plot, self.confusion):
            path.unlink(missing_ok=True)

    def refuse_run(self) -> None:
        """FileExistsError where there is an earlier run's work."""
        for path in (self.state, self.best, self.last, self.csv):
            if path.exists():
                raise FileExistsError(
                    f"{self.folder} holds an earlier run ({path.relative_to(self.folder)}): "
                    "--overwrite replaces it, --resume resumes it, another --out keeps it"
                )


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """The options that say where a run goes; name: the command's, and so the folder's."""
    output = group(parser, "output")
    output.add_argument(
        "--out", metavar="DIR", help="folder for all that is written (default: the first of "
        f"{RUNS / name}, {RUNS / name}2, ... that is not there)"
    )  # fmt: skip
    output.add_argument("--overwrite", action="store_true", help="replace the run that --out holds")


def given_folder(options: argparse.Namespace) -> RunFolder | None:
    """The folder of --out, made; None without --out. FileExistsError: an earlier run is in it, and
    there is no --overwrite (or --resume, which is for its own folder)."""
    if options.out is None:
        return None
    run = RunFolder(Path(options.out))
    if not (options.overwrite or getattr(options, "resume", None)):
        run.refuse_run()
    run.make()
    return run


def new_folder(name: str) -> RunFolder:
    """That of a run at new_path."""
    run = RunFolder(new_path(name))
    run.make()
    return run


def new_path(name: str) -> Path:
    """The first of runs/NAME, runs/NAME2, ... that is not there, made now."""
    RUNS.mkdir(exist_ok=True)
    number = 1
    while True:
        folder = RUNS / (name if number == 1 else f"{name}{number}")
        try:
            folder.mkdir()  # of two runs that begin at once, one gets it
        except FileExistsError:
            number += 1
            continue
        return folder
