"""The command `cross-validate`: a model for each fold of a set, and what they are worth."""

import argparse
import json
from pathlib import Path

from ..base.ranks import Ranks
from ..base.write import write_text
from ..data.dataset import Dataset
from ..data.layouts import load_training_data
from ..training.cross_validation import CrossValidation, cross_validate, fold_folder
from .arguments import ARGUMENTS_FILE, write_arguments
from .classes import add_classes, classes_line
from .groups import group
from .options import (
    add_finetuning,
    add_precision,
    add_train_options,
    dataset_options,
    positive,
    settle_rates,
    train_arguments,
)
from .run_folder import RunFolder, new_path
from .stopping import sigterm_raises, sigterm_waits, stopped
from .train import DEFAULT_VALID_FRACTION, model_to_train

NAME = "cross-validate"
PREDICTIONS, FIGURES = "predictions.csv", "metrics.json"


def add_cross_validate(parser: argparse.ArgumentParser) -> None:
    """The options of `cross-validate`: those of `train`, and how many folds."""
    add_train_options(parser, NAME)
    group(parser, "data").add_argument(
        "--folds", type=positive, default=5, help="parts of the training pictures, each judged by "
        "a model of the others. No group is in two"
    )  # fmt: skip
    add_classes(parser)
    add_finetuning(parser)
    group(parser, "threshold and confidence").add_argument(
        "--calibrate", action="store_true", help="as of `train`, of each fold's model"
    )
    add_precision(parser)
    parser.set_defaults(run=_run, usage_error=parser.error, parser=parser, shared=True)


def _run(options: argparse.Namespace) -> int:
    if not options.data:
        options.usage_error("the following arguments are required: DATA")
    settle_rates(options)
    if options.valid_fraction is None:
        options.valid_fraction = DEFAULT_VALID_FRACTION
    ranks: Ranks = options.ranks
    ranks.check_training()
    dataset, *others = load_training_data(
        options.data, options.class_names, **dataset_options(options)
    )
    fresh = argparse.Namespace(**{**vars(options), "resume": None})  # no fold's state is read here
    model = model_to_train(fresh, dataset.class_names)
    print(classes_line(model, {"in folds": dataset}), flush=True)
    _tell_what_is_left_alone(others)
    folder = ranks.from_leader(lambda: _folder(options))
    options.out = str(folder)
    if ranks.leads and not options.resume:
        write_arguments(folder / ARGUMENTS_FILE, options)
    stop = sigterm_waits()
    found = cross_validate(
        model,
        dataset,
        folds=options.folds,
        seed=options.seed,
        valid_fraction=options.valid_fraction,
        folder=folder,
        stop=stop,
        comm=ranks,
        **train_arguments(options),
    )
    sigterm_raises()
    if ranks.leads:
        _write(found, folder)
    if found.interrupted:
        how = f" in fold {len(found.folds) + 1}; to resume it: squeezenet-c {NAME} --resume"
        return stopped(f"{how} {options.out}", ranks)
    print(f"{found}\nWritten: {folder / PREDICTIONS}")
    return 0


def _tell_what_is_left_alone(others: list[Dataset | None]) -> None:
    for name, dataset in zip(("validation", "test"), others, strict=True):
        if dataset is not None:
            print(f"Not in the folds: the {len(dataset)} pictures of the {name} set")


def _folder(options: argparse.Namespace) -> Path:
    """The folder of --out, or a new one; made. FileExistsError: an earlier one's folds are in it,
    and there is no --overwrite or --resume. What --overwrite replaces is removed."""
    if options.out is None:
        return new_path(NAME)
    folder = Path(options.out)
    begun = [RunFolder(path) for path in sorted(folder.glob("fold*")) if path.is_dir()]
    for run in begun:
        if options.overwrite:
            run.remove_run()
        elif not options.resume:
            run.refuse_run()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(found: CrossValidation, folder: Path) -> None:
    """What there is of finished folds."""
    for number, history in enumerate(found.histories, start=1):
        history.to_csv(RunFolder(fold_folder(folder, number)).csv)
    if found.folds:
        found.to_csv(folder / PREDICTIONS)
        text = json.dumps(found.to_dict(), ensure_ascii=False, indent=2)
        write_text(folder / FIGURES, text + "\n")
