"""The command `threshold`: from which probability on a picture is called positive."""

import argparse

from ..data.marks import refuse_training_pictures
from ..inference.predict import choose_threshold, evaluate
from .classes import add_positive, classes_line
from .groups import group
from .held_out import add_held_out, load_held_out_model, load_held_out_pictures


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """The options of `threshold`."""
    add_held_out(parser, "threshold")
    wanted = group(parser, "threshold and confidence").add_mutually_exclusive_group()
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
    parser.set_defaults(run=_threshold)


def _threshold(options: argparse.Namespace) -> int:
    model, target = load_held_out_model(options, "threshold")
    if options.positive is not None:
        model.positive = options.positive
    if model.positive is None:
        raise ValueError(f"{options.model} has {model.num_classes} classes; a threshold is for two")
    dataset = load_held_out_pictures(options, model)
    refuse_training_pictures(model.trained_on, dataset, "a threshold is chosen", options.data)
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
