"""Magnitude pruning while a network learns: the weights nearest to 0 become 0 and stay it, step by
step (Zhu & Gupta 2017, arXiv:1710.01878)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Network
from ..training.optimizer import Adam

STEPS_BETWEEN = 5  # two prunings: what is left has as long to make up for what went

Tensors = dict[str, NDArray[Any]]


def weight_names(network: Network) -> list[str]:
    """Of the convolutions' weights, in the order of the parameters: what is pruned."""
    return [name for name, view in network.gradients.items() if view.ndim == 4]


def largest(weights: NDArray[np.float32], density: float) -> NDArray[np.bool_]:
    """Where the weights of the largest magnitude are, `density` of all, rounded up. What is 0 is
    not among them; equals of the smallest among them are."""
    magnitudes = np.abs(weights)
    dropped = weights.size - int(np.ceil(density * weights.size))
    least = np.partition(magnitudes, dropped, axis=None)[dropped] if dropped < weights.size else 0
    return (magnitudes >= least) & (magnitudes > 0)


def prune(state: Tensors, densities: Mapping[str, float]) -> Tensors:
    """A state_dict with those tensors pruned to their density."""
    kept = {name: largest(state[name], density) for name, density in densities.items()}
    return state | {
        name: np.where(where, state[name], np.float32(0)) for name, where in kept.items()
    }


class PruningAdam(Adam):
    """Adam that prunes as it goes. After step t of `steps` a layer has the density

        d + (1 - d) * (1 - t / steps) ** 3

    of its final density d (the paper's equation 1, of sparsities, from 0), and then keeps it: most
    weights go early, while many are to spare. What was pruned gets no step any more.

    densities   final ones, by name of weight tensors, each above 0, at most 1
    steps       as above, at least 1
    options     Adam's
    """

    def __init__(self, model: Network, densities: Mapping[str, float], steps: int, **options: Any):
        super().__init__(model, **options)
        self.densities, self.steps = dict(densities), steps
        self.counts = {name: model.gradients[name].size for name in densities}

    @property
    def arguments(self) -> dict[str, Any]:
        own = {"pruning to": list(self.densities.values()), "pruning steps": self.steps}
        return super().arguments | own

    def densities_after(self, step: int) -> dict[str, float]:
        left = (1 - min(step / self.steps, 1)) ** 3
        return {name: d + (1 - d) * left for name, d in self.densities.items()}

    def step(self) -> None:
        """Update the parameters from the model's gradients, then prune if it is time to."""
        super().step()
        done = self.step_count
        if done == self.steps or (done < self.steps and done % STEPS_BETWEEN == 0):
            state = prune(self._model.state_dict(), self.densities_after(done))
            self._model.load_state_dict(state)
            self.mask = np.concatenate(
                [
                    (values != 0 if name in self.densities else np.ones(values.shape, bool)).ravel()
                    for name, values in state.items()
                ]
            )
