"""SqueezeNet trained and run on a CPU: a C library, shown to NumPy.

The names here are the whole public interface. Libraries that are slow to import (matplotlib,
openpyxl, tqdm, Pillow) are imported where they are used; and what not every program uses, with all
that it needs (scikit-learn for SqueezeNetClassifier), when its name is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ._native import core as _core  # first, for it refuses sub-interpreters

# isort: split
from . import palm
from ._version import __version__
from .base.language import language, set_language
from .compression.compress import compress
from .compression.quantize import quantize
from .data import synthetic
from .data.augment import Augment, augment_sheet
from .data.check import DataCheck, check_data
from .data.dataset import Dataset
from .files.export import export
from .inference.calibration import calibrate
from .inference.cam import Explanation, explain
from .inference.evaluation import Evaluation
from .inference.predict import (
    Answer,
    choose_threshold,
    evaluate,
    features,
    predict,
    predict_proba,
)
from .model import Model
from .preprocessing import Preprocessing
from .reports.findings import Report
from .reports.write import report
from .training.failing import CollapseWarning, TrainingError
from .training.history import History
from .training.loop import train
from .training.optimizer import SGD, Adam
from .training.recipe import Recipe

if TYPE_CHECKING:
    from .estimator import SqueezeNetClassifier as SqueezeNetClassifier
    from .inference.comparison import Comparison
    from .reports.compare import compare
    from .training.cross_validation import CrossValidation, cross_validate
    from .training.lr_find import RangeTest, lr_find
    from .training.sweep import sweep
    from .training.sweep_table import Sweep

# By the module that has it. A name that a submodule of ours has too cannot be among them.
_LATER = {
    "SqueezeNetClassifier": ".estimator",
    "Comparison": ".inference.comparison",
    "compare": ".reports.compare",
    "CrossValidation": ".training.cross_validation",
    "cross_validate": ".training.cross_validation",
    "RangeTest": ".training.lr_find",
    "lr_find": ".training.lr_find",
    "sweep": ".training.sweep",
    "Sweep": ".training.sweep_table",
}

BadFileError = _core.BadFileError
set_backend = _core.set_backend
get_backend = _core.get_backend
set_num_threads = _core.set_num_threads
get_num_threads = _core.get_num_threads
set_max_pixels = _core.set_max_pixels
get_max_pixels = _core.get_max_pixels


def build_info() -> dict[str, Any]:
    """What is installed and what is in use: "version", "backend", "backends", "isa", "threads",
    "bfloat16" (whether the backend computes in it here) and more, as the compiled part reports
    it."""
    return {"version": __version__, **_core.build_info()}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name], __name__), name)


__all__ = [
    "Adam",
    "Answer",
    "Augment",
    "BadFileError",
    "CollapseWarning",
    "Comparison",
    "CrossValidation",
    "DataCheck",
    "Dataset",
    "Explanation",
    "Report",
    "History",
    "Model",
    "Preprocessing",
    "RangeTest",
    "Recipe",
    "SGD",
    "Sweep",
    "Evaluation",
    "TrainingError",
    "__version__",
    "augment_sheet",
    "build_info",
    "calibrate",
    "check_data",
    "choose_threshold",
    "compare",
    "compress",
    "cross_validate",
    "evaluate",
    "explain",
    "export",
    "features",
    "get_backend",
    "get_max_pixels",
    "get_num_threads",
    "language",
    "lr_find",
    "palm",
    "predict",
    "predict_proba",
    "quantize",
    "report",
    "set_backend",
    "set_language",
    "set_max_pixels",
    "sweep",
    "set_num_threads",
    "synthetic",
    "train",
]
