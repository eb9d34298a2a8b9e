"""SqueezeNet trained and run on a CPU: a C library, shown to NumPy.

The names here are the whole public interface. Libraries that are slow to import (matplotlib,
openpyxl, tqdm, Pillow) are imported where they are used.
"""

from typing import Any

from . import palm, synthetic
from ._native import core as _core
from .data_check import DataCheck, check_data
from .dataset import Dataset
from .explain import Explanation, explain
from .exporting import export
from .history import History
from .metrics import Report
from .model import Model
from .optimizer import Adam
from .prediction import Answer, choose_threshold, evaluate, predict, predict_proba
from .preprocessing import Preprocessing
from .recipe import Recipe
from .reporting import Findings, report
from .training import CollapseWarning, TrainingError, train

__version__ = "0.1.0"

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


__all__ = [
    "Adam",
    "Answer",
    "BadFileError",
    "CollapseWarning",
    "DataCheck",
    "Dataset",
    "Explanation",
    "Findings",
    "History",
    "Model",
    "Preprocessing",
    "Recipe",
    "Report",
    "TrainingError",
    "__version__",
    "build_info",
    "check_data",
    "choose_threshold",
    "evaluate",
    "explain",
    "export",
    "get_backend",
    "get_max_pixels",
    "get_num_threads",
    "palm",
    "predict",
    "predict_proba",
    "report",
    "set_backend",
    "set_max_pixels",
    "set_num_threads",
    "synthetic",
    "train",
]
