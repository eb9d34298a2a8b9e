"""The training loop: `train`, and what a run is made of. The step is C."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

from ..base.ranks import Ranks, hash_of, over_ranks
from ..base.write import check_writable
from ..data.augment import Augment
from ..data.dataset import Dataset
from ..data.marks import add_marks, fingerprint
from ..data.provenance import training_of
from ..files import native
from ..inference.calibration import fold_best_temperature
from ..inference.predict import evaluate
from ..network import Network
from .checks import check_calibration, check_monitor, check_numbers, class_weights_of, set_precision
from .distillation import check_teacher
from .epoch import run_epoch
from .failing import DivergedError, TrainingError, note_collapse
from .history import DEFAULT_MONITOR, Epoch, History
from .keeper import Keeper
from .optimizer import NEEDS_LR, Optimizer, averaged, make_optimizer
from .progress import Progress
from .recipe import Recipe
from .resume import RunState, state_path
from .sets import Sets
from .settings import Settings
from .step import Stepper, StopError


@over_ranks
def train(
    model: Network,
    train: Dataset,
    valid: Dataset | None = None,
    *,
    test: Dataset | None = None,
    epochs: int = 20,
    batch_size: int = 16,
    lr: float | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    valid_fraction: float | None = None,
    augment: bool | str | Augment = "flips",
    early_stopping: int | None = None,
    monitor: str = DEFAULT_MONITOR,
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
    optimizer: str | Optimizer | Callable[..., Optimizer] = "adam",
    clip_norm: float | None = None,
    ema: float | None = None,
    teacher: Network | None = None,
    temperature: float = 1.0,
    stop: Callable[[], bool] | None = None,
    on_epoch: Callable[[Epoch, Network], object] | None = None,
    comm: Any = None,
) -> History:
    """Train `model`, with Adam by default; afterwards it holds the last epoch's weights, the
    checkpoint the best epoch's.

    train, valid    the sets; pictures are brought to the model's image size, and classes numbered
                    as the model has them (see match_classes)
    test            looked at once, after training, with the best model: history.held_out
    epochs, batch_size      at least 1; an epoch's last batch may be smaller
    lr, recipe      the peak learning rate and its course over the run (default: the recipe's, and
                    the model's recipe, which is another where its weights are pretrained)
    seed            of the order, the changes of pictures and dropout
    checkpoint      file for the model of the best epoch, see monitor. Written atomically, whenever
                    there is a new best. That it can be written is tried before all else
    valid_fraction  choose the best on this share of the training pictures instead, the selection
                    set, which is not trained on (history.selection); `valid`, if given, is then
                    what `test` is, where there is none
    augment         how training pictures are changed at random: an Augment, a preset's name
                    ("none", "flips" or "fundus"), True for "flips", False for "none", or a text
                    such as "flips,rotation=15", see Augment.of
    early_stopping  stop after this many epochs without a new best
    monitor         what the best epoch has the most of on the validation set, ties by the lower
                    loss: "accuracy", "auc" (Evaluation's), "balanced_accuracy" (the mean over
                    classes of the share of their pictures that is found) or "loss" (the least).
                    Without a validation set accuracy and loss are training's, and the others are
                    refused
    progress        print a line an epoch on stdout, and a progress bar on stderr if a terminal
    precision       set the model's precision first ("float32" or "bfloat16"); None leaves it. A
                    quantised model that is trained is no longer one
    freeze, body_lr_scale, weight_decay     of the optimizer, see Adam and SGD: layers that do not
                    learn, a smaller learning rate for all but the classifier (a share of lr;
                    default: the recipe's), the decay of AdamW or of torch.optim.SGD
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
                    from what the run was begun with: it then ends as a run begun for so many does,
                    but with the cosine schedule, whose rates are from there on those of the new
                    number, which a warning says
    optimizer       "adam"; "sgd", which is SGD with momentum 0.9, and needs an lr or a recipe, for
                    the default one has Adam's rates (an lr of 0.01 may do); what makes one of the
                    model as these classes do, such as functools.partial(SGD, nesterov=True); or one
                    that was made for this model, with its own freeze, weight_decay, body_lr_scale,
                    clip_norm and ema. Its lr follows the recipe
    clip_norm, ema  of the optimizer, see squeezenet_c.training.optimizer.Optimizer: the largest
                    norm of a step's gradients, and the decay of a moving average of the weights.
                    With an average it is this that is validated, is the best and the checkpoint,
                    and that of the last whole epoch stands in the model afterwards; the state holds
                    both
    teacher, temperature    distillation (Hinton et al. 2015, arXiv:1503.02531): in place of its
                    label a picture has the probabilities that this network, of the same classes
                    and preprocessing, gives it as the model sees it, changed at random.
                    `temperature` divides the logits of both. The accuracies are by labels still
    stop            asked before each step and each validation: where it answers True (on any rank),
                    the state is written, as far as the epoch has come, and the History so far
                    returned, with `interrupted` set. `resume` continues with the next step
    on_epoch        called as on_epoch(row, model) after each epoch, once the checkpoint and the
                    state are written, with its row of the history and the model as it is then;
                    with `comm` on every rank. It may use the model and must not train or change it
                    (model.copy() may be). What it raises ends training and is raised here; the
                    state resumes from the next epoch on
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
    set_precision(model, precision)
    for path in (checkpoint, state):
        if path is not None and ranks.leads:
            check_writable(path)
    if checkpoint and state and os.path.realpath(checkpoint) == os.path.realpath(state):
        raise ValueError(f"checkpoint and state are both {checkpoint}, expected two files")
    if optimizer == "sgd" and lr is None and recipe is None:
        raise ValueError(NEEDS_LR)
    recipe = (recipe or default_recipe(model)).with_rates(lr, body_lr_scale)
    sets = Sets.of(model, train, valid, test, valid_fraction, seed)
    if calibrate:
        check_calibration(model, sets.valid, valid_fraction, checkpoint, resumed)
    check_monitor(monitor, sets.valid, model.num_classes)
    of_labels = bool(label_smoothing) or class_weights is not None
    check_teacher(teacher, temperature, model, model.class_names or train.class_names, of_labels)
    sets.warn_of_one_class()
    _prepare(model, sets.train, positive)
    settings = Settings(
        recipe=recipe,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        augment=Augment.of(augment),
        early_stopping=early_stopping,
        monitor=monitor,
        valid_fraction=valid_fraction,
        freeze=freeze,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        class_weights=class_weights_of(class_weights, sets.train, model.num_classes),
        calibrate=calibrate,
        teacher=teacher,
        temperature=temperature,
    )
    options = {"weight_decay": weight_decay, "freeze": freeze, "clip_norm": clip_norm, "ema": ema}
    made = make_optimizer(optimizer, model, recipe.lr, recipe.body_lr_scale, **options)
    arguments = settings.arguments(model) | sets.arguments | made.arguments
    if resumed is not None:
        resumed.check(arguments, recipe.needs_epochs)
        resumed.check_begun(math.ceil(len(sets.train) / batch_size), sets.valid is not None)
    ranks.refuse_differences(
        lambda: {
            **arguments,
            "the hash of the training files' sizes": fingerprint(model.trained_on),
            "the hash of the weights": hash_of(model.state_dict()),
        }
    )
    model.provenance = ranks.from_leader(lambda: training_of(sets.train, seed))
    sets = sets.of_size(model)
    files = (checkpoint, state) if ranks.leads else (None, None)
    keeper = Keeper(model, made, arguments, *files, monitor)
    keeper.begin(resumed)
    keeper.history.selection = sets.selection
    stepper = Stepper(model, sets.train, settings, made, ranks, stop)
    try:
        _run_epochs(stepper, sets.valid, keeper, progress, on_epoch)
    finally:
        if made.average is not None:
            keeper.back_to_whole_epoch()
    _finish(keeper, sets, calibrate, ranks)
    return keeper.history


def default_recipe(network: Network) -> Recipe:
    """Where `train` takes its learning rates from when it is told nothing else:
    Recipe.fine_tuning() for weights that have learnt before, else Recipe()."""
    return Recipe.fine_tuning() if network.pretrained else Recipe()


def _prepare(model: Network, train: Dataset, positive: str | int | None) -> None:
    """What is known of the model besides its weights will be that of one trained on the set."""
    model.threshold, model.temperature = None, 1.0  # they were for other weights
    if model.class_names is None and len(train.class_names) == model.num_classes:
        model.class_names = train.class_names
    if positive is not None:
        model.positive = positive
    model.trained_on = add_marks(model.trained_on, train)


def _run_epochs(
    stepper: Stepper,
    valid: Dataset | None,
    keeper: Keeper,
    progress: bool,
    on_epoch: Callable[[Epoch, Network], object] | None,
) -> None:
    """From where the keeper is to the last epoch, an interruption, or a TrainingError."""
    model, settings, ranks = stepper.model, stepper.settings, stepper.ranks
    history, train = keeper.history, stepper.train
    with Progress(progress and ranks.leads, settings.epochs, len(train), len(history)) as shown:
        try:
            for number in range(len(history) + 1, settings.epochs + 1):
                patience = settings.early_stopping
                if patience is not None and history.stale >= patience:
                    break
                row, logits = run_epoch(stepper, number, valid, shown, history, keeper.begun)
                row = ranks.every(row)[0]  # another rank's clock, or NumPy, may differ
                ranks.refuse_differences(
                    lambda: {
                        f"after {len(history) + 1} epochs the weights' hash": hash_of(
                            model.state_dict()
                        )
                    }
                )
                keeper.add(row)
                shown.line(row.line())
                keeper.keep_best()
                note_collapse(history, logits, model)
                keeper.write_state()
                if on_epoch is not None:
                    with averaged(model, stepper.optimizer):
                        on_epoch(row, model)
                        keeper.refuse_change()
        except KeyboardInterrupt as error:
            ranks.meet(error)
            history.interrupted = True
        except StopError:
            keeper.write_state()
            history.interrupted = True
        except DivergedError as error:
            keeper.back_to_whole_epoch()
            kept = ""
            if keeper.checkpoint and history:
                kept = f"; the best model so far is in {keeper.checkpoint}"
            raise TrainingError(
                f"training has diverged: {error}; try a lower learning rate than "
                f"{settings.recipe.lr:g}{kept}",
                history,
            ) from None


def _finish(keeper: Keeper, sets: Sets, calibrate: bool, ranks: Ranks) -> None:
    """What is done once with the best model, when the run is over."""
    best = None if keeper.history.interrupted else keeper.best_model()
    if best is None:
        return
    if calibrate and sets.valid is not None:  # see check_calibration
        fold_best_temperature(best, sets.valid, comm=ranks)
        if keeper.checkpoint is not None:
            native.save(best, keeper.checkpoint)
    if sets.held_out is not None:
        keeper.history.held_out = evaluate(best, sets.held_out, comm=ranks)
