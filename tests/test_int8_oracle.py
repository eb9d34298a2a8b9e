"""The int8 oracle itself: worked by hand where it is small, against float arithmetic where not."""

import int8_oracle as int8
import networks
import numpy as np
import pytest

from squeezenet_c._native import core

NAMES = [
    name
    for name, (spec, _, _) in networks.NETWORKS.items()
    if spec.get("bypass") != "complex" and name not in networks.ON_KINKS
]


def test_steps_are_the_networks_layers():
    """The same layers, activations and orders as the package's tape."""
    for name in NAMES:
        network = core.Network(**networks.arguments(name))
        layers = network.layers(64, 64)
        steps = int8.steps_of(network.spec)
        assert len(steps) == len(layers)
        for step, layer in zip(steps, layers, strict=True):
            assert (step.kind, step.name) == (layer["kind"], layer["name"])
            assert (step.inputs, step.output) == (tuple(layer["inputs"]), layer["output"])
            if step.kind == "conv":
                assert (step.stride, step.padding) == (layer["stride"], layer["padding"])
                assert (step.part > 0) == (layer["first_channel"] > 0)


def test_groups():
    groups = int8.groups_of(int8.steps_of({"version": "1_1", "bypass": None}))
    # The picture; the first convolution and its pool; fire 2; fire 3 and its pool; ...
    assert groups[:8] == [-1, 1, 1, 3, 4, 5, 6, 6]
    assert groups[-4] == groups[-3] and groups[-2:] == [-1, -1]
    groups = int8.groups_of(int8.steps_of({"version": "1_1", "bypass": "simple"}))
    # Fire 2's output, Fire 3's before the sum and behind it, and the pool that reads the sum.
    assert groups[:9] == [-1, 1, 1, 3, 4, 5, 4, 4, 4]


def test_rounding_is_half_to_even_everywhere():
    weights = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, -300.0]).reshape(1, 8, 1, 1)
    found = int8.whole_weights(weights, np.ones(1, np.float32))
    assert found.ravel().tolist() == [0, 2, 2, 0, -2, 126, 127, -127]
    biases = np.array([0.25, 0.75, 1.25, -0.75, 1e12, -1e12])
    found = int8.whole_biases(biases, np.full(6, 0.25, np.float32), np.float32(2))
    assert found.tolist() == [0, 2, 2, -2, 1 << 30, -(1 << 30)]
    sums = np.array([-1, 1, 3, 5, 7, 509, 511, 1000]).reshape(1, 1, 8)
    found = int8.requantise(sums, np.array([0.5], np.float32))
    assert found.ravel().tolist() == [0, 0, 2, 2, 4, 254, 255, 255]


def test_a_sum_is_rounded_to_float32_before_it_is_multiplied():
    """2^24 + 1 becomes 2^24, half to even, and 2^24 + 3 becomes 2^24 + 4."""
    multiplier = np.array([2.0**-18], np.float32) * np.float32(1 + 2**-20)
    sums = np.array([(1 << 24) + 1, (1 << 24) + 3]).reshape(1, 1, 2)
    assert int8.requantise(sums, multiplier).ravel().tolist() == [64, 64]
    unit = np.array([1.0], np.float32)
    assert int8.average(sums, unit, np.float32(1)).tolist() == [np.float32(2**24 + 2)]


def test_the_first_layer_takes_bytes():
    """w (p / 255 - mean) / std + b, by hand: w = 51, mean 0.25, std 0.5, b = 1 and p = 255 give
    76.5 + 1; v is 0.4 and b' is 1 - 25.5."""
    weight = np.full((1, 3, 1, 1), 0, np.float32)
    weight[0, 0] = 51
    quantisation = {"mean": [0.25] * 3, "std": [0.5] * 3}
    v, b = int8.folded(weight, np.array([1], np.float32), quantisation)
    assert v[0, 0, 0, 0] == 0.4 and not v[0, 1:].any()
    assert b.tolist() == [-24.5]
    assert 255 * v[0, 0, 0, 0] + b[0] == 77.5


def test_a_convolution_by_hand():
    bytes_ = np.array([[[0, 255], [2, 1]]])
    weights = np.array([[[[-127]]], [[[3]]]])
    found = int8.convolve(bytes_, weights, np.array([10, -1]), 1, 0)
    assert found.tolist() == [[[10, -32375], [-244, -117]], [[-1, 764], [5, 2]]]
    around = np.arange(1, 10).reshape(1, 1, 3, 3)
    found = int8.convolve(bytes_, around, np.array([0]), 1, 1)
    assert found[0, 0].tolist() == [0 * 5 + 255 * 6 + 2 * 8 + 1 * 9, 0 * 4 + 255 * 5 + 2 * 7 + 8]


def test_pools_and_sums_by_hand():
    found = int8.max_pool(np.arange(16).reshape(1, 4, 4))
    assert found.tolist() == [[[10, 11], [14, 15]]]
    assert int8.add(np.array([1, 200]), np.array([2, 100])).tolist() == [3, 255]
    sums = np.array([[[1, 2], [3, -8]]])
    found = int8.average(sums, np.array([3], np.float32), np.float32(0.5))
    assert found.tolist() == [np.float32(-2 * 3 * 0.5 / 4)]


@pytest.mark.parametrize("name", NAMES)
def test_close_to_the_same_network_in_floats(name):
    """Weights on the grid are the same in both, so that only activations and biases are rounded."""
    spec = core.SPEC_FIELDS | networks.arguments(name)
    n, height, width = networks.NETWORKS[name][1]
    random = np.random.RandomState(3)
    pictures = random.randint(0, 256, (n, height, width, 3), np.uint8)
    state = networks.weights(core.parameter_shapes(**networks.arguments(name)))
    quantisation = int8.quantisation_of(state, spec, pictures, 0.5, 0.25)
    rounded = int8.rounded_parameters(state, spec, quantisation)
    logits, maps = int8.run(rounded, spec, quantisation, pictures)
    again = int8.rounded_parameters(rounded, spec, quantisation)
    assert all(np.array_equal(again[key], value) for key, value in rounded.items())
    x = ((pictures / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2)
    values = int8.float_activations(rounded, spec, x)
    expected = values[len(quantisation["activation_scales"]) - 1]
    assert np.abs(logits - expected).max() < 0.05 * np.abs(expected).max()
    assert not np.array_equal(logits, expected)
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), logits, rtol=1e-4, atol=1e-6)
