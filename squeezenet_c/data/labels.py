"""Labels as users write them: a class's number, or its name."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._native import core

MOST_DIGITS = 9


class LabelReader:
    """The labels of `source`, a file or an argument, one by one. A text of digits is a number, any
    other a name; all are of one kind, unless the classes' names are known. A name is one of
    `class_names`; without these, of all that were read, which are numbered in alphabetical order.
    """

    def __init__(self, source: object, class_names: Sequence[str] | None):
        self.source, self.class_names = source, class_names
        self.known = None if class_names is None else dict.fromkeys(class_names)
        self.kinds: set[str] = set()

    def check(self, word: str, where: str, may_be_name: bool = True) -> None:
        """BadFileError where `word`, which stands at `where`, is no label, or of another kind than
        those before it."""
        kind = self._kind(word, may_be_name, where)
        self.kinds.add(kind)
        if len(self.kinds) > 1 and self.known is None:
            raise core.BadFileError(
                f"{where}: the label {word!r:.200} is a {kind}, those of {self.source} before it "
                "are not; expected numbers alone or names alone"
            )

    def _kind(self, word: str, may_be_name: bool, where: str) -> str:
        if self.known is not None and word in self.known:
            return "name"
        digits = word.isascii() and word.isdigit()
        if digits and len(word) <= MOST_DIGITS:
            return "number"
        if self.known is None and may_be_name and word and not digits:
            return "name"
        names = "the name of a class"
        if self.known is not None:
            names = f"one of {', '.join(self.known):.1000}"
        raise core.BadFileError(
            f"{where}: the label is {word!r:.200}, expected a whole number of 0 or more, or {names}"
        )

    def numbers(self, words: Sequence[str]) -> tuple[list[int], Sequence[str] | None]:
        """(the number of each of these, which were checked; the classes' names, None where all are
        called by numbers)."""
        names = self.class_names
        if names is None and "name" in self.kinds:
            names = sorted(set(words))
        number_of = {name: number for number, name in enumerate(names or ())}
        return [number_of[w] if w in number_of else int(w) for w in words], names


def labels_of(
    y: ArrayLike, class_names: Sequence[str] | None
) -> tuple[NDArray, Sequence[str] | None]:
    """(labels, class names or None) of whole numbers, or of texts as LabelReader has them.
    ValueError: what is no label. Numbers of another kind are for the data set to refuse."""
    given = np.asarray(y)
    if given.dtype.kind in "iuf" or given.ndim != 1 or not len(given):
        return given, class_names
    words = [str(label) for label in given.tolist()]
    reader = LabelReader("y", class_names)
    for place, word in enumerate(words):
        reader.check(word, f"y[{place}]")
    numbers, names = reader.numbers(words)
    return np.array(numbers, np.int64), names
