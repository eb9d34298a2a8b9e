"""The training loop. The step is C; what happens around it is here, to be read."""

import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..base.ranks import Ranks, hash_of, over_ranks
from ..base.write import check_writable
from ..data.dataset import Dataset
from ..data.marks import add_marks, fingerprint
from ..files import native
from ..inference.calibration import fold_best_temperature
from ..inference.metrics import accuracy, cross_entropy
from ..inference.predict import NotFiniteError, dataset_logits, evaluate, match_classes
from ..network import Network, level_outside
from .checks import check_calibration, check_numbers, class_weights_of
from .distillation import check_teacher, mark_of, soft_labels
from .history import Epoch, History
from .optimizer import Adam
from .progress import Progress
from .recipe import Recipe
from .resume import EpochSoFar, RunState, state_path, write_state

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


@over_ranks
def train(
    model: Network,
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
    freeze: str | int | Sequence[str] | None = None,
    body_lr_scale: float | None = None,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    class_weights: str | Sequence[float] | None = None,
    positive: str | int | None = None,
    calibrate: bool = False,
    state: str | os.PathLike | None = None,
    resume: str | os.PathLike | None = None,
    optimizer: Adam | None = None,
    teacher: Network | None = None,
    temperature: float = 1.0,
    stop: Callable[[], bool] | None = None,
    comm: Any = None,
) -> History:
    """Train `model` with Adam; afterwards it holds the last epoch's weights, the checkpoint the
    best epoch's.

    train, valid    the sets; pictures are brought to the model's image size, and classes numbered
                    as the model has them (see match_classes)
    epochs, batch_size      at least 1; an epoch's last batch may be smaller
    lr, recipe      the peak learning rate and its course over the run (default: the recipe's, and
                    the model's recipe, which is another where its weights are pretrained)
    seed            of the order, the flips and dropout
    checkpoint      file for the model of the best validation accuracy, ties by the lower loss
                    (without a validation set, of the best training accuracy). Written atomically,
                    whenever there is a new best. That it can be written is tried before all else
    valid_fraction  choose the best on this share of the training pictures instead, the selection
                    set, which is not trained on; `valid`, if given, is then held out: looked at
                    once, after training, with the best model: history.held_out
    augment         flip training pictures at random
    early_stopping  stop after this many epochs without a new best
    progress        print a line an epoch on stdout, and a progress bar on stderr if a terminal
    precision       set the model's precision first ("float32" or "bfloat16"); None leaves it. A
                    quantised model that is trained is no longer one
    freeze, body_lr_scale, weight_decay     of the optimizer, see Adam: layers that do not learn, a
                    smaller learning rate for all but the classifier (a share of lr; default: the
                    recipe's), AdamW's decay
    label_smoothing, class_weights  of the loss, see Model.compute_gradients; "balanced" weighs a
                    class's pictures by all / (classes * the class's), so that each class counts
                    alike
    positive        set the model's positive class first, by name or number; None leaves it
    calibrate       once trained, divide the best model's logits by the temperature that suits the
                    selection set best, in the checkpoint, which then has model.temperature; see
                    squeezenet_c.calibrate. It needs valid_fraction and checkpoint. The state and
                    the model itself stay as training left them
    state           file for all that resumes a stopped run. Written atomically before the
                    first and after every epoch
    resume          resume the run of this state file (or run folder: its weights/last.state):
                    `model` gets its weights, the checkpoint is written anew, and the history is the
                    whole run's. The final weights are the uninterrupted run's bit for bit, wherever
                    it was stopped: it continues after the last whole epoch, or where `stop` ended
                    it. `state` is then this file, if no other is named. Only `epochs` may differ
                    from what the run was begun with, and not with the cosine schedule
    optimizer       made for this model, in place of an Adam of the arguments freeze, weight_decay
                    and body_lr_scale; its lr follows the recipe
    teacher, temperature    distillation (Hinton et al. 2015, arXiv:1503.02531): in place of its
                    label a picture has the probabilities that this network, of the same classes
                    and preprocessing, gives it as the model sees it, flipped or not. `temperature`
                    divides the logits of both. The accuracies are by labels still
    stop            asked before each step and each validation: where it answers True (on any rank),
                    the state is written, as far as the epoch has come, and the History so far
                    returned, with `interrupted` set. `resume` continues with the next step
    comm            an mpi4py communicator, whose ranks, 1, 2, 4, 8 or 16, call this alike and share
                    the pictures. Each ends in the weights and the history of one process, bit for
                    bit; files are written, and things said, by rank 0. Where a rank fails, and not
                    all do, it says why and ends all of them (MPI's Abort)

    Class names are taken from the set where the model has none; a decision threshold that it had is
    dropped. Ctrl-C stops within a batch and returns the History so far, with `interrupted` set; the
    checkpoint is the best so far. A run that has collapsed says so in a CollapseWarning and in
    history.collapsed.

    ValueError: an argument, a label or a class's name is not what it should be, or not what the run
    to resume was begun with, or a rank has other arguments, pictures or weights than rank 0, or
    would have other bits. OSError: the checkpoint or the state cannot be written. BadFileError:
    `resume` is no run's state. TrainingError: training has diverged: a loss, logit or weight is no
    finite number, or an epoch's mean loss is above 87 and ten times that of the first batch. The
    epochs before stand, in its history and on disk.
    """
    ranks: Ranks = comm  # see over_ranks
    ranks.check_training()
    check_numbers(epochs, batch_size, early_stopping, label_smoothing)
    resumed = None
    if resume is not None:
        resumed = ranks.from_leader(lambda: RunState.read(resume))
        state = state_path(resume) if state is None else state
    if (model.precision if precision is None else precision) == "int8":
        raise ValueError(
            'a model is not trained in int8: set its precision to "float32" or "bfloat16" first; '
            "afterwards `quantize` makes an int8 model of it"
        )
    if precision is not None:
        model.precision = precision
    for path in (checkpoint, state):
        if path is not None and ranks.leads:
            check_writable(path)
    if checkpoint and state and os.path.realpath(checkpoint) == os.path.realpath(state):
        raise ValueError(f"checkpoint and state are both {checkpoint}, expected two files")
    recipe = (recipe or default_recipe(model)).with_rates(lr, body_lr_scale)
    names = model.class_names or train.class_names
    held_out = None
    if valid_fraction is not None:  # before classes are mapped, so that callers can split alike
        held_out = valid
        train, valid = train.split(valid_fraction, seed)
    if calibrate:
        check_calibration(model, valid, valid_fraction, checkpoint, resumed)
    train = match_classes(train, names, model.num_classes)
    if teacher is not None:
        check_teacher(teacher, temperature, model, names)
        if label_smoothing or class_weights is not None:
            raise ValueError(
                "label_smoothing and class_weights are of labels, and a teacher has none"
            )
    elif temperature != 1:
        raise ValueError(f"temperature is {temperature!r}, and there is no teacher")
    if valid is not None:
        valid = match_classes(valid, names, model.num_classes)
    if held_out is not None:
        held_out = match_classes(held_out, names, model.num_classes)
    if len(np.unique(train.labels)) == 1:
        warnings.warn(
            f"all {len(train)} training pictures are of one class, "
            f"{train.class_names[train.labels[0]]}: there is nothing to tell apart",
            stacklevel=level_outside(),
        )
    model.threshold, model.temperature = None, 1.0  # they were for other weights
    if model.class_names is None and len(train.class_names) == model.num_classes:
        model.class_names = train.class_names
    if positive is not None:
        model.positive = positive
    model.trained_on = add_marks(model.trained_on, train)

    weights = class_weights_of(class_weights, train, model.num_classes)
    arguments = {
        **model.spec,
        **model.preprocessing.to_dict(),
        "precision": model.precision,
        **asdict(recipe),
        **({"epochs": epochs} if recipe.needs_epochs else {}),
        "batch_size": batch_size,
        "seed": seed,
        "augment": augment,
        "early_stopping": early_stopping,
        "valid_fraction": valid_fraction,
        "freeze": freeze,
        "weight_decay": weight_decay,
        "label_smoothing": label_smoothing,
        "class_weights": weights,
        "calibrate": calibrate,
        "teacher": None if teacher is None else f"{mark_of(teacher)}, temperature {temperature}",
        "train": _fingerprint(train),
        "valid": _fingerprint(valid),
        "the set held out": _fingerprint(held_out),
    }
    if optimizer is None:
        optimizer = Adam(
            model,
            recipe.lr,
            weight_decay=weight_decay,
            freeze=freeze,
            body_lr_scale=recipe.body_lr_scale,
        )
    optimizer.check_model(model)
    arguments |= optimizer.arguments
    if resumed is not None:
        resumed.check(arguments)
        resumed.check_begun(math.ceil(len(train) / batch_size), valid is not None)
    ranks.refuse_differences(
        lambda: {
            **arguments,
            "epochs": epochs,
            "the hash of the training files' sizes": fingerprint(model.trained_on),
            "the hash of the weights": hash_of(model.state_dict()),
        }
    )
    loss = {
        "label_smoothing": label_smoothing,
        "class_weights": weights,
        "temperature": temperature,
    }
    train = train.at_size(model.image_size, model.preprocessing.fit)
    run = _Run(
        model, train, recipe, optimizer, epochs, batch_size, seed, augment, loss, teacher, ranks
    )
    if valid is not None:
        valid = valid.at_size(model.image_size, model.preprocessing.fit)
    files = (checkpoint, state) if ranks.leads else (None, None)
    keeper = _Keeper(model, optimizer, arguments, *files)
    keeper.begin(resumed)
    run.stop = stop
    run.note_whole_epoch()
    history = keeper.history
    with Progress(progress and ranks.leads, epochs, len(train), len(history)) as shown:
        try:
            for number in range(len(history) + 1, epochs + 1):
                if early_stopping is not None and history.stale >= early_stopping:
                    break
                row, logits = _epoch(run, number, valid, shown, history, keeper.begun)
                run.note_whole_epoch()
                row = ranks.every(row)[0]  # another rank's clock, or NumPy, may differ
                ranks.refuse_differences(
                    lambda: {
                        f"after {len(history) + 1} epochs the weights' hash": hash_of(run.whole)
                    }
                )
                history.rows.append(row)
                keeper.begun = EpochSoFar()
                shown.line(row.line())
                keeper.keep_best()
                _note_collapse(history, logits, model)
                keeper.write_state()
        except KeyboardInterrupt as error:
            ranks.meet(error)
            history.interrupted = True
        except _StopError:
            keeper.write_state()
            history.interrupted = True
        except _DivergedError as error:
            run.back_to_whole_epoch()
            kept = f"; the best model so far is in {checkpoint}" if checkpoint and history else ""
            raise TrainingError(
                f"training has diverged: {error}; try a lower learning rate than "
                f"{recipe.lr:g}{kept}",
                history,
            ) from None
    if keeper.best is not None and not history.interrupted:
        best = _with_weights(model, keeper.best)
        if calibrate and valid is not None:  # see _check_calibration
            fold_best_temperature(best, valid, comm=ranks)
            if keeper.checkpoint is not None:
                native.save(best, keeper.checkpoint)
        if held_out is not None:
            history.held_out = evaluate(best, held_out, comm=ranks)
    return history


def default_recipe(network: Network) -> Recipe:
    """Where `train` takes its learning rates from when it is told nothing else:
    Recipe.fine_tuning() for weights that have learnt before, else Recipe()."""
    return Recipe.fine_tuning() if network.pretrained else Recipe()


class _Keeper:
    """What outlives an epoch: the history, the best weights, and both on disk."""

    def __init__(
        self,
        model: Network,
        optimizer: Adam,
        arguments: dict[str, Any],
        checkpoint: str | os.PathLike | None,
        state: str | os.PathLike | None,
    ):
        self.model, self.optimizer, self.arguments = model, optimizer, arguments
        self.checkpoint, self.state = checkpoint, state
        self.history = History()
        self.best: dict[str, NDArray[np.float32]] | None = None
        self.begun = EpochSoFar()

    def begin(self, resumed: RunState | None) -> None:
        """Before the first epoch, or where the run to resume stopped."""
        if resumed is not None:
            resumed.restore(self.model, self.optimizer)
            self.history, self.best, self.begun = resumed.history, resumed.best, resumed.begun
            if self.checkpoint is not None and self.best is not None:
                native.save(_with_weights(self.model, self.best), self.checkpoint)
        self.write_state()

    def keep_best(self) -> None:
        """After an epoch, whose row is the history's last."""
        if self.history.best is self.history[-1]:
            if self.checkpoint is not None:
                native.save(self.model, self.checkpoint)
            self.best = self.model.state_dict()

    def write_state(self) -> None:
        """All that is needed to resume from here."""
        if self.state is not None:
            course = (self.history, self.best, self.begun)
            write_state(self.state, self.arguments, self.model, self.optimizer, *course)


def _with_weights(model: Network, weights: dict[str, NDArray[np.float32]]) -> Network:
    """A copy of the model that has these."""
    other = model.copy()
    other.load_state_dict(weights)
    return other


class _Run:
    """What stays the same from epoch to epoch."""

    def __init__(
        self,
        model: Network,
        train: Dataset,
        recipe: Recipe,
        optimizer: Adam,
        epochs: int,
        batch_size: int,
        seed: int,
        augment: bool,
        loss: dict[str, Any],
        teacher: Network | None,
        ranks: Ranks,
    ):
        self.model, self.train, self.recipe, self.optimizer = model, train, recipe, optimizer
        self.epochs, self.batch_size, self.seed, self.augment = epochs, batch_size, seed, augment
        self.loss, self.teacher = loss, teacher  # its arguments, and in place of labels
        self.ranks = ranks
        self.logits = np.zeros((0, model.num_classes), np.float32)  # the last step's, our own
        self.steps_per_epoch = math.ceil(len(train) / batch_size)
        self.loss_limit: float | None = None  # known from the first batch on
        self.whole: dict[str, NDArray[np.float32]] = {}
        self.stop: Callable[[], bool] | None = None

    def check_stop(self) -> None:
        if self.stop is not None and any(self.ranks.every(self.stop())):
            raise _StopError

    def note_whole_epoch(self) -> None:
        """These weights are what is left if the next epoch diverges."""
        self.whole = self.model.state_dict()

    def back_to_whole_epoch(self) -> None:
        self.model.load_state_dict(self.whole)

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
                self.loss_limit = max(DIVERGED_LOSS, DIVERGED_TIMES * loss)
            self.optimizer.lr = self.recipe.rate(step, self.steps_per_epoch, self.epochs, losses)
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
        flips = core.augment_flips(self.seed, epoch, indices[own]) if self.augment else None
        x = self.model.preprocessing.normalise(pictures, flips)
        self.model.compute_gradients(
            x,
            self.targets(x, indices[own]),
            global_batch=len(indices),
            indices=own,
            step=self.optimizer.step_count,
            seed=self.seed,
            frozen=self.optimizer.frozen,
            total_weight=self.weight(indices),
            **self.loss,
        )
        self.logits = self.model.last_logits
        right = self.logits.argmax(axis=1) == self.train.labels[indices[own]]
        return np.column_stack([self.model.last_losses, right])

    def targets(self, x: NDArray[np.float32], indices: NDArray[np.int64]) -> NDArray[Any]:
        """What the answers to x, which these pictures became, should be."""
        if self.teacher is None:
            return self.train.labels[indices]
        return soft_labels(self.teacher, x, self.loss["temperature"])

    def weight(self, indices: NDArray[np.int64]) -> float:
        """What these pictures' mean loss weighs in the epoch's, and divides by."""
        weights = self.loss["class_weights"]
        if weights is None:
            return len(indices)
        return _sum(np.asarray(weights)[self.train.labels[indices]])


def _sum(values: NDArray[np.float64]) -> float:
    """One after the other, as C adds, where NumPy's sum has an order of its own."""
    return float(np.add.accumulate(values)[-1])


class _DivergedError(Exception):
    """What shows that training has diverged."""


class _StopError(Exception):
    """`stop` says so, between two steps."""


def _epoch(
    run: _Run,
    number: int,
    valid: Dataset | None,
    shown: Progress,
    history: History,
    so_far: EpochSoFar,
) -> tuple[Epoch, NDArray[np.float32]]:
    """Train for one epoch, of which so_far is done and which is counted there, then validate. The
    row, and the logits a collapse would show in. _DivergedError: what shows that training has
    diverged. _StopError."""
    start = time.perf_counter()
    losses = [row.loss for row in history]
    order = core.shuffle(len(run.train), run.seed, number)[so_far.steps * run.batch_size :]
    for indices, pictures in run.train.batches(run.batch_size, order, run.ranks.of_batch):
        run.check_stop()
        loss, right = run.step(number, indices, pictures, losses)
        if not math.isfinite(loss):
            raise _DivergedError(f"the loss became {loss} in epoch {number}")
        so_far.add(loss, run.weight(indices), right)
        shown.pictures(len(indices), number)
    valid_acc = valid_loss = None
    train_loss = so_far.loss_sum / so_far.weight_sum
    if run.loss_limit is not None and not train_loss <= run.loss_limit:
        raise _DivergedError(f"the mean loss of epoch {number} is {train_loss:.3g}")
    if not all(np.isfinite(values).all() for values in run.model.state_dict().values()):
        raise _DivergedError(f"weights are no longer finite numbers after epoch {number}")
    if valid is None:
        logits = run.ranks.joined(run.logits)
    else:
        run.check_stop()
        try:
            logits = dataset_logits(run.model, valid, comm=run.ranks)
        except NotFiniteError:
            raise _DivergedError(
                f"the logits of validation pictures are no finite numbers after epoch {number}"
            ) from None
        valid_acc = accuracy(logits, valid.labels)
        valid_loss = cross_entropy(logits, valid.labels)
    row = Epoch(
        epoch=number,
        train_acc=so_far.correct / len(run.train),
        train_loss=train_loss,
        valid_acc=valid_acc,
        valid_loss=valid_loss,
        lr=run.optimizer.lr,
        seconds=time.perf_counter() - start,
    )
    return row, logits


# -- Checks ----------------------------------------------------------------------------------------


def _fingerprint(dataset: Dataset | None) -> str | None:
    return None if dataset is None else fingerprint(dataset.paths, dataset.labels.tolist())


def _note_collapse(history: History, logits: NDArray[np.float32], model: Network) -> None:
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
