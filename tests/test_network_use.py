"""Network and Adam as objects: plans, threads, lifetimes, and what they refuse."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core

BACKENDS = core.build_info()["backends"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    before = core.get_backend()
    core.set_backend(request.param)
    yield request.param
    core.set_backend(before)


def pictures(n: int, size: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).uniform(-1, 1, (n, 3, size, size)).astype(np.float32)


# -- Plans -----------------------------------------------------------------------------------------

ODD = {"squeeze_ratio": 0.11, "pct_3x3": 0.37, "base_e": 45, "incr_e": 19}


def check_plans() -> None:
    """No reference implementation and no reorder in any plan; blocks from end to end."""
    block = core.build_info()["block"]
    for arguments in ({}, {"bypass": "simple"}, {"bypass": "complex"}, ODD):
        for version in ("1_0", "1_1"):
            network = core.Network(version, 2, **arguments)
            for training in (False, True):
                rows = network.plan(224, 224, training=training)
                convolutions = [row for row in rows if row["op"].startswith("conv")]
                assert len(convolutions) >= (26 + 26 + 25 if training else 26)
                for row in rows:
                    assert not row["implementation"].startswith("ref"), row
                    assert row["implementation"], row
                    assert "reorder" not in row["op"] + row["implementation"], row
                    source, destination = row["layout"].split(" -> ")
                    assert destination.endswith(f"x{block}"), row
                    assert source.endswith(f"x{block}") or source == "3x224x224", row


def test_plans_have_no_reference_primitive(backend):
    if core.build_info()["isa"] == "baseline":
        pytest.skip("hardware: this CPU has neither AVX2 nor AVX-512")
    check_plans()


@pytest.mark.skipif("onednn" not in BACKENDS, reason="build: oneDNN is not offered")
@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "SQZ_ISA"])
def test_plans_on_avx2(variable):
    """The same on a CPU with AVX2 alone: 8-channel blocks."""
    code = (
        "import test_network_use as t; "
        "info = t.core.build_info(); "
        "assert info['backend'] == 'onednn' and info['block'] == 8, info; "
        "t.check_plans()"
    )
    environment = {
        **os.environ,
        variable: "AVX2" if variable.startswith("ONEDNN") else "avx2",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
        "SQZ_BACKEND": "onednn",
    }
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=os.path.dirname(__file__),  # where no source hides the package
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_plan_times_every_op(backend):
    rows = core.Network("1_1", 2).plan(224, 224, training=True, repeats=2)
    assert all(row["milliseconds"] > 0 for row in rows)
    assert rows[0]["layer"] == "features.0" and rows[-1]["op"] == "conv backward weights"


def test_many_sizes_use_a_bounded_cache(backend):
    network = core.Network("1_1", 2)
    first = network.forward(pictures(1, 64))
    for size in range(40, 60):
        network.forward(pictures(1, size))
    assert np.array_equal(network.forward(pictures(1, 64)), first)


SIZES = """
import sys
import memory
import numpy as np
from squeezenet_c._native import core
core.set_backend(sys.argv[1])
network = core.Network("1_1", 2)

def use(sizes):
    for size in sizes:
        network.forward(np.zeros((1, 3, size, size), np.float32))

use(range(320, 240, -8))
before = memory.resident_mib()
use(range(240, 120, -4))
print(memory.resident_mib() - before)
"""


def test_many_sizes_keep_few_plans(backend, measured):
    """Thirty smaller sizes find most of the memory of the ten before them. MiB; were the plans of
    all kept, they would take 180 to 410 more. (oneDNN keeps its kernels, up to 76.)"""
    assert measured(SIZES, core.get_backend()) < 130


# -- Threads and lifetimes -------------------------------------------------------------------------


def test_threads_predict_at_once(backend):
    network = core.Network("1_1", 3, seed=1)
    batches = [pictures(3, 96, seed) for seed in range(6)]
    expected = [network.forward(batch) for batch in batches]
    found: list[list[np.ndarray]] = [[] for _ in batches]

    def work(index: int) -> None:
        for _ in range(5):
            found[index].append(network.forward(batches[index]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, results in enumerate(found):
        assert len(results) == 5
        assert all(np.array_equal(result, expected[index]) for result in results)


def test_arrays_outlive_their_network():
    network = core.Network("1_1", 2)
    network.compute_gradients(pictures(2), [0, 1])
    flat, views = network.flat_gradients, network.gradients
    expected = flat.copy()
    del network
    gc.collect()
    assert np.array_equal(flat, expected)
    assert sum(view.size for view in views.values()) == flat.size


def test_gradients_are_views_of_the_flat_array():
    network = core.Network("1_1", 2)
    network.flat_gradients[:] = 3
    assert all((view == 3).all() for view in network.gradients.values())
    with pytest.raises(ValueError, match="read-only"):
        network.gradients["features.0.weight"][0] = 1


MEMORY = """
import memory
import numpy as np
from squeezenet_c._native import core
x, labels = np.random.RandomState(0).rand(4, 3, 96, 96).astype(np.float32), np.arange(4) % 2

def work(times):
    for _ in range(times):
        network = core.Network("1_1", 2)
        optimizer = core.Adam(network)
        for _ in range(3):
            network.compute_gradients(x, labels)
            optimizer.step()
        network.forward(x)
        network.state_dict(), optimizer.state_dict()

work(5)
before = memory.peak_mib()
work(20)
print(1024 * (memory.peak_mib() - before))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="hardware: no /proc here")
def test_memory_is_flat(measured):
    """Training, predicting, and making and dropping networks allocate nothing that stays."""
    assert measured(MEMORY) < 40_000  # KiB; one network's plans and lanes are about 90 MB


# -- What is refused -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> core.Network:
    return core.Network("1_1", 2)


@pytest.mark.parametrize(
    "x, error, words",
    [
        ([[1.0]], TypeError, "x is of type list"),
        (np.zeros((1, 3, 64, 64)), TypeError, "x has dtype float64, expected float32"),
        (np.zeros((3, 64, 64), np.float32), ValueError, r"x has shape \(3, 64, 64\)"),
        (np.zeros((1, 4, 64, 64), np.float32), ValueError, r"expected \(N, 3, H, W\)"),
        (
            np.zeros((0, 3, 64, 64), np.float32),
            ValueError,
            r"x has shape \(0, 3, 64, 64\)",
        ),
        (np.zeros((1, 3, 2, 2), np.float32), ValueError, "2 x 2 .* too small"),
        (
            np.full((1, 3, 64, 64), np.nan, np.float32),
            ValueError,
            "NaN or infinity in picture 0",
        ),
        (np.full((1, 3, 64, 64), np.inf, np.float32), ValueError, "NaN or infinity"),
    ],
)
def test_wrong_pictures(network, x, error, words):
    with pytest.raises(error, match=words):
        network.forward(x)
    with pytest.raises(error, match=words):
        network.compute_gradients(x, [0])


def test_strided_pictures_are_copied(network):
    x = pictures(2, 64)
    mirrored = x[:, :, :, ::-1]
    assert np.array_equal(network.forward(mirrored), network.forward(mirrored.copy()))
    swapped = x.astype(">f4")
    assert np.array_equal(network.forward(swapped), network.forward(x))


@pytest.mark.parametrize(
    "labels, error, words",
    [
        ([0], ValueError, r"labels has shape \(1,\), expected \(2,\)"),
        ([[0, 1]], ValueError, "labels has shape"),
        ([0, 2], ValueError, r"label 2 of picture 1 is outside 0\.\.1"),
        ([-1, 0], ValueError, "label -1 of picture 0"),
        ([0.0, 1.0], TypeError, "labels has dtype float64, expected integers"),
        (["a", "b"], TypeError, "expected integers"),
    ],
)
def test_wrong_labels(network, labels, error, words):
    with pytest.raises(error, match=words):
        network.compute_gradients(pictures(2), labels)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_labels_of_any_integer_type(network, dtype):
    expected = network.compute_gradients(pictures(2), [1, 0])
    assert network.compute_gradients(pictures(2), np.array([1, 0], dtype)) == expected


def test_wrong_global_batch(network):
    with pytest.raises(ValueError, match="pictures 3 to 4 are not within a global batch of 4"):
        network.compute_gradients(pictures(2), [0, 1], global_batch=4, indices=[3, 4])
    for wrong in (-(2**31), -1, 0, 1):
        with pytest.raises(ValueError, match=f"0 to 1 are not within a global batch of {wrong}"):
            network.compute_gradients(pictures(2), [0, 1], global_batch=wrong)
    with pytest.raises(ValueError, match="pictures 2147483647 to 2147483648 are not within"):
        network.compute_gradients(
            pictures(2), [0, 1], global_batch=4, indices=2**31 + np.arange(-1, 1)
        )
    for wrong in ([2, 2], [3, 1]):
        with pytest.raises(ValueError, match=r"picture . follows picture ., expected indices that"):
            network.compute_gradients(pictures(2), [0, 1], global_batch=4, indices=wrong)
    with pytest.raises(ValueError, match=r"indices has shape \(1,\), expected \(2,\)"):
        network.compute_gradients(pictures(2), [0, 1], global_batch=4, indices=[1])


def test_first_index_is_short_for_indices_that_follow_each_other():
    model = sq.Model("1_1", num_classes=2, seed=0)
    loss = model.compute_gradients(pictures(2), [0, 1], 4, indices=[1, 2])
    assert model.compute_gradients(pictures(2), [0, 1], 4, 1) == loss
    assert model.compute_gradients(pictures(2), [0, 1], 4) != loss  # another dropout
    with pytest.raises(ValueError, match="pictures 3 to 4 are not within a global batch of 4"):
        model.compute_gradients(pictures(2), [0, 1], global_batch=4, first_index=3)
    with pytest.raises(ValueError, match="first_index and indices are both given"):
        model.compute_gradients(pictures(2), [0, 1], 4, 1, indices=[1, 2])


def test_no_frozen_names(network):
    expected = network.compute_gradients(pictures(2), [0, 1])
    for none in (None, (), set()):
        assert network.compute_gradients(pictures(2), [0, 1], frozen=none) == expected
        assert all(values.any() for values in network.gradients.values())


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"version": "2_0"}, "version is '2_0', expected '1_0' or '1_1'"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"num_classes": 2**40}, "num_classes is 1099511627776, expected a whole number from 1"),
        ({"dropout": 1.0}, "dropout is 1"),
        ({"dropout": float("nan")}, "dropout is nan"),
        (
            {"bypass": "double"},
            "bypass is 'double', expected None, 'simple' or 'complex'",
        ),
        ({"squeeze_ratio": 0.0}, "squeeze_ratio is 0"),
        ({"pct_3x3": 1.5}, "pct_3x3 is 1.5"),
        ({"freq": 0}, "freq is 0"),
        ({"base_e": 1}, "base_e is 1"),
        (
            {"bypass": "simple", "freq": 1},
            "bypass needs fire 3 to keep its input's 128 channels",
        ),
        ({"seed": -1}, r"-1 is outside 0\.\.2\*\*64-1"),
    ],
)
def test_wrong_specs(arguments, words):
    with pytest.raises(ValueError, match=words):
        core.Network(**{"version": "1_1", "num_classes": 2, **arguments})


def test_wrong_states(network):
    state = network.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    lacking = {name: value for name, value in state.items() if name != "features.0.bias"}
    with pytest.raises(ValueError, match=r"no tensor 'features\.0\.bias'"):
        network.load_state_dict(lacking)
    with pytest.raises(ValueError, match="a tensor 'extra', which the network has not"):
        network.load_state_dict({**state, "extra": np.zeros(1)})
    with pytest.raises(ValueError, match=r"has shape \(2,\), expected \(64,\)"):
        network.load_state_dict({**state, "features.0.bias": np.zeros(2)})
    with pytest.raises(ValueError, match="'classifier.1.bias' has NaN or infinity"):
        network.load_state_dict({**state, "classifier.1.bias": np.array([0, np.nan])})
    with pytest.raises(TypeError, match="expected a dict"):
        network.load_state_dict([1])
    for name, value in network.state_dict().items():
        assert np.array_equal(value, before[name])


def test_states_of_other_types_are_converted():
    network, other = core.Network("1_1", 2, seed=1), core.Network("1_1", 2, seed=2)
    other.load_state_dict({k: v.astype(np.float64) for k, v in network.state_dict().items()})
    assert np.array_equal(other.forward(pictures(1)), network.forward(pictures(1)))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"lr": -1}, "lr is -1"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"betas": (1.0, 0.9)}, r"betas are \(1, 0.9\)"),
        ({"eps": -1e-8}, "eps is -1e-08"),
    ],
)
def test_wrong_optimizers(network, arguments, words):
    with pytest.raises(ValueError, match=words):
        core.Adam(network, **arguments)


def test_wrong_optimizer_states(network):
    optimizer = core.Adam(network, lr=0.5)
    with pytest.raises(ValueError, match="has no 'step'"):
        optimizer.load_state_dict({"betas": (0.9, 0.999)})
    state = optimizer.state_dict()
    state["exp_avg"]["features.0.bias"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"has shape \(3,\)"):
        optimizer.load_state_dict({**state, "lr": 0.1})
    state = optimizer.state_dict()
    state["exp_avg_sq"]["features.3.squeeze.bias"][1] = -1e-20  # its root would be NaN
    with pytest.raises(ValueError, match="exp_avg_sq has -1e-20 in 'features.3.squeeze.bias', exp"):
        optimizer.load_state_dict({**state, "lr": 0.1})
    assert optimizer.lr == 0.5
    with pytest.raises(TypeError):
        core.Adam("model")


def test_a_subclass_that_forgets_to_initialise():
    class Forgetful(core.Network):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="__init__ has not been run"):
        Forgetful().forward(pictures(1))
    with pytest.raises(RuntimeError, match="has a model already"):
        network = core.Network("1_1", 2)
        network.__init__("1_1", 2)


def test_a_relu_is_undone_after_the_pool_that_alone_reads_it(backend):
    """On a quarter of the elements. Not where a bypass stands between the two."""

    def layers(op, **arguments):
        rows = core.Network("1_1", 2, **arguments).plan(224, 224, training=True, repeats=0)
        return {row["layer"] for row in rows if row["op"] == op}

    undone = {"features.0", "features.4.expand1x1", "features.4.expand3x3"}
    undone |= {"features.7.expand1x1", "features.7.expand3x3"}
    pools = {"features.2", "features.5", "features.8"}
    assert layers("max_pool and relu backward") == pools
    assert not layers("max_pool backward")
    assert not layers("relu backward") & undone

    assert layers("max_pool and relu backward", bypass="simple") == {"features.2"}
    assert layers("max_pool backward", bypass="simple") == pools - {"features.2"}
    assert layers("relu backward", bypass="simple") >= undone - {"features.0"}
