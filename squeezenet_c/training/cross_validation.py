"""Cross-validation: as many models as folds, each judged on the pictures it has not seen.

Nothing of a fold chooses anything of its model: the best epoch is chosen on pictures that the model
does not learn from and that are not of the fold (`valid_fraction`). With groups no person is on two
of these three sides.

What the intervals mean. A fold's are those of one model on so many pictures. The pooled figures
take all out-of-fold predictions together, and their intervals treat these as independent answers of
one model. They tell how much a figure would vary with other pictures of the same kind. They do not
tell how it would vary with other training pictures, nor with another seed: the folds' models have
learnt from much the same pictures, and for the variance of a cross-validation there is no unbiased
estimate (Bengio & Grandvalet, JMLR 5, 2004, 1089-1105). Several pictures of one person make the
intervals too narrow, too. The pooled AUC compares scores of different models, which need not be on
one scale; the mean of the folds' AUCs does not.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base.ranks import over_ranks
from ..base.write import write_table
from ..data.dataset import Dataset
from ..data.splits import deal_folds
from ..files import native
from ..inference.intervals import Figure, measure
from ..inference.metrics import decide, positive_last, softmax
from ..inference.predict import dataset_logits, match_classes
from ..network import Network
from .history import History
from .loop import train
from .resume import STATE_IN_RUN_FOLDER

BEST = Path("weights", "best.safetensors")
SHOWN = ("accuracy", "auc", "sensitivity", "specificity")  # in the table


@dataclass(eq=False)
class CrossValidation:
    """What `cross_validate` found, of N pictures.

    paths, labels, groups   of the set, groups may be None
    fold            (N,) in which fold, from 1, a picture was judged; 0: not yet
    probabilities   (N, classes), of the model that has not learnt from the picture's fold
    predicted       (N,) classes
    folds, pooled   Figures by name, of each fold, and of all pictures (see the module's text)
    histories       of the folds' training
    interrupted     Ctrl-C or `stop` ended it: what is here are the folds that were finished
    """

    paths: list[str]
    labels: NDArray[np.int64]
    groups: NDArray[np.object_] | None
    class_names: tuple[str, ...]
    positive: int | None
    fold: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    predicted: NDArray[np.int64]
    folds: list[dict[str, Figure]] = field(default_factory=list)
    pooled: dict[str, Figure] = field(default_factory=dict)
    histories: list[History] = field(default_factory=list)
    interrupted: bool = False

    def add_fold(
        self,
        number: int,
        members: NDArray[np.int64],
        probabilities: NDArray[np.float64],
        history: History,
    ) -> None:
        """Enter what a fold's model says of its pictures, the `members` of the set."""
        self.fold[members] = number
        self.probabilities[members] = probabilities
        self.predicted[members] = decide(probabilities)
        self.folds.append(self._measured(members))
        self.histories.append(history)

    def pool(self) -> None:
        """Compute the pooled figures of the folds that there are."""
        members = np.flatnonzero(self.fold)
        if len(members):
            self.pooled = self._measured(members)

    def _measured(self, members: NDArray[np.int64]) -> dict[str, Figure]:
        probabilities, predicted = self.probabilities[members], self.predicted[members]
        return measure(
            *positive_last(self.positive, self.labels[members], probabilities, predicted)
        )

    def mean(self, name: str) -> tuple[float, float] | None:
        """(mean, standard deviation) over the folds of the figure `name`; None where a fold has no
        such figure, or there are not two folds."""
        values = [figures[name].value for figures in self.folds]
        known = [value for value in values if value is not None]
        if len(known) < len(values) or len(known) < 2:
            return None
        return float(np.mean(known)), float(np.std(known, ddof=1))

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write the out-of-fold predictions, a row a picture: path, label, group (where there are
        groups), fold, predicted, and the probability of each class. OSError: it cannot be written.
        """
        names = self.class_names
        header = ["path", "label", "fold", "predicted", *(f"probability {name}" for name in names)]
        if self.groups is not None:
            header.insert(2, "group")
        rows = []
        for place in np.flatnonzero(self.fold).tolist():
            row = [self.paths[place], names[self.labels[place]], int(self.fold[place])]
            row += [names[self.predicted[place]], *self.probabilities[place].tolist()]
            if self.groups is not None:
                row.insert(2, self.groups[place])
            rows.append(row)
        write_table(path, header, rows)

    def to_dict(self) -> dict[str, Any]:
        """The figures in types that JSON knows."""
        return {
            "pictures": int((self.fold > 0).sum()),
            "class_names": list(self.class_names),
            "positive": self.positive,
            "folds": [_plain(figures) for figures in self.folds],
            "pooled": _plain(self.pooled),
        }

    def __str__(self) -> str:
        """The table: a row a fold, their mean and standard deviation, and the pooled figures; with
        95 % intervals."""
        shown = [name for name in SHOWN if name in self.pooled]
        counts = [str((self.fold == number).sum()) for number in range(1, len(self.folds) + 1)]
        rows = [["fold", "pictures", *shown]]
        for number, (count, figures) in enumerate(zip(counts, self.folds, strict=True), start=1):
            rows.append([str(number), count, *(_cell(figures[name]) for name in shown)])
        means = [self.mean(name) for name in shown]
        spread = ["-" if mean is None else f"{mean[0]:.4f} +- {mean[1]:.4f}" for mean in means]
        rows.append(["mean", "", *spread])
        total = str((self.fold > 0).sum())
        rows.append(["pooled", total, *(_cell(self.pooled[name]) for name in shown)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines)

    __repr__ = __str__


def _plain(figures: dict[str, Figure]) -> dict[str, Any]:
    return {name: figure.to_dict() for name, figure in figures.items()}


def _cell(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    if figure.low is None:
        return f"{figure.value:.4f}"
    return f"{figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"


def fold_folder(folder: str | os.PathLike, number: int) -> Path:
    """Where in a cross-validation's folder the run of a fold is."""
    return Path(folder) / f"fold{number}"


@over_ranks
def cross_validate(
    model: Network | Callable[[], Network],
    dataset: Dataset,
    *,
    folds: int = 5,
    seed: int = 0,
    groups: ArrayLike | None = None,
    valid_fraction: float | None = 0.2,
    folder: str | os.PathLike | None = None,
    progress: bool = True,
    stop: Callable[[], bool] | None = None,
    comm: Any = None,
    **options: Any,
) -> CrossValidation:
    """Train a model for each fold of `dataset` on the rest, and judge it on the fold.

    model           a network, of which each fold trains a copy, or a function that makes one
    folds, seed, groups     as Dataset.folds takes them; groups of None are the set's own. `seed` is
                    that of each training, too
    valid_fraction  the share of the rest that each fold's best epoch is chosen on and that is not
                    learnt from; None: all is learnt from, and the last epoch's model is judged
    folder          where each fold has a run's folder, fold1 and so on, with its best model and its
                    state. A cross-validation that was stopped goes on there when it is called again
                    with the same arguments: a fold that is finished is not trained again, and one
                    that is not continues as by train(resume=). None: nothing is kept
    progress, stop, comm, and options       of `train`

    ValueError: what train or Dataset.folds refuses, or a folder with folds of other arguments.
    TrainingError: of a fold whose training has diverged; those before are in `folder`.
    """
    ranks = comm
    network = _made(model)
    dataset = match_classes(dataset, network.class_names, network.num_classes)
    if groups is not None:
        dataset = dataset.with_groups(groups)
    if network.class_names is None and len(dataset.class_names) == network.num_classes:
        network.class_names = dataset.class_names
    if options.get("positive") is not None:
        network.positive = options["positive"]
    # Once, so that all folds have one cache.
    dataset = dataset.at_size(network.image_size, network.preprocessing.fit)
    dealt = deal_folds(dataset.labels, dataset.groups, folds, seed)
    found = CrossValidation(
        paths=dataset.paths,
        labels=dataset.labels,
        groups=dataset.groups,
        class_names=tuple(network.name_of(label) for label in range(network.num_classes)),
        positive=network.positive,
        fold=np.zeros(len(dataset), np.int64),
        probabilities=np.full((len(dataset), network.num_classes), np.nan),
        predicted=np.zeros(len(dataset), np.int64),
    )
    with _kept_in(folder) as home:
        for number in range(1, folds + 1):
            if progress and ranks.leads:
                print(f"Fold {number} of {folds}", flush=True)
            members = np.flatnonzero(dealt == number - 1)
            rest = dataset.subset(np.flatnonzero(dealt != number - 1))
            arguments = {**options, "seed": seed, "valid_fraction": valid_fraction}
            arguments |= {"progress": progress, "stop": stop, "comm": ranks}
            judged, history = _train_fold(_made(model), rest, home, number, arguments)
            if history.interrupted:
                found.interrupted = True
                break
            logits = dataset_logits(judged, dataset.subset(members), comm=ranks)
            found.add_fold(number, members, softmax(logits), history)
    found.pool()
    return found


def _train_fold(
    network: Network, rest: Dataset, home: Path, number: int, arguments: dict[str, Any]
) -> tuple[Network, History]:
    """(the network to be judged, its history) of a fold; continued where its run was begun."""
    ranks = arguments["comm"]
    best, state = (fold_folder(home, number) / name for name in (BEST, STATE_IN_RUN_FOLDER))
    if ranks.leads:
        best.parent.mkdir(parents=True, exist_ok=True)
    begun = ranks.from_leader(state.exists)
    history = train(
        network, rest, checkpoint=best, state=state, resume=state if begun else None, **arguments
    )
    if arguments["valid_fraction"] is None or history.interrupted:
        return network, history
    kind, precision = type(network), network.precision
    return ranks.from_leader(lambda: native.load(kind, best, precision)), history


def _made(model: Network | Callable[[], Network]) -> Network:
    return model.copy() if isinstance(model, Network) else model()


@contextlib.contextmanager
def _kept_in(folder: str | os.PathLike | None) -> Iterator[Path]:
    """The folder, or one for as long as the work lasts."""
    if folder is not None:
        yield Path(folder)
        return
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
