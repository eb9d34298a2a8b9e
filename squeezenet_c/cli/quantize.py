"""The command `quantize`: an int8 model of a float one, and what that costs."""

import argparse
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..compression.quantize import CALIBRATION_PICTURES, quantize
from ..data.dataset import Dataset
from ..data.layouts import load_training_data
from ..files.native import model_file
from ..inference.metrics import Evaluation, decide, softmax
from ..inference.predict import dataset_logits, match_classes
from ..model import Model
from .classes import classes_line
from .options import add_data_options, dataset_options, positive

HELD_OUT_FRACTION = 0.2  # of the pictures, where there is no validation set


def add_quantize(parser: argparse.ArgumentParser) -> None:
    """The options of `quantize`."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "data", metavar="DATA", nargs="+", help="what the model was trained on, as `train` takes "
        "it: scales are taken from training pictures, and figures from the validation pictures "
        "(without these, from a fifth of the former that gives no scales)"
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", required=True, help="the int8 model")
    parser.add_argument(
        "--pictures", type=positive, default=CALIBRATION_PICTURES, help="training pictures that "
        "the scales are taken from (default: %(default)d)"
    )  # fmt: skip
    add_data_options(parser)
    parser.set_defaults(run=_quantize)


def _quantize(options: argparse.Namespace) -> int:
    source = model_file(options.model)
    model = Model.load(source, "float32")
    training, judged = _sets(model, options)
    print(classes_line(model, {"to calibrate on": training, "to judge on": judged}), flush=True)
    quantised = quantize(model, training, pictures=options.pictures)
    quantised.save(options.out)
    before, after = _Row.of(model, source, judged), _Row.of(quantised, options.out, judged)
    agreement = float((before.answers == after.answers).mean())
    print(f"On {len(judged)} pictures:\n{'':8}  accuracy     AUC       bytes")
    print(before.line("float32"))
    print(f"{after.line('int8')}  the same answer for {agreement:.4f}\nWritten: {options.out}")
    return 0


def _sets(model: Model, options: argparse.Namespace) -> tuple[Dataset, Dataset]:
    """(to take scales from, to judge on), with the model's classes."""
    training, judged = load_training_data(
        options.data, model.class_names, **dataset_options(options)
    )
    if judged is None:
        training, judged = training.split(HELD_OUT_FRACTION, 0)
    names, classes = model.class_names, model.num_classes
    return match_classes(training, names, classes), match_classes(judged, names, classes)


@dataclass
class _Row:
    """What a model is worth, and its file's size."""

    found: Evaluation
    answers: NDArray[np.int64]
    size_bytes: int

    @classmethod
    def of(cls, model: Model, path: str, dataset: Dataset) -> "_Row":
        logits = dataset_logits(model, dataset)
        names = model.class_names or tuple(map(str, range(model.num_classes)))
        found = Evaluation.from_logits(
            logits, dataset.labels, names, model.threshold, model.positive
        )
        answers = decide(softmax(logits), model.threshold, model.positive)
        return cls(found, answers, os.path.getsize(path))

    def line(self, name: str) -> str:
        area = "-" if self.found.auc is None else f"{self.found.auc:.4f}"
        return f"{name:8}  {self.found.accuracy:8.4f}  {area:>6}  {self.size_bytes:10,}"
