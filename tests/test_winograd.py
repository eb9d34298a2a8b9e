"""Winograd's algorithm on the own kernels: used where it should be, and near enough to the sum."""

import networks
import numpy as np
import oracle
import pytest
from ops_support import normals

from squeezenet_c._native import core

# The bound is 1e-3 of the largest value; a slip in one of 36 points is larger than this.
ALLOWED = 2e-5
PARTS = ("forward", "backward_data", "backward_weights")


def expand_layers():
    """(C, H, W) and (K, C, 3, 3) of every 3x3 convolution of both networks at 224 x 224."""
    found = set()
    for version in ("1_0", "1_1"):
        for layer in core.Network(version, 2).layers(224, 224):
            if layer["name"].endswith("expand3x3"):
                c, h, w = layer["in_shape"]
                found.add(((c, h, w), (layer["out_shape"][0], c, 3, 3)))
    return sorted(found)


def relative(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def names(x_shape, weight_shape, padding):
    return core._op_implementations(
        x_shape, weight_shape, padding=padding, relu=True, backend="openmp"
    )


@pytest.mark.parametrize("x_shape, weight_shape", expand_layers(), ids=str)
def test_error_at_the_networks_shapes(x_shape, weight_shape):
    """Every direction of every 3x3 layer, with activations and weights as a network has them."""
    found = names(x_shape, weight_shape, 1)
    assert all(found[part].startswith("winograd 3x3") for part in PARTS), found
    x = np.maximum(normals(1, 1, *x_shape), 0)
    weight = normals(2, *weight_shape) * np.float32(np.sqrt(2 / (9 * x_shape[0])))
    bias = 0.1 * normals(3, weight_shape[0])
    y = core._op_conv2d(x, weight, bias, padding=1, relu=True, backend="openmp")
    assert relative(y, oracle.conv2d(x, weight, bias, padding=1, relu=True)) < ALLOWED
    dy = normals(4, *y.shape)
    before = normals(5, *x.shape)
    got = core._op_conv2d_backward(x, weight, dy, y, dx=before, padding=1, backend="openmp")
    dx, dw, _ = oracle.conv2d_backward(x, weight, dy, y, padding=1)
    assert relative(got[0], dx + before) < ALLOWED
    assert relative(got[1], dw) < ALLOWED


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 2), (0, 2), (2, 1)], ids=str)
@pytest.mark.parametrize("size", [(7, 8), (8, 8), (9, 13), (20, 5), (6, 31), (30, 30)], ids=str)
@pytest.mark.parametrize("channels", [(5, 9), (16, 48), (33, 24), (72, 8)], ids=str)
def test_edges(size, padding, channels):
    """Tiles that hang over the picture, groups and chunks that are not whole, odd channels."""
    x_shape, weight_shape = (channels[0], *size), (channels[1], channels[0], 3, 3)
    assert names(x_shape, weight_shape, padding)["forward"].startswith("winograd")
    x, weight, bias = normals(1, 2, *x_shape), normals(2, *weight_shape), normals(3, channels[1])
    y = core._op_conv2d(x, weight, bias, padding=padding, backend="openmp")
    assert relative(y, oracle.conv2d(x, weight, bias, padding=padding)) < ALLOWED
    dy = normals(4, *y.shape)
    got = core._op_conv2d_backward(x, weight, dy, padding=padding, backend="openmp")
    expected = oracle.conv2d_backward(x, weight, dy, padding=padding)
    for mine, theirs in zip(got[:2], expected[:2], strict=True):
        assert relative(mine, theirs) < ALLOWED


def test_not_where_most_of_a_tile_hangs_over():
    for size in ((1, 1), (2, 2), (1, 33), (33, 1)):
        found = names((16, *size), (16, 16, 3, 3), 1)
        assert all(found[part].startswith("direct") for part in PARTS), (size, found)


def test_what_is_not_3x3_or_has_strides_is_direct():
    for weight_shape, options in (
        ((16, 16, 1, 1), {}),
        ((16, 16, 5, 5), {"padding": 2}),
        ((16, 16, 3, 3), {"stride": 2, "padding": 1}),
        ((16, 16, 3, 3), {"stride": (1, 2), "padding": 1}),
    ):
        found = core._op_implementations((16, 20, 20), weight_shape, backend="openmp", **options)
        assert all(found[part].startswith("direct") for part in PARTS), (weight_shape, found)


def test_nan_stays():
    """16 outputs: whole blocks everywhere. In a hole NaN times 0 would be NaN, and refused here."""
    x, weight, bias = normals(1, 1, 8, 20, 20), normals(2, 16, 8, 3, 3), normals(3, 16)
    x[0, 0, 10, 10] = np.nan
    y = core._op_conv2d(x, weight, bias, padding=1, relu=True, backend="openmp")
    assert np.isnan(y[0, :, 9:12, 9:12]).all()
    assert not np.isnan(y[0, :, :4, :4]).any()


def test_a_network_says_where_it_is_used():
    before = core.get_backend()
    core.set_backend("openmp")
    try:
        network = core.Network(**networks.arguments("1_1"))
        rows = network.plan(224, 224, training=True, repeats=0)
    finally:
        core.set_backend(before)
    used = [row for row in rows if row["implementation"].startswith("winograd")]
    assert len(used) == 3 * 8
    assert all("expand3x3" in row["layer"] for row in used)
