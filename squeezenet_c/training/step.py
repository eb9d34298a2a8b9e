"""One step of training: a batch's pictures forward and back, and the update. What computes is C;
what it is asked to compute is here, to be read."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..base.ranks import Ranks
from ..data.dataset import Dataset
from ..network import Network
from .distillation import soft_labels
from .failing import loss_limit
from .optimizer import Optimizer
from .settings import Settings


class StopError(Exception):
    """`stop` says so, between two steps."""


class Stepper:
    """Takes the steps of a run, whose training set is `train`. `ranks` share each of them."""

    def __init__(
        self,
        model: Network,
        train: Dataset,
        settings: Settings,
        optimizer: Optimizer,
        ranks: Ranks,
        stop: Callable[[], bool] | None = None,
    ):
        self.model, self.train, self.settings = model, train, settings
        self.optimizer, self.ranks, self.stop = optimizer, ranks, stop
        self.logits = np.zeros((0, model.num_classes), np.float32)  # the last step's, our own
        self.steps_per_epoch = math.ceil(len(train) / settings.batch_size)
        self.loss_limit: float | None = None  # known from the first batch on

    def check_stop(self) -> None:
        if self.stop is not None and any(self.ranks.every(self.stop())):
            raise StopError

    def step(
        self,
        epoch: int,
        indices: NDArray[np.int64],
        pictures: NDArray[np.uint8],
        losses: Sequence[float],
    ) -> tuple[float, int]:
        """One update from the pictures at `indices`, of which `pictures` are our own; their mean
        loss before it, finite or not (if not, nothing is updated), and of how many the answer was
        right. losses: of the epochs so far, for the schedule."""
        step = self.optimizer.step_count
        rows = np.zeros((len(indices), 2))  # of each picture: its loss, and whether it was right
        self.logits = self.logits[:0]
        own = self.ranks.of_batch(len(indices))
        if len(own):
            rows[own] = self._pass(epoch, indices, own, pictures)
        self.ranks.add(self.model.flat_gradients, self.optimizer.learning, rows)
        loss = _sum(rows[:, 0]) / self.weight(indices)
        if math.isfinite(loss):
            if self.loss_limit is None:
                self.loss_limit = loss_limit(loss)
            self.optimizer.lr = self.settings.recipe.rate(
                step, self.steps_per_epoch, self.settings.epochs, losses
            )
            self.optimizer.step()
        return loss, int(rows[:, 1].sum())

    def _pass(
        self,
        epoch: int,
        indices: NDArray[np.int64],
        own: NDArray[np.int64],
        pictures: NDArray[np.uint8],
    ) -> NDArray[np.float64]:
        """Our own pictures forward and back; their rows."""
        changes = self.settings.augment.changes(
            self.settings.seed, epoch, indices[own], *pictures.shape[1:3]
        )
        self.model.compute_gradients(
            pictures,
            self.targets(pictures, changes, indices[own]),
            changes=changes,
            global_batch=len(indices),
            indices=own,
            step=self.optimizer.step_count,
            seed=self.settings.seed,
            frozen=self.optimizer.frozen,
            total_weight=self.weight(indices),
            **self.settings.loss,
        )
        self.logits = self.model.last_logits
        right = self.logits.argmax(axis=1) == self.train.labels[indices[own]]
        return np.column_stack([self.model.last_losses, right])

    def targets(
        self, pictures: NDArray[np.uint8], changes: NDArray[np.int32], indices: NDArray[np.int64]
    ) -> NDArray[Any]:
        """What the answers to these pictures, changed, should be."""
        teacher = self.settings.teacher
        if teacher is None:
            return self.train.labels[indices]
        x = teacher.preprocessing.normalise(core.change_pictures(pictures, changes))
        return soft_labels(teacher, x, self.settings.temperature)

    def weight(self, indices: NDArray[np.int64]) -> float:
        """What these pictures' mean loss weighs in the epoch's, and divides by."""
        weights = self.settings.class_weights
        if weights is None:
            return len(indices)
        return _sum(np.asarray(weights)[self.train.labels[indices]])


def _sum(values: NDArray[np.float64]) -> float:
    """One after the other, as C adds, where NumPy's sum has an order of its own."""
    return float(np.add.accumulate(values)[-1])
