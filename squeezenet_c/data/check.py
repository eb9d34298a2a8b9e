"""What may be wrong with pictures before a model is trained or judged on them.

A picture that is in the training set and in the validation set makes figures look better than they
are. Pictures are compared as they come out of their files, upright, at any size:

exact duplicates   have the same pixels: SHA-256 of width, height and RGB
near duplicates    look the same: at 16 x 16 grey values, brought there by resampling with
                   antialiasing, their correlation (Pearson's) is at least 0.995 and their grey
                   values differ by at most 4 of 255 on average. So a picture that was scaled or
                   compressed anew is found; one that was cropped or turned is not.

The bounds are from PALM's 400 training photographs at 224 x 224: of their 79800 pairs one is the
same picture twice, and all others are below 0.991. Scaled to 40 % and saved as JPEG of quality 40,
a photograph's correlation with itself stays above 0.999, and its grey values within 1.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..base.language import translate
from .dataset import Dataset

SIDE = 16
CORRELATION, DIFFERENCE = 0.995, 4.0
# Of sRGB for grey: ITU-R BT.601, as JPEG has it.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
PAIRS_AT_ONCE = 1 << 22
FEW = 10  # lines of a kind that are printed
UNEVEN = 3  # times as many pictures in the largest class as in the smallest are mentioned


@dataclass(frozen=True)
class Pair:
    """Two pictures that are the same (exact) or look so. A set is "training", "validation" or
    "test"."""

    first: str
    first_set: str
    second: str
    second_set: str
    exact: bool
    same_label: bool

    @property
    def leaks(self) -> bool:
        """Whether they are in two sets, so that one may train the model and the other judge it."""
        return self.first_set != self.second_set

    def __str__(self) -> str:
        return translate(
            "{kind}{labels}: {first} ({first_set}), {second} ({second_set})",
            kind=translate("same pixels") if self.exact else translate("look the same"),
            labels="" if self.same_label else translate(", WITH DIFFERENT LABELS"),
            first=self.first,
            first_set=translate(self.first_set),
            second=self.second,
            second_set=translate(self.second_set),
        )


@dataclass(frozen=True)
class DataCheck:
    """What `check_data` found.

    counts      pictures of each class, by set and class name
    pairs       duplicates, those between the sets first
    unreadable  (path, reason) of files that are no pictures; they are in nothing else here
    shared_groups   the groups, as persons, that have pictures in two sets; None where not two sets
                have groups
    """

    counts: dict[str, dict[str, int]]
    pairs: list[Pair]
    unreadable: list[tuple[str, str]]
    shared_groups: list[str] | None = None

    @property
    def leaks(self) -> list[Pair]:
        """The pairs of pictures in two sets."""
        return [pair for pair in self.pairs if pair.leaks]

    @property
    def ok(self) -> bool:
        """Whether all files can be read, no two pictures are the same or look so, and no group is
        in two sets."""
        return not self.pairs and not self.unreadable and not self.shared_groups

    def __str__(self) -> str:
        lines = []
        for name, counts in self.counts.items():
            total = max(1, sum(counts.values()))
            shares = [
                translate(
                    "{name}: {count} ({share:.0%})", name=key, count=count, share=count / total
                )
                for key, count in counts.items()
            ]
            lines.append(
                translate(
                    "{name} set, {count} pictures: {shares}",
                    name=translate(name),
                    count=sum(counts.values()),
                    shares=translate(", ").join(shares),
                )
            )
            least, most = min(counts.values()), max(counts.values())
            if most > UNEVEN * least:
                lines.append(
                    translate(
                        "  uneven: one class has {most} pictures, another {least}",
                        most=most,
                        least=least,
                    )
                )
        if self.shared_groups is not None:
            lines += _listed(translate("groups in two of the sets"), self.shared_groups)
        within = [pair for pair in self.pairs if not pair.leaks]
        both = "in both training and validation set"
        lines += _listed(
            translate("in two of the sets" if "test" in self.counts else both), self.leaks
        )
        lines += _listed(translate("duplicates within a set"), within)
        lines += _listed(translate("unreadable files"), [why for _, why in self.unreadable])
        return "\n".join(lines)


def _listed(what: str, found: list) -> list[str]:
    heading = translate("{what}: {count}", what=what, count=len(found) or translate("none"))
    lines = [heading, *(f"  {item}" for item in found[:FEW])]
    if len(found) > FEW:
        lines.append(translate("  and {count} more", count=len(found) - FEW))
    return lines


def check_data(
    training: Dataset, validation: Dataset | None = None, test: Dataset | None = None
) -> DataCheck:
    """Look for unreadable files, for pictures that are in the data twice, exactly or nearly (see
    the module's text), and for groups that are in two sets. Every file is decoded once; pairs are
    all compared."""
    from concurrent.futures import ThreadPoolExecutor

    given = {"training": training, "validation": validation, "test": test}
    sets = {name: dataset for name, dataset in given.items() if dataset is not None}
    paths = [path for dataset in sets.values() for path in dataset.paths]
    places = [(dataset, place) for dataset in sets.values() for place in range(len(dataset))]
    homes = [name for name, dataset in sets.items() for _ in dataset.paths]
    labels = [
        dataset.class_names[label] for dataset in sets.values() for label in dataset.labels.tolist()
    ]
    with ThreadPoolExecutor(core.get_num_threads()) as pool:
        looks = list(pool.map(_look, *zip(*places, strict=True)))
    unreadable = [pair for dataset in sets.values() for pair in dataset.skipped]
    unreadable += [
        (path, look) for path, look in zip(paths, looks, strict=True) if isinstance(look, str)
    ]
    good = [place for place, look in enumerate(looks) if not isinstance(look, str)]
    pairs = [
        Pair(paths[a], homes[a], paths[b], homes[b], exact, labels[a] == labels[b])
        for a, b, exact in _pairs([looks[place] for place in good], good)
    ]
    counts = {name: dict.fromkeys(dataset.class_names, 0) for name, dataset in sets.items()}
    for place in good:
        counts[homes[place]][labels[place]] += 1
    pairs.sort(key=lambda pair: not pair.leaks)
    return DataCheck(counts, pairs, unreadable, _shared_groups(list(sets.values())))


def _shared_groups(sets: list[Dataset]) -> list[str] | None:
    known = [set(dataset.groups) for dataset in sets if dataset.groups is not None]
    if len(known) < 2:
        return None
    seen = Counter(group for groups in known for group in groups)
    return sorted(group for group, times in seen.items() if times > 1)


# -- Comparing -------------------------------------------------------------------------------------

# A picture's hash and its 16 x 16 grey values; of a file that cannot be read, why.
_Look = tuple[bytes, NDArray[np.float32]] | str


def _look(dataset: Dataset, place: int) -> _Look:
    import hashlib

    try:
        picture = dataset.original(place)
    except (OSError, ValueError) as error:
        return str(error)
    digest = hashlib.sha256(repr(picture.shape).encode())
    digest.update(picture.data)
    return digest.digest(), core.resize_image(picture, SIDE, SIDE).astype(np.float32) @ LUMA


def _pairs(looks: list, places: list[int]) -> list[tuple[int, int, bool]]:
    """(place, later place, whether exact) of all that are the same or look so."""
    if not looks:
        return []
    digests = [digest for digest, _ in looks]
    grey = np.stack([grey.ravel() for _, grey in looks])
    centred = grey - grey.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 1e-3)
    flat = norms[:, 0] <= 1e-3  # of one grey value: nothing to correlate
    found = []
    step = max(1, PAIRS_AT_ONCE // len(looks))
    for start in range(0, len(looks), step):
        rows = slice(start, start + step)
        alike = unit[rows] @ unit.T >= CORRELATION
        alike |= flat[rows, None] & flat
        for row, other in np.argwhere(alike):
            a = start + row
            if other <= a:
                continue
            exact = digests[a] == digests[other]
            if exact or np.abs(grey[a] - grey[other]).mean() <= DIFFERENCE:
                found.append((places[a], places[other], exact))
    return found
