"""How far a run of compress has come, in the notes of its state, by which it is resumed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..base.read import brief
from ..network import Network
from ..training.history import History
from ..training.optimizer import Adam
from ..training.resume import (
    EpochSoFar,
    RunState,
    history_of,
    plain,
    refuse_others,
    said_of,
    write_state,
)
from .prune import weight_names
from .sensitivity import TRIED
from .shared_values import Codebook, kept_codebooks


@dataclass
class Way:
    """What was found on the way, in the order that it is found in.

    arguments   what the run depends on and the states of its trainings do not say
    rises       the layers' sensitivity
    pruned      the pruning's history
    scales      of the weights whose values are shared
    """

    arguments: dict[str, Any]
    rises: dict[str, list[float]] | None = None
    pruned: History | None = None
    scales: NDArray[np.float32] | None = None

    @classmethod
    def resumed(cls, run: RunState, arguments: Mapping[str, Any], network: Network) -> "Way":
        """Where the run was. ValueError: it was begun with other arguments. BadFileError: it is no
        run of compress."""
        try:
            begun, rises = run.notes["arguments"], run.notes.get("rises")
            pruned, scales = run.notes.get("pruned"), run.notes.get("scales")
            way = cls(
                dict(begun),
                rises and {name: list(map(float, row)) for name, row in rises.items()},
                pruned and history_of(pruned),
                scales and np.array(scales, np.float32),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {brief(error)}"
            raise core.BadFileError(
                f"{run.path}: this is no state of compress ({reason})"
            ) from None
        refuse_others(arguments, way.arguments, run.path)
        if way.rises is not None:
            names, shape = weight_names(network), np.shape(list(way.rises.values()))
            if list(way.rises) != names or shape != (len(names), len(TRIED)):
                raise core.BadFileError(f"{run.path}: its rises are those of other layers")
        return way

    def notes(self) -> dict[str, Any]:
        """For the state of the training that comes next."""
        found: dict[str, Any] = {"arguments": plain(self.arguments)}
        if self.rises is not None:
            found["rises"] = self.rises
        if self.pruned is not None and self.scales is not None:
            found["pruned"] = said_of(self.pruned)
            found["scales"] = self.scales.tolist()
        return found

    def books_of(self, run: RunState, network: Network) -> dict[str, Codebook]:
        """Those whose values learnt in the run. BadFileError: they are of another network."""
        assert self.scales is not None
        try:
            return kept_codebooks(run.groups["kept"], self.scales, network)
        except ValueError as error:
            raise core.BadFileError(f"{run.path}: {error}") from None

    def begin(self, state: str | os.PathLike, network: Network) -> None:
        """Write a state that says that nothing was found yet."""
        optimizer = Adam(network)
        optimizer.notes = self.notes()
        write_state(state, {}, network, optimizer, History(), None, EpochSoFar())
