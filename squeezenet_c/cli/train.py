"""What `train` does once the model is trained: its threshold, and its confusion matrix."""

import argparse
import warnings
from pathlib import Path

from ..data.dataset import Dataset
from ..inference.predict import choose_threshold, evaluate
from ..model import Model
from ..training.history import History


def add_run_end(parser: argparse.ArgumentParser) -> None:
    """The options of `train` on it."""
    parser.add_argument(
        "--choose-threshold", action="store_true", help="store in the best model the decision "
        "threshold that is best, by Youden's index, on the --valid-fraction of the training "
        "pictures (default: the more probable class is the answer)"
    )  # fmt: skip


def check_run_end(options: argparse.Namespace) -> None:
    """ValueError, before anything is trained, where there will be no pictures to choose on."""
    if options.choose_threshold and options.valid_fraction is None:
        raise ValueError("--choose-threshold needs --valid-fraction, the pictures it is chosen on")


def end_run(
    options: argparse.Namespace,
    history: History,
    checkpoint: Path,
    training: Dataset,
    valid: Dataset | None,
    fraction: float | None,
) -> None:
    """Choose the threshold and write the confusion matrix, as the options say. The matrix is the
    best model's, on the validation set; without one, on the part of the training set it was chosen
    on. history.held_out is then with the threshold."""
    if not (options.choose_threshold or options.out):
        return
    best = Model.load(checkpoint, options.precision)
    part = None if fraction is None else training.split(fraction, options.seed)[1]
    if options.choose_threshold:
        _store_threshold(best, part, checkpoint)
    found = evaluate(best, part if valid is None else valid)
    if history.held_out:
        history.held_out = found
    if options.out:
        from ..reports.plots import confusion_plot

        path = Path(options.out) / "confusion_matrix.png"
        confusion_plot(found.confusion_matrix, found.class_names, path)


def _store_threshold(best: Model, part: Dataset, checkpoint: Path) -> None:
    """A set that no threshold can be chosen on is worth a warning: the model is trained."""
    try:
        threshold = choose_threshold(best, part)
    except ValueError as error:
        warnings.warn(f"no threshold was chosen: {error}", stacklevel=2)
        return
    best.save(checkpoint)
    print(f"Threshold: {threshold:.4f}, chosen on {len(part)} training pictures held out")
