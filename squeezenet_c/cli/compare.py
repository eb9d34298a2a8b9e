"""The command `compare`: two models on the same pictures."""

import argparse
import json
from pathlib import Path

from ..data.layouts import load_evaluation_data
from ..model import Model
from ..reports.compare import compare
from .groups import group
from .options import (
    add_data_options,
    add_model_precision,
    add_split,
    dataset_options,
    model_path,
)

TABLE = ".csv"


def add_compare(parser: argparse.ArgumentParser) -> None:
    """The options of `compare`."""
    for name in ("A", "B"):
        parser.add_argument(
            name.lower(), metavar=name, help="a model's file or a run's folder, or the "
            "predictions.csv of `evaluate --out`"
        )  # fmt: skip
    parser.add_argument(
        "data", metavar="DATA", nargs="?", help="the pictures, as `evaluate` takes them (not "
        "needed where both are predictions.csv)"
    )  # fmt: skip
    add_split(parser)
    add_data_options(parser)
    add_model_precision(parser)
    output = group(parser, "output")
    output.add_argument(
        "--out", metavar="DIR", help="write comparison.json, comparison.csv (a line a picture) and "
        "both ROC curves into this folder"
    )  # fmt: skip
    output.add_argument("--json", action="store_true", help="print JSON only")
    parser.set_defaults(run=_compare, usage_error=parser.error)


def _compare(options: argparse.Namespace) -> int:
    named = (options.a, options.b)
    judges = [
        name if name.lower().endswith(TABLE) else Model.load(model_path(name), options.precision)
        for name in named
    ]
    models = [judge for judge in judges if isinstance(judge, Model)]
    dataset = None
    if models:
        if options.data is None:
            options.usage_error("DATA is required, the pictures that a model is to be compared on")
        reading = dataset_options(options)
        dataset = load_evaluation_data(
            options.data, models[0].class_names, options.split, **reading
        )
    elif options.data is not None:
        options.usage_error("DATA and two tables of predictions: there is nothing to do with it")
    found = compare(judges[0], judges[1], dataset, options.out, names=named)
    print(json.dumps(found.to_dict(), ensure_ascii=False) if options.json else found)
    if options.out and not options.json:
        print(f"Written: {Path(options.out) / 'comparison.json'}")
    return 0
