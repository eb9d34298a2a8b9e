"""What a training run did, an epoch a row."""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..base.plots import caption, draw_figure
from ..base.write import write_table
from ..inference.evaluation import Evaluation

DEFAULT_MONITOR = "accuracy"


@dataclass(frozen=True)
class Epoch:
    """One epoch. Accuracies are shares of the pictures, losses means over them (train_loss with the
    run's class weights and label smoothing, valid_loss without). `lr` is the epoch's last learning
    rate. valid_auc and valid_balanced_acc, the mean over classes of the share of a class's pictures
    that is found, are Evaluation's, None where a class has no picture; all of valid_ is None
    without a validation set."""

    epoch: int
    train_acc: float
    train_loss: float
    valid_acc: float | None
    valid_loss: float | None
    lr: float
    seconds: float
    valid_auc: float | None = None
    valid_balanced_acc: float | None = None

    def line(self) -> str:
        """The tutorial's line."""
        text = f"Epoch:{self.epoch:2d}, Train_acc:{self.train_acc:.1%}, "
        text += f"Train_loss:{self.train_loss:.3f}, "
        if self.valid_loss is not None:
            text += f"Test_acc:{self.valid_acc:.1%}, Test_loss:{self.valid_loss:.3f}, "
        return text + f"Lr:{self.lr:.2E}"

    @property
    def loss(self) -> float:
        """The validation loss; training's without a validation set."""
        return self.train_loss if self.valid_loss is None else self.valid_loss

    @property
    def accuracy(self) -> float:
        """The validation accuracy; training's without a validation set."""
        return self.train_acc if self.valid_acc is None else self.valid_acc

    def merit(self, monitor: str = DEFAULT_MONITOR) -> tuple[float, float]:
        """What the best epoch has the largest of: by MONITORS, and then the lower loss."""
        value = MONITORS[monitor].value(self)
        return -math.inf if value is None else value, -self.loss


@dataclass(frozen=True)
class Monitor:
    """What is best: of which number an epoch has most, and whether only a validation set has it,
    and only one with pictures of every class."""

    value: Callable[[Epoch], float | None]
    validated: bool = False
    every_class: bool = False


MONITORS = {
    "accuracy": Monitor(lambda row: row.accuracy),
    "auc": Monitor(lambda row: row.valid_auc, validated=True, every_class=True),
    "balanced_accuracy": Monitor(
        lambda row: row.valid_balanced_acc, validated=True, every_class=True
    ),
    "loss": Monitor(lambda row: -row.loss),
}


@dataclass
class History:
    """The epochs of a run.

    interrupted  Ctrl-C ended it
    collapsed    the sentence that was said when it collapsed, else None
    held_out     the best model's Evaluation on the set that had no part in its choice: `test`, or
                 `valid` where valid_fraction left the choice to the selection set
    selection    that set's paths, the share valid_fraction of the training pictures
    monitor      what the best epoch has the most of: "accuracy", "auc", "balanced_accuracy" or
                 "loss" (the least)
    """

    rows: list[Epoch] = field(default_factory=list)
    interrupted: bool = False
    collapsed: str | None = None
    held_out: Evaluation | None = None
    monitor: str = DEFAULT_MONITOR
    selection: tuple[str, ...] | None = None

    @property
    def best(self) -> Epoch | None:
        """The epoch the checkpoint holds: the first that is best by `monitor` on the validation
        set, among equals of the lowest loss (without a validation set, of training's). None before
        the first."""
        return max(self.rows, key=lambda row: row.merit(self.monitor)) if self.rows else None

    @property
    def stale(self) -> int:
        """Epochs since the best."""
        best = self.best
        return len(self.rows) - best.epoch if best else 0

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Epoch:
        return self.rows[index]

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a header line and a line an epoch, in full precision."""
        header = [column.name for column in fields(Epoch)]
        write_table(path, header, (tuple(asdict(row).values()) for row in self.rows))

    def plot(self, path: str | os.PathLike | None = None) -> None:
        """Accuracies and losses side by side, 12 x 3 inches, as in the tutorial, and where there
        are any a third for the AUC, 18 x 3: written to `path`, or shown. Without matplotlib one
        sentence says so."""
        areas = any(row.valid_auc is not None for row in self.rows)
        panels = [
            ("acc", "lower right", caption("accuracy"), caption("share of pictures")),
            ("loss", "upper right", caption("loss"), caption("cross-entropy")),
            ("auc", "lower right", "AUC", caption("area under the ROC curve")),
        ][: 3 if areas else 2]

        def draw(figure: Any) -> None:
            epochs = [row.epoch for row in self.rows]
            for axes, (what, corner, title, unit) in zip(
                figure.subplots(1, len(panels)), panels, strict=True
            ):
                for part, name in (("train", "training"), ("valid", "validation")):
                    values = [getattr(row, f"{part}_{what}", None) for row in self.rows]
                    if any(value is not None for value in values):
                        axes.plot(epochs, values, label=caption(name))
                if axes.lines:
                    axes.legend(loc=corner)
                axes.xaxis.get_major_locator().set_params(integer=True)
                axes.set(xlabel=caption("epoch"), ylabel=unit, title=title)

        draw_figure(draw, (6 * len(panels), 3), path)
