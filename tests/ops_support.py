"""What the tests of single ops share: backends, data, and how close is close."""

import numpy as np

from squeezenet_c._native import core

BACKENDS = core.build_info()["backends"]
ROUNDING = 2.0**-24  # of one float32 operation, relative


def integers(seed, *shape, largest=3):
    """Small whole numbers as float32. Sums of their products are exact in float32 in any order as
    long as they stay below 2^24, so a result made of them must EQUAL the oracle's."""
    return np.random.default_rng(seed).integers(-largest, largest + 1, shape).astype(np.float32)


def normals(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_equal(actual, expected):
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, np.asarray(expected, np.float64))


def assert_whole(actual, expected):
    """For an algorithm that multiplies by fractions on its way (Winograd's): what should be whole
    numbers is near them, far nearer than to a sum with a term lost or doubled."""
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(np.rint(actual), np.asarray(expected, np.float64))
    assert np.abs(actual - np.asarray(expected, np.float64)).max() < 0.05


def assert_close(actual, expected, magnitude, terms):
    """Within 4 sqrt(terms) roundings of the sum of absolute terms, `magnitude`: rounding errors of
    a sum of `terms` terms walk at random and grow with the root (Higham & Mary 2019, "A new
    approach to probabilistic rounding error analysis"). One term lost or doubled is about
    magnitude / terms: far more than this for all sizes tested."""
    assert actual.dtype == np.float32
    allowed = 4 * np.sqrt(terms) * ROUNDING * np.asarray(magnitude)
    error = np.abs(actual - np.asarray(expected, np.float64))
    worst = np.unravel_index(np.argmax(error - allowed), error.shape)
    assert np.all(error <= allowed), (
        f"at {worst}: {actual[worst]} is not {expected[worst]}: off by {error[worst]:.3g}, "
        f"allowed {allowed[worst]:.3g}"
    )
