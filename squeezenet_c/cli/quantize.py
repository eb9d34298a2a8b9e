"""The command `quantize`: an int8 model of a float one, and what that costs."""

import argparse

from ..compression.quantize import CALIBRATION_PICTURES, quantize
from ..files.native import model_file
from ..model import Model
from .classes import classes_line
from .groups import group
from .judged import Row, comparison, load_sets
from .options import add_data_options, add_model, positive


def add_quantize(parser: argparse.ArgumentParser) -> None:
    """The options of `quantize`."""
    add_model(parser)
    parser.add_argument(
        "data", metavar="DATA", nargs="+", help="what the model was trained on, as `train` takes "
        "it: scales are taken from training pictures, and figures from the validation pictures, "
        "else the test pictures (without these, from a fifth of the first that gives no scales)"
    )  # fmt: skip
    group(parser, "output").add_argument(
        "--out", metavar="FILE", required=True, help="the int8 model"
    )
    group(parser, "data").add_argument(
        "--pictures", type=positive, default=CALIBRATION_PICTURES, help="training pictures that "
        "the scales are taken from"
    )  # fmt: skip
    add_data_options(parser)
    parser.set_defaults(run=_quantize)


def _quantize(options: argparse.Namespace) -> int:
    source = model_file(options.model)
    model = Model.load(source, "float32")
    training, judged = load_sets(model, options)
    print(classes_line(model, {"to calibrate on": training, "to judge on": judged}), flush=True)
    quantised = quantize(model, training, pictures=options.pictures)
    before = Row.of(model, source, judged)  # now, for --out may be the same file
    quantised.save(options.out)
    after = Row.of(quantised, options.out, judged)
    print(f"{comparison(before, after, len(judged))}\nWritten: {options.out}")
    return 0
