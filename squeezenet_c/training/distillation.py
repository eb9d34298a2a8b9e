"""A network that learns from another's answers in place of labels (Hinton et al. 2015,
arXiv:1503.02531)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..base.ranks import hash_of
from ..inference.metrics import softmax
from ..network import Network


def soft_labels(
    teacher: Network, x: NDArray[np.float32], temperature: float
) -> NDArray[np.float64]:
    """(N, classes): the probabilities of the teacher's logits divided by `temperature`."""
    return softmax(teacher.forward(x) / temperature)


def mark_of(teacher: Network) -> str:
    """By which a run's state knows its teacher again."""
    return f"a network of {teacher.precision} and weights of hash {hash_of(teacher.state_dict())}"


def check_teacher(
    teacher: Network | None,
    temperature: float,
    model: Network,
    names: Sequence[str] | None,
    of_labels: bool,
) -> None:
    """ValueError where what the teacher says of a picture is not for the model, or a temperature is
    given without a teacher. of_labels: whether the loss is asked to treat labels in some way."""
    if teacher is None:
        if temperature != 1:
            raise ValueError(f"temperature is {temperature!r}, and there is no teacher")
        return
    if teacher is model:
        raise ValueError("the teacher is the model itself, expected another, such as model.copy()")
    if teacher.precision == "int8":
        raise ValueError('a teacher does not compute in int8: set its precision to "float32" first')
    known = teacher.class_names or names
    if teacher.num_classes != model.num_classes or (known and names and list(known) != list(names)):
        raise ValueError(
            f"the teacher has the classes {teacher.class_names or teacher.num_classes}, expected "
            f"the model's, {names or model.num_classes}"
        )
    if teacher.preprocessing != model.preprocessing:
        raise ValueError(
            f"the teacher takes pictures by {teacher.preprocessing}, expected the model's "
            f"{model.preprocessing}"
        )
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature is {temperature!r}, expected a finite number above 0")
    if of_labels:
        raise ValueError("label_smoothing and class_weights are of labels, and a teacher has none")
