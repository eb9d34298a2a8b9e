"""By what pictures are known again: whole sets by a fingerprint, and which pictures a model has
learnt from, as its file says it, so that data that it is to be judged on can be recognised as
these.

A picture's mark is a hash of its file's name and size, which stay where a folder is moved and need
no byte of the file. A model keeps the marks of its training pictures; of more than MOST_MARKS the
least, which are a fair sample: of any large part of these pictures some are in it. A picture that
was renamed, or saved anew, is not recognised. The mark of a picture in memory is a hash of its
pixels.
"""

import os
from collections.abc import Collection, Sequence

from .dataset import Dataset

MOST_MARKS = 1024


def fingerprint(pictures: Dataset | Sequence[str | os.PathLike]) -> str:
    """What a set is, or a list of paths, wherever their folder may lie: how many pictures, and a
    hash of their names (of pictures in memory, of their pixels), and of a set's labels, in
    order."""
    import hashlib

    if isinstance(pictures, Dataset):
        names, labels = pictures.identities, pictures.labels.tolist()
        what = f"{pictures.known_by} and labels"
    else:
        names, labels = [os.path.basename(path) for path in pictures], [""] * len(pictures)
        what = "names"
    lines = (f"{name}\0{label}\n" for name, label in zip(names, labels, strict=True))
    digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{len(names)} pictures with {what} of hash {digest[:12]}"


def add_marks(known: Collection[str], dataset: Dataset) -> tuple[str, ...]:
    """The marks that a model keeps, which knew those before it learnt from `dataset`."""
    marks = {mark for mark in dataset.marks() if mark is not None}
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
    if not known:
        return []
    marks = zip(dataset.paths, dataset.marks(), strict=True)
    return [path for path, mark in marks if mark in known]
