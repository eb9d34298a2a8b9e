"""The command `sweep`: networks of the paper's design space, trained and compared."""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

from .. import sweep
from ..data.dataset import Dataset
from ..data.layouts import load_training_data
from ..training.sweep import POINTS, RESULTS, SWEEP_FILE, points_of
from .arguments import ARGUMENTS_FILE, write_arguments
from .classes import add_classes
from .groups import group
from .options import (
    SHAPES,
    add_data_options,
    add_epochs,
    add_finetuning,
    add_network,
    add_precision,
    add_preprocessing,
    add_training_data,
    dataset_options,
    network_arguments,
    network_changes,
    positive,
    settle_rates,
    train_arguments,
)
from .run_folder import add_out, new_path
from .stopping import sigterm_raises, sigterm_waits, stopped
from .train import DEFAULT_VALID_FRACTION

PLOT = "sweep.png"


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """The options of `sweep`."""
    add_training_data(parser)
    add_network(parser, several=True)
    add_preprocessing(parser)
    add_epochs(parser)
    add_classes(parser)
    add_finetuning(parser)
    add_precision(parser)
    add_data_options(parser)
    add_out(parser, "sweep")
    group(parser, "training").add_argument(
        "--seeds", type=positive, default=3, metavar="COUNT", help="how often each network is "
        "trained, from --seed, --seed + 1, ..."
    )  # fmt: skip
    computing = group(parser, "computing")
    computing.add_argument(
        "--jobs", type=positive, help="networks trained at a time, each on one thread (default: "
        "--threads)"
    )  # fmt: skip
    computing.add_argument(
        "--dask", metavar="ADDRESS", help="train on the workers of this Dask scheduler, as "
        "tcp://host:8786, to which DATA and --out have the same paths (default: here)"
    )  # fmt: skip
    parser.set_defaults(
        run=_sweep, usage_error=parser.error, parser=parser, pretrained=None, calibrate=False
    )


def _sweep(options: argparse.Namespace) -> int:
    if not options.data:
        options.usage_error("the following arguments are required: DATA")
    settle_rates(options)
    data = [os.path.abspath(path) for path in options.data]  # for processes elsewhere
    training, valid, _ = load_training_data(data, options.class_names, **dataset_options(options))
    fraction = options.valid_fraction
    if valid is None and fraction is None:
        fraction = DEFAULT_VALID_FRACTION
    grid, seeds = _grid(options), range(options.seed, options.seed + options.seeds)
    network = _network(options, training)
    count = len(points_of(grid, seeds, network))  # before a folder is taken for them
    folder = _folder(options)
    options.out = str(folder)
    if not options.resume:
        write_arguments(folder / ARGUMENTS_FILE, options)
    print(
        f"Networks: {count // options.seeds}, seeds: {options.seeds}, folder: {folder}", flush=True
    )
    stop = sigterm_waits()
    result = sweep(
        training,
        valid,
        grid,
        folder,
        seeds=seeds,
        network=network,
        jobs=options.jobs,
        dask=options.dask,
        stop=stop,
        **train_arguments(options),
        valid_fraction=fraction,
    )
    sigterm_raises()
    if options.resume:  # only now that they were not refused
        write_arguments(folder / ARGUMENTS_FILE, options)
    if result.interrupted:
        return stopped(f"; to resume it: squeezenet-c sweep --resume {folder}")
    print(f"\n{result}")
    result.plot(folder / PLOT)
    print(f"Written: {folder / RESULTS}, {folder / PLOT}")
    return 0


def _grid(options: argparse.Namespace) -> dict[str, list[Any]]:
    """The values that are given, by Model's names."""
    given = {"version": options.arch, "bypass": options.bypass}
    given |= {name: vars(options)[name] for name in SHAPES}
    grid = {name: list(dict.fromkeys(values)) for name, values in given.items() if values}
    if "bypass" in grid:
        grid["bypass"] = [None if word == "none" else word for word in grid["bypass"]]
    return grid


def _network(options: argparse.Namespace, training: Dataset) -> dict[str, Any]:
    """What all networks have in common."""
    unset = dict.fromkeys(("arch", "bypass", *SHAPES))
    said = network_arguments(argparse.Namespace(**{**vars(options), **unset}))
    said |= network_changes(options)
    said |= {"num_classes": len(training.class_names), "class_names": training.class_names}
    return said | ({} if options.positive is None else {"positive": options.positive})


def _folder(options: argparse.Namespace) -> Path:
    """Where all is written. FileExistsError: an earlier sweep is there, and --resume is not."""
    if options.out is None:
        return new_path("sweep")
    folder = Path(options.out)
    if (folder / SWEEP_FILE).exists() and not options.resume:
        if not options.overwrite:
            raise FileExistsError(
                f"{folder} holds an earlier sweep ({SWEEP_FILE}): --overwrite replaces it, "
                "--resume goes on with it, another --out keeps it"
            )
        shutil.rmtree(folder / POINTS, ignore_errors=True)
        for name in (SWEEP_FILE, RESULTS, PLOT):
            (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
