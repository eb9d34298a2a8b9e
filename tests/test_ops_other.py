"""Every op but convolution, on every backend, against the oracle and by finite differences; and the
random numbers and the loss, which have one implementation.

The compiled side raises if an op wrote past a buffer or into a hole (a stored channel that stands
for no logical one); its outputs are NaN until the op overwrites them.
"""

import math

import numpy as np
import oracle
import pytest
from ops_support import BACKENDS, assert_close, assert_equal, integers, normals

from squeezenet_c._native import core

every_backend = pytest.mark.parametrize("backend", BACKENDS)
every_channel_count = pytest.mark.parametrize("channels", [1, 3, 7, 16, 17, 48, 100])

# -- ReLU and bias ---------------------------------------------------------------------------------


@every_backend
@every_channel_count
def test_relu_backward(backend, channels):
    """y == 0 counts as dead, as in torch."""
    dy, y = integers(1, channels, 5, 7), np.maximum(integers(2, channels, 5, 7), 0)
    dx, db = oracle.relu_backward(dy, y)
    got = core._op_relu_backward(dy, y, backend=backend)
    assert_equal(got[0], dx)
    assert_equal(got[1], db)
    before = integers(3, channels)
    got = core._op_relu_backward(dy, y, db=before, backend=backend)
    assert_equal(got[0], dx)
    assert_equal(got[1], db + before)


@every_backend
@every_channel_count
def test_bias_backward(backend, channels):
    dy, before = integers(1, channels, 3, 11), integers(2, channels)
    nothing, db = core._op_relu_backward(dy, backend=backend)
    assert nothing is None
    assert_equal(db, dy.sum(axis=(1, 2)))
    assert_equal(core._op_relu_backward(dy, db=before, backend=backend)[1], db + before)


@every_backend
def test_bias_gradient_of_a_large_map(backend):
    """v1.0's first map has 11,881 pixels; its sum in float32 must stay within rounding."""
    dy = normals(1, 20, 109, 109)
    db = core._op_relu_backward(dy, backend=backend)[1]
    exact = dy.sum(axis=(1, 2), dtype=np.float64)
    assert_close(db, exact, abs(dy).sum(axis=(1, 2), dtype=np.float64), 109 * 109)


# -- Max pooling -----------------------------------------------------------------------------------

POOL_SIZES = [(h, w) for h in range(1, 10) for w in (h, 9, 2)]


def check_pool(backend, x, kernel, stride):
    """Forward with and without argmax, backward overwriting and adding, exactly."""
    channels, height, width = x.shape
    if not (
        oracle.max_pool_size(height, kernel, stride) and oracle.max_pool_size(width, kernel, stride)
    ):
        with pytest.raises(ValueError, match=f"{height} x {width} has no window of {kernel} x"):
            core._op_max_pool2d(x, kernel, stride, backend=backend)
        return
    expected, winners = oracle.max_pool2d(x, kernel, stride)
    y, argmax = core._op_max_pool2d(x, kernel, stride, backend=backend)
    assert_equal(y, expected)
    np.testing.assert_array_equal(argmax, winners)
    alone, nothing = core._op_max_pool2d(x, kernel, stride, argmax=False, backend=backend)
    assert nothing is None
    assert_equal(alone, expected)

    dy, before = integers(4, *y.shape), integers(5, *x.shape)
    dx = oracle.max_pool2d_backward(dy, winners, height, width, kernel, stride)
    sizes = (height, width, kernel, stride)
    assert_equal(core._op_max_pool2d_backward(dy, argmax, *sizes, backend=backend), dx)
    added = core._op_max_pool2d_backward(dy, argmax, *sizes, dx=before, backend=backend)
    assert_equal(added, dx + before)


@every_backend
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [2, 3])
def test_max_pool(backend, kernel, stride):
    """Every way a last window can be whole, cut or dropped; whole numbers from -3 to 3, so that
    most windows hold ties, of which the first wins."""
    for size in POOL_SIZES:
        check_pool(backend, integers(sum(size), 5, *size), kernel, stride)


@every_backend
@every_channel_count
def test_max_pool_channels(backend, channels):
    check_pool(backend, normals(1, channels, 11, 8), 3, 2)


@every_backend
@pytest.mark.parametrize("kernel, stride", [(1, 1), (1, 2), (5, 2), (15, 4), (4, 7)])
def test_max_pool_other_kernels(backend, kernel, stride):
    """Winners anywhere in the window: with kernel 15 argmax takes all that a byte holds but 30."""
    for size in ((15, 15), (20, 31)):
        check_pool(backend, normals(1, 33, *size), kernel, stride)


@every_backend
@pytest.mark.parametrize("size", [(109, 109), (54, 27), (13, 13)], ids=str)
def test_max_pool_of_squeezenet(backend, size):
    check_pool(backend, normals(1, 16, *size), 3, 2)


@every_backend
def test_max_pool_of_negative_numbers(backend):
    """A window's largest is its own, never a zero from beyond the edge or from the start."""
    x = -1 - abs(normals(1, 17, 6, 6))
    check_pool(backend, x, 3, 2)
    check_pool(backend, np.full((9, 7, 8), -np.float32(3e38)), 3, 2)


@pytest.mark.parametrize("backend", [*BACKENDS, "openmp:bfloat16"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kernel", [2, 3])
def test_max_pool_hands_a_nan_on(backend, kernel, sign):
    """From anywhere in a window, as torch does, whatever the sign of the NaN and of the rest, and
    above infinity; the gradient goes to it."""
    for row, column in np.ndindex(kernel, kernel):
        x = sign * (1 + abs(integers(1, 17, 7, 7)))
        x[3, 2 + row, 2 + column] = np.copysign(np.float32(np.nan), np.float32(sign))
        x[3, 2 + (row + 1) % kernel, 2 + column] = np.inf
        y, argmax = core._op_max_pool2d(x, kernel, 2, backend=backend)
        alone, _ = core._op_max_pool2d(x, kernel, 2, argmax=False, backend=backend)
        assert np.isnan(y[3, 1, 1]) and np.isnan(alone[3, 1, 1])
        assert argmax[3, 1, 1] == row * kernel + column
        expected, winners = oracle.max_pool2d(x, kernel, 2)  # NumPy's largest is NaN too
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(alone, expected)
        np.testing.assert_array_equal(argmax, winners)


@pytest.mark.parametrize("backend", [*BACKENDS, "openmp:bfloat16"])
def test_relu_backward_at_the_ends_of_the_numbers(backend):
    """Greater than 0 are the least number and infinity; neither zero is, nor a NaN."""
    least = 2.0**-133 if backend.endswith("bfloat16") else 2.0**-149
    y = np.array([least, -least, 0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1], np.float32)
    dy = np.ones((1, 1, len(y)), np.float32)
    dx, _ = core._op_relu_backward(dy, y.reshape(dy.shape), backend=backend)
    assert_equal(dx.ravel(), [1, 0, 0, 0, 1, 0, 0, 0, 1])


@every_backend
def test_max_pool_by_finite_differences(backend):
    """The op against its own forward: linear as long as no winner changes. The values are a
    permutation of whole numbers and the step moves none by half of one."""
    x = np.random.default_rng(1).permutation(18 * 9 * 8).reshape(18, 9, 8).astype(np.float32)
    y, argmax = core._op_max_pool2d(x, 3, 2, backend=backend)
    dy = normals(2, *y.shape)
    dx = core._op_max_pool2d_backward(dy, argmax, 9, 8, 3, 2, backend=backend)
    direction = integers(3, *x.shape)

    def loss(at):
        return np.sum(core._op_max_pool2d(at, 3, 2, backend=backend)[0] * dy.astype(np.float64))

    numeric = oracle.derivative(loss, x, direction, np.float32(0.125))
    analytic = np.sum(dx * direction.astype(np.float64))
    assert numeric == pytest.approx(analytic, abs=1e-4)
    assert abs(analytic) > 1


@every_backend
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"kernel": 0}, "kernel is 0, expected 1 to 15"),
        ({"kernel": 16}, "kernel is 16, expected 1 to 15"),
        ({"stride": 0}, "stride is 0, expected at least 1"),
        ({"argmax": np.full((2, 2, 2), 9, np.uint8)}, "argmax is 9 at channel 0, row 0, column 0"),
        ({"argmax": np.full((2, 2, 2), 2, np.uint8)}, "argmax is 2 at channel 0, row 0, column 1"),
        ({"height": 0}, "the picture is 0 x 4, expected sides of 1 to"),
        ({"height": 9}, r"dy has shape \(2, 2, 2\), expected \(C, P, Q\) as \(any, 4, 2\)"),
        ({"dx": normals(1, 2, 4, 5)}, r"dx has shape \(2, 4, 5\), expected .* as \(2, 4, 4\)"),
    ],
    ids=lambda value: "",
)
def test_max_pool_wrong_arguments(backend, arguments, message):
    good = {
        "dy": normals(1, 2, 2, 2),
        "argmax": np.zeros((2, 2, 2), np.uint8),
        "height": 4,
        "width": 4,
        "kernel": 3,
        "stride": 2,
        "backend": backend,
    }
    assert core._op_max_pool2d_backward(**good).shape == (2, 4, 4)
    with pytest.raises(ValueError, match=message):
        core._op_max_pool2d_backward(**{**good, **arguments})


# -- Average pooling -------------------------------------------------------------------------------


@every_backend
@every_channel_count
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (13, 13), (14, 9)], ids=str)
def test_average_pool(backend, channels, size):
    x = normals(1, channels, *size)
    pixels = size[0] * size[1]
    y = core._op_average_pool(x, backend=backend)
    assert_close(y, oracle.average_pool(x), oracle.average_pool(abs(x)), pixels)
    dy = normals(2, channels)
    dx = core._op_average_pool_backward(dy, *size, backend=backend)
    expected = oracle.average_pool_backward(dy, *size)
    assert_close(dx, expected, abs(expected), 1)


@every_backend
def test_average_pool_by_finite_differences(backend):
    """Linear: a central difference with step 1 is the derivative but for rounding."""
    x, direction, dy = integers(1, 18, 4, 8), integers(2, 18, 4, 8), integers(3, 18)
    dx = core._op_average_pool_backward(dy, 4, 8, backend=backend)

    def loss(at):
        return np.sum(core._op_average_pool(at, backend=backend) * dy.astype(np.float64))

    numeric = oracle.derivative(loss, x, direction, np.float32(1))
    assert numeric == np.sum(dx * direction.astype(np.float64))  # 32 pixels: no rounding at all
    assert abs(numeric) > 0.5


# -- Dropout ---------------------------------------------------------------------------------------


@every_backend
@every_channel_count
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (13, 13)], ids=str)
def test_dropout(backend, channels, size):
    """The mask is a function of seed, step, picture, channel and pixel alone, and the oracle knows
    it: the same whatever the block size."""
    x = integers(1, channels, *size)
    seed, step, picture = 0x0123456789ABCDEF, (0xABCDEF << 32) + 7, 0xFFFFFFFF
    y, mask = core._op_dropout(x, 0.5, seed, step, picture, backend=backend)
    np.testing.assert_array_equal(mask, oracle.dropout_mask(x.shape, 0.5, seed, step, picture))
    assert_equal(y, oracle.dropout(x, mask, 0.5))
    dy = integers(2, *x.shape)
    dx = core._op_dropout_backward(dy, mask, 0.5, backend=backend)
    assert_equal(dx, oracle.dropout(dy, mask, 0.5))


@every_backend
@pytest.mark.parametrize("probability", [0.0, 1e-6, 0.1, 0.25, 0.7, 0.99999])
def test_dropout_probabilities(backend, probability):
    x = normals(1, 512, 13, 13)
    y, mask = core._op_dropout(x, probability, 1, 2, 3, backend=backend)
    np.testing.assert_array_equal(mask, oracle.dropout_mask(x.shape, probability, 1, 2, 3))
    expected = oracle.dropout(x, mask, probability)
    assert_close(y, expected, abs(expected), 1)
    deviation = math.sqrt(probability * (1 - probability) / x.size)
    rounding = 2.0**-17  # the probability's own, to 16 bits
    assert abs(np.mean(mask) - (1 - probability)) <= 5 * deviation + rounding
    if probability == 0:
        assert_equal(y, x)


@every_backend
def test_dropout_depends_on_each_of_its_numbers(backend):
    x = np.ones((48, 9, 9), np.float32)
    base = {"seed": 1, "step": 1, "picture": 1}
    changes = [{}, *({name: v} for name in base for v in (0, 2)), {"seed": 1 + (1 << 32)}]
    changes += [{"step": 1 + (1 << 32)}]
    masks = [
        core._op_dropout(x, 0.5, **{**base, **change}, backend=backend)[1] for change in changes
    ]
    for i, first in enumerate(masks):
        for second in masks[:i]:
            # Independent masks agree in half of 3,888 places, give or take 31.
            assert abs(np.count_nonzero(first == second) - 1944) < 5 * 31


@every_backend
@pytest.mark.parametrize("probability", [-0.1, 1.0, math.nan])
def test_dropout_wrong_probability(backend, probability):
    x = normals(1, 3, 2, 2)
    with pytest.raises(ValueError, match="probability is .*, expected at least 0 and less than 1"):
        core._op_dropout(x, probability, backend=backend)


# -- Sum -------------------------------------------------------------------------------------------


@every_backend
@every_channel_count
@pytest.mark.parametrize("in_place", [False, True])
def test_sum(backend, channels, in_place):
    a, b = normals(1, channels, 7, 3), normals(2, channels, 7, 3)
    kept = a.copy()
    assert_equal(core._op_sum(a, b, in_place=in_place, backend=backend), a + b)
    np.testing.assert_array_equal(a, kept)


@every_backend
def test_sum_wrong_arguments(backend):
    a = normals(1, 3, 2, 2)
    with pytest.raises(ValueError, match=r"b has shape \(3, 2, 1\), expected .* as \(3, 2, 2\)"):
        core._op_sum(a, a[:, :, :1], backend=backend)
    with pytest.raises(TypeError, match="b is int64, expected a float32 array"):
        core._op_sum(a, np.zeros((3, 2, 2), np.int64), backend=backend)


# -- Loss ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1, 2, 5, 1000])
def test_cross_entropy(classes):
    logits = 3 * normals(1, classes)
    for label in {0, classes // 2, classes - 1}:
        loss, d_logits = core._op_cross_entropy(logits, label)
        expected, d_expected = oracle.cross_entropy(logits, label)
        assert loss == pytest.approx(expected, rel=1e-12, abs=1e-12)
        assert_close(d_logits, d_expected, abs(d_expected), 1)
        scaled = core._op_cross_entropy(logits, label, scale=1 / 16)[1]
        assert_close(scaled, d_expected / 16, abs(d_expected), 1)


@pytest.mark.parametrize(
    "logits, label, loss",
    [
        ([1e4, -1e4], 0, 0.0),
        ([1e4, -1e4], 1, 2e4),
        ([3e38, 3e38], 0, math.log(2)),
        ([-3e38, 3e38], 1, 0.0),
        ([0, 0], 1, math.log(2)),
        ([88, 89, 90], 2, math.log(1 + math.exp(-1) + math.exp(-2))),
    ],
)
def test_cross_entropy_of_huge_logits(logits, label, loss):
    logits = np.array(logits, np.float32)
    got, d_logits = core._op_cross_entropy(logits, label)
    assert got == pytest.approx(loss, rel=1e-12, abs=1e-12)
    assert np.all(np.isfinite(d_logits))
    assert abs(d_logits.sum(dtype=np.float64)) < 1e-7


def test_cross_entropy_by_finite_differences():
    logits = normals(1, 7)
    d_logits = core._op_cross_entropy(logits, 3)[1]
    direction = normals(2, 7).astype(np.float64)

    def loss(at):
        return oracle.cross_entropy(at, 3)[0]

    numeric = oracle.derivative(loss, logits.astype(np.float64), direction, 1e-5)
    assert np.sum(d_logits * direction) == pytest.approx(numeric, rel=1e-6)


@pytest.mark.parametrize("label", [-1, 3])
def test_cross_entropy_wrong_label(label):
    with pytest.raises(ValueError, match=f"label is {label}, expected 0 to 2"):
        core._op_cross_entropy(normals(1, 3), label)


# -- Random numbers --------------------------------------------------------------------------------

# Counter, key and result: the known answers that Salmon et al. publish with the paper's code
# (Random123, tests/kat_vectors, philox4x32 with 10 rounds).
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000")
    + ("6627e8d5 e169c58d bc57ac4c 9b00dbd8",),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff")
    + ("408f276d 41c83b0e a20bc7c6 6d5451fd",),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0")
    + ("d16cfe09 94fdcceb 5001e420 24126ea1",),
]


def words(text):
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize("counter, key, answer", KNOWN_ANSWERS)
def test_philox_known_answers(counter, key, answer):
    assert core._op_philox(words(counter), words(key)) == words(answer)
    assert tuple(int(word) for word in oracle.philox(words(counter), words(key))) == words(answer)


def test_philox_against_the_oracle():
    numbers = np.random.default_rng(1).integers(0, 1 << 32, (100, 6), dtype=np.uint64)
    expected = np.stack(oracle.philox(numbers[:, :4].T, numbers[:, 4:].T), axis=1)
    for row, answer in zip(numbers.tolist(), expected.tolist(), strict=True):
        assert core._op_philox(tuple(row[:4]), tuple(row[4:])) == tuple(answer)
