"""Which layer can be pruned how far: what the network's answers lose where that layer alone is
pruned, and from it the densities for a size."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.dataset import Dataset
from ..inference.metrics import softmax
from ..inference.predict import dataset_logits
from ..network import Network
from .prune import prune, weight_names

TRIED = (0.4, 0.15, 0.05)
"""The densities that are measured."""

DENSITIES = np.geomspace(0.02, 1, 158)
"""Those that a layer may be given."""

LEAST_RISE = 1e-9  # of a loss; below it is rounding
LEAST_POWER = 0.5
BITS_A_VALUE = 3.4  # of a weight that is not 0, in Huffman's code of 15 values

Curves = dict[str, NDArray[np.float64]]
"""By name of a weight tensor the rise of the loss at each of DENSITIES."""


def sensitivity(
    network: Network,
    pictures: Dataset,
    temperature: float = 1.0,
    tick: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """What it adds to the loss to prune one layer alone to each density of TRIED. The loss is the
    cross-entropy with the unpruned network's probabilities for labels, of logits divided by
    `temperature`, whose rise is the Kullback-Leibler divergence from these, in nats a picture: with
    the pictures' own labels it would be lost in what pruning gets right by chance. `tick` is called
    after each measurement."""

    def answers(network: Network) -> NDArray[np.float64]:
        return softmax(dataset_logits(network, pictures) / temperature)

    twin, state = network.copy(), network.state_dict()
    rises: dict[str, list[float]] = {}
    expected = answers(network)
    for name in weight_names(network):
        rises[name] = []
        for density in TRIED:
            twin.load_state_dict(prune(state, {name: density}))
            rises[name].append(divergence(expected, answers(twin)))
            tick()
    return rises


def divergence(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """The mean over rows of the Kullback-Leibler divergence."""
    least = np.finfo(np.float64).tiny
    logs = np.log(np.maximum(expected, least)) - np.log(np.maximum(found, least))
    return float((expected * logs).sum(axis=1).mean())


def fitted(rises: Mapping[str, Sequence[float]]) -> Curves:
    """Curves s * (density ** -p - 1), with p of all layers and s of each, through the logarithms of
    the rises at TRIED by least squares. The measured curves themselves are no guide: an untrained
    network has soon lost all that it can, and further pruning seems to cost nothing."""
    logs = np.log(np.maximum(list(rises.values()), LEAST_RISE))
    power = max(-np.polyfit(np.log(TRIED), logs.mean(axis=0), 1)[0], LEAST_POWER)
    sizes = np.exp((logs - np.log(np.array(TRIED) ** -power - 1)).mean(axis=1))
    shape = DENSITIES**-power - 1
    return {name: size * shape for name, size in zip(rises, sizes, strict=True)}


def bits_a_weight(density: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """About what a layer of that density takes when coded: where its weights are, and which."""
    held = np.clip(density, 1e-12, 1 - 1e-12)
    entropy = -held * np.log2(held) - (1 - held) * np.log2(1 - held)
    return entropy + BITS_A_VALUE * held


def allocate(
    curves: Curves,
    counts: Mapping[str, int],
    size_of: Callable[[Mapping[str, float]], float],
    most: float,
) -> dict[str, float]:
    """Densities, by name of a weight tensor, of which `size_of` is at most `most` bytes, where a
    layer has `counts` weights. Of all that are as small they have the least sum of rises, as far as
    rises add up: one more byte would gain the same in every layer, a price that is found by
    bisection. Where not even the least densities are small enough, these."""

    def at(log_price: float) -> dict[str, float]:
        bits = bits_a_weight(DENSITIES)
        costs = {
            name: rises + np.exp(log_price) * counts[name] * bits for name, rises in curves.items()
        }
        return {name: float(DENSITIES[cost.argmin()]) for name, cost in costs.items()}

    low, high = -60.0, 20.0  # nothing is pruned; everything is
    if size_of(at(low)) <= most:
        return at(low)
    while high - low > 0.01:
        middle = (low + high) / 2
        if size_of(at(middle)) <= most:
            high = middle
        else:
            low = middle
    return at(high)
