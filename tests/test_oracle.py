"""The oracle itself: its backward passes against its own forward passes, by central differences in
float64, with ReLU's and the pool's kinks where random numbers put them (never within a step)."""

import numpy as np
import oracle
import pytest

STEP = 1e-6


def check(loss, at, gradient):
    direction = np.random.default_rng(9).normal(size=at.shape)
    numeric = oracle.derivative(loss, at, direction, STEP)
    assert np.sum(gradient * direction) == pytest.approx(numeric, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("stride, padding", [(1, 0), (1, 1), (2, 1), ((3, 1), (0, 2))], ids=str)
def test_convolution(stride, padding, relu):
    random = np.random.default_rng(1)
    values = {
        "x": random.normal(size=(2, 3, 7, 6)),
        "weight": random.normal(size=(4, 3, 3, 3)),
        "bias": random.normal(size=4),
    }
    options = {"stride": stride, "padding": padding}
    y = oracle.conv2d(**values, relu=relu, **options)
    dy = random.normal(size=y.shape)
    assert not relu or 0 < np.count_nonzero(y) < y.size
    gradients = oracle.conv2d_backward(
        values["x"], values["weight"], dy, y if relu else None, **options
    )
    for name, gradient in zip(values, gradients, strict=True):
        check(
            lambda at, name=name: np.sum(
                dy * oracle.conv2d(**{**values, name: at}, relu=relu, **options)
            ),
            values[name],
            gradient,
        )


def test_convolution_by_hand():
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    weight = np.array([[[[1.0, 10.0], [100.0, 1000.0]]]])
    y = oracle.conv2d(x, weight, np.array([0.5]))
    assert y.tolist() == [[[[4310.5, 5421.5], [7643.5, 8754.5]]]]
    y = oracle.conv2d(x, weight, np.array([0.0]), stride=2, padding=1)
    assert y.tolist() == [[[[0.0, 2100.0], [6030.0, 8754.0]]]]


@pytest.mark.parametrize("kernel, stride", [(2, 1), (2, 2), (3, 2), (3, 3), (2, 3)])
def test_max_pool(kernel, stride):
    random = np.random.default_rng(2)
    x = random.normal(size=(3, 8, 7))
    y, argmax = oracle.max_pool2d(x, kernel, stride)
    dy = random.normal(size=y.shape)
    dx = oracle.max_pool2d_backward(dy, argmax, 8, 7, kernel, stride)
    check(lambda at: np.sum(dy * oracle.max_pool2d(at, kernel, stride)[0]), x, dx)


def test_max_pool_size_by_hand():
    """Of size 4, kernel 3 with stride 2 leaves a window that is cut, as does kernel 2 with stride
    3; of size 3 the latter would start one past the end, which is dropped."""
    assert oracle.max_pool_size(4, 3, 2) == 2
    assert oracle.max_pool_size(4, 2, 3) == 2
    assert oracle.max_pool_size(3, 2, 3) == 1
    assert oracle.max_pool_size(1, 3, 2) == 0
    assert [oracle.max_pool_size(n, 3, 2) for n in (109, 54, 27, 111, 55)] == [54, 27, 13, 55, 27]


def test_average_pool():
    random = np.random.default_rng(3)
    x, dy = random.normal(size=(5, 4, 3)), random.normal(size=5)
    dx = oracle.average_pool_backward(dy, 4, 3)
    check(lambda at: np.sum(dy * oracle.average_pool(at)), x, dx)


def test_cross_entropy():
    logits = np.random.default_rng(4).normal(size=6)
    check(lambda at: oracle.cross_entropy(at, 2)[0], logits, oracle.cross_entropy(logits, 2)[1])


def test_adam_by_hand():
    """The first step is lr against the gradient's sign, whatever its size; the second was worked
    out with m = 0.9 * 0.1 * 2 + 0.1 * 4 and v = 0.999 * 0.001 * 4 + 0.001 * 16."""
    parameters = np.array([1.0])
    adam = oracle.Adam(parameters, lr=0.1, eps=0)
    adam.step(np.array([2.0]))
    assert parameters[0] == pytest.approx(0.9, rel=1e-12)
    adam.step(np.array([4.0]))
    m_hat = 0.58 / 0.19
    v_hat = 0.019996 / 0.001999
    assert parameters[0] == pytest.approx(0.9 - 0.1 * m_hat / np.sqrt(v_hat), rel=1e-12)


def test_dropout_mask_is_the_same_for_a_part_of_the_channels():
    whole = oracle.dropout_mask((48, 5, 5), 0.5, 1, 2, 3)
    part = oracle.dropout_mask((7, 5, 5), 0.5, 1, 2, 3)
    np.testing.assert_array_equal(whole[:7], part)
