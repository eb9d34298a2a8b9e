"""The whole network against PyTorch: logits, gradients and Adam, on every backend.

Where torch is not installed the golden numbers in golden/networks.json stand for it (made by
make_golden.py); they are checked where it is installed too, so that they cannot grow stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import networks
import numpy as np
import oracle
import pytest

from squeezenet_c._native import core

GOLDEN = json.loads((Path(__file__).parent / "golden/networks.json").read_text(encoding="utf-8"))
BACKENDS = core.build_info()["backends"]

# What the project promises: relative to the largest value of the tensor.
LOGITS, GRADIENTS, LOSSES = 1e-4, 1e-3, 1e-3
# A kink that goes the other way moves single gradients far and the tensor a little.
ON_KINKS = 2e-2


def gradient_error(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """As a part of what is allowed: of the largest value or, on kinks, of the tensor's norm."""
    if name not in networks.ON_KINKS:
        return relative(found, expected) / GRADIENTS
    difference = np.linalg.norm(np.asarray(found, np.float64) - expected)
    return float(difference / np.linalg.norm(np.asarray(expected, np.float64)) / ON_KINKS)


@pytest.fixture(params=BACKENDS)
def backend(request):
    before = core.get_backend()
    core.set_backend(request.param)
    yield request.param
    core.set_backend(before)


def make(name: str, **changes) -> core.Network:
    network = core.Network(**{**networks.arguments(name), **changes})
    network.load_state_dict(
        networks.weights({key: value.shape for key, value in network.state_dict().items()})
    )
    return network


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))


def adam_losses(network: core.Network, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    optimizer = core.Adam(network, lr=networks.LEARNING_RATE)
    losses = []
    for step in range(networks.STEPS):
        losses.append(network.compute_gradients(x, labels, step=step))
        optimizer.step()
    return np.array(losses)


# -- PyTorch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_parity_with_torch(backend, name):
    pytest.importorskip("torch", reason="torch is not installed; golden numbers are checked")
    network = make(name)
    x, labels = networks.inputs(name)
    logits, gradients, losses = networks.torch_run(network.spec, network.state_dict(), x, labels)

    assert relative(network.forward(x), logits) < LOGITS
    assert network.compute_gradients(x, labels) == pytest.approx(losses[0], rel=LOSSES)
    assert relative(network.last_logits, logits) < LOGITS
    assert network.gradients.keys() == gradients.keys()
    for key, expected in gradients.items():
        assert gradient_error(name, network.gradients[key], expected) < 1, key
    np.testing.assert_allclose(adam_losses(network, x, labels), losses, rtol=LOSSES)


def test_dropout_parity_with_torch(backend):
    pytest.importorskip("torch", reason="torch is not installed")
    name, seed, step, first = "1_1", 11, 3, 5
    network = make(name, dropout=0.4)
    x, labels = networks.inputs(name)
    shape = network.layers(*x.shape[2:])[-3]["in_shape"]
    mask = np.stack(
        [oracle.dropout_mask(shape, 0.4, seed, step, first + i) / (1 - 0.4) for i in range(len(x))]
    ).astype(np.float32)
    logits, gradients, losses = networks.torch_run(
        network.spec, network.state_dict(), x, labels, steps=1, mask=mask
    )
    loss = network.compute_gradients(
        x, labels, global_batch=9, indices=first + np.arange(len(x)), step=step, seed=seed
    )
    assert relative(network.last_logits, logits) < LOGITS
    assert loss * 9 / len(x) == pytest.approx(losses[0], rel=LOSSES)
    for key, expected in gradients.items():
        found = network.gradients[key] * (9 / len(x))
        assert relative(found, expected) < GRADIENTS, key


@pytest.mark.parametrize("betas, eps", [((0.9, 0.999), 1e-8), ((0.8, 0.95), 1e-4)])
def test_adam_is_torch_adam(betas, eps):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    network = core.Network("1_1", 2, seed=3)
    optimizer = core.Adam(network, lr=2e-3, betas=betas, eps=eps)
    names = list(network.state_dict())
    peer = [torch.tensor(value, requires_grad=True) for value in network.state_dict().values()]
    peer_optimizer = torch.optim.Adam(peer, lr=2e-3, betas=betas, eps=eps)
    random = np.random.RandomState(1)
    for step in range(30):
        if step == 15:
            optimizer.lr = 5e-4
            peer_optimizer.param_groups[0]["lr"] = 5e-4
        scale = 10.0 ** random.randint(-6, 2)
        network.flat_gradients[:] = scale * random.standard_normal(network.parameter_count)
        for name, tensor in zip(names, peer, strict=True):
            tensor.grad = torch.tensor(network.gradients[name])
        optimizer.step()
        peer_optimizer.step()
    assert optimizer.step_count == 30
    state = network.state_dict()
    for name, tensor in zip(names, peer, strict=True):
        np.testing.assert_allclose(state[name], tensor.detach().numpy(), rtol=1e-5, atol=1e-7)


# -- Golden numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_golden_numbers(backend, name):
    expected = GOLDEN["networks"][name]
    network = make(name)
    x, labels = networks.inputs(name)
    logits = network.forward(x)
    assert relative(logits.ravel(), np.array(expected["logits"])) < LOGITS
    network.compute_gradients(x, labels)
    assert network.gradients.keys() == expected["gradients"].keys()
    for key, golden in expected["gradients"].items():
        gradient = network.gradients[key]
        samples = gradient.ravel()[
            np.linspace(0, gradient.size - 1, len(golden["samples"])).astype(int)
        ]
        tolerance = ON_KINKS if name in networks.ON_KINKS else GRADIENTS
        difference = np.abs(samples - np.array(golden["samples"])).max()
        assert difference < tolerance * golden["largest"], key
        norm = np.linalg.norm(gradient.astype(np.float64))
        assert norm == pytest.approx(golden["norm"], rel=tolerance), key
    np.testing.assert_allclose(adam_losses(network, x, labels), expected["losses"], rtol=LOSSES)


# -- Shapes and weights ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version, classes, count",
    [("1_0", 4, 737_476), ("1_0", 1000, 1_248_424), ("1_1", 1000, 1_235_496)],
)
def test_parameter_counts(version, classes, count):
    network = core.Network(version, classes)
    assert network.parameter_count == count
    assert sum(layer["parameter_count"] for layer in network.layers(224, 224)) == count


def test_feature_maps():
    """The sizes after each stage of v1.0, with ceil_mode."""
    layers = core.Network("1_0", 2).layers(224, 224)
    sizes = [layer["out_shape"][1] for layer in layers if layer["kind"] == "max_pool"]
    assert layers[0]["out_shape"] == (96, 109, 109)
    assert sizes == [54, 27, 13]


def test_one_network_made_anew_leaves_the_others(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed")
    import make_golden

    written = json.loads(make_golden.TARGET.read_text(encoding="utf-8"))
    names = list(written["networks"])
    monkeypatch.setattr(make_golden, "TARGET", tmp_path / "networks.json")
    monkeypatch.setattr(make_golden, "kink_error", lambda name: 0.0)
    monkeypatch.setattr(make_golden, "golden", lambda name: f"made of {name}")
    monkeypatch.setattr(make_golden.torch, "__version__", written["torch"] + "+cpu")
    monkeypatch.setattr(sys, "argv", ["make_golden.py", "--only", names[1]])
    old = {"torch": written["torch"], "networks": {names[2]: "kept", names[1]: "old"}}
    make_golden.TARGET.write_text(json.dumps(old), encoding="utf-8")
    make_golden.main()
    new = json.loads(make_golden.TARGET.read_text(encoding="utf-8"))
    assert new == old | {"networks": {names[1]: f"made of {names[1]}", names[2]: "kept"}}
    assert list(new["networks"]) == [names[1], names[2]]
    make_golden.TARGET.write_text(json.dumps(old | {"torch": "1.0"}), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"is by torch 1\.0, this is"):
        make_golden.main()


@pytest.mark.parametrize("bypass", [None, "simple", "complex"])
def test_layers_are_a_graph(bypass):
    """What they read has been written, all of its channels, each once."""
    network = core.Network("1_0", 2, bypass=bypass, base_e=45, incr_e=18)
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    written = {0: 3}  # channels, by activation
    read = set()
    for layer in network.layers(224, 224):
        channels, height, width = layer["in_shape"]
        assert all(written[number] == channels for number in layer["inputs"])
        assert len(layer["inputs"]) == (2 if layer["kind"] == "sum" else 1)
        assert layer["first_channel"] == written.get(layer["output"], 0)
        written[layer["output"]] = layer["first_channel"] + layer["out_shape"][0]
        read.update(layer["inputs"])
        if layer["kind"] == "conv":
            kernel, padding = layer["kernel"], layer["padding"]
            shape = (layer["out_shape"][0], channels, kernel, kernel)
            assert shapes[layer["name"] + ".weight"] == shape
            sides = [
                (side + 2 * padding - kernel) // layer["stride"] + 1 for side in (height, width)
            ]
            assert layer["out_shape"][1:] == tuple(sides)
        elif layer["kind"] == "max_pool":
            assert (layer["kernel"], layer["stride"], layer["padding"]) == (3, 2, 0)
        else:
            assert (layer["kernel"], layer["stride"], layer["padding"]) == (0, 0, 0)
    assert written.keys() - read == {layer["output"]}  # the logits


def test_fresh_weights():
    """Kaiming-uniform convolutions, a normal(0, 0.01) last one, zero biases; by seed alone."""
    state = core.Network("1_1", 50, seed=4).state_dict()
    for name, value in state.items():
        if value.ndim == 1:
            assert not value.any(), name
        elif name == "classifier.1.weight":
            assert abs(value.mean()) < 5 * 0.01 / np.sqrt(value.size)
            assert value.std() == pytest.approx(0.01, rel=0.02)
        else:
            bound = np.sqrt(6 / np.prod(value.shape[1:]))
            assert np.abs(value).max() <= bound
            assert np.abs(value).max() > 0.99 * bound
            assert value.std() == pytest.approx(bound / np.sqrt(3), rel=0.1), name
    again = core.Network("1_1", 50, seed=4).state_dict()
    other = core.Network("1_1", 50, seed=5).state_dict()
    assert all(np.array_equal(state[name], again[name]) for name in state)
    assert not np.array_equal(state["features.0.weight"], other["features.0.weight"])


def test_metaparameters():
    """Fire module i: e = base_e + incr_e (i // freq), rounded shares of it (section 5.1)."""
    network = core.Network("1_0", 2, squeeze_ratio=0.5, pct_3x3=0.25, base_e=64, incr_e=32, freq=3)
    state = network.state_dict()
    for index, feature in enumerate((3, 4, 5, 7, 8, 9, 10, 12)):
        expand = 64 + 32 * (index // 3)
        assert state[f"features.{feature}.squeeze.weight"].shape[0] == expand // 2
        assert state[f"features.{feature}.expand3x3.weight"].shape[0] == expand // 4
        assert state[f"features.{feature}.expand1x1.weight"].shape[0] == expand - expand // 4
    assert network.spec["squeeze_ratio"] == 0.5 and network.spec["freq"] == 3


# -- Exactness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 16, 33])
def test_gradients_do_not_depend_on_threads(backend, n):
    network = make("1_1", dropout=0.5)
    random = np.random.RandomState(n)
    x = random.uniform(-1, 1, (n, 3, 64, 64)).astype(np.float32)
    labels = random.randint(0, 2, n)
    before = core.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 7):
            core.set_num_threads(threads)
            loss = network.compute_gradients(x, labels, seed=2, step=8)
            results.append((loss, network.flat_gradients.copy(), network.last_logits))
    finally:
        core.set_num_threads(before)
    for loss, gradients, logits in results[1:]:
        assert loss == results[0][0]
        assert np.array_equal(gradients, results[0][1])
        assert np.array_equal(logits, results[0][2])


@pytest.mark.parametrize("count", [3, 16, 32, 40])
@pytest.mark.parametrize("ranks", [2, 4])
def test_parts_of_a_batch_add_up_to_its_bits(backend, ranks, count):
    """Ranks, each with the pictures of a subtree of the lanes, make the gradient and the losses
    that one process makes; with 3 pictures most ranks have none."""
    network = make("1_1", dropout=0.5)
    random = np.random.RandomState(0)
    x = random.uniform(-1, 1, (count, 3, 64, 64)).astype(np.float32)
    labels = random.randint(0, 2, count)
    options = {"seed": 1, "step": 2, "label_smoothing": 0.1, "class_weights": [0.3, 1.7]}
    loss = network.compute_gradients(x, labels, **options)
    whole, losses, logits = network.flat_gradients.copy(), network.last_losses, network.last_logits
    total = np.add.accumulate(np.array([0.3, 1.7])[labels])[-1]
    assert loss == np.add.accumulate(losses)[-1] / total
    sums = []
    for rank in range(ranks):
        own = np.flatnonzero(np.arange(count) % core.LANES * ranks // core.LANES == rank)
        sums.append(None)
        if len(own):
            network.compute_gradients(
                x[own], labels[own], global_batch=count, indices=own, total_weight=total, **options
            )
            sums[rank] = network.flat_gradients.copy()
            assert np.array_equal(network.last_losses, losses[own])
            assert np.array_equal(network.last_logits, logits[own])
    while len(sums) > 1:
        pairs = zip(sums[::2], sums[1::2], strict=True)
        sums = [one if two is None else one + two for one, two in pairs if one is not None]
        sums += [None] * (len(sums) % 2 if len(sums) > 1 else 0)
    assert np.array_equal(sums[0], whole)


def test_a_picture_does_not_depend_on_its_batch(backend):
    network = make("1_0")
    x, _ = networks.inputs("1_0")
    together = network.forward(x)
    for i in range(len(x)):
        assert np.array_equal(network.forward(x[i : i + 1])[0], together[i])


def test_loss_falls(backend):
    network = core.Network("1_1", 2, seed=0, dropout=0.0)
    x, labels = networks.inputs("1_1")
    x += (0.5 * labels - 0.25).astype(np.float32)[:, None, None, None]  # something to learn
    optimizer = core.Adam(network, lr=3e-4)
    first = network.compute_gradients(x, labels)
    for _ in range(30):
        network.compute_gradients(x, labels)
        optimizer.step()
    assert network.compute_gradients(x, labels) < 0.7 * first


def test_optimizer_state_continues_exactly():
    x, labels = networks.inputs("1_1 simple bypass")

    def run(network, optimizer, steps):
        for step in steps:
            network.compute_gradients(x, labels, step=step)
            optimizer.step()

    whole = make("1_1 simple bypass")
    run(whole, core.Adam(whole, lr=1e-3), range(6))
    first = make("1_1 simple bypass")
    optimizer = core.Adam(first, lr=1e-3)
    run(first, optimizer, range(3))
    second = make("1_1 simple bypass")
    second.load_state_dict(first.state_dict())
    resumed = core.Adam(second, lr=0.5)
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.lr == 1e-3 and resumed.step_count == 3
    run(second, resumed, range(3, 6))
    for name, value in whole.state_dict().items():
        assert np.array_equal(second.state_dict()[name], value), name
