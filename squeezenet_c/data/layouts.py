"""What DATA means on the command line: a PALM folder, a root with a folder for each part (train,
val, test), a folder for each class, a CSV table (DATA.csv), or a list file. The columns of a table
are given for all, and refused where DATA is none."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from . import palm
from .dataset import Dataset
from .folders import PART_OF, PARTS, parts_in, visible_folders
from .tables import SUFFIX, Columns

Names = Sequence[str] | None
GUESS = Columns()


def load_one(
    path: str | os.PathLike, class_names: Names = None, columns: Columns = GUESS, **options: Any
) -> Dataset:
    """A folder per class, a CSV table, or a list file."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file or folder {path}")
    if os.fspath(path).lower().endswith(SUFFIX) and not os.path.isdir(path):
        return Dataset.from_csv(path, **asdict(columns), class_names=class_names, **options)
    _refuse_columns(path, columns)
    load = Dataset.from_folder if os.path.isdir(path) else Dataset.from_list
    return load(path, class_names, **options)


def _refuse_columns(path: str | os.PathLike, columns: Columns) -> None:
    if columns != GUESS:
        named = ", ".join(filter(None, asdict(columns).values()))
        raise ValueError(f"{path} has no columns ({named}): only a table does, a file {SUFFIX}")


class TrainingData(NamedTuple):
    """The sets that DATA names. The validation set may choose the best epoch; the test set is for
    figures alone."""

    training: Dataset
    validation: Dataset | None = None
    test: Dataset | None = None


def load_training_data(
    paths: Sequence[str], class_names: Names = None, columns: Columns = GUESS, **options: Any
) -> TrainingData:
    """The sets of what DATA names: of a PALM folder training and validation, of a root that has
    folders of parts these, of several paths one each; all with the classes of the first, in the
    order of `class_names`, where that is given."""
    if len(paths) > len(PARTS):
        raise ValueError(f"{len(paths)} data sets named, expected at most {len(PARTS)}")
    folder = Path(paths[0])
    if len(paths) > 1 or not folder.is_dir():
        return _alike(paths, class_names, columns=columns, **options)
    if palm.is_palm(folder):
        _refuse_columns(folder, columns)
        sets = palm.load(folder, **options)
        if class_names is not None:
            sets = sets[0].with_class_names(class_names), sets[1].with_class_names(class_names)
        return TrainingData(*sets)
    parts = _parts(folder, class_names)
    if parts and "train" not in parts:
        found = ", ".join(path.name for path in parts.values())
        raise ValueError(f"{folder} holds the folders {found} and no folder train")
    places = [parts.get(part) for part in PARTS] if parts else [folder]
    return _alike(places, class_names, columns=columns, **options)


def load_evaluation_data(
    path: str,
    class_names: Names,
    split: str | None = None,
    parts: Sequence[str] = ("test", "validation"),
    columns: Columns = GUESS,
    **options: Any,
) -> Dataset:
    """The set DATA names, its classes in the order of `class_names` where that is given. Of a PALM
    folder or a root with folders of parts it is the part `split` ("train", "val", "test" or
    another name of one); None: the first of `parts` that is there."""
    part = None if split is None else _part_called(split)
    folder = Path(path)
    if folder.is_dir() and palm.is_palm(folder):
        if part == "test":
            raise ValueError(f"{folder} is a PALM folder, which has no test part with labels")
        _refuse_columns(folder, columns)
        load = palm.load_training if part == "train" else palm.load_validation
        return load(folder, **options)
    found = _parts(folder, class_names) if folder.is_dir() else {}
    if not found and part is not None:
        raise ValueError(f"{path} has no folders train, val or test to take the {part} part from")
    if not found:
        return load_one(path, class_names, columns, **options)
    wanted = next((name for name in ([part] if part else parts) if name in found), None)
    if wanted is None:
        listed = ", ".join(place.name for place in found.values())
        expected = part or " or ".join(parts)
        raise ValueError(f"{path} holds the folders {listed}; expected a {expected} part")
    return load_one(found[wanted], class_names, columns, **options)


def _alike(places: Sequence[str | Path | None], class_names: Names, **options: Any) -> TrainingData:
    """A set of each place, None of None; all with the classes of the first."""
    sets: list[Dataset | None] = []
    for place in places:
        sets.append(None if place is None else load_one(place, class_names, **options))
        class_names = sets[0].class_names if sets[0] else class_names
    return TrainingData(*sets)  # type: ignore[arg-type]  # the first place is never None


def _parts(folder: Path, class_names: Names) -> dict[str, Path]:
    """parts_in, but where the names say that the folders are classes."""
    if class_names is not None and set(visible_folders(folder)) <= set(class_names):
        return {}
    return parts_in(folder)


def _part_called(split: str) -> str:
    if split.lower() not in PART_OF:
        raise ValueError(f"the split {split!r} found, expected one of {', '.join(PART_OF)}")
    return PART_OF[split.lower()]
