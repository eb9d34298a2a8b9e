"""Networks in bfloat16: how far from float32 they are, what stays float32, and who may use it.

SQZ_BF16=emulate lets our own kernels do it on any CPU. Where oneDNN offers it, that is
tried."""

import sys
import warnings

import networks
import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core

BACKENDS = core.build_info()["backends"]
OFFERED_ANYWHERE = core.build_info()["bfloat16"]

# Relative to the largest logit, and to the whole gradient's length. PyTorch in bfloat16 is up to
# 0.016 and 0.028 from its float32 on these networks, we up to 0.014 and 0.022.
LOGITS, GRADIENT = 0.02, 0.03


@pytest.fixture(autouse=True)
def emulation(monkeypatch):
    monkeypatch.setenv("SQZ_BF16", "emulate")


@pytest.fixture(params=BACKENDS)
def backend(request):
    before = core.get_backend()
    core.set_backend(request.param)
    yield request.param
    core.set_backend(before)


@pytest.fixture
def without_bfloat16(monkeypatch):
    """A process that cannot compute in bfloat16, whatever the CPU."""
    monkeypatch.delenv("SQZ_BF16")
    before = core.get_backend()
    core.set_backend("openmp")
    yield
    core.set_backend(before)


def make(name="1_1", **changes):
    network = core.Network(**{**networks.arguments(name), **changes})
    network.load_state_dict(
        networks.weights({key: value.shape for key, value in network.state_dict().items()})
    )
    return network


def pictures(n, size=64, seed=0):
    return np.random.RandomState(seed).uniform(-1, 1, (n, 3, size, size)).astype(np.float32)


def results(network, x, labels, **options):
    loss = network.compute_gradients(x, labels, **options)
    return loss, network.last_logits, network.flat_gradients.astype(np.float64)


# -- How far from float32 --------------------------------------------------------------------------


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_logits_and_gradients(backend, name):
    network = make(name)
    x, labels = networks.inputs(name)
    loss, logits, gradient = results(network, x, labels)
    network.precision = "bfloat16"
    close, near, direction = results(network, x, labels)
    assert np.abs(near - logits).max() < LOGITS * np.abs(logits).max()
    assert not np.array_equal(near, logits), "this was float32"
    assert close == pytest.approx(loss, rel=LOGITS)
    assert np.linalg.norm(direction - gradient) < GRADIENT * np.linalg.norm(gradient)
    np.testing.assert_allclose(network.forward(x), near, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["1_1", "1_0 odd channel counts, complex bypass"])
def test_twenty_steps(backend, name):
    x, labels = networks.inputs(name)
    losses = {}
    for precision in ("float32", "bfloat16"):
        network = make(name)
        network.precision = precision
        optimizer = core.Adam(network, lr=3e-4)
        losses[precision] = []
        for step in range(20):
            losses[precision].append(network.compute_gradients(x, labels, step=step))
            optimizer.step()
    fallen = losses["float32"][0] - losses["float32"][-1]
    assert fallen > 0.1, "there was something to learn"
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0, atol=0.05 * fallen)


def test_dropout_is_the_same(backend):
    """The mask does not depend on the precision."""
    network = make(dropout=0.5)
    x, labels = networks.inputs("1_1")
    loss, logits, _ = results(network, x, labels, step=3, seed=2)
    _, other, _ = results(network, x, labels, step=4, seed=2)
    network.precision = "bfloat16"
    _, near, _ = results(network, x, labels, step=3, seed=2)
    distance = np.abs(near - logits).max()
    assert distance < LOGITS * np.abs(logits).max() < np.abs(other - logits).max()


# -- Exactness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 5, 17])
def test_the_same_bits_on_any_number_of_threads(backend, n):
    network = make(dropout=0.5)
    network.precision = "bfloat16"
    x, labels = pictures(n), np.arange(n) % 2
    before = core.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            core.set_num_threads(threads)
            found.append((*results(network, x, labels, seed=2, step=8), network.forward(x)))
    finally:
        core.set_num_threads(before)
    for one in found[1:]:
        for mine, first in zip(one, found[0], strict=True):
            assert np.array_equal(mine, first)


@pytest.mark.parametrize("size", [67, 130])  # in parts by output blocks; by tiles as well
def test_threads_that_share_a_picture(backend, size):
    """Fewer pictures than threads: each rounds its part of the input, and meets the others."""
    network = make("1_0 complex bypass")
    network.precision = "bfloat16"
    x = pictures(1, size)
    before = core.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 5):
            core.set_num_threads(threads)
            found += [network.forward(x) for _ in range(3)]
    finally:
        core.set_num_threads(before)
    assert all(np.array_equal(logits, found[0]) for logits in found)


def test_plans_of_both_precisions_live_side_by_side(backend):
    network = make()
    x, labels = networks.inputs("1_1")
    found = {"float32": [], "bfloat16": []}
    for precision in ("float32", "bfloat16", "float32", "bfloat16"):
        network.precision = precision
        assert network.precision == precision
        found[precision].append((network.forward(x), *results(network, x, labels)))
    for first, second in found.values():
        for mine, theirs in zip(first, second, strict=True):
            assert np.array_equal(mine, theirs)
    assert not np.array_equal(found["float32"][0][0], found["bfloat16"][0][0])


def test_an_unaligned_picture(backend):
    """The input may start anywhere that a float may."""
    network = make()
    network.precision = "bfloat16"
    x = pictures(1)
    memory = np.empty(x.size + 1, np.float32)
    memory[1:] = x.ravel()
    assert np.array_equal(network.forward(memory[1:].reshape(x.shape)), network.forward(x))


# -- What stays float32 ----------------------------------------------------------------------------


def is_bfloat16(values):
    return (values.view(np.uint32) & 0xFFFF == 0).all()


def test_weights_gradients_and_logits_are_float32(backend):
    network = make()
    network.precision = "bfloat16"
    state = network.state_dict()
    x, labels = networks.inputs("1_1")
    network.compute_gradients(x, labels)
    for name, value in network.state_dict().items():
        assert np.array_equal(value, state[name]), "parameters are untouched"
        assert not is_bfloat16(value)
        if name.endswith("weight"):  # the last bias's is a sum of equal numbers, and may be exact
            assert not is_bfloat16(network.gradients[name].copy()), name
    assert not is_bfloat16(network.forward(x))


def test_small_updates_are_not_lost(backend):
    """Steps far below bfloat16's resolution add up in the float32 weights, and then are seen."""
    network = make()
    network.precision = "bfloat16"
    x, labels = networks.inputs("1_1")
    key = "features.0.weight"
    start = network.state_dict()[key]
    first = network.forward(x)
    optimizer = core.Adam(network, lr=1e-6)
    for _ in range(60):
        network.compute_gradients(x, labels)
        optimizer.step()
    moved = network.state_dict()[key] - start
    large = np.abs(start) > 0.1  # whose neighbours in bfloat16 are 2^-11 away, at least
    assert large.sum() > 100
    assert 1e-5 < np.abs(moved[large]).max() < 2.0**-12
    assert not np.array_equal(network.forward(x), first)


def test_saved_models_do_not_depend_on_precision(tmp_path):
    model = sq.Model("1_1", 2, seed=3)
    model.save(tmp_path / "a")
    model.precision = "bfloat16"
    model.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sq.Model.load(tmp_path / "b").precision == "float32"
    assert sq.Model.load(tmp_path / "b", precision="bfloat16").precision == "bfloat16"


# -- Plans and memory ------------------------------------------------------------------------------


def test_plan_names_the_element(backend):
    network = core.Network("1_1", 2)
    plain = network.plan(224, 224, training=True)
    network.precision = "bfloat16"
    rows = network.plan(224, 224, training=True, repeats=1)
    assert [row["op"] for row in rows] == [row["op"] for row in plain]
    for row, before in zip(rows, plain, strict=True):
        assert row["milliseconds"] > 0
        assert "bfloat16" not in before["layout"]
        source, destination = row["layout"].split(" -> ")
        assert source.startswith("bfloat16 ")
        assert destination.startswith("bfloat16 ") == ("average_pool" not in row["op"])
        assert not row["implementation"].startswith("ref"), row
    if core.build_info()["block"] == 8:
        assert rows[0]["layout"] == "bfloat16 3x224x224 -> bfloat16 8x111x111x8"


MEMORY = """
import sys
import memory
import numpy as np
from squeezenet_c._native import core
core.set_num_threads(1)
network = core.Network("1_0", 2)
network.precision = sys.argv[1]
x = np.zeros((1, 3, 1024, 1024), np.float32)
before = memory.peak_mib()
network.compute_gradients(x, [0])
print(memory.peak_mib() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hardware: no /proc here")
def test_a_workspace_is_smaller(measured):
    """One large picture: activations are all of what counts, and those of a v1.0 are 350 MB in
    float32. (Emulation keeps one layer's arrays in float32 besides.)"""
    grown = {precision: measured(MEMORY, precision) for precision in ("float32", "bfloat16")}
    assert grown["bfloat16"] < 0.85 * grown["float32"], grown


# -- Who may use it --------------------------------------------------------------------------------


def test_build_info_says_why(without_bfloat16):
    info = sq.build_info()
    assert info["bfloat16"] is False
    assert "openmp" in info["bfloat16_reason"] and "float32" in info["bfloat16_reason"]


def test_reason_without_avx512():
    if "onednn" not in BACKENDS or core.build_info()["cpu_isa"] == "avx512":
        pytest.skip("hardware: oneDNN offers bfloat16 here, or is not there")
    before = core.get_backend()
    core.set_backend("onednn")
    try:
        assert "AVX-512" in sq.build_info()["bfloat16_reason"]
    finally:
        core.set_backend(before)


def caught(work):
    with warnings.catch_warnings(record=True) as log:
        warnings.simplefilter("always")
        result = work()
    return result, log


def test_fallback_warns_once_a_request(without_bfloat16, tmp_path):
    sq.Model("1_1", 2).save(tmp_path / "model")

    def set_it():
        model = sq.Model("1_1", 2)
        model.precision = "bfloat16"
        return model

    for work in (
        set_it,
        lambda: sq.Model("1_1", 2, precision="bfloat16"),
        lambda: sq.Model.load(tmp_path / "model", precision="bfloat16"),
        lambda: sq.Model.load(tmp_path / "model", "bfloat16").copy(),
    ):
        model, log = caught(work)
        assert model.precision == "float32"
        assert [entry.category for entry in log] == [UserWarning]
        assert log[0].filename == __file__, "it points at the caller"
        text = str(log[0].message)
        assert text.startswith('precision "bfloat16" is not offered here: ')
        assert text.endswith("; float32 is used")
    _, log = caught(lambda: model.forward(pictures(1)))
    assert not log


def test_fallback_is_float32_bit_for_bit(without_bfloat16):
    x, labels = pictures(3), np.array([0, 1, 1])
    plain = sq.Model("1_1", 2, seed=4)
    with pytest.warns(UserWarning, match="float32 is used"):
        asked = sq.Model("1_1", 2, seed=4, precision="bfloat16")
    first, second = sq.Adam(plain), sq.Adam(asked)
    for _ in range(2):
        assert plain.train_step(x, labels, first) == asked.train_step(x, labels, second)
    assert np.array_equal(plain.forward(x), asked.forward(x))


def test_a_refused_precision_leaves_float32(without_bfloat16, monkeypatch):
    monkeypatch.setenv("SQZ_BF16", "emulate")
    model = sq.Model("1_1", 2, precision="bfloat16")
    assert model.precision == "bfloat16"
    monkeypatch.delenv("SQZ_BF16")
    with pytest.warns(UserWarning, match="float32 is used"):
        model.precision = "bfloat16"
    assert model.precision == "float32"


@pytest.mark.parametrize("wrong", ["half", "BFLOAT16", "", None, 16])
def test_no_such_precision(wrong):
    model = sq.Model("1_1", 2, precision="bfloat16")
    with pytest.raises(ValueError, match="expected 'float32', 'bfloat16' or 'int8'"):
        model.precision = wrong
    assert model.precision == "bfloat16"
    with pytest.raises(ValueError, match="expected 'float32', 'bfloat16' or 'int8'"):
        sq.Model("1_1", 2, precision=wrong)


def test_wrong_setting_is_a_sentence(monkeypatch):
    monkeypatch.setenv("SQZ_BF16", "yes")
    with pytest.raises(ValueError, match='SQZ_BF16 is "yes", expected "emulate"'):
        sq.Model("1_1", 2, precision="bfloat16")
    assert sq.Model("1_1", 2).precision == "float32"


def test_a_backend_without_bfloat16_is_a_warning_at_the_next_pass(monkeypatch):
    if not OFFERED_ANYWHERE:
        pytest.skip("hardware: no backend computes in bfloat16 here")
    monkeypatch.delenv("SQZ_BF16")
    model = sq.Model("1_1", 2, precision="bfloat16")
    before = core.get_backend()
    core.set_backend("openmp")
    try:
        x = pictures(1)
        expected = sq.Model("1_1", 2).forward(x)
        for compute in (model.forward, lambda x: model.compute_gradients(x, [0])):
            with warnings.catch_warnings(), pytest.raises(UserWarning, match="not offered here"):
                warnings.simplefilter("error")
                compute(x)
            assert model.precision == "bfloat16"
        with pytest.warns(UserWarning, match="bfloat16.* is not offered.*in float32 from now on"):
            found = model.forward(x)
        assert np.array_equal(found, expected)
        with warnings.catch_warnings():  # once
            warnings.simplefilter("error")
            model.compute_gradients(x, [0])
    finally:
        core.set_backend(before)
    assert model.precision == "float32" and np.isfinite(model.forward(x)).all()


# -- Training and the command line -----------------------------------------------------------------


def test_train(tmp_path):
    dataset = sq.synthetic.write(tmp_path, 12, seed=1)
    model = sq.Model("1_1", num_classes=2, seed=1, image_size=64)
    history = sq.train(
        model, dataset, dataset, epochs=2, batch_size=4, precision="bfloat16", progress=False
    )
    assert model.precision == "bfloat16" and len(history) == 2
    assert all(np.isfinite(row.train_loss) for row in history.rows)
    exact = sq.Model("1_1", num_classes=2, seed=1, image_size=64)
    other = sq.train(exact, dataset, dataset, epochs=2, batch_size=4, progress=False)
    assert other.rows[0].train_loss != history.rows[0].train_loss
    assert other.rows[0].train_loss == pytest.approx(history.rows[0].train_loss, rel=0.05)


def test_command_line(tmp_path, capsys, monkeypatch, without_bfloat16):
    from squeezenet_c.cli import main

    dataset = sq.synthetic.write(tmp_path / "pictures", 2, seed=1)
    sq.Model("1_1", 2, image_size=64, class_names=dataset.class_names).save(tmp_path / "model")
    command = ["predict", str(tmp_path / "model"), dataset.paths[0], "--json"]
    assert main(command) == 0
    plain = capsys.readouterr()
    assert main([*command, "--precision", "bfloat16"]) == 0
    asked = capsys.readouterr()
    assert asked.out == plain.out and plain.err == ""
    assert asked.err.startswith("squeezenet-c: warning: precision") and asked.err.count("\n") == 1
    monkeypatch.setenv("SQZ_BF16", "emulate")
    assert main([*command, "--precision", "bfloat16"]) == 0
    emulated = capsys.readouterr()
    assert emulated.err == "" and emulated.out != plain.out
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--precision", "half"])
    assert stopped.value.code == 2
