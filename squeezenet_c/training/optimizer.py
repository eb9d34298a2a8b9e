"""Adam and SGD, as callers see them, and which parameters they move how far."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._native import core
from ..network import Network

HEAD = "classifier"
BODY = "features"


class Optimizer(core.Optimizer):
    """What Adam and SGD have in common, and their arguments besides those of their formulas:

    freeze          what no step changes by a bit, moments neither, and what needs no gradient, so
                    that freezing the first layers saves time: None; a layer's name or the
                    beginning of names ("features", "features.3", "features.3.squeeze.bias"); a
                    sequence of such; or how many of the first stages, 1 to 9: the first convolution
                    and the eight Fire modules
    body_lr_scale   all but the classifier learn at lr times this (and decay so)
    clip_norm       gradients that are longer, all that learn taken as one vector, are first scaled
                    to this Euclidean norm, in place, as torch.nn.utils.clip_grad_norm_ does; None:
                    they are taken as they are
    ema             decay of an exponential moving average of the weights, which is in `average` and
                    not in the model: after step t it moves to the new weights by 1 - d of the way,
                    d being the smaller of this and (1 + t) / (10 + t), as in TensorFlow's
                    ExponentialMovingAverage; None: there is none

    The optimizer tells the model how many steps were taken, so that each step drops other units.
    ValueError: an argument is out of its range, or freeze names nothing, or everything.
    """

    rule = ""
    """Its name in OPTIMIZERS."""

    def _begin(
        self,
        model: Network,
        weight_decay: float,
        freeze: str | int | Sequence[str] | None,
        body_lr_scale: float,
        clip_norm: float | None,
        ema: float | None,
    ) -> None:
        self._model = model
        self.notes: dict[str, Any] = {}
        """JSON values that a run's state keeps for whoever made the optimizer (RunState.notes)."""
        self.set_spans(spans_of(model, weight_decay, freeze, body_lr_scale))
        self.clip_norm = clip_norm
        self._ema = ema
        if ema is not None:
            self.keep_average(ema)
        model.step = 0

    def set_spans(self, spans: Sequence[tuple[int, float, float]]) -> None:
        """(floats, lr_scale, weight_decay) of stretches of the flat parameters; what the arguments
        stand for."""
        super().set_spans(spans)
        self._frozen = self._without_rate()

    def check_model(self, model: "core.Network") -> None:
        """ValueError where this is the optimizer of another model, which `step` would move."""
        if model is not self._model:
            raise ValueError(
                "the optimizer was made for another model; expected one made for this, "
                f"{type(self).__name__}(model)"
            )

    @property
    def arguments(self) -> dict[str, Any]:
        """What a run depends on besides `train`'s own arguments, for its state."""
        return {"optimizer": self.rule, "clip_norm": self.clip_norm, "ema": self._ema}

    @property
    def frozen(self) -> frozenset[str]:
        """The names of the parameters that no step changes."""
        return self._frozen

    @property
    def learning(self) -> list[slice]:
        """The stretches of the flat parameters that steps change."""
        ends = np.cumsum([count for count, _, _ in self.spans]).tolist()
        found: list[slice] = []
        for end, (count, scale, _) in zip(ends, self.spans, strict=True):
            if scale == 0:
                continue
            if found and found[-1].stop == end - count:
                found[-1] = slice(found[-1].start, end)
            else:
                found.append(slice(end - count, end))
        return found

    def _without_rate(self) -> frozenset[str]:
        """Those in spans whose learning rate is 0 whatever `lr` is."""
        ends = np.cumsum([count for count, _, _ in self.spans])
        names, end = set(), 0
        for name, view in self._model.gradients.items():
            end += view.size
            if self.spans[int(np.searchsorted(ends, end))][1] == 0:
                names.add(name)
        return frozenset(names)

    def step(self) -> None:
        """Update the parameters from the model's gradients."""
        super().step()
        self._model.step = self.step_count

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state`, of state_dict(), left off; learning rate, decay and what is
        frozen are the state's."""
        super().load_state_dict(state)
        self._frozen = self._without_rate()
        self._model.step = self.step_count


class Adam(Optimizer, core.Adam):
    """torch.optim.Adam over the parameters of one model, and torch.optim.AdamW where there is
    weight decay.

    lr              may be changed between steps; `step_count` is the number of updates done
    weight_decay    decoupled from the gradient (Loshchilov & Hutter 2019, arXiv:1711.05101,
                    algorithm 2): each step first multiplies parameters by 1 - lr * weight_decay. As
                    PyTorch does by default, all parameters decay, biases too
    freeze, body_lr_scale, clip_norm, ema   see Optimizer
    """

    rule = "adam"

    def __init__(
        self,
        model: Network,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        freeze: str | int | Sequence[str] | None = None,
        body_lr_scale: float = 1.0,
        clip_norm: float | None = None,
        ema: float | None = None,
    ):
        core.Adam.__init__(self, model, lr, betas, eps)
        self._begin(model, weight_decay, freeze, body_lr_scale, clip_norm, ema)


class SGD(Optimizer, core.SGD):
    """torch.optim.SGD over the parameters of one model: buffer = momentum * buffer + gradient, and
    parameters go lr times the buffer down; with `nesterov` lr times gradient + momentum * buffer.

    lr              may be changed between steps; `step_count` is the number of updates done
    momentum        0 to less than 1; nesterov needs some
    weight_decay    torch.optim.SGD's, which is coupled: weight_decay times the parameter is added
                    to its gradient, and so goes through the momentum. All parameters decay
    freeze, body_lr_scale, clip_norm, ema   see Optimizer
    """

    rule = "sgd"

    def __init__(
        self,
        model: Network,
        lr: float = 1e-3,
        momentum: float = 0.9,
        nesterov: bool = False,
        *,
        weight_decay: float = 0.0,
        freeze: str | int | Sequence[str] | None = None,
        body_lr_scale: float = 1.0,
        clip_norm: float | None = None,
        ema: float | None = None,
    ):
        core.SGD.__init__(self, model, lr, momentum, nesterov)
        self._rule_arguments = {"momentum": float(momentum), "nesterov": bool(nesterov)}
        self._begin(model, weight_decay, freeze, body_lr_scale, clip_norm, ema)

    @property
    def arguments(self) -> dict[str, Any]:
        return super().arguments | self._rule_arguments


# Of `train`, where "sgd" has nothing but the recipe's default rates.
NEEDS_LR = "optimizer is 'sgd' and lr is not given, expected one: the default rates are Adam's"

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adam": Adam, "sgd": SGD}


def make_optimizer(
    given: "str | Optimizer | Callable[..., Optimizer]",
    model: Network,
    lr: float,
    body_lr_scale: float,
    **options: Any,
) -> Optimizer:
    """The optimizer that train's argument means: by name, or by what makes one of a model; or one
    that is made. ValueError: there is no such name, or it is made and has options of its own, or is
    another model's."""
    if isinstance(given, Optimizer):
        asked = [name for name, value in options.items() if value]
        if asked:
            raise ValueError(
                f"{' and '.join(asked)} and an optimizer that is made already: expected of one of "
                f"them, as {type(given).__name__}(model, {asked[0]}=...)"
            )
        given.check_model(model)
        return given
    make = OPTIMIZERS.get(given) if isinstance(given, str) else given
    if not callable(make):
        known = " or ".join(map(repr, OPTIMIZERS))
        raise ValueError(f"optimizer is {given!r}, expected {known}, or an optimizer of this model")
    return make(model, lr, body_lr_scale=body_lr_scale, **options)


@contextmanager
def averaged(model: Network, optimizer: Optimizer) -> Iterator[None]:
    """In it the model has the average of its weights, if the optimizer keeps one."""
    average = optimizer.average
    if average is None:
        yield
        return
    learning = model.state_dict()
    model.load_state_dict(average)
    try:
        yield
    finally:
        model.load_state_dict(learning)


# -- Spans -----------------------------------------------------------------------------------------


def spans_of(
    model: Network,
    weight_decay: float,
    freeze: str | int | Sequence[str] | None,
    body_lr_scale: float,
) -> list[tuple[int, float, float]]:
    """core.Adam.set_spans' argument for what Adam's arguments say: neighbours that are treated
    alike are one span."""
    for name, value in (("weight_decay", weight_decay), ("body_lr_scale", body_lr_scale)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value!r}, expected a finite number of at least 0")
    names = list(model.gradients)
    frozen = _frozen_names(names, freeze)
    spans: list[tuple[int, float, float]] = []
    for name, view in model.gradients.items():
        scale = 1.0 if _within(name, HEAD) else float(body_lr_scale)
        treated = (0.0, 0.0) if name in frozen else (scale, float(weight_decay))
        if spans and spans[-1][1:] == treated:
            spans[-1] = (spans[-1][0] + view.size, *treated)
        else:
            spans.append((view.size, *treated))
    return spans


def _within(name: str, prefix: str) -> bool:
    """Whether the parameter is `prefix` or below it: features.3 has no part in features.30."""
    return name == prefix or name.startswith(f"{prefix}.")


def _frozen_names(names: Sequence[str], freeze: str | int | Sequence[str] | None) -> set[str]:
    if freeze is None:
        return set()
    if isinstance(freeze, str):
        prefixes = [freeze]
    elif isinstance(freeze, Sequence) and all(isinstance(prefix, str) for prefix in freeze):
        prefixes = list(freeze)
    else:
        prefixes = _first_stages(names, freeze)
    frozen = set()
    for prefix in prefixes:
        found = {name for name in names if _within(name, prefix)}
        if not found:
            raise ValueError(
                f"freeze names {prefix!r}, and no parameter's name begins so; they are "
                f"{names[0]} to {names[-1]}"
            )
        frozen |= found
    if len(frozen) == len(names):
        raise ValueError(f"freeze is {freeze!r}: with all parameters frozen nothing can be learnt")
    return frozen


def _first_stages(names: Sequence[str], count: Any) -> list[str]:
    """The names of the first `count` layers of the body."""
    layers = list(dict.fromkeys(".".join(n.split(".")[:2]) for n in names if _within(n, BODY)))
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(layers):
        raise ValueError(
            f"freeze is {count!r}, expected the beginning of parameters' names, a sequence of "
            f"such, or a number of stages from 1 to {len(layers)}"
        )
    return layers[:count]
