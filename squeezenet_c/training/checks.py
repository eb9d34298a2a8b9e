"""What `train` refuses of its arguments before anything is trained."""

import os
from collections.abc import Sequence

import numpy as np

from ..data.dataset import Dataset
from ..data.marks import refuse_training_pictures
from ..inference.calibration import check_set as check_calibration_set
from ..network import Network
from .history import MONITORS
from .resume import RunState


def check_numbers(
    epochs: int, batch_size: int, early_stopping: int | None, label_smoothing: float
) -> None:
    for name, value in (
        ("epochs", epochs),
        ("batch_size", batch_size),
        ("early_stopping", 1 if early_stopping is None else early_stopping),
    ):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < 1:
            raise ValueError(f"{name} is {value!r}, expected a whole number of at least 1")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing is {label_smoothing!r}, expected 0 to 1")


def set_precision(model: Network, precision: str | None) -> None:
    """As asked for, None: none but what it has. ValueError: nothing is trained in that."""
    if (model.precision if precision is None else precision) == "int8":
        raise ValueError(
            'a model is not trained in int8: set its precision to "float32" or "bfloat16" first; '
            "afterwards `quantize` makes an int8 model of it"
        )
    if precision is not None:
        model.precision = precision


def check_monitor(monitor: str, valid: Dataset | None, classes: int) -> None:
    """ValueError where no epoch could be the best by it. valid: what epochs are judged on."""
    if monitor not in MONITORS:
        known = ", ".join(MONITORS)
        raise ValueError(f"monitor is {monitor!r}, expected one of {known}")
    wanted = MONITORS[monitor]
    if wanted.validated and valid is None:
        raise ValueError(f"monitor is {monitor!r}, and there is no validation set to find it on")
    if not wanted.every_class or valid is None:
        return
    if classes < 2:
        raise ValueError(f"monitor is {monitor!r}, and the model has one class")
    counts = np.bincount(valid.labels, minlength=classes)
    if not counts.all():
        raise ValueError(
            f"monitor is {monitor!r}, and class {int(counts.argmin())} has no picture in the set "
            "that the best epoch is chosen on"
        )


def class_weights_of(
    given: str | Sequence[float] | None, train: Dataset, classes: int
) -> list[float] | None:
    """One number a class, or None; of "balanced" by the training set."""
    if given is None:
        return None
    counts = np.bincount(train.labels, minlength=classes)
    if isinstance(given, str):
        if given != "balanced":
            raise ValueError(
                f'class_weights is {given!r}, expected "balanced", one number a class or None'
            )
        if not counts.all():
            raise ValueError(
                f'class_weights is "balanced", and class {int(counts.argmin())} has no training '
                "picture"
            )
        return (len(train) / (classes * counts)).tolist()
    weights = np.asarray(given, dtype=np.float64)
    if weights.shape != (classes,) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(
            f"class_weights is {given!r}, expected {classes} finite numbers above 0, one a class"
        )
    return weights.tolist()


def check_calibration(
    model: Network,
    selection: Dataset | None,
    valid_fraction: float | None,
    checkpoint: str | os.PathLike | None,
    resumed: RunState | None,
) -> None:
    """ValueError, before anything is trained, where the best model could not be calibrated."""
    if valid_fraction is None or selection is None:
        raise ValueError(
            "calibrate needs valid_fraction, the share of the training pictures that the "
            "temperature is found on"
        )
    if checkpoint is None:
        raise ValueError("calibrate needs checkpoint, the file of the model that is calibrated")
    check_calibration_set(selection)
    if resumed is None:  # else the model may know this run's own
        refuse_training_pictures(
            model.trained_on, selection, "a temperature is found", "the selection set"
        )
