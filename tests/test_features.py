"""What a picture is known by before it is classified."""

from pathlib import Path

import int8_oracle as int8
import networks
import numpy as np
import pytest
from test_int8 import CASES, case

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.network import HEAD_BIAS, HEAD_WEIGHT

SPECS = [name for name in networks.NETWORKS if "224" not in name]


def batch(count: int, *sides: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, 3, *sides)).astype(np.float32)


@pytest.mark.parametrize("backend", ["mixed", "onednn", "openmp"])
@pytest.mark.parametrize("name", SPECS)
def test_they_are_the_logits_of_a_network_that_passes_them_on(name: str, backend: str) -> None:
    """Whose last convolution is the identity; and the last convolution is linear in them."""
    if backend not in sq.build_info()["backends"]:
        pytest.skip(f"build: no {backend}")
    sq.set_backend(backend)
    arguments, (count, height, width), _ = networks.NETWORKS[name]
    network = core.Network(**arguments)
    state = networks.weights(core.parameter_shapes(**arguments))
    network.load_state_dict(state)
    x = batch(count, height, width)
    found = network.pooled_features(x)
    channels = state[HEAD_WEIGHT].shape[1]
    assert found.dtype == np.float32 and found.shape == (count, channels)
    assert (found >= 0).all() == (arguments.get("bypass") != "complex")
    passing = core.Network(**{**arguments, "num_classes": channels, "final_relu": False})
    identity = np.eye(channels, dtype=np.float32)[:, :, None, None]
    zeros = np.zeros(channels, np.float32)
    passing.load_state_dict({**state, HEAD_WEIGHT: identity, HEAD_BIAS: zeros})
    exact = passing.forward(x)
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-6 * np.abs(exact).max())
    if not arguments.get("final_relu"):
        logits = found @ state[HEAD_WEIGHT][:, :, 0, 0].T + state[HEAD_BIAS]
        np.testing.assert_allclose(logits, network.forward(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in CASES if "224" not in name])
def test_int8s_are_the_oracles_bits(name: str) -> None:
    network, pictures, _, _ = case(name)
    quantisation, state = network.quantization, network.state_dict()
    number = int8.steps_of(network.spec)[-2].inputs[0]
    scale = np.float64(quantisation["activation_scales"][number])
    found = network.pooled_features(pictures)
    for picture, row in zip(pictures, found, strict=True):
        values = int8.activations(state, network.spec, quantisation, picture)[number]
        expected = (values.sum(axis=(1, 2)) * scale / values[0].size).astype(np.float32)
        np.testing.assert_array_equal(row, expected, strict=True)
    assert np.ptp(found) > 0


def test_bfloat16s_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQZ_BF16", "emulate")
    model, x = sq.Model(seed=4), batch(2, 64, 64)
    exact = model.pooled_features(x)
    model.precision = "bfloat16"
    rounded = model.pooled_features(x)
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.05 * exact.max()
    head = model.state_dict()[HEAD_WEIGHT][:, :, 0, 0]
    np.testing.assert_allclose(rounded @ head.T, model.forward(x), rtol=0.05, atol=1e-3)


def test_the_same_bits_on_any_number_of_threads() -> None:
    model, x = sq.Model(seed=4), batch(3, 64, 64)
    int8_network, pictures, _, _ = case("1_1 tiny")
    found = set()
    for threads in (1, 2, 5):
        sq.set_num_threads(threads)
        found.add(model.pooled_features(x).tobytes() + model.pooled_features(x[:1]).tobytes())
        found.add(int8_network.pooled_features(pictures).tobytes())
    assert len(found) == 2


def test_all_forms_of_pictures(tmp_path: Path) -> None:
    model = sq.Model(seed=2, image_size=48)
    dataset = sq.synthetic.write(tmp_path, 5, size=60)
    found = model.features(dataset, batch_size=2)
    assert found.shape == (5, 512)
    np.testing.assert_array_equal(sq.features(model, dataset.paths), found)
    pixels = core.read_image(dataset.paths[3])
    for image in (dataset.paths[3], pixels, [pixels]):
        np.testing.assert_array_equal(model.features(image), found[3:4])
    assert model.features([]).shape == (0, 512)
    with pytest.raises(TypeError, match="no picture"):
        model.features(3)
    state = model.state_dict()
    state["features.0.weight"][:] = 1e38
    model.load_state_dict(state)
    with pytest.raises(ValueError, match="not finite"):
        model.features(dataset)


def test_what_is_no_input_is_refused() -> None:
    model = sq.Model()
    with pytest.raises(ValueError, match="NaN"):
        model.pooled_features(np.full((1, 3, 64, 64), np.nan, np.float32))
    with pytest.raises(ValueError, match="shape"):
        model.pooled_features(np.zeros((1, 64, 64, 3), np.float32))


def test_other_classifiers_learn_from_them(shared: Path, palm_folder: Path) -> None:
    """Of a network that has seen no eye, ImageNet's: PALM's validation pictures by a logistic
    regression on the training pictures' features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = sq.Model.load(shared / "pretrained" / "squeezenet1_1-imagenet.safetensors")
    training = sq.palm.load_training(palm_folder)
    valid = sq.palm.load_validation(palm_folder)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    training, valid = training[::2], valid[::2]  # all of them: 0.960
    classifier.fit(model.features(training), training.labels)
    assert classifier.score(model.features(valid), valid.labels) > 0.9
