"""How training pictures are changed at random, so that a network sees more than there are: by how
much (Augment), and what that looks like (augment_sheet). The changes are made in C,
csrc/image/change.c, by the thread that trains on the picture."""

import os
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._native import core
from ..base.png import encode_png
from ..base.write import write_bytes
from .dataset import Dataset

GAP = 4  # white pixels between the pictures of a sheet


@dataclass(frozen=True)
class Augment:
    """By how much a training picture is changed, by chance and anew in every epoch. What is 0 or
    False is not done; numbers are drawn evenly from their range.

    rotation        by -rotation to rotation degrees about the middle; at most 180
    scale           to 1 - scale to 1 + scale times its size; at most 0.5
    translation     across and down by up to this share of the side, either way; at most 0.5
    brightness, contrast, saturation    times 1 - it to 1 + it, at most 1: torchvision's
                    ColorJitter, but in this order and without a rounding between
    hue             by up to this share of a full turn of the colours, either way, at most 0.5;
                    their grey value stays
    erasing         the probability, 0 to 1, that a rectangle of 2 to 33 percent of the picture is
                    random bytes (Zhong et al. 2017, arXiv:1708.04896)
    horizontal_flip, vertical_flip      each of half the pictures
    quarter_turns   by 0, 90, 180 or 270 degrees

    A picture is moved, then coloured, then erased. Beyond its edges it is black, as what pads it to
    a square is. The change of a picture is a function of seed, epoch and its number in the set, and
    each range has random numbers of its own: another range leaves the other changes as they were.

    ValueError: a number outside its range.
    """

    rotation: float = 0.0
    scale: float = 0.0
    translation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    erasing: float = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    quarter_turns: bool = False

    def __post_init__(self) -> None:
        self.changes(0, 0, [], 1, 1)  # which refuses what is out of its range

    @classmethod
    def of(cls, what: "bool | str | Augment") -> "Augment":
        """The Augment that is meant by itself; by True ("flips") or False ("none"); or by words
        with commas between: the names of PRESETS, of fields that are True, and field=number, as in
        "flips,rotation=15,brightness=0.2". A later word goes before an earlier one."""
        if isinstance(what, Augment):
            return what
        if isinstance(what, bool):
            what = "flips" if what else "none"
        if not isinstance(what, str):
            raise ValueError(
                f"augment is {what!r}, expected True, False, an Augment, or a text such as "
                f'"{next(reversed(PRESETS))}"'
            )
        values: dict[str, Any] = {}
        for word in what.split(","):
            values |= _meant(word.strip(), what)
        return cls(**values)

    def __str__(self) -> str:
        """The shortest text that `of` makes this of."""
        for name, preset in PRESETS.items():
            if name in ("none", "flips") and preset == self:
                return name
        said = {name: value for name, value in asdict(self).items() if value}
        return ",".join(
            name if value is True else f"{name}={float(value)!r}".removesuffix(".0")
            for name, value in said.items()
        )

    def changes(
        self, seed: int, epoch: int, indices: ArrayLike, height: int, width: int
    ) -> NDArray[np.int32]:
        """What becomes of the pictures of these numbers in that epoch, a row each, for
        core.change_pictures and compute_gradients."""
        return core.draw_changes(asdict(self), seed, epoch, indices, height, width)


PRESETS = {
    "none": Augment(),
    "flips": Augment(horizontal_flip=True, vertical_flip=True),
    # Photographs of the back of the eye: round, any way up, of other lamps and cameras.
    "fundus": Augment(
        horizontal_flip=True,
        vertical_flip=True,
        quarter_turns=True,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        hue=0.02,
    ),
}
"""What `augment` may be by name."""


def _meant(word: str, text: str) -> dict[str, Any]:
    """Fields and values of one word of a text."""
    if word in PRESETS:
        return {name: value for name, value in asdict(PRESETS[word]).items() if value}
    name, equals, number = word.partition("=")
    kinds = {field.name: field.type for field in fields(Augment)}
    if kinds.get(name) is bool and not equals:
        return {name: True}
    try:
        if kinds.get(name) is float and equals:
            return {name: float(number)}
    except ValueError:
        pass
    raise ValueError(
        f"augment is {text!r:.60}: {word!r:.60} is none of {', '.join(PRESETS)} and no field of "
        "Augment, as quarter_turns or rotation=15"
    )


def augment_sheet(
    dataset: Dataset,
    augment: "bool | str | Augment",
    path: str | os.PathLike,
    *,
    seed: int = 0,
    pictures: int = 6,
    columns: int = 8,
) -> None:
    """Write a PNG of what `augment` (as `train` takes it) makes of pictures: a row each of up to
    `pictures` of them, at equal distances in the set, the picture itself first and then what it is
    in the epochs 1, 2, ... of a run of that seed, `columns` in all.

    ValueError: no picture or column, or what is no augment. OSError, BadFileError: a picture cannot
    be read, or the sheet not be written.
    """
    augment = Augment.of(augment)
    if pictures < 1 or columns < 1:
        raise ValueError(f"a sheet of {pictures} rows and {columns} columns, expected at least 1")
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(pictures, len(dataset))).astype(int))
    size = dataset.image_size
    step = size + GAP
    sheet = np.full((len(rows) * step + GAP, columns * step + GAP, 3), 255, np.uint8)
    for row, index in enumerate(rows.tolist()):
        original = dataset[index][0]
        for column in range(columns):
            changes = augment.changes(seed, column, [index], size, size)
            shown = core.change_pictures(original[None], changes)[0] if column else original
            y, x = row * step + GAP, column * step + GAP
            sheet[y : y + size, x : x + size] = shown
    write_bytes(path, encode_png(sheet))
