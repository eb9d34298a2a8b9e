"""Calibrated confidence by temperature scaling (Guo et al., "On Calibration of Modern Neural
Networks", 2017, arXiv:1706.04599, section 4.2): all logits are divided by one number, T, so that of
the answers given with probability p a share near p is right. No answer changes.

T is folded into the last convolution (Network.divide_logits), and so every export carries it.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..data.dataset import Dataset
from ..data.marks import refuse_training_pictures
from ..network import Network, level_outside
from .metrics import softmax
from .predict import dataset_logits, match_classes

FEWEST = 10  # pictures; hundreds are needed for a temperature within a tenth
LOWEST, HIGHEST = 0.05, 20.0  # temperatures
HALVINGS = 60  # of the interval between: to the last bit but a few


def calibrate(model: Network, dataset: Dataset) -> float:
    """Divide the model's logits by the temperature that suits `dataset` best (see
    best_temperature), in its last convolution, and return it. No answer changes: a threshold that
    the model has is mapped along. model.temperature then tells it, times those of earlier calls.

    The set should be pictures as the model will meet them, and none that it was trained on; that
    the best epoch was chosen on it does little harm. Where all answers are right, pictures cannot
    tell how often such answers are wrong: the model is then made no surer than it is, and a
    UserWarning says so.

    ValueError: pictures that the model was trained on, as far as it knows (data/marks.py); fewer
    than 10 pictures, or all of one class; logits that are the same for all classes; a set of other
    classes (see match_classes).
    """
    refuse_training_pictures(model.trained_on, dataset, "a temperature is found")
    return fold_best_temperature(model, dataset)


def fold_best_temperature(model: Network, dataset: Dataset, comm: Any = None) -> float:
    """`calibrate`, where the caller knows that these are no training pictures."""
    dataset = match_classes(dataset, model.class_names, model.num_classes)
    check_set(dataset)
    logits = dataset_logits(model, dataset, comm=comm)
    temperature = best_temperature(logits, dataset.labels)
    if temperature < 1 and (logits.argmax(axis=1) == dataset.labels).all():
        warnings.warn(
            f"all {len(dataset)} answers are right, and so they do not tell how often such answers "
            "are wrong: the temperature stays 1; more pictures would tell",
            stacklevel=level_outside(),
        )
        temperature = 1.0
    model.divide_logits(temperature)
    return temperature


def check_set(dataset: Dataset) -> None:
    """ValueError where no temperature can be found on these pictures, whatever the model."""
    if len(dataset) < FEWEST:
        raise ValueError(
            f"{len(dataset)} pictures to find a temperature on, expected at least {FEWEST}"
        )
    if len(np.unique(dataset.labels)) < 2:
        raise ValueError(
            f"all {len(dataset)} pictures to find a temperature on are of one class, "
            f"{dataset.class_names[dataset.labels[0]]}; expected pictures of at least two"
        )


def best_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The T from 0.05 to 20 of the least mean negative log-likelihood -log softmax(logits / T) of
    the labels. Where the likelihood has no maximum within that range it is an end of it: 0.05 where
    all answers are right, 20 where the logits say next to nothing of the labels, or the opposite.

    logits: (N, classes); labels: N whole numbers. ValueError: no picture's logits differ between
    the classes.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if not np.ptp(logits, axis=1).any():
        raise ValueError("the logits are the same for all classes: no temperature changes them")
    true = logits[np.arange(len(logits)), np.asarray(labels, dtype=np.int64)]
    # The loss is convex in 1 / T, and its slope there is the mean of the logits that are expected
    # less those of the labels.
    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(HALVINGS):
        middle = np.sqrt(low * high)
        expected = (softmax(middle * logits) * logits).sum(axis=1)
        if (expected - true).sum() <= 0:
            low = middle
        else:
            high = middle
    return float(np.clip(1 / np.sqrt(low * high), LOWEST, HIGHEST))
