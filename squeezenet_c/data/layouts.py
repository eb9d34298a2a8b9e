"""What DATA means on the command line."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import palm
from .dataset import Dataset

TRAIN_FOLDERS, VALID_FOLDERS = ("train", "training"), ("valid", "val", "validation")


def load_one(path: str, **options: Any) -> Dataset:
    """A list file, or a folder per class."""
    return Dataset.from_folder(path, **options) if os.path.isdir(path) else _list(path, **options)


def _list(path: str, **options: Any) -> Dataset:
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file or folder {path}")
    return Dataset.from_list(path, **options)


def load_training_data(paths: Sequence[str], **options: Any) -> tuple[Dataset, Dataset | None]:
    """(training set, validation set or None) of what DATA names."""
    if len(paths) > 2:
        raise ValueError(f"{len(paths)} data sets named, expected one or two")
    if len(paths) == 2:
        training = load_one(paths[0], **options)
        names = training.class_names
        return training, load_one(paths[1], class_names=names, **options)
    folder = Path(paths[0])
    if not folder.is_dir():
        return load_one(paths[0], **options), None
    if palm.is_palm(folder):
        return palm.load(folder, **options)
    names = {entry.name for entry in folder.iterdir() if entry.is_dir()}
    training = next((name for name in TRAIN_FOLDERS if name in names), None)
    valid = next((name for name in VALID_FOLDERS if name in names), None)
    if training and valid and len(names) <= 3:  # train, valid, and perhaps test
        return load_training_data([str(folder / training), str(folder / valid)], **options)
    return Dataset.from_folder(folder, **options), None


def load_evaluation_data(path: str, class_names: Sequence[str] | None, **options: Any) -> Dataset:
    """The set DATA names, its classes in the order of `class_names` where that is given; of a
    PALM folder the validation part."""
    if os.path.isdir(path) and palm.is_palm(path):
        return palm.load_validation(path, **options)
    return load_one(path, class_names=class_names, **options)
