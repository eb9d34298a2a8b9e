"""The command `lr-find`."""

import argparse

from ..base.ranks import Ranks
from ..data.layouts import load_training_data
from ..training.lr_find import lr_find
from .classes import add_classes, classes_line
from .groups import group
from .options import (
    add_data_options,
    add_learning,
    add_precision,
    add_start,
    add_steps,
    dataset_options,
    learning_arguments,
)
from .train import model_to_train

PLOT = "lr_find.png"


def add_lr_find(parser: argparse.ArgumentParser) -> None:
    """The options of `lr-find`."""
    parser.add_argument(
        "data", metavar="DATA", nargs="+", help="as `train` has it; its training part is used"
    )
    add_start(parser)
    add_steps(parser)
    add_learning(parser)
    rates = group(parser, "learning rate and loss")
    rates.add_argument("--lowest", type=float, default=1e-7, help="rate of the first step")
    rates.add_argument("--highest", type=float, default=10.0, help="rate of the last step")
    rates.add_argument("--steps", type=int, default=100, help="from the one to the other")
    group(parser, "output").add_argument(
        "--plot", metavar="PNG", default=PLOT, help="file for the plot"
    )
    add_classes(parser)
    add_data_options(parser)
    add_precision(parser)
    parser.set_defaults(run=_lr_find, shared=True, resume=None)


def _lr_find(options: argparse.Namespace) -> int:
    ranks: Ranks = options.ranks
    training = load_training_data(options.data, options.class_names, **dataset_options(options))[0]
    model = model_to_train(options, training.class_names)
    print(classes_line(model, {"training": training}), flush=True)
    found = lr_find(
        model,
        training,
        lowest=options.lowest,
        highest=options.highest,
        steps=options.steps,
        seed=options.seed,
        body_lr_scale=options.body_lr_scale,
        comm=ranks,
        **learning_arguments(options),
    )
    if not found.losses:
        raise ValueError("the very first loss is no finite number: there is nothing to choose from")
    if ranks.leads:
        found.plot(options.plot)
    smoothed = found.smoothed
    print(
        f"{len(found.lrs)} steps, from {found.lrs[0]:.2g} to {found.lrs[-1]:.2g}; the smoothed "
        f"loss went from {smoothed[0]:.3f} to {min(smoothed):.3f} at best, see {options.plot}"
    )
    if found.suggestion is None:
        print("The loss falls nowhere: no learning rate is suggested")
    else:
        print(f"Suggested: --lr {found.suggestion:.2g}, where it falls most steeply")
    return 0
