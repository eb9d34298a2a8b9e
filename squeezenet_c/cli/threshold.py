"""The command `threshold`: from which probability on a picture is called positive."""

import argparse

from ..data.dataset import Dataset
from ..data.layouts import load_evaluation_data
from ..data.marks import recognised
from ..files.native import model_file
from ..files.torch_read import is_torch_file
from ..inference.predict import choose_threshold, evaluate
from ..model import Model
from .classes import add_positive, classes_line
from .options import add_data_options, add_model_precision, dataset_options


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """The options of `threshold`."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "data", metavar="DATA", help="pictures that the model was not trained on, and that it will "
        "not be reported on: of a PALM folder the validation part, of a folder of train, val and "
        "test the part val, or a folder per class or list file"
    )  # fmt: skip
    parser.add_argument("--split", metavar="NAME", help="the part of DATA: train, val or test")
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument(
        "--sensitivity", type=float, metavar="SHARE", help="find at least this share of the "
        "positives, and of the negatives as many as then can be"
    )  # fmt: skip
    wanted.add_argument(
        "--specificity", type=float, metavar="SHARE", help="the same for the negatives"
    )
    wanted.add_argument(
        "--youden", action="store_true", help="the greatest sum of both (Youden's index; default)"
    )
    add_positive(parser)
    add_data_options(parser)
    parser.add_argument(
        "--out", metavar="FILE", help="the model with its threshold (default: MODEL)"
    )
    add_model_precision(parser)
    parser.set_defaults(run=_threshold)


def _threshold(options: argparse.Namespace) -> int:
    source = model_file(options.model)
    target = options.out or source
    if options.out is None and is_torch_file(source):
        raise ValueError(
            f"{source}: a PyTorch file is not written anew; --out model.safetensors saves the "
            "model with its threshold"
        )
    model = Model.load(source, options.precision)
    if options.positive is not None:
        model.positive = options.positive
    if model.positive is None:
        raise ValueError(f"{source} has {model.num_classes} classes; a threshold is for two")
    dataset = load_evaluation_data(
        options.data,
        model.class_names,
        options.split,
        ("validation", "test"),
        **dataset_options(options),
    )
    _refuse_training_pictures(model, dataset, options.data)
    print(classes_line(model, {"to choose on": dataset}), flush=True)
    threshold = choose_threshold(
        model, dataset, sensitivity=options.sensitivity, specificity=options.specificity
    )
    model.save(target)
    found = evaluate(model, dataset)
    print(
        f"Threshold: {threshold:.4f} of {model.name_of(model.positive)}, in {target}\n"
        f"On the pictures it was chosen on, which flatters: sensitivity {found.sensitivity:.4f}, "
        f"specificity {found.specificity:.4f}"
    )
    return 0


def _refuse_training_pictures(model: Model, dataset: Dataset, data: str) -> None:
    known = recognised(model.trained_on, dataset)
    if known:
        raise ValueError(
            f"{data}: the model was trained on {len(known)} of its {len(dataset)} pictures, "
            f"{known[0]} for one; a threshold is chosen on pictures that it has not seen"
        )
