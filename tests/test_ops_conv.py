"""Convolution on every backend, forward and backward, against the oracle and by finite differences.

The compiled side watches more than what comes back: _op_conv2d and _op_conv2d_backward raise if a
buffer's guard, a neighbour of the destination slice or a hole (a stored channel that stands for no
logical one) was written, and their outputs are NaN until the op overwrites them.
"""

import numpy as np
import oracle
import pytest
from ops_support import BACKENDS, assert_close, assert_equal, assert_whole, integers, normals

from squeezenet_c._native import core

pytestmark = pytest.mark.parametrize("backend", BACKENDS)

KERNELS = [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (1, 3), (3, 1)]
STRIDES = [1, 2, 3, (1, 2), (3, 1)]
CHANNELS = [1, 3, 7, 16, 17, 48, 100]
CHANNEL_PAIRS = [(a, b) for a in CHANNELS for b in (1, 17, 48)] + [
    (a, b) for a in (1, 17, 48) for b in (3, 7, 16, 100)
]


def paddings(kernel):
    """None, half the kernel, and as much as there can be."""
    full = (kernel[0] - 1, kernel[1] - 1)
    half = ((kernel[0] - 1) // 2, (kernel[1] - 1) // 2)
    return sorted({(0, 0), half, full})


def implementations(backend, x_shape, weight_shape, stride, padding, planar):
    return core._op_implementations(
        x_shape, weight_shape, stride, padding, relu=True, planar=planar, backend=backend
    )


def check(backend, x_shape, out_channels, kernel, stride=1, padding=0, planar=False, slices=(0, 0)):
    """One convolution, exactly: without ReLU and overwriting dx, then with ReLU and adding to dx;
    dw and db summed over the pictures."""
    in_channels = x_shape[1]
    weight_shape = (out_channels, in_channels, *kernel)
    names = implementations(backend, x_shape[1:], weight_shape, stride, padding, planar)
    winograd = {part for part, name in names.items() if name.startswith("winograd")}
    assert_forward = assert_whole if "forward" in winograd else assert_equal
    assert_dx = assert_whole if "backward_data" in winograd else assert_equal
    assert_dw = assert_whole if "backward_weights" in winograd else assert_equal
    x = integers(1, *x_shape)
    weight = integers(2, out_channels, in_channels, *kernel)
    bias = integers(3, out_channels)
    options = {"stride": stride, "padding": padding}
    door = {
        **options,
        "planar": planar,
        "blocks_before": slices[0],
        "blocks_after": slices[1],
        "backend": backend,
    }
    for relu in (False, True):
        y = oracle.conv2d(x, weight, bias, relu=relu, **options)
        assert_forward(core._op_conv2d(x, weight, bias, relu=relu, **door), y)
        dy = integers(4, *y.shape)
        y = y.astype(np.float32) if relu else None
        before = integers(5, *x_shape) if relu and not planar else None
        dx, dw, db = core._op_conv2d_backward(x, weight, dy, y, dx=before, **door)
        expected = oracle.conv2d_backward(x, weight, dy, y, **options)
        if planar:
            assert dx is None
        else:
            assert_dx(dx, expected[0] if before is None else expected[0] + before)
        assert_dw(dw, expected[1])
        assert_equal(db, expected[2])


@pytest.mark.parametrize("stride", STRIDES, ids=str)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_geometry(backend, kernel, stride):
    for padding in paddings(kernel):
        check(backend, (2, 5, 9, 12), 18, kernel, stride, padding)


@pytest.mark.parametrize("channels", CHANNEL_PAIRS, ids=str)
def test_channels(backend, channels):
    check(backend, (2, channels[0], 6, 5), channels[1], (3, 3), 1, 1)
    check(backend, (2, channels[0], 5, 7), channels[1], (1, 1))


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 33), (33, 1), (13, 13), (17, 31)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)])
def test_odd_sizes(backend, kernel, size):
    padding = (kernel[0] - 1) // 2
    for stride in (1, 2):
        check(backend, (1, 16, *size), 16, kernel, stride, padding)


@pytest.mark.parametrize(
    "kernel, stride, padding",
    [((7, 7), 2, 0), ((3, 3), 2, 0), ((3, 3), 1, 1), ((1, 1), 1, 0), ((5, 3), (2, 1), (2, 1))],
    ids=str,
)
@pytest.mark.parametrize("in_channels", [1, 3, 4])
def test_planar_source(backend, in_channels, kernel, stride, padding):
    """The network's first convolution reads the picture as it came: [C][H][W]."""
    for out_channels in (7, 16, 96):
        check(backend, (2, in_channels, 23, 18), out_channels, kernel, stride, padding, planar=True)


@pytest.mark.parametrize("slices", [(0, 1), (1, 0), (2, 3)], ids=str)
@pytest.mark.parametrize("channels", [(16, 64), (17, 7)], ids=str)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3)], ids=str)
def test_destination_slice(backend, kernel, channels, slices):
    """Fire's concatenation: two convolutions write to two ranges of blocks. The other blocks of the
    tensor, and of its gradient, stay as they were: the compiled side looks."""
    padding = (kernel[0] - 1) // 2
    check(backend, (2, channels[0], 7, 6), channels[1], kernel, 1, padding, slices=slices)


SQUEEZENET = {  # (C, H, W), (K, C, R, S), stride, padding: the layers of v1.0 and v1.1 by kind
    "v1.0 first": ((3, 224, 224), (96, 3, 7, 7), 2, 0),
    "v1.1 first": ((3, 224, 224), (64, 3, 3, 3), 2, 0),
    "squeeze": ((96, 54, 54), (16, 96, 1, 1), 1, 0),
    "expand 1x1": ((16, 55, 55), (64, 16, 1, 1), 1, 0),
    "expand 3x3": ((16, 55, 55), (64, 16, 3, 3), 1, 1),
    "late squeeze": ((512, 13, 13), (64, 512, 1, 1), 1, 0),
    "late expand 3x3": ((64, 13, 13), (256, 64, 3, 3), 1, 1),
    "last, 2 classes": ((512, 13, 13), (2, 512, 1, 1), 1, 0),
}


@pytest.mark.parametrize("layer", SQUEEZENET)
def test_squeezenet_layers(backend, layer):
    """The network's own shapes with real numbers, within the rounding of float32. Winograd's
    algorithm shares its roundings within a tile: there the largest magnitude counts for all."""
    x_shape, weight_shape, stride, padding = SQUEEZENET[layer]
    options = {"stride": stride, "padding": padding}
    door = {**options, "planar": x_shape[0] == 3, "backend": backend}
    x = normals(1, 1, *x_shape)
    weight = normals(2, *weight_shape)
    bias = normals(3, weight_shape[0])
    y = core._op_conv2d(x, weight, bias, relu=True, **door)
    terms = np.prod(weight_shape[1:]) + 1
    magnitude = oracle.conv2d(abs(x), abs(weight), abs(bias), **options)
    names = implementations(backend, x_shape, weight_shape, stride, padding, x_shape[0] == 3)
    winograd = names["forward"].startswith("winograd")
    if winograd:
        magnitude = magnitude.max()
    assert_close(y, oracle.conv2d(x, weight, bias, relu=True, **options), magnitude, terms)

    dy = normals(4, *y.shape)
    got = core._op_conv2d_backward(x, weight, dy, y, **door)
    expected = oracle.conv2d_backward(x, weight, dy, y, **options)
    magnitudes = oracle.conv2d_backward(abs(x), abs(weight), abs(dy), y, **options)
    pixels = y.shape[2] * y.shape[3]
    terms = (weight_shape[0] * weight_shape[2] * weight_shape[3], pixels, pixels)
    for a, b, magnitude, count in zip(got, expected, magnitudes, terms, strict=True):
        if a is not None:
            assert_close(a, b, magnitude.max() if winograd else magnitude, count)


@pytest.mark.parametrize("layer", SQUEEZENET)
def test_no_reference_code(backend, layer):
    """oneDNN falls back to code a hundred times slower, called ref..., where it has no better."""
    if core.build_info()["isa"] == "baseline":
        pytest.skip("hardware: only asserted with AVX2 or AVX-512")
    x_shape, weight_shape, stride, padding = SQUEEZENET[layer]
    found = implementations(backend, x_shape, weight_shape, stride, padding, x_shape[0] == 3)
    if x_shape[0] == 3:
        assert found.pop("backward_data") == "", "the picture has no gradient"
    assert all(name and not name.startswith("ref") for name in found.values()), found


@pytest.mark.parametrize("options", [{}, {"stride": (2, 1), "padding": (0, 1)}], ids=str)
def test_gradient_by_finite_differences(backend, options):
    """The op's backward against its own forward. A convolution is linear in x, weight and bias
    each, so a central difference with step 1 is its derivative but for rounding. ReLU's kink is
    kept at a distance: biases of +-100, against a deviation of 8, make channels live or dead."""
    x, weight = normals(1, 2, 7, 6, 5), normals(2, 18, 7, 3, 3)
    bias = 100 * np.where(np.arange(18) % 3, 1, -1).astype(np.float32)
    for relu in (False, True):
        values = {"x": x, "weight": weight, "bias": bias if relu else normals(3, 18)}
        door = {**options, "backend": backend}
        y = core._op_conv2d(**values, relu=relu, **door)
        dy = normals(4, *y.shape)
        gradients = core._op_conv2d_backward(x, weight, dy, y if relu else None, **door)
        for name, gradient in zip(values, gradients, strict=True):
            direction = normals(5, *gradient.shape)

            def loss(at, name=name, values=values, relu=relu, dy=dy, door=door):
                y = core._op_conv2d(**{**values, name: at}, relu=relu, **door)
                return np.sum(y * dy.astype(np.float64))

            numeric = oracle.derivative(loss, values[name], direction, np.float32(1))
            analytic = np.sum(gradient * direction.astype(np.float64))
            # Sums near 100 of 64 terms, rounded to 2^-18 at each: 2^-15 in one element of y, a
            # random walk over them; and twice that.
            allowed = 2.0**-14 * np.sqrt(np.sum(dy.astype(np.float64) ** 2))
            assert abs(numeric - analytic) < allowed, name
            assert abs(analytic) > 100 * allowed, "the test would not see a missing gradient"


def test_layouts_that_are_not_contiguous(backend):
    x, weight, bias = integers(1, 9, 4, 1, 7).T, integers(2, 3, 4, 3, 3), integers(3, 3)
    assert x.shape == (7, 1, 4, 9)
    weight = weight[:, ::4]
    y = oracle.conv2d(x, weight, bias, stride=2)
    assert_equal(core._op_conv2d(x, weight, bias, stride=2, backend=backend), y)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"x": np.zeros((1, 3, 4, 4))}, TypeError, "x is float64, expected a float32 array"),
        ({"x": [1.0]}, TypeError, "x is <class 'list'>, expected a float32 array"),
        ({"x": normals(1, 3, 4, 4)}, ValueError, r"x has shape \(3, 4, 4\), expected \(N, C, H, W"),
        ({"x": normals(1, 1, 3, 0, 4)}, ValueError, r"x has shape \(1, 3, 0, 4\)"),
        (
            {"weight": normals(1, 5, 4, 3, 3)},
            ValueError,
            r"weight has shape \(5, 4, 3, 3\), expected \(K, C, R, S\) as \(any, 3, any, any\)",
        ),
        ({"bias": normals(1, 4)}, ValueError, r"bias has shape \(4,\), expected \(K,\) as \(5\)"),
        ({"stride": 0}, ValueError, "stride is 0, expected at least 1"),
        ({"padding": -1}, ValueError, "padding is -1, expected at least 0 and less than"),
        ({"padding": 3}, ValueError, "padding is 3, expected at least 0 and less than .* 3"),
        ({"x": normals(1, 1, 3, 2, 4)}, ValueError, "height is 3, more than the picture's 2"),
        (
            {"backend": "cuda"},
            ValueError,
            'backend is "cuda", expected "mixed", "onednn" or "openmp"',
        ),
    ],
    ids=lambda value: "",
)
def test_wrong_arguments(backend, arguments, error, message):
    good = {
        "x": normals(1, 1, 3, 4, 4),
        "weight": normals(2, 5, 3, 3, 3),
        "bias": normals(3, 5),
        "backend": backend,
    }
    assert core._op_conv2d(**good).shape == (1, 5, 2, 2)
    with pytest.raises(error, match=message):
        core._op_conv2d(**{**good, **arguments})
