"""Comparison of records that hold arrays, of which `==` as dataclasses make it has no truth."""

from dataclasses import fields
from typing import Any, cast

import numpy as np


class EqualByValue:
    """A dataclass (of eq=False) of this base equals another of its kind whose fields are equal,
    arrays element by element. It cannot be hashed."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            _same(getattr(self, field.name), getattr(other, field.name))
            for field in fields(cast(Any, self))
        )

    __hash__ = None  # type: ignore[assignment]


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(first, second)
    return bool(first == second)
