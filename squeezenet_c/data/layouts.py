"""What DATA means on the command line: a PALM folder, a root with a folder for each part (train,
val, test), a folder for each class, or a list file."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import palm
from .dataset import Dataset
from .folders import PART_OF, parts_in, visible_folders

Names = Sequence[str] | None


def load_one(path: str | os.PathLike, class_names: Names = None, **options: Any) -> Dataset:
    """A list file, or a folder per class."""
    if os.path.isdir(path):
        return Dataset.from_folder(path, class_names, **options)
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file or folder {path}")
    return Dataset.from_list(path, class_names, **options)


def load_training_data(
    paths: Sequence[str], class_names: Names = None, **options: Any
) -> tuple[Dataset, Dataset | None]:
    """(training set, validation set or None) of what DATA names; classes in the order of
    `class_names`, where that is given. Of a root that has train and test and nothing else, test is
    the validation set, which a warning says."""
    if len(paths) > 2:
        raise ValueError(f"{len(paths)} data sets named, expected one or two")
    if len(paths) == 2:
        return _pair(paths[0], paths[1], class_names, **options)
    folder = Path(paths[0])
    if not folder.is_dir():
        return load_one(folder, class_names, **options), None
    if palm.is_palm(folder):
        training, valid = palm.load(folder, **options)
        if class_names is None:
            return training, valid
        return training.with_class_names(class_names), valid.with_class_names(class_names)
    parts = _parts(folder, class_names)
    if not parts:
        return load_one(folder, class_names, **options), None
    if "train" not in parts:
        found = ", ".join(path.name for path in parts.values())
        raise ValueError(f"{folder} holds the folders {found} and no folder train")
    valid_part = parts.get("validation") or parts.get("test")
    if valid_part is None:
        return load_one(parts["train"], class_names, **options), None
    if "validation" not in parts:
        warnings.warn(
            f"{folder} has no folder val: {valid_part.name} is the validation set, so that figures "
            "on it flatter where it chooses the best epoch",
            stacklevel=2,
        )
    return _pair(parts["train"], valid_part, class_names, **options)


def load_evaluation_data(
    path: str,
    class_names: Names,
    split: str | None = None,
    parts: Sequence[str] = ("test", "validation"),
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
        load = palm.load_training if part == "train" else palm.load_validation
        return load(folder, **options)
    found = _parts(folder, class_names) if folder.is_dir() else {}
    if not found and part is not None:
        raise ValueError(f"{path} has no folders train, val or test to take the {part} part from")
    if not found:
        return load_one(path, class_names, **options)
    wanted = next((name for name in ([part] if part else parts) if name in found), None)
    if wanted is None:
        listed = ", ".join(place.name for place in found.values())
        expected = part or " or ".join(parts)
        raise ValueError(f"{path} holds the folders {listed}; expected a {expected} part")
    return load_one(found[wanted], class_names, **options)


def _pair(
    training: str | os.PathLike, valid: str | os.PathLike, class_names: Names, **options: Any
) -> tuple[Dataset, Dataset]:
    """Both with the classes of the first."""
    first = load_one(training, class_names, **options)
    return first, load_one(valid, first.class_names, **options)


def _parts(folder: Path, class_names: Names) -> dict[str, Path]:
    """parts_in, but where the names say that the folders are classes."""
    if class_names is not None and set(visible_folders(folder)) <= set(class_names):
        return {}
    return parts_in(folder)


def _part_called(split: str) -> str:
    if split.lower() not in PART_OF:
        raise ValueError(f"the split {split!r} found, expected one of {', '.join(PART_OF)}")
    return PART_OF[split.lower()]
