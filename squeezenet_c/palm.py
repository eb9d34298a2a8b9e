"""PALM (iChallenge-PM): the photographs of eyes, pathologic myopia or not, and the model in this
package that tells them apart."""

from .data.palm import (
    CLASS_NAMES,
    is_palm,
    kind_counts,
    load,
    load_training,
    load_validation,
    plot_kind_counts,
    read_labels,
    write_lists,
)
from .model import Model
from .models import packaged_model

__all__ = [
    "CLASS_NAMES",
    "is_palm",
    "kind_counts",
    "load",
    "load_training",
    "load_validation",
    "model",
    "plot_kind_counts",
    "read_labels",
    "write_lists",
]


def model(precision: str = "int8") -> Model:
    """The model that comes with the package: of a photograph of the eye's fundus, whether it shows
    pathologic myopia. It has a threshold and calibrated probabilities. models/palm.md says how good
    it is and what it is not for: it is no medical device.

    precision: "int8", which it is made for, "float32" or "bfloat16"."""
    return Model.load(packaged_model("palm"), precision)
