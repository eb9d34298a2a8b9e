"""What outlives an epoch: the history, the best weights, and both on disk."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import native
from ..network import Network
from .history import Epoch, History
from .optimizer import Optimizer, averaged
from .resume import EpochSoFar, RunState, write_state


class Keeper:
    """Of one run.

    checkpoint, state   where to write; None: nowhere
    arguments           what the run was begun with, for the state
    best                the best epoch's weights; None before the first
    begun               the epoch after the history's, as far as it is done
    whole               the weights after the history's last epoch, or before the first: those that
                        were judged, the average where the optimizer keeps one. So are the best
    """

    def __init__(
        self,
        model: Network,
        optimizer: Optimizer,
        arguments: dict[str, Any],
        checkpoint: str | os.PathLike | None,
        state: str | os.PathLike | None,
        monitor: str,
    ):
        self.model, self.optimizer, self.arguments = model, optimizer, arguments
        self.checkpoint, self.state = checkpoint, state
        self.history = History(monitor=monitor)
        self.best: dict[str, NDArray[np.float32]] | None = None
        self.begun = EpochSoFar()
        self.whole: dict[str, NDArray[np.float32]] = {}

    def begin(self, resumed: RunState | None) -> None:
        """Before the first epoch, or where the run to resume stopped."""
        if resumed is not None:
            resumed.restore(self.model, self.optimizer)
            self.history, self.best, self.begun = resumed.history, resumed.best, resumed.begun
            best = self.best_model()
            if self.checkpoint is not None and best is not None:
                native.save(best, self.checkpoint)
        self.whole = self._judged()
        self.write_state()

    def add(self, row: Epoch) -> None:
        """An epoch that the model has come through."""
        self.history.rows.append(row)
        self.begun = EpochSoFar()
        self.whole = self._judged()

    def keep_best(self) -> None:
        """After an epoch, whose row is the history's last."""
        if self.history.best is self.history[-1]:
            if self.checkpoint is not None:
                with averaged(self.model, self.optimizer):
                    native.save(self.model, self.checkpoint)
            self.best = self.whole

    def _judged(self) -> dict[str, NDArray[np.float32]]:
        with averaged(self.model, self.optimizer):
            return self.model.state_dict()

    def write_state(self) -> None:
        """All that is needed to resume from here."""
        if self.state is not None:
            course = (self.history, self.best, self.begun)
            write_state(self.state, self.arguments, self.model, self.optimizer, *course)

    def refuse_change(self) -> None:
        """ValueError where somebody has changed the weights since the last epoch; they are then
        those again."""
        state = self.model.state_dict()
        if any(not np.array_equal(values, state[name]) for name, values in self.whole.items()):
            self.back_to_whole_epoch()
            raise ValueError(
                "on_epoch has changed the weights of the model that is trained, expected none of "
                "that; model.copy() may be changed"
            )

    def back_to_whole_epoch(self) -> None:
        self.model.load_state_dict(self.whole)

    def best_model(self) -> Network | None:
        """A copy of the model with the best epoch's weights."""
        if self.best is None:
            return None
        best = self.model.copy()
        best.load_state_dict(self.best)
        return best
