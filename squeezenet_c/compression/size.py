"""What a compressed model takes, before it is one and after."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..files import native, quantised
from ..network import Network
from .prune import prune
from .quantize import weight_scales
from .shared_values import Codebook, codebooks

HEADER_BYTES = 64  # more, at most, than a file without codes has, for their offsets' digits


@dataclass(frozen=True)
class LayerSize:
    """A convolution's weights: how many, how many of them are not 0, and the bytes that they take
    as codes (as int8, where the model's file has them so)."""

    name: str
    weights: int
    nonzero: int
    size_bytes: int

    @property
    def density(self) -> float:
        return self.nonzero / self.weights

    @property
    def bits_a_weight(self) -> float:
        return 8 * self.size_bytes / self.weights


def layer_sizes(network: Network) -> list[LayerSize]:
    """Of a quantised network. ValueError: it is none."""
    if network.quantization is None:
        raise ValueError("the sizes of a quantised model's layers are asked for, and it is none")
    coded = quantised.CODES in quantised.tensors_of(network)
    sizes = []
    for name, weights in quantised.whole_weights(network).items():
        stream = quantised.code(weights) if coded else None
        size_bytes = weights.size if stream is None else len(stream)
        layer = name.removesuffix(".weight")
        sizes.append(LayerSize(layer, weights.size, int(np.count_nonzero(weights)), size_bytes))
    return sizes


def total_size(network: Network) -> LayerSize:
    """Of all its layers."""
    sizes = layer_sizes(network)
    return LayerSize(
        "all",
        sum(size.weights for size in sizes),
        sum(size.nonzero for size in sizes),
        sum(size.size_bytes for size in sizes),
    )


def size_table(network: Network) -> str:
    """layer_sizes as text, with their sum."""
    lines = [f"{'layer':24}{'weights':>10}{'density':>10}{'bits a weight':>15}{'bytes':>10}"]
    for size in (*layer_sizes(network), total_size(network)):
        lines.append(
            f"{size.name:24}{size.weights:>10,}{size.density:>10.3f}{size.bits_a_weight:>15.3f}"
            f"{size.size_bytes:>10,}"
        )
    return "\n".join(lines)


# -- Before ----------------------------------------------------------------------------------------


def bytes_besides_codes(network: Network) -> int:
    """What the file of such a network takes for all but the codes of its weights."""
    twin = network.copy()
    twin.load_state_dict({name: np.zeros_like(v) for name, v in twin.state_dict().items()})
    preprocessing, activations = twin.preprocessing, len(twin.activation_groups())
    channels = sum(view.size for view in twin.gradients.values() if view.ndim == 1)
    twin.set_quantization(
        np.array(preprocessing.mean, np.float32),
        np.array(preprocessing.std, np.float32),
        np.ones(activations, np.float32),
        np.ones(channels, np.float32),
    )
    tensors = quantised.tensors_of(twin)
    weights = tensors.get(quantised.CODES, tensors.get(quantised.WEIGHTS, ()))
    return file_bytes(twin) - len(weights) + HEADER_BYTES


def file_bytes(network: Network) -> int:
    """What the network's file takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        native.save(network, path)
        return os.path.getsize(path)


def coded_bytes(network: Network, densities: Mapping[str, float]) -> int:
    """What the codes would take, were the weights of a float32 network pruned to these densities
    and shared."""
    state = prune(network.state_dict(), densities)
    books = codebooks(state, scales_of(network), network)
    return sum(map(_book_bytes, books.values()))


def _book_bytes(book: Codebook) -> int:
    """Whatever the values: those that have become the same in the end only make it shorter."""
    stream = quantised.code(book.codes.astype(np.int8))
    assert stream is not None
    return len(stream)


def scales_of(network: Network) -> NDArray[np.float32]:
    """quantize's scales of the weights, each rounded up to the next bfloat16, so that it is written
    in two bytes and the largest weight still has 127 steps."""
    bits = weight_scales(network).view(np.uint32)
    return ((bits + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)).view(np.float32)
