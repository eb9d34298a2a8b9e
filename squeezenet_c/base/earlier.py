"""What files of earlier versions mean by what they do not say.

One table for model files (their spec and preprocessing), runs' states and runs' args.yaml, by the
names these have in common. Where a name is new, its value here is what every network or run had
when there was no choice; a name that is not here has been in all files.
"""

from collections.abc import Iterable, Mapping
from typing import Any

EARLIER: dict[str, Any] = {
    "fit": "pad",
    "calibrate": False,
    "monitor": "accuracy",
    "optimizer": "adam",
    "clip_norm": None,
    "ema": None,
}

AUGMENT_WORDS = {True: "flips", False: "none"}
"""What a run's augment, which was a switch, was called later."""


def completed(said: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """What a file says, as it says it now, with those of `names` that it is too old to have."""
    found = {name: EARLIER[name] for name in names if name in EARLIER} | dict(said)
    if isinstance(found.get("augment"), bool):
        found["augment"] = AUGMENT_WORDS[found["augment"]]
    return found
