"""What `quantize` and `compress` share: a model's sets, and what it and the smaller one made of it
are worth."""

import argparse
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.dataset import Dataset
from ..data.layouts import load_training_data
from ..inference.evaluation import Evaluation
from ..inference.metrics import decide, softmax
from ..inference.predict import dataset_logits, match_classes
from ..model import Model
from .options import dataset_options

HELD_OUT_FRACTION = 0.2  # of the pictures, where there is no validation set


def load_sets(model: Model, options: argparse.Namespace) -> tuple[Dataset, Dataset]:
    """(to take scales from, to judge on), with the model's classes."""
    training, validation, test = load_training_data(
        options.data, model.class_names, **dataset_options(options)
    )
    judged = validation or test
    if judged is None:
        training, judged = training.split(HELD_OUT_FRACTION, 0)
    names, classes = model.class_names, model.num_classes
    return match_classes(training, names, classes), match_classes(judged, names, classes)


@dataclass
class Row:
    """What a model is worth, and its file's size."""

    found: Evaluation
    answers: NDArray[np.int64]
    size_bytes: int

    @classmethod
    def of(cls, model: Model, path: str, dataset: Dataset) -> "Row":
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


def comparison(before: Row, after: Row, pictures: int) -> str:
    """The two rows under their headings, and for how many pictures the answer stays the same."""
    agreement = float((before.answers == after.answers).mean())
    return (
        f"On {pictures} pictures:\n{'':8}  accuracy     AUC       bytes\n"
        f"{before.line('float32')}\n"
        f"{after.line('int8')}  the same answer for {agreement:.4f}"
    )
