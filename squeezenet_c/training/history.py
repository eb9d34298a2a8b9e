"""What a training run did, an epoch a row."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..base.plots import caption, draw_figure
from ..base.write import write_table
from ..inference.evaluation import Evaluation


@dataclass(frozen=True)
class Epoch:
    """One epoch. Accuracies are shares of the pictures, losses means over them (train_loss with the
    run's class weights and label smoothing, valid_loss without); without a validation set its two
    are None. `lr` is the epoch's last learning rate."""

    epoch: int
    train_acc: float
    train_loss: float
    valid_acc: float | None
    valid_loss: float | None
    lr: float
    seconds: float

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

    def merit(self) -> tuple[float, float]:
        """What the best epoch has the largest of: accuracy, and then the lower loss."""
        if self.valid_loss is None or self.valid_acc is None:
            return self.train_acc, -self.train_loss
        return self.valid_acc, -self.valid_loss


@dataclass
class History:
    """The epochs of a run.

    interrupted  Ctrl-C ended it
    collapsed    the sentence that was said when it collapsed, else None
    held_out     the best model's Evaluation on `valid`, where valid_fraction kept it out of the
                 choice of the best (which the selection set made)
    """

    rows: list[Epoch] = field(default_factory=list)
    interrupted: bool = False
    collapsed: str | None = None
    held_out: Evaluation | None = None

    @property
    def best(self) -> Epoch | None:
        """The epoch the checkpoint holds: the first of the highest validation accuracy, among
        equals the lowest loss (without a validation set, of training's). None before the first."""
        return max(self.rows, key=Epoch.merit) if self.rows else None

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
        """Accuracies and losses side by side, 12 x 3 inches, as in the tutorial: written to `path`,
        or shown. Without matplotlib one sentence says so."""

        def draw(figure: Any) -> None:
            left, right = figure.subplots(1, 2)
            epochs = [row.epoch for row in self.rows]
            for axes, what, corner in (
                (left, "acc", "lower right"),
                (right, "loss", "upper right"),
            ):
                axes.plot(epochs, [getattr(row, f"train_{what}") for row in self.rows])
                legend = [caption("training")]
                if self.rows and self.rows[0].valid_loss is not None:
                    axes.plot(epochs, [getattr(row, f"valid_{what}") for row in self.rows])
                    legend.append(caption("validation"))
                axes.legend(legend, loc=corner)
                axes.xaxis.get_major_locator().set_params(integer=True)
                if what == "acc":
                    title, unit = caption("accuracy"), caption("share of pictures")
                else:
                    title, unit = caption("loss"), caption("cross-entropy")
                axes.set(xlabel=caption("epoch"), ylabel=unit, title=title)

        draw_figure(draw, (12, 3), path)
