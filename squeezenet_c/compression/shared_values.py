"""Weights that share values: a layer has at most 15 of them besides 0, found by k-means and then
trained by the summed gradients of the weights that have them (Han et al. 2016, arXiv:1510.00149,
section 3). They are counted in steps of the output channel's scale, of which an int8 weight has at
most 127. The network computes with whole steps throughout, the nearest to the values that learn
(a straight-through estimator: Bengio et al. 2013, arXiv:1308.3432): rounded at the end only, all
weights of a layer that share a value would be off in the same direction."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import core
from ..files.quantised import LARGEST_WEIGHT, weight_units
from ..network import Network
from ..training.optimizer import Adam

VALUES = 15  # besides 0
MOST_ROUNDS = 100  # of k-means; it has seldom taken more than 60

Tensors = dict[str, NDArray[Any]]


def shared_values(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most VALUES numbers, sorted, near which these weights lie: k-means from values that are
    spread evenly over their range, which the paper found best, for it leaves the few large weights
    values of their own. Those that no weight is nearest to are left out."""
    if not weights.size:
        return np.empty(0)
    ordered = np.sort(weights, axis=None)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    values = np.linspace(ordered[0], ordered[-1], VALUES)
    for _ in range(MOST_ROUNDS):
        ends = np.searchsorted(ordered, (values[1:] + values[:-1]) / 2)
        ends = np.concatenate([[0], ends, [len(ordered)]])
        used = ends[1:] > ends[:-1]
        means = (sums[ends[1:]] - sums[ends[:-1]])[used] / (ends[1:] - ends[:-1])[used]
        if np.array_equal(means, values):
            break
        values = means
    return values


class Codebook:
    """One layer's weights as a value each.

    units   [output channels, input channels]: what 1 is worth in each weight
    codes   uint8 [output channels * input channels, kernel * kernel]: each weight's value
    values  float32, what learns: [0] is 0 and stays it
    """

    def __init__(
        self,
        shape: Sequence[int],
        layer_units: NDArray[np.float64],
        codes: NDArray[np.uint8],
        values: NDArray[np.float32],
    ):
        self.shape = tuple(shape)
        self.units = np.broadcast_to(layer_units, (*self.shape[:2], 1, 1)).ravel()
        self.codes, self.values = codes, values
        self._units = self.units.astype(np.float32)

    @classmethod
    def found(cls, weights: NDArray[np.float32], layer_units: NDArray[np.float64]) -> "Codebook":
        """By k-means, and 0 where a weight is."""
        steps = (weights / layer_units).reshape(weights.shape[0] * weights.shape[1], -1)
        found = shared_values(steps[steps != 0])
        nearest = np.searchsorted((found[1:] + found[:-1]) / 2, steps) + 1 if len(found) else 0
        codes = np.where(steps != 0, nearest, 0).astype(np.uint8)
        values = np.concatenate([[0.0], found]).astype(np.float32)
        return cls(weights.shape, layer_units, codes, values)

    def weights(self) -> NDArray[np.float32]:
        steps = self.whole_values()
        return core.codebook_weights(steps, self._units, self.codes).reshape(self.shape)

    def gradient(self, gradients: NDArray[np.float32]) -> NDArray[np.float32]:
        """The loss's, of the values, from that of the weights."""
        rows = gradients.reshape(self.codes.shape)
        found = core.codebook_gradients(rows, self._units, self.codes, len(self.values))
        found[0] = 0
        return found

    def whole_values(self) -> NDArray[np.float32]:
        """The nearest whole numbers of int8, but for [0] none of them 0: a dense layer with a few
        zeros has longer codes than without."""
        whole = np.clip(np.rint(self.values), -LARGEST_WEIGHT, LARGEST_WEIGHT)
        whole[1:] = np.where(whole[1:] == 0, np.copysign(1, self.values[1:]), whole[1:])
        return whole.astype(np.float32)


def codebooks(
    state: Tensors, weight_scales: NDArray[np.float32], network: Network
) -> dict[str, Codebook]:
    """By name of the weight tensors."""
    units = weight_units(network, weight_scales)
    return {name: Codebook.found(state[name], unit) for name, unit in units.items()}


def kept_codebooks(
    kept: Tensors, weight_scales: NDArray[np.float32], network: Network
) -> dict[str, Codebook]:
    """Those of a SharedValuesAdam whose state kept this. ValueError: not of such a network."""
    units = weight_units(network, weight_scales)
    books = {}
    for name, unit in units.items():
        codes, values = (kept.get(f"{part}.{name}", np.empty(0)) for part in ("codes", "values"))
        shape = network.gradients[name].shape
        rows = (shape[0] * shape[1], shape[2] * shape[3])
        fits = (codes.shape, codes.dtype, values.ndim, values.dtype) == (
            rows,
            np.uint8,
            1,
            np.float32,
        )
        if not (fits and 0 < len(values) <= VALUES + 1 and codes.max() < len(values)):
            raise ValueError(f"the shared values of {name} are not those of such a layer")
        books[name] = Codebook(shape, unit, codes, values)
    return books


class SharedValuesAdam(Adam):
    """Adam that moves shared values and biases. A value's learning rate is `lr` over the mean unit
    of its layer, so that a weight goes as far in a step as by Adam.

    books   by name of the weight tensors; the model's weights are theirs from the beginning
    """

    def __init__(
        self,
        model: Network,
        books: Mapping[str, Codebook],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        super().__init__(model, lr, betas, eps)
        self.books, self._betas, self._eps = dict(books), betas, eps
        self._moments = {
            name: np.zeros((2, len(book.values)), np.float32) for name, book in books.items()
        }
        self.mask = np.concatenate(
            [np.full(view.size, name not in books) for name, view in model.gradients.items()]
        )
        write_weights(model, books)

    def step(self) -> None:
        """Update biases and values from the model's gradients, and write the weights."""
        super().step()
        for name, book in self.books.items():
            book.values -= self._change(book, self._moments[name], self._model.gradients[name])
        write_weights(self._model, self.books)

    def state_dict(self) -> dict[str, Any]:
        kept: Tensors = {}
        for name, book in self.books.items():
            kept[f"codes.{name}"] = book.codes
            kept[f"values.{name}"] = book.values.copy()
            kept[f"moments.{name}"] = self._moments[name].copy()
        return super().state_dict() | {"kept": kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        kept, read = state["kept"], {}
        for name, book in self.books.items():
            values, moments = (kept.get(f"{part}.{name}") for part in ("values", "moments"))
            if np.shape(values) != book.values.shape or np.shape(moments) != (2, *np.shape(values)):
                raise ValueError(f"the shared values of {name} do not fit their moments")
            read[name] = values, moments
        super().load_state_dict(state)
        for name, (values, moments) in read.items():
            self.books[name].values, self._moments[name] = values.copy(), moments.copy()

    def _change(
        self, book: Codebook, moments: NDArray[np.float32], gradients: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        gradient, (first, second), (beta1, beta2) = book.gradient(gradients), moments, self._betas
        first += np.float32(1 - beta1) * (gradient - first)
        second += np.float32(1 - beta2) * (gradient * gradient - second)
        done = self.step_count
        size = np.float32(self.lr / book.units.mean() / (1 - beta1**done))
        root = np.sqrt(second / np.float32(1 - beta2**done))
        return size * first / (root + np.float32(self._eps))


def write_weights(network: Network, books: Mapping[str, Codebook]) -> None:
    weights = {name: book.weights() for name, book in books.items()}
    network.load_state_dict(network.state_dict() | weights)
