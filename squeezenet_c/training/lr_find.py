"""The learning-rate range test: which rates a network learns at, before it is trained."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._native import core
from ..base.plots import caption, draw_figure
from ..base.ranks import Ranks, hash_of, over_ranks
from ..data.augment import Augment
from ..data.dataset import Dataset
from ..network import Network
from .checks import check_numbers, class_weights_of, set_precision
from .loop import default_recipe
from .optimizer import Optimizer, make_optimizer
from .progress import Progress
from .recipe import Recipe
from .sets import Sets
from .settings import Settings
from .step import Stepper

SMOOTHING = 0.98  # of the losses, as fastai's Recorder has it
DIVERGED_TIMES = 4  # the least smoothed loss, at which fastai's LRFinder stops
FIRST_SHARE, LAST_STEPS = 10, 5  # of the steps: the first tenth and these have no suggestion


class Smoother:
    """An exponential moving average that begins with its first number."""

    def __init__(self) -> None:
        self._sum, self._left = 0.0, 1.0

    def add(self, number: float) -> float:
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * number
        self._left *= SMOOTHING
        return self._sum / (1 - self._left)


@dataclass(frozen=True)
class RangeTest:
    """What lr_find has seen: a step a number.

    lrs         the learning rates, each the same factor above the one before
    losses      the batches' mean losses, each before its step
    smoothed    their exponential moving averages, with a weight of 0.98 on what came before,
                divided by the weights' sum
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def smoothed(self) -> tuple[float, ...]:
        return tuple(map(Smoother().add, self.losses))

    @property
    def suggestion(self) -> float | None:
        """The rate at which the smoothed loss falls most steeply against the rate's logarithm, the
        first tenth of the steps and the last five left out, as fastai's `steep` does. None where
        fewer than two are left, or it falls nowhere."""
        kept = slice(len(self.lrs) // FIRST_SHARE, -LAST_STEPS)
        logs, losses = np.log(self.lrs)[kept], np.array(self.smoothed)[kept]
        if len(losses) < 2:
            return None
        slopes = np.diff(losses) / np.diff(logs)
        steepest = int(slopes.argmin())
        return self.lrs[kept][steepest] if slopes[steepest] < 0 else None

    def plot(self, path: str | os.PathLike | None = None) -> None:
        """The losses against the rates, 6 x 4 inches, with the suggestion: written to `path`, or
        shown. Without matplotlib one sentence says so."""

        def draw(figure: Any) -> None:
            axes = figure.add_subplot()
            axes.plot(self.lrs, self.losses, alpha=0.3, label=caption("loss"))
            axes.plot(self.lrs, self.smoothed, label=caption("smoothed loss"))
            if self.suggestion is not None:
                text = caption("steepest: {lr:.2g}", lr=self.suggestion)
                axes.axvline(self.suggestion, color="grey", linestyle=":", label=text)
            axes.set_xscale("log")
            axes.set_ylim(top=1.1 * max(self.smoothed))
            axes.set(xlabel=caption("learning rate"), ylabel=caption("cross-entropy"))
            axes.legend()

        draw_figure(draw, (6, 4), path)


@dataclass(frozen=True)
class Ascent(Recipe):
    """From `lr` to `highest` in `steps` steps, each the same factor."""

    highest: float = 1.0
    steps: int = 2

    def rate(
        self, step: int, steps_per_epoch: int, epochs: int, losses: Sequence[float] = ()
    ) -> float:
        return self.lr * (self.highest / self.lr) ** (step / (self.steps - 1))


@over_ranks
def lr_find(
    model: Network,
    train: Dataset,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    batch_size: int = 16,
    seed: int = 0,
    augment: bool | str | Augment = "flips",
    progress: bool = True,
    precision: str | None = None,
    freeze: str | int | Sequence[str] | None = None,
    body_lr_scale: float | None = None,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    class_weights: str | Sequence[float] | None = None,
    optimizer: str | Callable[..., Optimizer] = "adam",
    clip_norm: float | None = None,
    comm: Any = None,
) -> RangeTest:
    """Learning-rate range test (Smith 2017, "Cyclical Learning Rates for Training Neural Networks",
    arXiv:1506.01186, section 3.3, with rates that grow by a factor, as fastai has it): the losses
    of a copy of the model over steps whose rate grows from `lowest` to `highest`. The model itself
    is not touched. It ends early where the loss is no finite number, or its smoothed one four times
    the least.

    The rates are the classifier's, all other layers have body_lr_scale times them (default: as
    `train` would). steps, at least 2, go on into as many epochs as they take; all other arguments
    are `train`'s. The result is a function of them, on any number of threads and ranks.

    ValueError: an argument is not what it should be, or a label or a class's name is not the
    model's."""
    ranks: Ranks = comm  # see over_ranks
    ranks.check_training()
    check_numbers(steps, batch_size, None, label_smoothing)
    if steps < 2:
        raise ValueError(f"steps is {steps}, expected at least 2")
    if not 0 < lowest < highest < math.inf:
        raise ValueError(
            f"lowest is {lowest!r} and highest {highest!r}, expected 0 < lowest < highest"
        )
    if isinstance(optimizer, Optimizer):
        raise ValueError("an optimizer that is made has a model already, and this is for a copy")
    share = default_recipe(model).body_lr_scale if body_lr_scale is None else body_lr_scale
    twin = model.copy()
    set_precision(twin, precision)
    learnt = Sets.of(twin, train, None, None, None, seed).of_size(twin).train
    settings = Settings(
        recipe=Ascent(lr=lowest, body_lr_scale=share, highest=highest, steps=steps),
        epochs=1,
        batch_size=batch_size,
        seed=seed,
        augment=Augment.of(augment),
        freeze=freeze,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        class_weights=class_weights_of(class_weights, learnt, twin.num_classes),
    )
    options = {"weight_decay": weight_decay, "freeze": freeze, "clip_norm": clip_norm}
    made = make_optimizer(optimizer, twin, lowest, share, **options)
    ranks.refuse_differences(
        lambda: {
            **settings.arguments(twin),
            **made.arguments,
            "the hash of the weights": hash_of(twin.state_dict()),
        }
    )
    with Progress(progress and ranks.leads, 1, steps * batch_size, 0) as shown:
        return _ascend(Stepper(twin, learnt, settings, made, ranks), steps, shown)


def _ascend(stepper: Stepper, steps: int, shown: Progress) -> RangeTest:
    lrs: list[float] = []
    losses: list[float] = []
    least, epoch, smoother = math.inf, 0, Smoother()
    train, settings = stepper.train, stepper.settings
    while True:
        epoch += 1
        order = core.shuffle(len(train), settings.seed, epoch)
        for indices, pictures in train.batches(settings.batch_size, order, stepper.ranks.of_batch):
            loss, _ = stepper.step(epoch, indices, pictures, [])
            if not math.isfinite(loss):
                return RangeTest(tuple(lrs), tuple(losses))
            lrs.append(stepper.optimizer.lr)
            losses.append(loss)
            shown.pictures(settings.batch_size, 1)
            smoothed = smoother.add(loss)
            least = min(least, smoothed)
            if len(lrs) == steps or smoothed > DIVERGED_TIMES * least:
                return RangeTest(tuple(lrs), tuple(losses))
