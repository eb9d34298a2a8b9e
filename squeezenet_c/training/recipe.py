"""How training goes when nothing else is said. The one place where these numbers are kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

SCHEDULES = ("cosine", "step", "plateau", "constant")
PLATEAU_THRESHOLD = 1e-4  # a loss is better if it is lower by this share: PyTorch's default


@dataclass(frozen=True)
class Recipe:
    """The learning rate over a run: a linear warm-up to `lr` over `warmup_epochs`, then by
    `schedule`

    "cosine"    half a cosine down to `lr * final_factor` at the run's last step (Loshchilov &
                Hutter 2017, arXiv:1608.03983, equation 5, without restarts)
    "step"      times `factor` after every `step_epochs` epochs (torch's StepLR)
    "plateau"   times `factor` whenever the loss, of the validation set if there is one, else of
                training, has not fallen by a ten-thousandth of its best for more than `patience`
                epochs (torch's ReduceLROnPlateau); epochs of the warm-up do not count
    "constant"  `lr`

    and never below `lr * final_factor`. All but the classifier learn at `body_lr_scale` times that.

    The defaults were chosen on PALM's training pictures alone: v1.1, 20 epochs, four seeds, each
    tested on another fifth of the pictures. Mean best accuracy, and mean accuracy of the last three
    epochs, at lr 2e-4: 0.947, 0.933; 3e-4: 0.962, 0.948; 5e-4: 0.962, 0.955. At 1e-3 a run on
    synthetic pictures collapsed to loss 0.693. Those of step and plateau are PyTorch's and common
    use's; they were not tuned.

    ValueError: a field is out of its range."""

    lr: float = 5e-4
    warmup_epochs: float = 1.0
    final_factor: float = 0.01
    schedule: str = "cosine"
    factor: float = 0.1
    step_epochs: int = 10
    patience: int = 5
    body_lr_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("lr", "warmup_epochs", "final_factor", "body_lr_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value!r}, expected a finite number of at least 0")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}, expected {_either(SCHEDULES)}")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor is {self.factor!r}, expected more than 0, less than 1")
        for name, low in (("step_epochs", 1), ("patience", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ValueError(f"{name} is {value!r}, expected a whole number of at least {low}")

    @classmethod
    def fine_tuning(cls) -> "Recipe":
        """The default for weights that have learnt before (Model.from_pretrained): a fresh head may
        take large steps, the body takes small ones.

        Chosen on PALM's training pictures alone: ImageNet's v1.1, 20 epochs, each fifth of the
        pictures told by a network that the others trained, after its last epoch. Accuracy, AUC and
        cross-entropy over all 400, means of two seeds: at 1e-3 for the head and 1e-4 for the body
        0.976, 0.998, 0.064; at 1e-4 for both 0.976, 0.998, 0.067. One seed each: body at 2e-4
        0.975, 0.998, 0.091; at 5e-5 0.970, 0.998, 0.071; both at 5e-4, 15 epochs, 0.968, 0.997,
        0.094. A few pictures' worth of difference: it is flat."""
        return cls(lr=1e-3, body_lr_scale=0.1)

    def with_rates(self, lr: float | None, body_lr_scale: float | None) -> "Recipe":
        """The same course at other rates; None: as they are. `lr` is the classifier's, and all else
        keeps its ratio to it unless `body_lr_scale` is given."""
        return replace(
            self,
            lr=self.lr if lr is None else lr,
            body_lr_scale=self.body_lr_scale if body_lr_scale is None else body_lr_scale,
        )

    @property
    def needs_epochs(self) -> bool:
        """Whether the course depends on how many epochs the run has in all."""
        return self.schedule == "cosine"

    def rate(
        self, step: int, steps_per_epoch: int, epochs: int, losses: Sequence[float] = ()
    ) -> float:
        """The learning rate of step `step`, counted from 0. losses: what "plateau" looks at, of the
        epochs before that step's."""
        warmup = self.warmup_epochs * steps_per_epoch
        if step < warmup:
            return self.lr * (step + 1) / (math.floor(warmup) + 1)
        if self.schedule == "cosine":
            decay_steps = max(1.0, epochs * steps_per_epoch - 1 - warmup)
            progress = min(1.0, (step - warmup) / decay_steps)
            factor = (1 + math.cos(math.pi * progress)) / 2
            return self.lr * (self.final_factor + (1 - self.final_factor) * factor)
        if self.schedule == "step":
            falls = step // steps_per_epoch // self.step_epochs
        elif self.schedule == "plateau":
            falls = self._plateaus(losses[math.ceil(self.warmup_epochs) :])
        else:
            falls = 0
        return self.lr * max(self.factor**falls, self.final_factor) if falls else self.lr

    def _plateaus(self, losses: Sequence[float]) -> int:
        """How often patience has run out. A function of the losses alone, so that a resumed run
        has no counters to restore."""
        best, bad, falls = math.inf, 0, 0
        for loss in losses:
            if loss < best * (1 - PLATEAU_THRESHOLD):
                best, bad = loss, 0
            else:
                bad += 1
            if bad > self.patience:
                falls, bad = falls + 1, 0
        return falls


def _either(words: Sequence[str]) -> str:
    quoted = [f'"{word}"' for word in words]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
