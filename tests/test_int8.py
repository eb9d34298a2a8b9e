"""int8 in C is the oracle's, bit for bit: logits and maps, on every backend, instruction set and
number of threads."""

import functools
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import int8_oracle as int8
import networks
import numpy as np
import pytest

from squeezenet_c._native import core

BACKENDS = core.build_info()["backends"]
HERE = Path(__file__).resolve().parent
RANKS = {"baseline": 0, "avx2": 1, "avx512": 2}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# name -> (arguments of Network, (pictures, height, width), clip). A clip below 1 makes scales that
# clamp much of what they carry.
CASES = {
    "1_0": ({"version": "1_0"}, (3, 57, 64), 1.0),
    "1_1": ({"version": "1_1"}, (3, 64, 57), 1.0),
    "1_1 at 32": ({"version": "1_1", "num_classes": 5}, (2, 32, 32), 1.0),
    "1_1 clipped": ({"version": "1_1"}, (2, 66, 49), 0.15),
    "1_0 clipped hard, final ReLU": (
        {"version": "1_0", "final_relu": True, "num_classes": 4},
        (2, 49, 80),
        0.1,
    ),
    "1_0 simple bypass": ({"version": "1_0", "bypass": "simple"}, (2, 60, 70), 0.7),
    "1_1 simple bypass": (
        {"version": "1_1", "bypass": "simple", "num_classes": 33},
        (1, 49, 66),
        0.7,
    ),
    "1_1 few channels": (
        {
            "version": "1_1",
            "base_e": 5,
            "incr_e": 3,
            "squeeze_ratio": 0.3,
            "pct_3x3": 0.25,
            "num_classes": 3,
        },
        (4, 57, 33),
        0.8,
    ),
    "1_0 odd channel counts": (
        {
            "version": "1_0",
            "base_e": 45,
            "incr_e": 19,
            "squeeze_ratio": 0.11,
            "pct_3x3": 0.8,
            "num_classes": 17,
        },
        (2, 81, 50),
        0.5,
    ),
    "1_0 tiny": (
        {"version": "1_0", "base_e": 40, "incr_e": 8, "squeeze_ratio": 0.5, "num_classes": 5},
        (1, 37, 31),
        1.0,
    ),
    "1_1 tiny": (
        {"version": "1_1", "base_e": 40, "incr_e": 8, "squeeze_ratio": 0.5, "num_classes": 5},
        (1, 33, 39),
        1.0,
    ),
    "1_0 at 224": ({"version": "1_0"}, (1, 224, 224), 1.0),
    "1_1 at 224": ({"version": "1_1"}, (1, 224, 224), 1.0),
}

SMALL = [name for name in CASES if "224" not in name]


@functools.cache
def case(name):
    """(a quantised network in int8, its pictures, the oracle's logits and maps)."""
    arguments, shape, clip = CASES[name]
    network = core.Network(**arguments)
    random = np.random.RandomState(len(name))
    pictures = random.randint(0, 256, (*shape, 3), np.uint8)
    pictures[0, : shape[1] // 2] = 255
    state = networks.weights(core.parameter_shapes(**arguments))
    for key, values in state.items():  # more above 0 than below, so that no activation is all 0
        if values.ndim == 4 and not key.startswith("classifier"):
            values += np.float32(0.3 * values.std())
    state["classifier.1.weight"] *= 100
    seen = pictures[:, :96, :96]
    quantisation = int8.quantisation_of(state, network.spec, seen, MEAN, STD, clip)
    network.load_state_dict(state)
    network.set_quantization(**quantisation)
    network.precision = "int8"
    rounded = int8.rounded_parameters(state, network.spec, quantisation)
    for key, found in network.state_dict().items():
        np.testing.assert_array_equal(found, rounded[key], strict=True)
    return network, pictures, *int8.run(rounded, network.spec, quantisation, pictures)


def check(name):
    network, pictures, logits, maps = case(name)
    np.testing.assert_array_equal(network.forward(pictures), logits, strict=True)
    np.testing.assert_array_equal(network.class_maps(pictures), maps, strict=True)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_the_oracles_bits(name, threads):
    core.set_num_threads(threads)
    check(name)
    network, pictures, logits, maps = case(name)
    assert len({bytes(row) for row in logits}) == len(pictures), "all pictures look alike"
    # One picture, which two threads share, and twice, for a plan that is used again.
    for _ in range(2):
        np.testing.assert_array_equal(network.forward(pictures[:1]), logits[:1])
        np.testing.assert_array_equal(network.class_maps(pictures[:1]), maps[:1])


@pytest.mark.parametrize("seed", range(6))
def test_wild_scales_and_biases(seed):
    """Scales that fit nothing, biases beyond 2^30 of them, sums that float32 has to round."""
    random = np.random.RandomState(seed)
    arguments, shape, _ = CASES[SMALL[seed]]
    _, pictures, _, _ = case(SMALL[seed])
    network = core.Network(**arguments)
    state = networks.weights(core.parameter_shapes(**arguments), seed)
    for values in state.values():
        if values.ndim == 1:
            values *= np.exp(random.normal(0, 6, values.shape))
    given = int8.quantisation_of(state, network.spec, pictures, MEAN, STD)
    groups = np.array(int8.groups_of(int8.steps_of(network.spec)))
    for group in set(groups.tolist()) - {-1}:
        given["activation_scales"][groups == group] *= np.exp(random.normal(0, 2))
    given["weight_scales"] *= np.exp(random.normal(0, 2, len(given["weight_scales"])))
    given = {key: values.astype(np.float32) for key, values in given.items()}
    network.load_state_dict(state)
    network.set_quantization(**given)
    network.precision = "int8"
    logits, maps = int8.run(network.state_dict(), network.spec, given, pictures)
    np.testing.assert_array_equal(network.forward(pictures), logits, strict=True)
    np.testing.assert_array_equal(network.class_maps(pictures), maps, strict=True)


def test_products_beyond_32_bits():
    """Where an activation's scale is so small that all that is above 0 is far above 255."""
    for name in ("1_0 tiny", "1_1 tiny"):
        quantised, pictures, _, _ = case(name)
        groups = np.array(int8.groups_of(int8.steps_of(quantised.spec)))
        for group in sorted(set(groups.tolist()) - {-1}):
            given = {key: values.copy() for key, values in quantised.quantization.items()}
            given["activation_scales"][groups == group] *= np.float32(1e-9)
            network = core.Network(**CASES[name][0])
            network.load_state_dict(quantised.state_dict())
            network.set_quantization(**given)
            network.precision = "int8"
            logits, _ = int8.run(network.state_dict(), network.spec, given, pictures)
            np.testing.assert_array_equal(network.forward(pictures), logits, strict=True)


def test_several_callers_at_once():
    network, pictures, logits, _ = case("1_1")
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(network.forward, [pictures[:n] for n in (3, 1, 2, 1, 3, 2) * 5]):
            np.testing.assert_array_equal(found, logits[: len(found)])


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends(backend):
    core.set_backend(backend)
    for name in ("1_1", "1_0 simple bypass"):
        check(name)


@pytest.mark.parametrize("name", SMALL)
def test_the_cases_are_alive(name):
    """They try all bytes, and clamp much where they are to: else equal bits would say little."""
    network, pictures, _, _ = case(name)
    found = int8.activations(network.state_dict(), network.spec, network.quantization, pictures[-1])
    inner = [values for number, values in found.items() if number]
    assert all(len(np.unique(values)) > 2 for values in inner)
    assert len(np.unique(np.concatenate([values.ravel() for values in inner]))) > 100
    full = np.mean([(values == 255).mean() for values in inner])
    assert (full > 0.05) == (CASES[name][2] < 0.5)


# -- Instruction sets ------------------------------------------------------------------------------

CHILD = """
import sys
from squeezenet_c._native import core
import test_int8
assert core.build_info()["cpu_isa"] == sys.argv[1], core.build_info()
for name in test_int8.SMALL:
    test_int8.check(name)
test_int8.test_products_beyond_32_bits()
network = test_int8.case(name)[0]
print(network.plan(64, 64)[0]["implementation"].split()[-1])
"""


@pytest.mark.parametrize("vnni", ["", "vnni"])
@pytest.mark.parametrize("isa", RANKS)
def test_instruction_sets(isa, vnni):
    """With the instructions that multiply four bytes and add, and without."""
    if {"SQZ_ISA", "SQZ_VNNI"} & set(os.environ):
        pytest.skip("hardware: this process is already held to an instruction set")
    if RANKS[core.build_info()["cpu_isa"]] < RANKS[isa]:
        pytest.skip(f"hardware: this CPU has no {isa}")
    path = os.pathsep.join([str(HERE), *(entry for entry in sys.path if entry)])
    child = subprocess.run(
        [sys.executable, "-c", CHILD, isa],
        env={
            **os.environ,
            "SQZ_ISA": isa,
            "SQZ_VNNI": "1" if vnni else "0",
            "PYTHONPATH": path,
        },
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr
    found = child.stdout.strip()
    if vnni and found == isa:
        pytest.skip(f"hardware: this CPU has no VNNI for {isa}")
    assert found == isa + vnni


# -- What may be asked, and what not ---------------------------------------------------------------


def test_it_takes_bytes_alone():
    network, pictures, _, _ = case("1_1 at 32")
    for call in (network.forward, network.class_maps):
        with pytest.raises((TypeError, ValueError), match="uint8"):
            call(np.zeros((1, 3, 32, 32), np.float32))
        with pytest.raises(ValueError, match="3"):
            call(np.zeros((1, 32, 32, 4), np.uint8))


def test_not_without_a_quantisation():
    network = core.Network()
    assert network.quantization is None
    with pytest.raises(ValueError, match="squeezenet-c quantize MODEL DATA makes one"):
        network.precision = "int8"
    assert network.precision == "float32"


def test_new_parameters_end_it():
    arguments, shape, _ = CASES["1_1 at 32"]
    quantised, _, _, _ = case("1_1 at 32")
    network = core.Network(**arguments)
    network.load_state_dict(quantised.state_dict())
    assert network.quantization is None
    network.set_quantization(**quantised.quantization)
    found = network.quantization
    for key, value in quantised.quantization.items():
        np.testing.assert_array_equal(found[key], value)
    x = np.zeros((2, 3, *shape[1:]), np.float32)
    network.compute_gradients(x, [0, 1])
    assert network.quantization is not None
    core.Adam(network).step()
    assert network.quantization is None


def test_no_gradients_in_int8():
    network, pictures, _, _ = case("1_1 at 32")
    with pytest.raises(ValueError, match="int8"):
        network.compute_gradients(np.zeros((2, 3, 32, 32), np.float32), [0, 1])
    network.forward(pictures)


def test_a_complex_bypass_is_refused():
    network = core.Network(bypass="complex")
    count = len(network.activation_groups())
    channels = sum(len(v) for v in network.state_dict().values() if v.ndim == 1)
    with pytest.raises(ValueError, match="complex"):
        network.set_quantization(
            np.full(3, 0.5, np.float32),
            np.full(3, 0.5, np.float32),
            np.ones(count, np.float32),
            np.ones(channels, np.float32),
        )


def test_groups():
    for name in ("1_0", "1_1 simple bypass"):
        network, _, _, _ = case(name)
        expected = int8.groups_of(int8.steps_of(network.spec))
        found = list(network.activation_groups())
        assert [found.index(group) for group in found] == [
            expected.index(group) for group in expected
        ]
        assert found[0] == found[-2] == found[-1] == -1


@pytest.mark.parametrize("backend", BACKENDS)
def test_observing(backend):
    """Maxima, and counts of what is above 0, against the oracle's floats."""
    core.set_backend(backend)
    for name in ("1_1 few channels", "1_0 simple bypass"):
        network = core.Network(**CASES[name][0])
        state = networks.weights({key: v.shape for key, v in network.state_dict().items()})
        network.load_state_dict(state)
        x = np.random.RandomState(0).normal(size=(3, 3, 57, 49)).astype(np.float32)
        values = int8.float_activations(state, network.spec, x)
        maxima = network.observe(x)
        assert maxima.dtype == np.float32 and len(maxima) == len(values)
        expected = [0, *(values[number].max() for number in range(1, len(values)))]
        np.testing.assert_allclose(maxima, expected, rtol=1e-4, atol=1e-6)
        limits = np.maximum(maxima * np.float32(0.9), np.float32(1e-3))
        counts = network.observe(x, limits, 16)
        assert counts.dtype == np.uint64 and counts.shape == (len(values), 16)
        for number, row in list(enumerate(counts))[1:]:  # of the picture nothing is counted
            positive = values[number][values[number] > 0]
            bins = np.minimum(np.floor(positive / limits[number] * 16), 15).astype(int)
            count = np.bincount(bins, minlength=16)
            assert np.abs(row.astype(np.int64) - count).sum() <= 2 + 1e-3 * len(positive)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_scales": lambda a: a[:-1]}, "activation"),
        ({"weight_scales": lambda a: np.append(a, 1)}, "weight"),
        ({"weight_scales": lambda a: a * 0}, "weight"),
        ({"weight_scales": lambda a: a * np.nan}, "weight"),
        ({"activation_scales": lambda a: -a}, "activation"),
        ({"activation_scales": lambda a: a * np.inf}, "activation"),
        ({"std": lambda a: a * 0}, "std"),
        ({"mean": lambda a: a * np.nan}, "mean"),
        ({"activation_scales": lambda a: np.arange(1, len(a) + 1)}, "scale"),
    ],
)
def test_scales_that_are_none(changes, message):
    quantised, _, _, _ = case("1_1 at 32")
    network = core.Network(**CASES["1_1 at 32"][0])
    before = network.state_dict()
    given = quantised.quantization
    given |= {key: change(given[key]).astype(np.float32) for key, change in changes.items()}
    with pytest.raises(ValueError, match=message):
        network.set_quantization(**given)
    assert network.quantization is None
    for key, value in network.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
