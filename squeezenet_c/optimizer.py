"""Adam, as callers see it."""

from typing import Any

from ._native import core


class Adam(core.Adam):
    """torch.optim.Adam without weight decay, over all parameters of one model.

    `lr` may be changed between steps; `step_count` is the number of updates done. The optimizer
    tells the model how many steps were taken, so that each step drops other units.
    """

    def __init__(
        self,
        model: "core.Network",
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        super().__init__(model, lr, betas, eps)
        self._follower = model
        model.step = 0

    def step(self) -> None:
        """Update the parameters from the model's gradients."""
        super().step()
        self._follower.step = self.step_count

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state`, of state_dict(), left off."""
        super().load_state_dict(state)
        self._follower.step = self.step_count
