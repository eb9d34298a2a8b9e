"""How it shows that a run goes wrong: it has collapsed, or diverged."""

import math
import warnings

import numpy as np
from numpy.typing import NDArray

from ..network import Network, level_outside
from .history import History

# A loss this near to ln(classes), the loss of knowing nothing, for this many epochs is stuck. (The
# tutorial's network gets there and stays at 0.6931.)
PINNED_WITHIN, PINNED_EPOCHS = 2e-3, 4

# An epoch's mean loss above this has diverged, unless the run began there: the right class of the
# average picture has a probability below float32's smallest (normal) number. Knowing nothing costs
# ln(classes), 6.9 for ImageNet's thousand; single batches of a good run may be far above, means of
# epochs are not.
DIVERGED_LOSS = -math.log(np.finfo(np.float32).tiny)  # 87.3
DIVERGED_TIMES = 10  # the loss of the run's first batch, where that is the larger bound


class TrainingError(RuntimeError):
    """Training cannot continue. `history` has the epochs that were completed; the model has the
    last one's weights, and checkpoint and state are those written after it."""

    def __init__(self, message: str, history: History):
        super().__init__(message)
        self.history = history


class CollapseWarning(UserWarning):
    """The network has stopped learning, and such a network seldom recovers."""


class DivergedError(Exception):
    """What shows that training has diverged."""


def loss_limit(first_loss: float) -> float:
    """What no epoch's mean loss may be above, by that of the run's first batch."""
    return max(DIVERGED_LOSS, DIVERGED_TIMES * first_loss)


def note_collapse(history: History, logits: NDArray[np.float32], model: Network) -> None:
    """Say, once, when the run has collapsed: all pictures get the same answer, or the loss does not
    leave that of knowing nothing."""
    if history.collapsed:
        return
    chance = math.log(model.num_classes)
    last = [row.train_loss for row in history.rows[-PINNED_EPOCHS:]]
    dead = len(logits) > 1 and bool((np.ptp(logits, axis=0) == 0).all())
    pinned = len(last) == PINNED_EPOCHS and all(abs(x - chance) < PINNED_WITHIN for x in last)
    if model.num_classes < 2 or not (dead or pinned):
        return
    if dead:
        what = "every picture gets the same logits"
    else:
        what = f"the loss has been at {chance:.3f}, the ln of {model.num_classes} classes, for "
        what += f"{PINNED_EPOCHS} epochs"
    if model.spec["final_relu"]:
        why = "final_relu=True clips the logits at 0, and where all are clipped no gradient is left"
        change = "final_relu=False"
    else:
        why = "units that are 0 for every picture get no gradient; too large a step leads there"
        change = "another seed"
    history.collapsed = (
        f"training has collapsed in epoch {history.rows[-1].epoch}: {what}. Why: {why}. "
        f"What to change: {change}, or a lower learning rate"
    )
    warnings.warn(history.collapsed, CollapseWarning, stacklevel=level_outside())
