"""The commands on sets of pictures: `evaluate` and `check`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..base.language import translate
from ..data.check import check_data
from ..data.dataset import Dataset
from ..data.layouts import load_evaluation_data, load_training_data
from ..files.native import model_file
from ..inference.predict import evaluate
from ..model import Model
from ..reports.write import report
from .classes import classes_line
from .groups import group
from .options import (
    add_columns,
    add_data_options,
    add_model,
    add_model_precision,
    add_split,
    add_tta,
    columns_of,
    dataset_options,
)

# -- evaluate --------------------------------------------------------------------------------------


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    add_model(parser)
    parser.add_argument(
        "data", metavar="DATA", help="a PALM folder (its validation part), a folder per class, "
        "a folder of train, val and test (its test part, else val), a CSV table, or a "
        "list file"
    )  # fmt: skip
    add_split(parser)
    add_data_options(parser)
    output = group(parser, "output")
    output.add_argument(
        "--out", metavar="DIR", help="write a report into this folder: index.html, metrics.json, "
        "predictions.csv, plots"
    )  # fmt: skip
    group(parser, "data").add_argument(
        "--training-data", metavar="DATA", help="what the model was trained on: the report then "
        "says which pictures are in both sets"
    )  # fmt: skip
    group(parser, "data").add_argument(
        "--prevalence", type=float, metavar="SHARE", help="the share of positives where the model "
        "is to be used, as 0.05: PPV, NPV and net benefits are for it (default: DATA's own)"
    )  # fmt: skip
    parser.add_argument("--threshold-from", help=argparse.SUPPRESS)  # of the first versions
    output.add_argument("--json", action="store_true", help="print JSON only")
    add_tta(parser)
    add_model_precision(parser)
    parser.set_defaults(run=_evaluate, usage_error=parser.error, shared=True)


def _evaluate(options: argparse.Namespace) -> int:
    if options.threshold_from:
        options.usage_error(
            "--threshold-from is no longer there: `squeezenet-c threshold MODEL DATA` chooses a "
            "threshold, on pictures that the model was not trained on"
        )
    model = Model.load(options.model, options.precision)
    reading = dataset_options(options)
    dataset = load_evaluation_data(options.data, model.class_names, options.split, **reading)
    if not options.json:
        print(classes_line(model, {"evaluated": dataset}), flush=True)
    if options.out:
        training = None
        if options.training_data:
            training = _training_set(options.training_data, reading)
        title = translate(
            "{model} on {data}", model=Path(options.model).name, data=Path(options.data).name
        )
        findings = report(
            model,
            dataset,
            options.out,
            training=training,
            title=title,
            tta=options.tta,
            prevalence=options.prevalence,
            model_file=model_file(options.model),
            command=options.command_line,
            comm=options.ranks,
        )
        result = findings.summary
    else:
        result = evaluate(
            model,
            dataset,
            tta=options.tta,
            prevalence=options.prevalence,
            comm=options.ranks,
        )
    print(json.dumps(result.to_dict(), ensure_ascii=False) if options.json else result)
    if options.out and not options.json:
        print(f"\n{findings}\nWritten: {Path(options.out) / 'index.html'}")
    return 0


def _training_set(data: str, reading: dict[str, Any]) -> Dataset:
    return load_training_data([data], **reading).training


# -- check -----------------------------------------------------------------------------------------


def add_check(parser: argparse.ArgumentParser) -> None:
    """The options of `check`."""
    parser.add_argument(
        "data", metavar="DATA", nargs="+", help="a PALM folder, a folder per class, a folder of "
        "train, val and test, a CSV table, or a list file; a second one is the validation set, a "
        "third the test set"
    )  # fmt: skip
    add_columns(parser)
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    """Status 1 where something was found."""
    check = check_data(*load_training_data(options.data, columns=columns_of(options)))
    print(check)
    if check.ok:
        return 0
    print(
        f"squeezenet-c: {len(check.unreadable)} unreadable files, {len(check.pairs)} pairs of "
        f"pictures that are the same or look so, {len(check.leaks)} of them in two sets"
        + (f", {len(check.shared_groups)} groups in two sets" if check.shared_groups else ""),
        file=sys.stderr,
    )
    return 1
