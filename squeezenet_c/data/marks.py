"""By what pictures are known again: whole sets by a fingerprint, and which pictures a model has
learnt from, as its file says it, so that data that it is to be judged on can be recognised as
these.

A picture's mark is a hash of its file's name and size, which stay where a folder is moved and need
no byte of the file. A model keeps the marks of its training pictures; of more than MOST_MARKS the
least, which are a fair sample: of any large part of these pictures some are in it. A picture that
was renamed, or saved anew, is not recognised.
"""

import os
from collections.abc import Collection, Iterable, Sequence

from .dataset import Dataset

MOST_MARKS = 1024
LENGTH = 12  # hexadecimal digits: two pictures of a million share a mark once in 500 sets


def fingerprint(paths: Sequence[str | os.PathLike], labels: Iterable[int] | None = None) -> str:
    """What a list of pictures is, wherever their folder may lie: how many, and a hash of their
    names, and labels if there are any, in order."""
    import hashlib

    names = [os.path.basename(path) for path in paths]
    said = [""] * len(names) if labels is None else list(labels)
    lines = (f"{name}\0{label}\n" for name, label in zip(names, said, strict=True))
    digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    what = "names" if labels is None else "names and labels"
    return f"{len(names)} pictures with {what} of hash {digest[:12]}"


def mark_of(path: str) -> str | None:
    """The mark of a picture; None where its file is no longer there."""
    import hashlib

    try:
        size = os.stat(path).st_size
    except OSError:
        return None
    text = f"{os.path.basename(path)}\0{size}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:LENGTH]


def add_marks(known: Collection[str], dataset: Dataset) -> tuple[str, ...]:
    """The marks that a model keeps, which knew those before it learnt from `dataset`."""
    marks = {mark for path in dataset.paths if (mark := mark_of(path)) is not None}
    return tuple(sorted(marks.union(known))[:MOST_MARKS])


def refuse_training_pictures(
    known: Collection[str], dataset: Dataset, purpose: str, data: str = "the set"
) -> None:
    """ValueError where the model that knows these marks was trained on pictures of `dataset`, for
    what is to be done with pictures that are new to it: the purpose, as "a threshold is chosen".
    data: the set's name."""
    seen = recognised(known, dataset)
    if seen:
        raise ValueError(
            f"{data}: the model was trained on {len(seen)} of its {len(dataset)} pictures, "
            f"{seen[0]} for one; {purpose} on pictures that it has not seen"
        )


def recognised(known: Collection[str], dataset: Dataset) -> list[str]:
    """The pictures of `dataset` whose marks are known."""
    known = set(known)
    return [path for path in dataset.paths if mark_of(path) in known] if known else []
