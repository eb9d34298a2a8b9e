"""The classes of a run: the options on them, and the line that tells them."""

import argparse

from ..base.language import class_name
from ..data.dataset import Dataset
from ..inference.predict import match_classes
from ..network import Network
from .groups import group

MOST = 10  # classes that the line lists


def add_classes(parser: argparse.ArgumentParser) -> None:
    """The options of `train` on classes."""
    group(parser, "data").add_argument(
        "--class-names", type=_names, metavar="A,B", help="the classes' names in the order of "
        "their numbers (default: of folders, and of names in a list file or table, alphabetical; "
        "else the numbers)"
    )  # fmt: skip
    add_positive(parser)


def add_positive(parser: argparse.ArgumentParser) -> None:
    group(parser, "data").add_argument(
        "--positive", metavar="NAME", help="the class that sensitivity, specificity and the "
        "threshold are about (default: of two classes number 1)"
    )  # fmt: skip


def _names(text: str) -> list[str]:
    names = text.split(",")
    if "" in names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text} found, different names with commas expected")
    return names


def classes_line(model: Network, sets: dict[str, Dataset | None]) -> str:
    """The classes of a model, by number and name, the positive one marked, and how many pictures
    of each the sets have. ValueError: a set of other classes."""
    counts = {
        name: match_classes(dataset, model.class_names, model.num_classes).label_counts(
            model.num_classes
        )
        for name, dataset in sets.items()
        if dataset is not None
    }
    listed = []
    for label in range(min(model.num_classes, MOST)):
        name = model.name_of(label)
        what = f"{label}" if name == str(label) else f"{label} {class_name(name)}"
        if label == model.positive:
            what += ", positive"
        shares = ", ".join(f"{count[label]} {name}" for name, count in counts.items())
        listed.append(f"{what} ({shares})")
    if model.num_classes > MOST:
        listed.append(f"and {model.num_classes - MOST} more")
    return f"Classes: {'; '.join(listed)}"
