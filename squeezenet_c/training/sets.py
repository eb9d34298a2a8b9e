"""The sets of a run: what it learns from, what its best epoch is chosen on, and what is looked at
once, when it is over."""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from ..data.dataset import Dataset
from ..data.marks import fingerprint
from ..inference.predict import match_classes
from ..network import Network, level_outside


@dataclass(frozen=True)
class Sets:
    """Their classes are numbered as the model has them.

    train       learnt from
    valid       judged after every epoch; None: there is none
    held_out    judged once, by the best epoch; None: there is none
    selected    whether valid is the selection set, a share of the training pictures
    """

    train: Dataset
    valid: Dataset | None
    held_out: Dataset | None
    selected: bool = False

    @classmethod
    def of(
        cls,
        model: Network,
        train: Dataset,
        valid: Dataset | None,
        test: Dataset | None,
        valid_fraction: float | None,
        seed: int,
    ) -> "Sets":
        """What the arguments of `train` mean. ValueError: a label or a class's name is not the
        model's, or there is no such fraction."""
        names = model.class_names or train.class_names
        held_out, selected = test, valid_fraction is not None
        if valid_fraction is not None:  # before classes are mapped, so that callers can split alike
            if valid is not None and test is not None:
                warnings.warn(
                    "valid is not looked at: with valid_fraction a share of the training pictures "
                    "chooses the best epoch, and test is held out",
                    stacklevel=level_outside(),
                )
            held_out = valid if test is None else test
            train, valid = train.split(valid_fraction, seed)

        def matched(dataset: Dataset | None) -> Dataset | None:
            return dataset and match_classes(dataset, names, model.num_classes)

        learnt = match_classes(train, names, model.num_classes)
        return cls(learnt, matched(valid), matched(held_out), selected)

    def warn_of_one_class(self) -> None:
        if len(np.unique(self.train.labels)) == 1:
            warnings.warn(
                f"all {len(self.train)} training pictures are of one class, "
                f"{self.train.class_names[self.train.labels[0]]}: there is nothing to tell apart",
                stacklevel=level_outside(),
            )

    @property
    def arguments(self) -> dict[str, str | None]:
        """By which a run's state knows them again."""
        return {
            "train": _mark(self.train),
            "valid": _mark(self.valid),
            "the set held out": _mark(self.held_out),
        }

    def of_size(self, model: Network) -> "Sets":
        """Of pictures as the model takes them."""
        size, fit = model.image_size, model.preprocessing.fit
        train, valid, held_out = (
            None if dataset is None else dataset.at_size(size, fit)
            for dataset in (self.train, self.valid, self.held_out)
        )
        assert train is not None
        return replace(self, train=train, valid=valid, held_out=held_out)

    @property
    def selection(self) -> tuple[str, ...] | None:
        """The selection set's paths; None: there is no such set."""
        return tuple(self.valid.paths) if self.selected and self.valid is not None else None


def _mark(dataset: Dataset | None) -> str | None:
    return None if dataset is None else fingerprint(dataset)
