"""The commands on sets of pictures: `evaluate` and `check`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..data.check import check_data
from ..data.dataset import Dataset
from ..data.layouts import load_evaluation_data, load_training_data
from ..files.torch_read import is_torch_file
from ..inference.predict import choose_threshold, evaluate
from ..model import Model
from ..reports.write import report
from .options import add_data_options, add_precision, dataset_options

# -- evaluate --------------------------------------------------------------------------------------


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """The options of `evaluate`."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "data", metavar="DATA", help="a PALM folder (its validation part), a folder per class, "
        "or a list file"
    )  # fmt: skip
    add_data_options(parser)
    parser.add_argument(
        "--out", metavar="DIR", help="write a report into this folder: index.html, metrics.json, "
        "predictions.csv, plots"
    )  # fmt: skip
    parser.add_argument(
        "--training-data", metavar="DATA", help="what the model was trained on: the report then "
        "says which pictures are in both sets"
    )  # fmt: skip
    parser.add_argument(
        "--threshold-from", metavar="DATA", help="first choose the decision threshold on this set "
        "(of a PALM folder, the training part), by Youden's index, and store it in MODEL"
    )  # fmt: skip
    parser.add_argument("--json", action="store_true")
    add_precision(parser)
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    model = Model.load(options.model, options.precision)
    reading = dataset_options(options)
    dataset = load_evaluation_data(options.data, model.class_names, **reading)
    if options.threshold_from:
        _store_threshold(model, options.model, _training_set(options.threshold_from, reading))
    if options.out:
        training = None
        if options.training_data:
            training = _training_set(options.training_data, reading)
        title = f"{Path(options.model).name} on {Path(options.data).name}"
        findings = report(model, dataset, options.out, training=training, title=title)
    result = evaluate(model, dataset) if not options.out else findings.summary
    print(json.dumps(result.to_dict(), ensure_ascii=False) if options.json else result)
    if options.out and not options.json:
        print(f"\n{findings}\nWritten: {Path(options.out) / 'index.html'}")
    return 0


def _store_threshold(model: Model, path: str, dataset: Dataset) -> None:
    if is_torch_file(path):
        raise ValueError(
            f"{path}: a PyTorch file has no place for a threshold; "
            f"`squeezenet-c export {path} model.safetensors` makes one that has"
        )
    choose_threshold(model, dataset)
    model.save(path)


def _training_set(data: str, reading: dict[str, Any]) -> Dataset:
    return load_training_data([data], **reading)[0]


# -- check -----------------------------------------------------------------------------------------


def add_check(parser: argparse.ArgumentParser) -> None:
    """The options of `check`."""
    parser.add_argument(
        "data", metavar="DATA", nargs="+", help="a PALM folder, a folder per class, or a list "
        "file; a second one is the validation set"
    )  # fmt: skip
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    """Status 1 where something was found."""
    check = check_data(*load_training_data(options.data))
    print(check)
    if check.ok:
        return 0
    print(
        f"squeezenet-c: {len(check.unreadable)} unreadable files, {len(check.pairs)} pairs of "
        f"pictures that are the same or look so, {len(check.leaks)} of them in both sets",
        file=sys.stderr,
    )
    return 1
