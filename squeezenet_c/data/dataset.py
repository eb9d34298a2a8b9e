"""Data sets: pictures with labels. A Dataset yields uint8 pictures; the model normalises."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._native import core
from ..network import are_numbers
from .folders import PICTURE_SUFFIXES, parts_in, pictures_below, visible_folders
from .sources import Arrays, Files, Source
from .splits import checked_groups, deal_folds, draw_part

CACHE_MB = 1024
MOST_CLASSES = 65536  # of a network, by csrc/net/spec.c


class Dataset:
    """Picture files `paths`, each of the class `labels[i]` (a whole number from 0).

    class_names  one name a class; None: the numbers themselves, up to the largest label
    groups       of each picture, whom or what it is of, such as the person whose eye: `split` and
                 `folds` then leave no group on two sides. None: pictures have nothing in common
    image_size, fit     side in pixels of the squares that pictures become, and how: "pad" or
                 "crop", see Preprocessing
    cache_mb     decoded pictures are kept in memory up to this many MiB (default 1024) in all, for
                 the set with its parts and its other sizes (`at_size`); decoded again past it
    on_error     "raise": a file that cannot be decoded raises when its turn comes. "skip": all are
                 decoded now, and those that cannot be are left out, listed in `skipped` as
                 (path, reason), and counted in a warning.

    ValueError: lengths differ, labels that are no class, nothing (left) in the set.

    paths, labels, class_names, groups (an array of str, or None), fit, cache_mb and skipped may be
    read. Of pictures in memory (from_arrays) a path is a name such as "picture 17".
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike],
        labels: ArrayLike,
        class_names: Sequence[str] | None = None,
        *,
        groups: ArrayLike | None = None,
        image_size: int = 224,
        fit: str = "pad",
        cache_mb: float = CACHE_MB,
        on_error: str = "raise",
    ):
        self._make(Files(paths), labels, class_names, groups, image_size, fit, cache_mb, on_error)

    def _make(
        self,
        source: Source,
        labels: ArrayLike,
        class_names: Sequence[str] | None,
        groups: ArrayLike | None,
        image_size: int,
        fit: str,
        cache_mb: float,
        on_error: str,
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error is {on_error!r}, expected "raise" or "skip"')
        self._source = source
        self.paths = list(source.names)
        self.labels = _checked_labels(labels, len(self.paths))
        self.groups = checked_groups(groups, len(self.paths))
        if class_names is None:
            class_names = [str(label) for label in range(int(self.labels.max()) + 1)]
        self.class_names = tuple(class_names)
        if self.labels.max() >= len(self.class_names):
            raise ValueError(
                f"label {self.labels.max()} found, expected 0 to {len(self.class_names) - 1}: "
                f"there are {len(self.class_names)} class names"
            )
        if not (isinstance(cache_mb, int | float) and 0 <= cache_mb < 1 << 40):
            raise ValueError(f"cache_mb is {cache_mb!r}, expected a number of at least 0")
        self.cache_mb, self.fit = cache_mb, fit
        self.skipped: list[tuple[str, str]] = []
        bound = int(cache_mb * (1 << 20))
        self._store = core.PictureStore(source.contents, image_size, bound, fit)
        self._places = np.arange(len(self), dtype=np.int64)  # of our pictures in source and store
        if on_error == "skip":
            self._leave_out_broken()

    # -- Where sets come from ----------------------------------------------------------------------

    @classmethod
    def from_list(
        cls, path: str | os.PathLike, class_names: Sequence[str] | None = None, **options
    ) -> "Dataset":
        """A UTF-8 file with "path label" on each line, as the tutorial writes. Blank lines are
        passed over; the label is the last word, so paths may have spaces. A relative path is looked
        for beside the list first, then in the current folder. A label is a class's number, or its
        name, of one word: one of class_names, or without these of all that are in the list, which
        are numbered in alphabetical order.

        BadFileError names the line that is not so; FileNotFoundError a picture that is not there
        (on_error="skip": it is skipped).
        """
        from .lists import read_list

        skip_missing = options.get("on_error") == "skip"
        paths, labels, class_names, missing = read_list(Path(path), class_names, skip_missing)
        dataset = cls(paths, labels, class_names, **options)
        dataset._note_skipped(missing)
        return dataset

    @classmethod
    def from_folder(
        cls, folder: str | os.PathLike, class_names: Sequence[str] | None = None, **options
    ) -> "Dataset":
        """A folder for each class, classes in the order of their folders' names, or as
        `class_names` lists them. Pictures are .jpg, .jpeg, .png and .bmp files, at any depth.
        Hidden folders are passed over. ValueError: no class folder, or one without pictures, or one
        that class_names does not have; folders that are called train, val or test, which are parts
        of a set and no classes, unless class_names has them."""
        folder = Path(folder)
        found = visible_folders(folder)
        if not found:
            raise ValueError(f"{folder} has no folders in it; expected one for each class")
        parts = list(parts_in(folder).values()) if class_names is None else []
        if parts:
            raise ValueError(
                f"{folder} holds {', '.join(part.name for part in parts)}, parts of a data set and "
                f"no classes; expected one part, as {parts[0]}"
            )
        names = list(class_names) if class_names is not None else found
        paths, labels = [], []
        for name in found:
            if name not in names:
                raise ValueError(
                    f"{folder / name} is none of the classes: {', '.join(map(str, names))}"
                )
            pictures = pictures_below(folder / name)
            if not pictures:
                raise ValueError(
                    f"{folder / name} holds no picture ({', '.join(PICTURE_SUFFIXES)})"
                )
            paths += pictures
            labels += [names.index(name)] * len(pictures)
        return cls(paths, labels, names, **options)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike,
        image: str | None = None,
        label: str | None = None,
        group: str | None = None,
        class_names: Sequence[str] | None = None,
        **options,
    ) -> "Dataset":
        """A table with a row a picture: CSV (RFC 4180, with commas, UTF-8 with or without a byte
        order mark) whose first row has the columns' names. Blank rows are passed over, and white
        space around what stands in a field.

        image, label, group     the columns of picture paths, labels and groups. None: the one that
                is called image, path, file or filename; label, class or target; group, patient or
                subject, in any case of letters, of which without the last there are no groups

        Paths are looked for, and labels read, as in from_list; a label may be any text.

        BadFileError names the line that is not so, or the columns that there are;
        FileNotFoundError a picture that is not there (on_error="skip": it is skipped).
        """
        from .tables import Columns, read_table

        skip_missing = options.get("on_error") == "skip"
        columns = Columns(image, label, group)
        table = read_table(Path(path), columns, class_names, skip_missing)
        dataset = cls(table.paths, table.labels, table.class_names, groups=table.groups, **options)
        dataset._note_skipped(table.missing)
        return dataset

    @classmethod
    def from_arrays(
        cls,
        X: Any,
        y: ArrayLike,
        class_names: Sequence[str] | None = None,
        *,
        groups: ArrayLike | None = None,
        image_size: int = 224,
        fit: str = "pad",
        cache_mb: float = CACHE_MB,
    ) -> "Dataset":
        """Pictures in memory. X: (N, H, W, 3) uint8, (N, H, W) which is grey, or a list of pictures
        of any sizes, arrays or PIL images, as predict_proba takes them. y: N labels, whole numbers
        from 0, or texts, which are numbers (digits alone) or names, numbered as from_list does.
        Colour arrays are kept and not copied: they are not to be changed while the set is used.

        A picture is called by its place in X, as "picture 17", and known again (by `train(resume=)`
        or where a model is to be judged) by its pixels. TypeError, ValueError: X has something
        else, y is of another length.
        """
        from .labels import labels_of

        dataset = object.__new__(cls)
        labels, class_names = labels_of(y, class_names)
        source = Arrays(X)
        dataset._make(source, labels, class_names, groups, image_size, fit, cache_mb, "raise")
        return dataset

    # -- Its pictures ------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    @overload
    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]: ...
    def __getitem__(self, index: int | slice) -> "tuple[NDArray[np.uint8], int] | Dataset":
        """The (image_size, image_size, 3) picture and its label; of a slice the subset."""
        if isinstance(index, slice):
            return self.subset(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        return self._store.picture(int(self._places[index])), int(self.labels[index])

    def original(self, index: int) -> NDArray[np.uint8]:
        """The whole picture as it was before it became a square, (H, W, 3), upright. BadFileError,
        OSError: its file cannot be read."""
        return self._source.original(int(self._places[index]))

    @property
    def known_by(self) -> str:
        """By what of them pictures are known again: "names" or "pixels"."""
        return self._source.known_by

    @property
    def identities(self) -> list[str]:
        """What the pictures are known again by in `marks.fingerprint`."""
        return [self._source.identity(place) for place in self._places.tolist()]

    def marks(self) -> list[str | None]:
        """The pictures' marks (data/marks.py); None of a file that is no longer there."""
        return [self._source.mark(place) for place in self._places.tolist()]

    def batches(
        self,
        batch_size: int,
        order: ArrayLike | None = None,
        own: Callable[[int], NDArray[np.int64]] = np.arange,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """(indices, pictures) of up to `batch_size` pictures at a time, in `order` (default: as
        they stand), decoded ahead of need. pictures: (n, image_size, image_size, 3) uint8, of all
        in the batch, or of those in the places that `own` gives for a batch of n."""
        order = np.arange(len(self)) if order is None else np.asarray(order, dtype=np.int64)
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        owned = [batch[own(len(batch))] for batch in batches]
        wanted = self._places[np.concatenate(owned or [order])]
        loader = self._store.loader(wanted, ahead=max(64, 2 * batch_size))
        for batch, pictures in zip(batches, owned, strict=True):
            yield batch, loader.next(len(pictures))

    @property
    def image_size(self) -> int:
        return self._store.image_size

    def at_size(self, image_size: int, fit: str | None = None) -> "Dataset":
        """The same pictures as squares of `image_size` by `fit` (None: the set's own); the set
        itself where they are that already. Both keep decoded pictures within one cache_mb."""
        fit = self.fit if fit is None else fit
        if (image_size, fit) == (self.image_size, self.fit):
            return self
        other = self.subset(np.arange(len(self)))
        other.fit = fit
        contents = self._source.contents
        other._store = core.PictureStore(contents, image_size, fit=fit, share=self._store)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickle keeps: no square; another process makes its own. Pictures in memory go along,
        with a part all of the set's."""
        state = {name: value for name, value in vars(self).items() if name != "_store"}
        return _remade, (state, self.image_size)

    # -- Parts of it -------------------------------------------------------------------------------

    def subset(self, indices: ArrayLike) -> "Dataset":
        """The pictures at `indices`, in that order. It shares this set's cache."""
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        if not len(indices):
            raise ValueError("a subset without pictures")
        part = object.__new__(Dataset)
        part.paths = [self.paths[index] for index in indices]
        part.labels = self.labels[indices]
        part.groups = None if self.groups is None else self.groups[indices]
        part.class_names = self.class_names
        part.cache_mb, part.fit = self.cache_mb, self.fit
        part.skipped = []
        part._source, part._store = self._source, self._store
        part._places = self._places[indices]
        return part

    @property
    def has_names(self) -> bool:
        """Whether its classes are called otherwise than by their numbers, 0, 1 and so on."""
        return not are_numbers(self.class_names)

    def with_class_names(self, class_names: Sequence[str]) -> "Dataset":
        """The same pictures with the classes numbered in the order of `class_names`, which may have
        more than the set; it shares this set's cache. A set whose names are only numbers keeps its
        labels and takes the names. ValueError: a class that class_names does not have."""
        names = tuple(class_names)
        if names == self.class_names:
            return self
        if self.has_names:
            if not set(self.class_names) <= set(names):
                raise ValueError(
                    f"the classes {', '.join(self.class_names)} found, expected {', '.join(names)}"
                )
            numbers = np.array([names.index(name) for name in self.class_names], np.int64)
        else:
            if self.labels.max() >= len(names):
                raise ValueError(
                    f"label {self.labels.max()} found, expected 0 to {len(names) - 1}, one for "
                    f"each of {', '.join(names)}"
                )
            numbers = np.arange(len(self.class_names))
        twin = self.subset(np.arange(len(self)))
        twin.labels, twin.class_names = numbers[self.labels], names
        twin.skipped = self.skipped
        return twin

    def with_groups(self, groups: ArrayLike) -> "Dataset":
        """The same pictures with these groups, one a picture; it shares this set's cache."""
        twin = self.subset(np.arange(len(self)))
        twin.groups = checked_groups(groups, len(self))
        twin.skipped = self.skipped
        return twin

    def split(
        self, fraction: float, seed: int = 0, groups: ArrayLike | None = None
    ) -> tuple["Dataset", "Dataset"]:
        """(the rest, `fraction` of each class's pictures, drawn by `seed`). Every class with at
        least two pictures has some on both sides. With groups, the set's own or one a picture, no
        group is on both sides, and fractions are as near as that allows; see splits.py. ValueError:
        nothing can be drawn."""
        if not 0 < fraction < 1:
            raise ValueError(f"fraction is {fraction!r}, expected more than 0, less than 1")
        groups = self.groups if groups is None else checked_groups(groups, len(self))
        drawn = draw_part(self.labels, groups, fraction, seed)
        return self.subset(np.flatnonzero(~drawn)), self.subset(np.flatnonzero(drawn))

    def folds(
        self, k: int, seed: int = 0, groups: ArrayLike | None = None
    ) -> list[tuple["Dataset", "Dataset"]]:
        """k times (the rest, a fold): each picture is in one fold, drawn by `seed`, and a fold has
        of each class as nearly the k-th part as can be; no group (the set's own, or one a picture)
        is in two, see splits.py. ValueError: k is no whole number from 2 to the number of pictures,
        or of groups."""
        groups = self.groups if groups is None else checked_groups(groups, len(self))
        number = deal_folds(self.labels, groups, k, seed)
        return [
            (
                self.subset(np.flatnonzero(number != fold)),
                self.subset(np.flatnonzero(number == fold)),
            )
            for fold in range(k)
        ]

    # -- What it is made of ------------------------------------------------------------------------

    def class_counts(self) -> dict[str, int]:
        """Pictures of each class, by name."""
        return dict(zip(self.class_names, self.label_counts(len(self.class_names)), strict=True))

    def label_counts(self, classes: int) -> list[int]:
        """Pictures of each of `classes` classes, by number."""
        return np.bincount(self.labels, minlength=classes).tolist()

    def plot_class_counts(self, path: str | os.PathLike | None = None) -> None:
        """The counts as a bar chart: written to `path`, or shown. Needs matplotlib; without it one
        sentence says so."""
        from ..base.plots import bar_chart

        bar_chart(self.class_counts(), path)

    def write_list(self, path: str | os.PathLike) -> None:
        """Write the tutorial's list file, "path label" a line, for from_list. ValueError: a path
        that a line cannot hold, or pictures in memory, which have none."""
        from .lists import write_list

        if isinstance(self._source, Arrays):
            raise ValueError("the set's pictures are in memory: they have no paths to list")
        write_list(Path(path), self.paths, self.labels)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {count}" for name, count in self.class_counts().items())
        return f"<Dataset of {len(self)} pictures ({counts})>"

    # -- Broken files ------------------------------------------------------------------------------

    def _leave_out_broken(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        def reason(index: int) -> str | None:
            try:
                self._store.picture(index)
            except (OSError, ValueError) as error:
                return str(error)
            return None

        with ThreadPoolExecutor(core.get_num_threads()) as pool:
            reasons = list(pool.map(reason, range(len(self))))
        broken = [(path, why) for path, why in zip(self.paths, reasons, strict=True) if why]
        keep = np.array([why is None for why in reasons])
        if not keep.any():
            raise core.BadFileError(f"none of {len(self)} files is a picture: {broken[0][1]}")
        self.paths = [path for path, kept in zip(self.paths, keep, strict=True) if kept]
        self.labels, self._places = self.labels[keep], self._places[keep]
        self.groups = None if self.groups is None else self.groups[keep]
        self._note_skipped(broken)

    def _note_skipped(self, skipped: list[tuple[str, str]]) -> None:
        if skipped:
            self.skipped += skipped
            warnings.warn(
                f"{len(skipped)} files were skipped; the first: {skipped[0][1]}", stacklevel=3
            )


def _remade(state: dict[str, Any], image_size: int) -> Dataset:
    """See Dataset.__reduce__."""
    dataset = object.__new__(Dataset)
    vars(dataset).update(state)
    bound = int(dataset.cache_mb * (1 << 20))
    contents = dataset._source.contents
    dataset._store = core.PictureStore(contents, image_size, bound, dataset.fit)
    return dataset


def _checked_labels(labels: ArrayLike, count: int) -> NDArray[np.int64]:
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise ValueError(f"labels have the shape {labels.shape}, expected ({count},)")
    if not count:
        raise ValueError("a data set without pictures")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {labels.dtype}, expected whole numbers")
    if labels.min() < 0:
        raise ValueError(f"label {labels.min()} found, expected 0 or more")
    if labels.max() >= MOST_CLASSES:  # each number up to it is a class, which gets a name
        raise ValueError(
            f"label {labels.max()} found, expected at most {MOST_CLASSES - 1}: a network has at "
            f"most {MOST_CLASSES} classes"
        )
    return labels.astype(np.int64)
