"""What `threshold` and `calibrate` share: a model and pictures that it was not trained on, on which
something is learnt for it, and the file that it then goes to."""

import argparse

from ..data.dataset import Dataset
from ..data.layouts import load_evaluation_data
from ..files.native import model_file
from ..files.torch_read import is_torch_file
from ..model import Model
from ..models import is_packaged
from .groups import group
from .options import (
    add_data_options,
    add_model,
    add_model_precision,
    add_split,
    dataset_options,
)


def add_held_out(parser: argparse.ArgumentParser, what: str) -> None:
    """The options of the model, its pictures and its file. what: it gets, as "threshold"."""
    add_model(parser)
    parser.add_argument(
        "data", metavar="DATA", help="pictures that the model was not trained on, and that it will "
        "not be reported on: of a PALM folder the validation part, of a folder of train, val and "
        "test the part val, or a folder per class, CSV table or list file"
    )  # fmt: skip
    add_split(parser)
    add_data_options(parser)
    group(parser, "output").add_argument(
        "--out", metavar="FILE", help=f"the model with its {what} (default: MODEL)"
    )
    add_model_precision(parser)


def load_held_out_model(options: argparse.Namespace, what: str) -> tuple[Model, str]:
    """The model, and the path that it is to be saved at. ValueError: none can be."""
    source = model_file(options.model)
    if options.out is None and is_packaged(source):
        raise ValueError(
            f"{source} comes with the package and is not written anew; --out model.safetensors "
            f"saves the model with its {what}"
        )
    if options.out is None and is_torch_file(source):
        raise ValueError(
            f"{source}: a PyTorch file is not written anew; --out model.safetensors saves the "
            f"model with its {what}"
        )
    return Model.load(source, options.precision), options.out or source


def load_held_out_pictures(options: argparse.Namespace, model: Model) -> Dataset:
    """The pictures of DATA."""
    return load_evaluation_data(
        options.data,
        model.class_names,
        options.split,
        ("validation", "test"),
        **dataset_options(options),
    )
