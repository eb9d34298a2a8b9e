"""One epoch: its steps, then the validation, and the row of both."""

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..data.dataset import Dataset
from ..inference.evaluation import mean_auc
from ..inference.metrics import accuracy, cross_entropy, softmax
from ..inference.predict import NotFiniteError, dataset_logits
from ..inference.weighted import balanced_accuracy
from ..network import Network
from .failing import DivergedError
from .history import Epoch, History
from .optimizer import averaged
from .progress import Progress
from .resume import EpochSoFar
from .step import Stepper


def run_epoch(
    stepper: Stepper,
    number: int,
    valid: Dataset | None,
    shown: Progress,
    history: History,
    so_far: EpochSoFar,
) -> tuple[Epoch, NDArray[np.float32]]:
    """Train for one epoch, of which so_far is done and which is counted there, then validate. The
    row, and the logits a collapse would show in. DivergedError: what shows that training has
    diverged. StopError."""
    start = time.perf_counter()
    _learn(stepper, number, shown, history, so_far)
    judged: dict[str, Any] = {"valid_acc": None, "valid_loss": None}
    if valid is None:
        logits = stepper.ranks.joined(stepper.logits)
    else:
        stepper.check_stop()
        try:
            with averaged(stepper.model, stepper.optimizer):
                logits = dataset_logits(stepper.model, valid, comm=stepper.ranks)
        except NotFiniteError:
            raise DivergedError(
                f"the logits of validation pictures are no finite numbers after epoch {number}"
            ) from None
        judged = _judged(logits, valid, stepper.model)
    row = Epoch(
        epoch=number,
        train_acc=so_far.correct / len(stepper.train),
        train_loss=so_far.mean_loss,
        lr=stepper.optimizer.lr,
        seconds=time.perf_counter() - start,
        **judged,
    )
    return row, logits


def _judged(logits: NDArray[np.float32], valid: Dataset, model: Network) -> dict[str, Any]:
    """The row's numbers of the validation set."""
    # Evaluation's, but no more of them: of many classes all its figures take longer than an epoch.
    labels, once = valid.labels, np.ones((1, len(valid)))
    balanced = balanced_accuracy(labels, logits.argmax(axis=1), model.num_classes)(once)[0]
    return {
        "valid_acc": accuracy(logits, labels),
        "valid_loss": cross_entropy(logits, labels),
        "valid_auc": mean_auc(labels, softmax(logits), model.positive),
        "valid_balanced_acc": float(balanced) if np.isfinite(balanced) else None,
    }


def _learn(
    stepper: Stepper, number: int, shown: Progress, history: History, so_far: EpochSoFar
) -> None:
    losses = [row.loss for row in history]
    train, batch_size = stepper.train, stepper.settings.batch_size
    order = core.shuffle(len(train), stepper.settings.seed, number)[so_far.steps * batch_size :]
    for indices, pictures in train.batches(batch_size, order, stepper.ranks.of_batch):
        stepper.check_stop()
        loss, right = stepper.step(number, indices, pictures, losses)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss became {loss} in epoch {number}")
        so_far.add(loss, stepper.weight(indices), right)
        shown.pictures(len(indices), number)
    limit = stepper.loss_limit
    if limit is not None and not so_far.mean_loss <= limit:
        raise DivergedError(f"the mean loss of epoch {number} is {so_far.mean_loss:.3g}")
    if not all(np.isfinite(values).all() for values in stepper.model.state_dict().values()):
        raise DivergedError(f"weights are no longer finite numbers after epoch {number}")
