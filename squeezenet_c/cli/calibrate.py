"""The command `calibrate`: confidence that is as high as answers are right."""

import argparse

from ..data.marks import refuse_training_pictures
from ..inference.calibration import calibrate
from ..inference.predict import evaluate
from .classes import classes_line
from .held_out import add_held_out, load_held_out_model, load_held_out_pictures


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """The options of `calibrate`."""
    add_held_out(parser, "calibrated confidence")
    parser.set_defaults(run=_calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    model, target = load_held_out_model(options, "calibrated confidence")
    dataset = load_held_out_pictures(options, model)
    refuse_training_pictures(model.trained_on, dataset, "a temperature is found", options.data)
    print(classes_line(model, {"to calibrate on": dataset}), flush=True)
    former = model.threshold
    before = evaluate(model, dataset)
    temperature = calibrate(model, dataset)
    after = evaluate(model, dataset)
    model.save(target)
    print(f"Temperature: {temperature:.4f}, in {target}")
    if former is not None:
        print(f"Threshold: {former:.4f} has become {model.threshold:.4f}, with the same answers")
    print(
        f"On the {len(dataset)} pictures it was found on, before and after: "
        f"expected calibration error {before.calibration_error:.4f} and "
        f"{after.calibration_error:.4f}, "
        f"negative log-likelihood {before.loss:.4f} and {after.loss:.4f}"
    )
    return 0
