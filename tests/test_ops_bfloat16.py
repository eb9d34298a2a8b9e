"""Every op of the bfloat16 tables, against the oracle on numbers that bfloat16 has.

Our own kernels compute them on any CPU; oneDNN's convolutions are tried where the CPU has AVX-512.
The compiled side watches guards, slices and holes as for float32. A result that is stored once may
be off by one rounding to bfloat16, and by float32's before that."""

import numpy as np
import oracle
import pytest
from ops_support import ROUNDING, assert_equal, assert_whole, integers, normals

from squeezenet_c._native import core

HALF_STEP = 2.0**-8  # of rounding to bfloat16's 8 bits, relative, at most
WINOGRAD = 2e-5  # of the largest sum: test_winograd.py's bound


def offered():
    one = np.ones((1, 1, 1), np.float32)
    try:
        core._op_sum(one, one, backend="onednn:bfloat16")
    except RuntimeError:  # no oneDNN, or no AVX-512 for it
        return ["openmp:bfloat16"]
    return ["openmp:bfloat16", "onednn:bfloat16", "mixed:bfloat16"]


each_backend = pytest.mark.parametrize("backend", offered())


def rounded(x):
    """x to bfloat16 and back, ties to even, written down another way than the kernels' is: by the
    distances to the two neighbours. Finite numbers only."""
    x = np.asarray(x, np.float32)
    low = (x.view(np.uint32) & 0xFFFF0000).view(np.float32).astype(np.float64)
    step = np.float64(2.0) ** (np.maximum(np.frexp(x)[1], -125) - 8)  # 2^-133 among denormals
    high = low + np.copysign(step, x)
    below, above = abs(x - low), abs(high - x.astype(np.float64))
    even = (x.view(np.uint32) >> 16) % 2 == 0
    return np.where((below < above) | ((below == above) & even), low, high).astype(np.float32)


def bfloats(seed, *shape):
    return rounded(normals(seed, *shape))


def assert_rounded(actual, expected, magnitude=0, terms=1):
    """The expected numbers, rounded to bfloat16 once, after float32 sums as in assert_close."""
    expected = np.asarray(expected, np.float64)
    allowed = HALF_STEP * abs(expected) + (4 * np.sqrt(terms) + 1) * ROUNDING * 2 * (
        np.asarray(magnitude) + abs(expected)
    )
    error = np.abs(actual - expected)
    worst = np.unravel_index(np.argmax(error - allowed), error.shape)
    assert np.all(error <= allowed), (worst, actual[worst], expected[worst], allowed[worst])
    np.testing.assert_array_equal(actual, rounded(actual))


# -- Rounding --------------------------------------------------------------------------------------


def through(values, backend="openmp:bfloat16"):
    """The kernel's vectors and its scalar rest must agree: each value is tried in both places."""
    values = np.asarray(values, np.float32)
    found = core._op_round(values, backend)
    alone = np.concatenate([core._op_round(values[i : i + 1], backend) for i in range(len(values))])
    np.testing.assert_array_equal(found.view(np.uint32), alone.view(np.uint32))
    return found


def bits(*words):
    return np.array(words, np.uint32).view(np.float32)


@each_backend
def test_ties_go_to_even(backend):
    found = through(
        bits(0x3F808000, 0x3F818000, 0x3F808001, 0x3F817FFF, 0xBF808000, 0xBF818000, 0x3F800000),
        backend,
    )
    wanted = bits(
        0x3F800000, 0x3F820000, 0x3F810000, 0x3F810000, 0xBF800000, 0xBF820000, 0x3F800000
    )
    np.testing.assert_array_equal(found.view(np.uint32), wanted.view(np.uint32))


@each_backend
def test_infinities_and_overflow(backend):
    largest = np.finfo(np.float32).max
    found = through([np.inf, -np.inf, largest, -largest], backend)
    np.testing.assert_array_equal(found, [np.inf, -np.inf, np.inf, -np.inf])
    assert through(bits(0x7F7F7FFF), backend) == bits(0x7F7F0000)  # just below the tie


@each_backend
def test_a_nan_stays_one(backend):
    """Also those whose only set bits are in the half that is cut off."""
    nans = bits(0x7FC00000, 0xFFC00000, 0x7F800001, 0xFF800001, 0x7F80FFFF, 0x7FFFFFFF, 0xFFFFFFFF)
    found = through(nans, backend)
    assert np.isnan(found).all()
    np.testing.assert_array_equal(np.signbit(found), np.signbit(nans))


@each_backend
def test_denormals_and_zeros(backend):
    smallest = 2.0**-133  # bfloat16's smallest denormal
    found = through([0.0, -0.0, smallest, -smallest, 1.5 * smallest, 0.5 * smallest], backend)
    np.testing.assert_array_equal(found, [0, 0, smallest, -smallest, 2 * smallest, 0])
    np.testing.assert_array_equal(np.signbit(found), [0, 1, 0, 1, 0, 0])


@each_backend
def test_all_magnitudes(backend):
    random = np.random.default_rng(1)
    words = random.integers(0, 1 << 32, 10000, np.uint32)
    words = words[(words & 0x7F800000) < 0x7F000000]
    values = words.view(np.float32)
    found = core._op_round(values, backend)
    np.testing.assert_array_equal(found.view(np.uint32), rounded(values).view(np.uint32))
    numbers = np.arange(1 << 16, dtype=np.uint32) << 16  # all that bfloat16 has stay as they are
    numbers = numbers[~np.isnan(numbers.view(np.float32))].view(np.float32)
    for part in np.array_split(numbers, 8):
        np.testing.assert_array_equal(core._op_round(part, backend), part)


# -- Convolution -----------------------------------------------------------------------------------

LAYERS = {  # (C, H, W), (K, C, R, S), stride, padding
    "v1.0 first": ((3, 61, 58), (96, 3, 7, 7), 2, 0),
    "v1.1 first": ((3, 47, 50), (64, 3, 3, 3), 2, 0),
    "squeeze": ((96, 17, 19), (16, 96, 1, 1), 1, 0),
    "expand 1x1": ((16, 17, 19), (64, 16, 1, 1), 1, 0),
    "expand 3x3": ((16, 17, 19), (64, 16, 3, 3), 1, 1),
    "late expand 3x3": ((64, 13, 13), (256, 64, 3, 3), 1, 1),
    "last, 2 classes": ((512, 13, 13), (2, 512, 1, 1), 1, 0),
    "holes": ((17, 9, 7), (21, 17, 3, 3), 1, 1),
    "odd": ((5, 9, 12), (18, 5, 2, 3), (2, 1), (0, 1)),
}


@each_backend
@pytest.mark.parametrize("layer", LAYERS)
def test_convolution(backend, layer):
    x_shape, weight_shape, stride, padding = LAYERS[layer]
    options = {"stride": stride, "padding": padding}
    planar = x_shape[0] == 3
    door = {**options, "planar": planar, "backend": backend}
    # Winograd's algorithm shares its roundings within a tile, as in test_ops_conv.py.
    names = core._op_implementations(x_shape, weight_shape, relu=True, **door)
    shared = np.max if names["forward"].startswith("winograd") else np.asarray
    door |= {"blocks_before": 1, "blocks_after": 2}
    x, weight, bias = (
        bfloats(1, 2, *x_shape),
        bfloats(2, *weight_shape),
        normals(3, weight_shape[0]),
    )
    y = core._op_conv2d(x, weight, bias, relu=True, **door)
    terms = np.prod(weight_shape[1:]) + 1
    magnitude = shared(oracle.conv2d(abs(x), abs(weight), abs(bias), **options))
    assert_rounded(y, oracle.conv2d(x, weight, bias, relu=True, **options), magnitude, terms)

    dy = bfloats(4, *y.shape)
    dx, dw, db = core._op_conv2d_backward(x, weight, dy, y, **door)
    expected = oracle.conv2d_backward(x, weight, dy, y, **options)
    magnitudes = [
        shared(part) for part in oracle.conv2d_backward(abs(x), abs(weight), abs(dy), y, **options)
    ]
    if not planar:
        assert_rounded(dx, expected[0], magnitudes[0], weight_shape[0] * terms)
    pixels = y[0, 0].size
    for found, wanted, magnitude in zip((dw, db), expected[1:], magnitudes[1:], strict=True):
        # float32, not rounded to bfloat16
        allowed = 8 * np.sqrt(2 * pixels) * ROUNDING * magnitude
        assert np.all(abs(found - wanted) <= allowed)
        assert not np.array_equal(found, rounded(found))


@each_backend
def test_weights_are_rounded_and_biases_are_not(backend):
    x = np.zeros((1, 16, 1, 1), np.float32)
    x[0, 0] = 1
    weight = np.zeros((16, 16, 1, 1), np.float32)
    weight[:, 0, 0, 0] = 1 + 2.0**-12  # bfloat16 has 1
    bias = np.full(16, -1 + 2.0**-12, np.float32)
    y = core._op_conv2d(x, weight, bias, backend=backend)
    np.testing.assert_array_equal(y.ravel(), np.full(16, 2.0**-12))


@each_backend
def test_source_gradient_is_added_to(backend):
    x, weight = integers(1, 1, 17, 6, 5), integers(2, 33, 17, 3, 3, largest=1)
    dy, before = integers(3, 1, 33, 6, 5, largest=1), integers(4, 1, 17, 6, 5)
    dx, _, _ = core._op_conv2d_backward(x, weight, dy, padding=1, dx=before, backend=backend)
    expected = oracle.conv2d_backward(x, weight, dy, padding=1)[0] + before
    assert abs(expected).max() <= 256  # whole numbers up to here are bfloat16's
    assert_whole(dx, expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 33), (17, 31), (30, 30)])
@pytest.mark.parametrize("channels", [(1, 1), (7, 48), (48, 17)])
def test_exact_sums(size, channels):
    """Our own kernels add in float32 and round once: the float32 result, rounded, bit for bit."""
    x, weight = bfloats(1, 1, channels[0], *size), bfloats(2, channels[1], channels[0], 3, 3)
    bias = normals(3, channels[1])
    whole = core._op_conv2d(x, weight, bias, padding=1, backend="openmp")
    found = core._op_conv2d(x, weight, bias, padding=1, backend="openmp:bfloat16")
    assert_equal(found, rounded(whole))
    dy, before = bfloats(4, *found.shape), bfloats(5, *x.shape)
    (dx, dw, _), (near, sums, _) = (
        core._op_conv2d_backward(x, weight, dy, dx=before, padding=1, backend=backend)
        for backend in ("openmp", "openmp:bfloat16")
    )
    assert_equal(near, rounded(dx))
    assert_equal(sums, dw)


@pytest.mark.parametrize("backend", [name for name in offered() if "onednn" not in name])
@pytest.mark.parametrize("padding", [(0, 0), (2, 1)], ids=str)
@pytest.mark.parametrize("size", [(7, 8), (9, 13), (20, 5), (30, 30)], ids=str)
@pytest.mark.parametrize("channels", [(5, 9), (16, 48), (72, 24)], ids=str)
def test_3x3_at_the_edges(backend, size, padding, channels):
    """Tiles of Winograd's algorithm that hang over the picture, in its form for bfloat16: as near
    to a float64 sum as float32's (test_winograd.py), but for a rounding where it is stored."""
    x, weight = bfloats(1, 1, channels[0], *size), bfloats(2, channels[1], channels[0], 3, 3)
    bias, door = normals(3, channels[1]), {"padding": padding, "backend": backend}
    names = core._op_implementations(x.shape[1:], weight.shape, **door)
    assert all(name.startswith("winograd") for name in names.values()), names
    y = core._op_conv2d(x, weight, bias, relu=True, **door)
    dy, before = bfloats(4, *y.shape), bfloats(5, *x.shape)
    dx, dw, _ = core._op_conv2d_backward(x, weight, dy, y, dx=before, **door)
    wanted = oracle.conv2d_backward(x, weight, dy, y, padding=padding)
    sums = oracle.conv2d(x, weight, bias, padding=padding)
    for found, expected, step in (
        (y, np.maximum(sums, 0), HALF_STEP),
        (dx, wanted[0] + before, HALF_STEP),
        (dw, wanted[1], 0),
    ):
        error, scale = np.abs(found - expected), np.abs(expected).max()
        assert np.all(error <= step * np.abs(expected) + WINOGRAD * scale)


# -- All else --------------------------------------------------------------------------------------


@each_backend
@pytest.mark.parametrize("channels", [1, 16, 21, 48])
def test_relu_and_bias_backward(backend, channels):
    dy, y = bfloats(1, channels, 7, 9), np.maximum(bfloats(2, channels, 7, 9), 0)
    db = normals(3, channels)
    dx, found = core._op_relu_backward(dy, y, db, backend=backend)
    expected = oracle.relu_backward(dy, y)
    assert_equal(dx, expected[0])
    np.testing.assert_allclose(found, expected[1] + db, rtol=1e-5, atol=1e-5)
    _, found = core._op_relu_backward(dy, backend=backend)
    np.testing.assert_allclose(found, dy.sum(axis=(1, 2), dtype=np.float64), rtol=1e-5, atol=1e-5)


@each_backend
@pytest.mark.parametrize("kernel, stride", [(3, 2), (2, 2), (3, 1), (5, 3)])
def test_max_pool(backend, kernel, stride):
    x = bfloats(1, 19, 12, 11)
    y, argmax = core._op_max_pool2d(x, kernel, stride, backend=backend)
    expected, winners = oracle.max_pool2d(x, kernel, stride)
    assert_equal(y, expected)
    np.testing.assert_array_equal(argmax, winners)
    dy, before = bfloats(2, *y.shape), bfloats(3, *x.shape)
    expected = oracle.max_pool2d_backward(dy, argmax, 12, 11, kernel, stride)
    dx = core._op_max_pool2d_backward(dy, argmax, 12, 11, kernel, stride, backend=backend)
    magnitude = oracle.max_pool2d_backward(abs(dy), argmax, 12, 11, kernel, stride)
    assert_rounded(dx, expected, magnitude, kernel**2)
    dx = core._op_max_pool2d_backward(dy, argmax, 12, 11, kernel, stride, before, backend)
    assert_rounded(dx, expected + before, magnitude + abs(before), kernel**2)


@each_backend
def test_average_pool(backend):
    """The logits' side is float32."""
    x = bfloats(1, 21, 13, 13)
    y = core._op_average_pool(x, backend=backend)
    np.testing.assert_allclose(y, oracle.average_pool(x), rtol=1e-5, atol=1e-6)
    assert not np.array_equal(y, rounded(y))
    dy = normals(2, 21)
    dx = core._op_average_pool_backward(dy, 13, 13, backend=backend)
    assert_rounded(dx, oracle.average_pool_backward(dy, 13, 13))


@each_backend
def test_dropout(backend):
    x, dy = bfloats(1, 21, 6, 7), bfloats(2, 21, 6, 7)
    y, mask = core._op_dropout(x, 0.3, seed=5, step=2, picture=1, backend=backend)
    np.testing.assert_array_equal(mask, oracle.dropout_mask(x.shape, 0.3, 5, 2, 1))
    assert_rounded(y, oracle.dropout(x, mask, 0.3))
    assert_rounded(
        core._op_dropout_backward(dy, mask, 0.3, backend=backend), oracle.dropout(dy, mask, 0.3)
    )


@each_backend
@pytest.mark.parametrize("in_place", [False, True])
def test_sum(backend, in_place):
    a, b = bfloats(1, 21, 6, 7), bfloats(2, 21, 6, 7)
    found = core._op_sum(a, b, in_place, backend=backend)
    assert_equal(found, rounded(a + b))


# -- The door --------------------------------------------------------------------------------------


def test_numbers_are_rounded_on_their_way_in():
    x = normals(1, 3, 4, 5)
    found = core._op_sum(x, np.zeros_like(x), backend="openmp:bfloat16")
    assert_equal(found, rounded(x))


@pytest.mark.parametrize("name", ["openmp:", "openmp:float16", ":bfloat16", "openm:bfloat16"])
def test_no_such_table(name):
    with pytest.raises(ValueError, match='expected "mixed", "onednn" or "openmp"'):
        core._op_sum(normals(1, 3, 4, 5), normals(2, 3, 4, 5), backend=name)


def test_onednn_without_avx512():
    if core.build_info()["cpu_isa"] == "avx512":
        pytest.skip("hardware: this CPU has AVX-512")
    with pytest.raises(RuntimeError, match='"onednn:bfloat16" is not offered here'):
        core._op_sum(normals(1, 3, 4, 5), normals(2, 3, 4, 5), backend="onednn:bfloat16")
