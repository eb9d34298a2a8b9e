"""The command `augment`: what training makes of pictures, to be looked at."""

import argparse
from pathlib import Path

from ..data.augment import PRESETS, Augment, augment_sheet
from ..data.layouts import load_training_data
from .groups import group
from .options import add_augment, add_data_options, dataset_options, positive, whole


def add_augment_sheet(parser: argparse.ArgumentParser) -> None:
    """The options of `augment`."""
    parser.add_argument("data", metavar="DATA", help="what `train` takes")
    output = group(parser, "output")
    output.add_argument("--out", metavar="FILE", required=True, help="the PNG")
    add_augment(parser, "fundus")
    group(parser, "augmentation").add_argument("--seed", type=whole, default=0, help="of the run")
    output.add_argument(
        "--pictures", type=positive, default=6, help="rows, of pictures at equal distances in DATA "
        "(default: %(default)d)"
    )  # fmt: skip
    output.add_argument(
        "--columns", type=positive, default=8, help="the picture itself, then what it is in the "
        "epochs 1, 2, ... (default: %(default)d)"
    )  # fmt: skip
    add_data_options(parser)
    parser.set_defaults(run=_augment)


def _augment(options: argparse.Namespace) -> int:
    training = load_training_data([options.data], **dataset_options(options)).training
    augment_sheet(
        training,
        options.augment,
        options.out,
        seed=options.seed,
        pictures=options.pictures,
        columns=options.columns,
    )
    augment = Augment.of(options.augment)
    name = next((name for name, preset in PRESETS.items() if preset == augment), None)
    print(f"{f'{name}: ' if name else ''}{augment}, in {Path(options.out)}")
    return 0
