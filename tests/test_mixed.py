"""The mixed backend: build_info says who computes what, and that is who computes it."""

import numpy as np
import pytest
from ops_support import BACKENDS, normals

from squeezenet_c._native import core

if "mixed" not in BACKENDS:
    pytest.skip("build: oneDNN is not offered, so there is no mixture", allow_module_level=True)

LAYERS = {  # (C, H, W), (K, C, R, S), options
    "first layer": ((3, 40, 40), (64, 3, 3, 3), {"stride": 2, "planar": True}),
    "1x1 squeeze": ((64, 20, 20), (16, 64, 1, 1), {}),
    "1x1 expand": ((16, 20, 20), (64, 16, 1, 1), {}),
    "3x3 stride 1": ((16, 20, 20), (64, 16, 3, 3), {"padding": 1}),
    "other": ((16, 20, 20), (64, 16, 5, 5), {"padding": 2}),
}
PARTS = ("forward", "backward_data", "backward_weights")


@pytest.fixture(autouse=True)
def backend():
    before = core.get_backend()
    core.set_backend("mixed")
    yield
    core.set_backend(before)


def test_build_info_names_a_backend_for_every_part():
    found = core.build_info()["convolutions"]
    assert found.keys() == LAYERS.keys()
    for parts in found.values():
        assert tuple(parts) == PARTS
        assert set(parts.values()) <= {"onednn", "openmp"}
    assert len({name for parts in found.values() for name in parts.values()}) == 2, "no mixture"
    for plain in ("onednn", "openmp"):
        core.set_backend(plain)
        parts = core.build_info()["convolutions"].values()
        assert {name for each in parts for name in each.values()} == {plain}


@pytest.mark.parametrize("layer", LAYERS)
def test_each_part_is_its_backends_own_to_the_bit(layer):
    x_shape, weight_shape, options = LAYERS[layer]
    choice = core.build_info()["convolutions"][layer]
    x, weight, bias = (
        normals(1, 1, *x_shape),
        normals(2, *weight_shape),
        normals(3, weight_shape[0]),
    )
    y = core._op_conv2d(x, weight, bias, backend="mixed", **options)
    theirs = core._op_conv2d(x, weight, bias, backend=choice["forward"], **options)
    np.testing.assert_array_equal(y, theirs)
    dy = normals(4, *y.shape)
    dx, dw, _ = core._op_conv2d_backward(x, weight, dy, backend="mixed", **options)
    for value, part, index in ((dx, "backward_data", 0), (dw, "backward_weights", 1)):
        if value is not None:
            theirs = core._op_conv2d_backward(x, weight, dy, backend=choice[part], **options)
            np.testing.assert_array_equal(value, theirs[index])


def test_a_bfloat16_3x3_is_ours_and_the_rest_onednns():
    if not core.build_info()["bfloat16"]:
        pytest.skip("cpu: bfloat16 is not offered")
    for layer, (x_shape, weight_shape, options) in LAYERS.items():
        mixed, theirs = (
            core._op_implementations(
                x_shape, weight_shape, backend=f"{backend}:bfloat16", **options
            )
            for backend in ("mixed", "openmp" if layer == "3x3 stride 1" else "onednn")
        )
        assert mixed == theirs, layer


@pytest.mark.parametrize("layer", LAYERS)
def test_implementations_are_those_of_the_choice(layer):
    x_shape, weight_shape, options = LAYERS[layer]
    choice = core.build_info()["convolutions"][layer]
    found = core._op_implementations(x_shape, weight_shape, backend="mixed", **options)
    for part in PARTS:
        theirs = core._op_implementations(x_shape, weight_shape, backend=choice[part], **options)
        assert found[part] == theirs[part]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_plan_is_a_mixture(precision):
    if precision == "bfloat16" and not core.build_info()["bfloat16"]:
        pytest.skip("cpu: bfloat16 is not offered")
    network = core.Network("1_1", 2)
    network.precision = precision
    rows = network.plan(224, 224, training=True, repeats=0)
    own = {"winograd", "direct", "sqz"}
    names = {row["implementation"].replace(":", " ").split()[0] for row in rows}
    assert names & own and names - own, names
