"""The training loop. The step is C; what happens around it is here, to be read."""

import math
import os
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._native import core
from .dataset import Dataset
from .history import Epoch, History
from .metrics import accuracy, cross_entropy
from .optimizer import Adam
from .prediction import check_labels, dataset_logits, evaluate
from .recipe import Recipe

if TYPE_CHECKING:
    from .model import Model

# A loss this near to ln(classes), the loss of knowing nothing, for this many epochs is stuck. (The
# tutorial's network gets there and stays at 0.6931.)
PINNED_WITHIN, PINNED_EPOCHS = 2e-3, 4


class TrainingError(RuntimeError):
    """Training cannot go on. `history` has the epochs that were completed."""

    def __init__(self, message: str, history: History):
        super().__init__(message)
        self.history = history


class CollapseWarning(UserWarning):
    """The network has stopped learning, and such a network seldom recovers."""


def train(
    model: "Model",
    train: Dataset,
    valid: Dataset | None = None,
    *,
    epochs: int = 20,
    batch_size: int = 16,
    lr: float | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    valid_fraction: float | None = None,
    augment: bool = True,
    early_stopping: int | None = None,
    progress: bool = True,
    recipe: Recipe | None = None,
    precision: str | None = None,
) -> History:
    """Train `model` with Adam; afterwards it holds the last epoch's weights, the checkpoint the
    best epoch's.

    train, valid    the sets; pictures are brought to the model's image size
    epochs, batch_size      at least 1; an epoch's last batch may be smaller
    lr, recipe      the peak learning rate (default: the recipe's) and its course over the run
    seed            of the order, the flips and dropout
    checkpoint      file for the model of the best validation accuracy, ties by the lower loss
                    (without a validation set, of the best training accuracy). Written atomically,
                    whenever there is a new best. That it can be written is tried before all else
    valid_fraction  choose the best on this share of the training pictures instead; `valid`, if
                    given, is looked at once, after training, with the best model: history.held_out
    augment         flip training pictures at random
    early_stopping  stop after this many epochs without a new best
    progress        print a line an epoch on stdout, and a progress bar on stderr if a terminal
    precision       set the model's precision first ("float32" or "bfloat16"); None leaves it

    Class names are taken from the set where the model has none. Ctrl-C stops within a batch and
    returns the History so far, with `interrupted` set; the checkpoint is the best so far. A run
    that has collapsed says so in a CollapseWarning and in history.collapsed.

    ValueError: an argument, or a label, is not what it should be. OSError: the checkpoint cannot be
    written. TrainingError: the loss is no longer a finite number.
    """
    _check(epochs, batch_size, early_stopping)
    if precision is not None:
        model.precision = precision
    if checkpoint is not None:
        check_writable(checkpoint)
    recipe = recipe or Recipe()
    if lr is not None:
        recipe = replace(recipe, lr=lr)
    held_out = None
    if valid_fraction is not None:
        held_out = valid
        train, valid = train.split(valid_fraction, seed)
    for dataset in (train, valid, held_out):
        if dataset is not None:
            check_labels(dataset, model.num_classes)
    if len(np.unique(train.labels)) == 1:
        warnings.warn(
            f"all {len(train)} training pictures are of one class, "
            f"{train.class_names[train.labels[0]]}: there is nothing to tell apart",
            stacklevel=2,
        )
    if model.class_names is None and len(train.class_names) == model.num_classes:
        model.class_names = train.class_names

    run = _Run(model, train.at_size(model.image_size), recipe, epochs, batch_size, seed, augment)
    if valid is not None:
        valid = valid.at_size(model.image_size)
    history = History()
    best_state = None
    with _Progress(progress, epochs, len(train)) as shown:
        try:
            for number in range(1, epochs + 1):
                row, logits = _epoch(run, number, valid, shown, history, checkpoint)
                history.rows.append(row)
                shown.line(row.line())
                if history.best is row:
                    if checkpoint is not None:
                        model.save(checkpoint)
                    if held_out is not None:
                        best_state = model.state_dict()
                _note_collapse(history, logits, model)
                if early_stopping is not None and number - history.best.epoch >= early_stopping:
                    break
        except KeyboardInterrupt:
            history.interrupted = True
    if held_out is not None and best_state is not None and not history.interrupted:
        best = model.copy()
        best.load_state_dict(best_state)
        history.held_out = evaluate(best, held_out)
    return history


class _Run:
    """What stays the same from epoch to epoch."""

    def __init__(
        self,
        model: "Model",
        train: Dataset,
        recipe: Recipe,
        epochs: int,
        batch_size: int,
        seed: int,
        augment: bool,
    ):
        self.model, self.train, self.recipe, self.epochs = model, train, recipe, epochs
        self.batch_size, self.seed, self.augment = batch_size, seed, augment
        self.steps_per_epoch = math.ceil(len(train) / batch_size)
        self.optimizer = Adam(model, lr=recipe.lr)

    def step(self, epoch: int, indices: NDArray[np.int64], pictures: NDArray[np.uint8]) -> float:
        """One update from these pictures; their mean loss before it, finite or not (if not, nothing
        is updated)."""
        step = self.optimizer.step_count
        flips = core.augment_flips(self.seed, epoch, indices) if self.augment else None
        x = self.model.preprocessing.normalise(pictures, flips)
        labels = self.train.labels[indices]
        loss = self.model.compute_gradients(x, labels, step=step, seed=self.seed)
        if math.isfinite(loss):
            self.optimizer.lr = self.recipe.rate(step, self.steps_per_epoch, self.epochs)
            self.optimizer.step()
        return loss


def _epoch(
    run: _Run,
    number: int,
    valid: Dataset | None,
    shown: "_Progress",
    history: History,
    checkpoint: Any,
) -> tuple[Epoch, NDArray[np.float32]]:
    """Train for one epoch, then validate. The row, and the logits a collapse would show in."""
    start = time.perf_counter()
    loss_sum, correct = 0.0, 0
    order = core.shuffle(len(run.train), run.seed, number)
    for indices, pictures in run.train.batches(run.batch_size, order):
        loss = run.step(number, indices, pictures)
        if not math.isfinite(loss):
            kept = f"; the best model so far is in {checkpoint}" if checkpoint and history else ""
            raise TrainingError(
                f"the loss became {loss} in epoch {number}: try a lower learning rate than "
                f"{run.recipe.lr:g}{kept}",
                history,
            )
        logits = run.model.last_logits
        loss_sum += loss * len(indices)
        correct += int((logits.argmax(axis=1) == run.train.labels[indices]).sum())
        shown.pictures(len(indices), number)
    valid_acc = valid_loss = None
    if valid is not None:
        logits = dataset_logits(run.model, valid)
        valid_acc = accuracy(logits, valid.labels)
        valid_loss = cross_entropy(logits, valid.labels)
    row = Epoch(
        epoch=number,
        train_acc=correct / len(run.train),
        train_loss=loss_sum / len(run.train),
        valid_acc=valid_acc,
        valid_loss=valid_loss,
        lr=run.optimizer.lr,
        seconds=time.perf_counter() - start,
    )
    return row, logits


# -- Checks ----------------------------------------------------------------------------------------


def _check(epochs: int, batch_size: int, early_stopping: int | None) -> None:
    for name, value in (
        ("epochs", epochs),
        ("batch_size", batch_size),
        ("early_stopping", 1 if early_stopping is None else early_stopping),
    ):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < 1:
            raise ValueError(f"{name} is {value!r}, expected a whole number of at least 1")


def check_writable(path: str | os.PathLike) -> None:
    """OSError where a file at `path` could not be written, before any work is done for it. What is
    there stays as it is."""
    import tempfile

    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, expected a file to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} in")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise type(error)(error.errno, f"cannot write in the folder {path.parent}") from None


def _note_collapse(history: History, logits: NDArray[np.float32], model: "Model") -> None:
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
    warnings.warn(history.collapsed, CollapseWarning, stacklevel=3)


# -- Progress --------------------------------------------------------------------------------------


class _Progress:
    """A bar over the whole run, with pictures a second and the time left, and lines beside it."""

    def __init__(self, wanted: bool, epochs: int, pictures: int):
        self._bar = None
        if wanted:
            from tqdm import tqdm

            # disable=None: no bar where stderr is no terminal.
            self._bar = tqdm(
                total=epochs * pictures, unit=" pictures", leave=False, disable=None, smoothing=0.05
            )
        self._epochs = epochs

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def pictures(self, count: int, epoch: int) -> None:
        if self._bar is not None:
            self._bar.set_description(f"epoch {epoch}/{self._epochs}", refresh=False)
            self._bar.update(count)

    def line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.clear()
            print(text, flush=True)
            self._bar.refresh()
