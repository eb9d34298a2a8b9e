"""What a run's bits depend on besides its network, its pictures and its optimizer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..data.augment import PRESETS, Augment
from ..network import Network
from .distillation import mark_of
from .history import DEFAULT_MONITOR
from .recipe import Recipe


@dataclass(frozen=True)
class Settings:
    """`train`'s arguments of the same names, checked; class_weights as numbers."""

    recipe: Recipe
    epochs: int
    batch_size: int
    seed: int = 0
    augment: Augment = PRESETS["flips"]
    early_stopping: int | None = None
    monitor: str = DEFAULT_MONITOR
    valid_fraction: float | None = None
    freeze: str | int | Sequence[str] | None = None
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    class_weights: list[float] | None = None
    calibrate: bool = False
    teacher: Network | None = None
    temperature: float = 1.0

    def arguments(self, model: Network) -> dict[str, Any]:
        """By name, for the state of a run of this model, which another run may not resume. A new
        name needs what earlier runs did, in base/earlier.py."""
        teacher = self.teacher and f"{mark_of(self.teacher)}, temperature {self.temperature}"
        return {
            **model.spec,
            **model.preprocessing.to_dict(),
            "precision": model.precision,
            **asdict(self.recipe),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "augment": str(self.augment),
            "early_stopping": self.early_stopping,
            "monitor": self.monitor,
            "valid_fraction": self.valid_fraction,
            "freeze": self.freeze,
            "weight_decay": self.weight_decay,
            "label_smoothing": self.label_smoothing,
            "class_weights": self.class_weights,
            "calibrate": self.calibrate,
            "teacher": teacher,
        }

    @property
    def loss(self) -> dict[str, Any]:
        """Network.compute_gradients' arguments of the loss."""
        return {
            "label_smoothing": self.label_smoothing,
            "class_weights": self.class_weights,
            "temperature": self.temperature,
        }
