"""A run's state as a file, by which it is resumed as if it had never been stopped.

It is a safetensors file. Tensors, each by the parameter's name behind
  model.  best.                           weights, the best epoch's (if any)
  exp_avg.  exp_avg_sq.                   Adam's moments
  momentum_buffer.                        or SGD's
and, where the optimizer has any,
  average.                                of the weights
and uint8 its
  mask
and, float32 or uint8, by names of its own
  kept.   what else it needs to go on
Metadata, JSON by key:
  squeezenet_c.state  the format, "1"; "2" where an epoch is begun, which earlier
                      programs do not know
  arguments           what the run was begun with, as far as it changes the result
  optimizer           step, lr, spans; of Adam betas, eps, of SGD momentum, nesterov
  history             the epochs so far ("rows"), "collapsed" and "monitor"
  class_names         of the model
  positive, trained_on    its positive class, and the marks of pictures that it has learnt from;
                      states of the first versions have neither
  begun               of format "2": the epoch after those of the history, as far as it is done
  machine             what its bits depend on besides: backend and instruction set
  notes               what the optimizer's maker wants to find again, if anything
Order, flips and dropout are functions of the seed, the epoch and the step; the schedules and early
stopping are functions of the history. So there is nothing else to keep.
"""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..base.earlier import EARLIER, completed
from ..base.read import brief
from ..files.native import check_tensors
from ..network import SPEC_KEYS, AnyNetwork, Network, level_outside
from ..preprocessing import Preprocessing
from .history import MONITORS, Epoch, History
from .optimizer import Optimizer

FORMAT_KEY, FORMAT, FORMAT_BEGUN = "squeezenet_c.state", "1", "2"
STATE_IN_RUN_FOLDER = Path("weights", "last.state")
MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer", "average")
GROUPS = ("model", *MOMENTS, "best", "kept")
# What an optimizer's state_dict has besides tensors, each with its type; the first three in all.
OPTIMIZER_NUMBERS = {
    "step": int,
    "lr": int | float,
    "spans": list,
    "betas": list,
    "eps": int | float,
    "momentum": int | float,
    "nesterov": bool,
}

Tensors = dict[str, np.ndarray]


def state_path(path: str | os.PathLike) -> Path:
    """The state file that `path`, itself one or a run's folder, means."""
    path = Path(path)
    return path / STATE_IN_RUN_FOLDER if path.is_dir() else path


@dataclass
class EpochSoFar:
    """What an epoch has done: steps, the sums of its row, and how many pictures were right."""

    steps: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    correct: int = 0

    @property
    def mean_loss(self) -> float:
        return self.loss_sum / self.weight_sum

    def add(self, loss: float, weight: float, correct: int) -> None:
        """A step: its mean loss, what that weighs, and how many pictures were right."""
        self.steps += 1
        self.loss_sum += loss * weight
        self.weight_sum += weight
        self.correct += correct


def _machine() -> dict[str, str]:
    info = core.build_info()
    return {"backend": info["backend"], "isa": info["isa"]}


def plain(values: Any) -> Any:
    """As it will be read again: lists for tuples, Python's numbers for NumPy's."""
    return json.loads(json.dumps(values, default=lambda value: value.item()))


def refuse_others(arguments: Mapping[str, Any], begun: Mapping[str, Any], path: str) -> None:
    """ValueError where a run of these would not be that of `path`, begun with those."""
    for name, found in plain(arguments).items():
        expected = begun.get(name)
        if found != expected:
            raise ValueError(
                f"{name} is {found!r}, expected {expected!r:.200}, with which the run in {path} "
                "was begun"
            )


def write_state(
    path: str | os.PathLike,
    arguments: Mapping[str, Any],
    model: Network,
    optimizer: Optimizer,
    history: History,
    best: Tensors | None,
    begun: EpochSoFar,
) -> None:
    """Write all of it, atomically: what was at `path` stays until the new file is complete. begun:
    the epoch after the history's. OSError: it cannot be written."""
    state = optimizer.state_dict()
    groups = {
        "model": model.state_dict(),
        **{name: state[name] for name in MOMENTS if name in state},
        "best": best or {},
        "kept": state.get("kept", {}),
    }
    tensors = {
        f"{group}.{name}": tensor
        for group, named in groups.items()
        for name, tensor in named.items()
    }
    if "mask" in state:
        tensors["mask"] = state["mask"].view(np.uint8)
    values = {
        "arguments": plain(arguments),
        "optimizer": {key: state[key] for key in OPTIMIZER_NUMBERS if key in state},
        "history": said_of(history),
        "class_names": model.class_names,
        "positive": model.positive,
        "trained_on": model.trained_on,
        "machine": _machine(),
        "notes": optimizer.notes,
    }
    if begun.steps:
        values["begun"] = asdict(begun)
    metadata = {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
    form = FORMAT_BEGUN if begun.steps else FORMAT
    core.write_safetensors(os.fspath(path), tensors, {FORMAT_KEY: form, **metadata})


def _typed(said: Mapping[str, Any], key: str, kind: Any) -> Any:
    """said[key], which has to be of the kind; a bool is no number. TypeError: it is another, as no
    file of ours has."""
    value = said[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{key} is a {type(value).__name__}")
    return value


def _optimizer(said: dict[str, Any]) -> dict[str, Any]:
    numbers = {
        key: _typed(said, key, kind)
        for key, kind in OPTIMIZER_NUMBERS.items()
        if key in said or key in ("step", "lr", "spans")
    }
    for pair in [numbers.get("betas", []), *numbers["spans"]]:
        for number in pair:
            _typed({"betas or spans": number}, "betas or spans", int | float)
    for floats, _, _ in numbers["spans"]:
        _typed({"spans": floats}, "spans", int)
    return numbers


def said_of(history: History) -> dict[str, Any]:
    """What a state says of a history, see history_of."""
    return {
        "rows": [asdict(row) for row in history],
        "collapsed": history.collapsed,
        "monitor": history.monitor,
    }


def history_of(said: dict[str, Any]) -> History:
    rows = [Epoch(**row) for row in _typed(said, "rows", list)]
    for row in rows:
        for name, value in asdict(row).items():
            optional = name.startswith("valid_") and value is None
            kind = int if name == "epoch" else int | float
            if not optional:
                _typed({name: value}, name, kind)
    if [row.epoch for row in rows] != list(range(1, len(rows) + 1)):
        raise ValueError(f"the epochs of its {len(rows)} rows are not 1 to {len(rows)}")
    monitor = completed(said, ["monitor"])["monitor"]
    if monitor not in MONITORS:
        raise ValueError(f"monitor is {monitor!r:.100}")
    return History(rows, collapsed=_typed(said, "collapsed", str | None), monitor=monitor)


def _begun(said: dict[str, Any]) -> EpochSoFar:
    begun = EpochSoFar(**said)
    for name, value in said.items():
        if _typed(said, name, int if name in ("steps", "correct") else int | float) < 0:
            raise ValueError(f"begun has {name} {value}")
    return begun


@dataclass(frozen=True)
class RunState:
    """A state file's contents."""

    path: str
    arguments: dict[str, Any]
    optimizer: dict[str, Any]
    history: History
    class_names: list[str] | None
    positive: int | None
    trained_on: tuple[str, ...]
    machine: dict[str, str]
    begun: EpochSoFar
    groups: dict[str, Tensors]
    mask: NDArray[np.uint8] | None
    notes: dict[str, Any]

    @classmethod
    def read(cls, path: str | os.PathLike) -> "RunState":
        """Of a state file or a run's folder. OSError: there is none, or it cannot be read.
        BadFileError: it is something else."""
        path = os.fspath(state_path(path))
        tensors, metadata = core.read_safetensors(path)
        if metadata.get(FORMAT_KEY) not in (FORMAT, FORMAT_BEGUN):
            found = metadata.get(FORMAT_KEY)
            what = (
                "this is no state of a run"
                if found is None
                else f"its state's format is {found!r:.200}"
            )
            raise core.BadFileError(
                f"{path}: {what}; expected one of format {FORMAT!r} or {FORMAT_BEGUN!r}"
            )
        groups: dict[str, Tensors] = {name: {} for name in GROUPS}
        mask = tensors.pop("mask", None)
        try:
            if mask is not None and mask.dtype != np.uint8:
                raise TypeError(f"mask has the dtype {mask.dtype}, expected uint8")
            for key, tensor in tensors.items():
                group, _, name = key.partition(".")
                if tensor.dtype != np.float32 and not (
                    group == "kept" and tensor.dtype == np.uint8
                ):
                    raise TypeError(f"{key} has the dtype {tensor.dtype}, expected float32")
                groups[group][name] = tensor
            said = {key: json.loads(text) for key, text in metadata.items() if key != FORMAT_KEY}
            return cls(
                path=path,
                arguments=completed(_typed(said, "arguments", dict), EARLIER),
                optimizer=_optimizer(_typed(said, "optimizer", dict)),
                history=history_of(_typed(said, "history", dict)),
                class_names=_typed(said, "class_names", list | None),
                positive=_typed({"positive": None} | said, "positive", int | None),
                trained_on=tuple(map(str, _typed({"trained_on": []} | said, "trained_on", list))),
                machine=_typed(said, "machine", dict),
                begun=_begun(_typed({"begun": {}} | said, "begun", dict)),
                groups=groups,
                mask=mask,
                notes=_typed({"notes": {}} | said, "notes", dict),
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            reason = f"{type(error).__name__}: {brief(error)}"
            raise core.BadFileError(f"{path}: its contents are no run's state ({reason})") from None

    @property
    def best(self) -> Tensors | None:
        """The best epoch's weights; None before the first epoch."""
        return self.groups["best"] or None

    def check(self, arguments: Mapping[str, Any], needs_epochs: bool) -> None:
        """ValueError where a run with these would not be the run. A warning where its bits will
        differ all the same, because it is resumed elsewhere, or for another number of epochs, which
        its learning rates depend on (needs_epochs)."""
        refuse_others(
            {name: value for name, value in arguments.items() if name != "epochs"},
            self.arguments,
            self.path,
        )
        epochs, begun = arguments["epochs"], self.arguments.get("epochs")
        if needs_epochs and epochs != begun and (self.history or self.begun.steps):
            warnings.warn(
                f"the run in {self.path} was begun for {begun} epochs and is resumed for {epochs}: "
                f"from here on its learning rates are those of {epochs}, and it does not end as a "
                "run that was begun for so many",
                stacklevel=level_outside(),
            )
        here = _machine()
        if here != self.machine:
            was, now = (
                " with ".join(str(machine.get(key)) for key in ("backend", "isa"))
                for machine in (self.machine, here)
            )
            warnings.warn(
                f"the run in {self.path} was computed by {was} and is resumed by {now}: rounding "
                "will differ from that of a run that was never stopped",
                stacklevel=level_outside(),
            )

    def check_begun(self, steps: int, validated: bool) -> None:
        """BadFileError where an epoch of so many steps, with a validation or without, cannot have
        been stopped where this one was."""
        stopped = self.begun.steps
        if stopped >= steps + validated or (stopped and not self.begun.weight_sum > 0):
            raise core.BadFileError(
                f"{self.path}: its contents are no run's state (an epoch of {steps} steps that was "
                f"stopped after {stopped})"
            )

    def new_network(self, kind: type[AnyNetwork]) -> AnyNetwork:
        """A network of `kind`, which is Network or Model, with the run's last weights."""
        keys = SPEC_KEYS | set(Preprocessing().to_dict())
        given = {key: value for key, value in self.arguments.items() if key in keys}
        spec = {key: value for key, value in given.items() if key in SPEC_KEYS}
        check_tensors(self.path, self.groups["model"], spec)
        try:
            model = kind(
                **given,
                class_names=self.class_names,
                positive=self.positive,
                precision=self.arguments["precision"],
            )
            model.load_state_dict(self.groups["model"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise core.BadFileError(f"{self.path}: {error!s:.1000}") from None
        return model

    def restore(self, model: Network, optimizer: Optimizer) -> None:
        """Bring both to where the run was. BadFileError, and neither changed: they do not fit."""
        moments = {key: self.groups[key] for key in MOMENTS if self.groups[key]}
        former = optimizer.state_dict()
        try:
            masked = {} if self.mask is None else {"mask": self.mask}
            kept = {"kept": self.groups["kept"]}
            optimizer.load_state_dict(self.optimizer | moments | masked | kept)
            model.load_state_dict(self.groups["model"])
            model.trained_on = self.trained_on or model.trained_on
        except (TypeError, ValueError, OverflowError) as error:
            optimizer.load_state_dict(former)
            raise core.BadFileError(f"{self.path}: {error!s:.1000}") from None
