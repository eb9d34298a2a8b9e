"""Coded weights: round trips, the form against a decoder written from csrc/README.md, and every way
in which a stream can lie."""

import time
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from squeezenet_c._native import core

Lengths = list[int]


def layer(
    rng: np.random.Generator, count: int, density: float, distinct: int = 15, limit: int = 127
) -> np.ndarray:
    """int8 weights, `density` of them not 0, of at most `distinct` values; small values are more
    frequent, as in a network."""
    choice = np.setdiff1d(np.arange(-limit, limit + 1), 0)
    book = rng.choice(choice, min(distinct, len(choice)), replace=False)
    ranks = np.minimum(rng.geometric(0.25, count) - 1, len(book) - 1)
    return np.where(rng.random(count) < density, book[ranks], 0).astype(np.int8)


def pack(
    values: list[int],
    value_lengths: Lengths,
    run_lengths: Lengths,
    bits: str,
    nonzero: int,
    run_bits: int | None = None,
) -> bytes:
    """A stream by hand; `run_bits` follows from the number of runs where it is not said."""
    if run_bits is None:
        run_bits = (len(run_lengths) - 1).bit_length() - 1
    nibbles = value_lengths + run_lengths
    nibbles += [0] * (len(nibbles) % 2)
    bits += "0" * (-len(bits) % 8)
    return (
        bytes([len(values) | run_bits << 4])
        + nonzero.to_bytes(4, "little")
        + np.array(values, np.int8).tobytes()
        + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
        + bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    )


def reader_of(lengths: Lengths, bits: Iterator[str]) -> Callable[[], int]:
    """Reads one symbol after the other of a canonical code."""
    used = [(length, symbol) for symbol, length in enumerate(lengths) if length]
    if len(used) == 1:
        return lambda: used[0][1]
    symbols, code, before = {}, 0, 0
    for length, symbol in sorted(used):
        code <<= length - before
        symbols[f"{code:0{length}b}"] = symbol
        code, before = code + 1, length

    def read() -> int:
        text = ""
        while text not in symbols:
            text += next(bits)
        return symbols[text]

    return read


def decode_plainly(data: bytes, count: int) -> np.ndarray:
    """A decoder by csrc/README.md alone."""
    m, b, nonzero = data[0] & 15, data[0] >> 4, int.from_bytes(data[1:5], "little")
    weights = np.zeros(count, np.int8)
    if not nonzero:
        return weights
    values, at = np.frombuffer(data, np.int8, m, 5), 5 + m
    size = (m + 2**b + 2) // 2
    lengths = [half for byte in data[at : at + size] for half in (byte & 15, byte >> 4)]
    bits = iter("".join(f"{byte:08b}" for byte in data[at + size :]))
    read_value = reader_of(lengths[:m], bits)
    read_run = reader_of(lengths[m : m + 2**b + 1], bits)
    place = 0
    for _ in range(nonzero):
        while (run := read_run()) == 2**b:
            place += run
        place += run
        weights[place] = values[read_value()]
        place += 1
    assert set(bits) <= {"0"}
    return weights


def round_trip(weights: np.ndarray) -> bytes:
    data = core.encode_weights(weights)
    found, used = core.decode_weights(data, weights.size)
    assert found.dtype == np.int8 and used == len(data)
    np.testing.assert_array_equal(found, weights.ravel())
    return data


def outcome(data: bytes, count: int) -> str:
    """ "" where `data` decodes to `count` weights, else why not."""
    try:
        found, used = core.decode_weights(data, count)
    except core.BadFileError as error:
        return str(error)
    assert found.shape == (count,) and 5 <= used <= len(data)
    return ""


# -- Round trips -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 1000, 20011])
def test_round_trips(count: int) -> None:
    rng = np.random.default_rng(count)
    for density in (0.0, 0.001, 0.05, 0.2, 0.5, 0.95, 1.0):
        for distinct in (1, 2, 3, 14, 15):
            for limit in (127, 8):
                round_trip(layer(rng, count, density, distinct, limit))


def test_random_layers() -> None:
    rng = np.random.default_rng(3)
    for _ in range(2000):
        count, density = int(rng.integers(0, 300)), rng.random() ** 2
        round_trip(layer(rng, count, density, int(rng.integers(1, 16))))


@pytest.mark.parametrize(
    ("weights", "size"),
    [
        ([], 5),
        ([0], 5),
        ([0] * 100000, 5),
        ([5], 8),  # a value and three lengths; a code of one symbol takes no bits
        ([5] * 100000, 8),
        ([-128, 127], 10),
        ([0, 3] * 5000, 8),
        ([0] * 64 + [1], 43),
        ([0] * 100000 + [1], 8 + 12500),
    ],
)
def test_layers_of_one_kind(weights: list[int], size: int) -> None:
    data = round_trip(np.array(weights, np.int8))
    assert len(data) <= size


def test_the_form_is_what_the_notes_say() -> None:
    rng = np.random.default_rng(5)
    for density in (0.0, 0.01, 0.1, 0.3, 0.9, 1.0):
        for distinct in (1, 2, 15):
            weights = layer(rng, 3000, density, distinct)
            found = decode_plainly(core.encode_weights(weights), weights.size)
            np.testing.assert_array_equal(found, weights)
    by_hand = pack([-3, 7], [1, 1], [2, 1, 2], "00101", 2)
    np.testing.assert_array_equal(core.decode_weights(by_hand, 5)[0], [0, -3, 7, 0, 0])
    np.testing.assert_array_equal(decode_plainly(by_hand, 5), [0, -3, 7, 0, 0])
    by_hand = pack([9], [1], [0, 1, 1], "10", 1)
    assert core.encode_weights(np.array([0, 0, 0, 9, 0], np.int8)) == by_hand


def test_longest_codes() -> None:
    """Counts like Fibonacci's numbers would make codes of 14 bits; 12 are allowed."""
    counts = [1, 1]
    while len(counts) < 15:
        counts.append(counts[-1] + counts[-2])
    weights = np.repeat(np.arange(1, 16, dtype=np.int8), counts)
    data = round_trip(weights)
    lengths = [half for byte in data[20:28] for half in (byte & 15, byte >> 4)][:15]
    assert max(lengths) <= 12 and sum(2.0**-length for length in lengths) == 1
    # Huffman's own, of 14 to 1 bits, take 4162
    assert sum(count * length for count, length in zip(counts, lengths, strict=True)) < 4162 * 1.01
    np.testing.assert_array_equal(decode_plainly(data, weights.size), weights)


def test_equal_weights_give_equal_bytes() -> None:
    weights = layer(np.random.default_rng(6), 5000, 0.2)
    data = core.encode_weights(weights)
    assert core.encode_weights(weights.reshape(50, 4, 5, 5)) == data
    assert core.encode_weights(np.asfortranarray(weights.reshape(50, 100))) == data
    assert core.encode_weights(np.repeat(weights, 2)[::2]) == data
    # all symbols equally frequent: nothing but their numbers decides
    assert round_trip(np.arange(1, 4, dtype=np.int8)) == pack(
        [1, 2, 3], [2, 2, 1], [1, 0], "10110", 3, run_bits=0
    )


@pytest.mark.parametrize(("density", "allowance"), [(0.35, 1.03), (0.2, 1.03), (0.05, 1.04)])
def test_size_is_near_the_entropy(density: float, allowance: float) -> None:
    rng = np.random.default_rng(7)
    steps = np.clip(np.round(rng.normal(size=60000) * 3), -7, 7)
    steps += steps >= 0  # 15 values, none of them 0
    weights = np.where(rng.random(60000) < density, steps * 9, 0).astype(np.int8)
    share = np.unique(weights, return_counts=True)[1] / weights.size
    assert 8 * len(round_trip(weights)) < -(share * np.log2(share)).sum() * weights.size * allowance


def test_several_layers_in_a_row() -> None:
    rng = np.random.default_rng(8)
    layers = [layer(rng, count, 0.2) for count in (100, 0, 1, 5000, 17)]
    data = memoryview(b"".join(map(core.encode_weights, layers)))
    for weights in layers:
        found, used = core.decode_weights(data, weights.size)
        np.testing.assert_array_equal(found, weights)
        data = data[used:]
    assert not data


def test_a_network_decodes_fast() -> None:
    weights = layer(np.random.default_rng(9), 720_576, 0.2)
    data = core.encode_weights(weights)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        core.decode_weights(data, weights.size)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.02


# -- What is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (np.arange(-8, 9, dtype=np.int8), ValueError, "16 distinct weights besides 0, .* most 15"),
        (np.arange(1, 17, dtype=np.int8), ValueError, "16 distinct weights besides 0, .* most 15"),
        (np.ones(3, np.uint8), TypeError, "the weights have dtype uint8, expected int8"),
        (np.ones(3), TypeError, "the weights have dtype float64, expected int8"),
        ([1, 2], TypeError, "the weights are of type list, expected an int8 array"),
    ],
)
def test_what_cannot_be_encoded(weights: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        core.encode_weights(weights)


GOOD = dict(values=[-3, 7], value_lengths=[1, 1], run_lengths=[2, 1, 2], bits="00101", nonzero=2)


@pytest.mark.parametrize(
    ("changed", "count", "words"),
    [
        ({}, 2, "weight 2 of 2 that are not 0 would stand at 2 of a layer of 2"),
        ({}, 1, "2 weights are said not to be 0, of a layer of 1"),
        ({"nonzero": 2**32 - 1}, 9, "4294967295 weights are said not to be 0, of a layer of 9"),
        ({"nonzero": 9}, 9, "the codes end within weight 4 of 9"),
        ({"nonzero": 0}, 9, "a codebook of 2 values for 0 weights"),
        ({"values": [], "value_lengths": []}, 9, "a codebook of 0 values for 2 weights"),
        ({"values": [-3, 0]}, 9, "value 1 of the codebook is 0"),
        ({"values": [7, -3]}, 9, "has -3 after 7, expected ascending values"),
        ({"values": [7, 7]}, 9, "has 7 after 7, expected ascending values"),
        ({"run_bits": 7}, 9, "runs are said to have 7 bits, expected at most 6"),
        ({"run_bits": 6}, 9, "bytes are left, expected the 41 of the code table"),
        ({"value_lengths": [1, 13]}, 9, "the code of value 1 has 13 bits, expected at most 12"),
        ({"run_lengths": [15, 1, 2]}, 9, "the code of run 0 has 15 bits, expected at most 12"),
        ({"value_lengths": [1, 2]}, 9, "codes of values use 3072 of 4096 parts"),
        ({"value_lengths": [0, 2]}, 9, "codes of values use 1024 of 4096 parts"),
        ({"value_lengths": [0, 0]}, 9, "codes of values use 0 of 4096 parts"),
        ({"run_lengths": [1, 1, 1]}, 9, "codes of runs use 6144 of 4096 parts"),
        ({"run_lengths": [2, 2, 2]}, 9, "codes of runs use 3072 of 4096 parts"),
        ({"run_lengths": [0, 0, 1]}, 9, "weight 1 of 2 .* would stand at"),  # escapes
        ({"bits": "001011"}, 9, "bits follow the last code"),
        ({"bits": "111111111111"}, 9, "weight 1 of 2 .* would stand at"),
    ],
)
def test_streams_that_lie(changed: dict, count: int, words: str) -> None:
    assert core.decode_weights(pack(**GOOD), 9)[0].tolist() == [0, -3, 7] + [0] * 6
    with pytest.raises(core.BadFileError, match=f"^coded weights: .*{words}"):
        core.decode_weights(pack(**GOOD | changed), count)


def test_what_follows_the_last_length() -> None:
    data = bytearray(pack(**GOOD))
    data[9] |= 0x50
    with pytest.raises(core.BadFileError, match="5 follows the last code's length, expected 0"):
        core.decode_weights(data, 9)


def test_arguments_of_decoding() -> None:
    with pytest.raises(ValueError, match="count is -1, expected at least 0"):
        core.decode_weights(b"", -1)
    with pytest.raises(core.BadFileError, match="0 bytes are left, expected at least 5"):
        core.decode_weights(b"", 0)
    with pytest.raises(MemoryError):
        core.decode_weights(bytes(5), 1 << 62)
    with pytest.raises(TypeError):
        core.decode_weights("text", 1)
    with pytest.raises(TypeError):
        core.encode_weights()


def test_cut_anywhere() -> None:
    rng = np.random.default_rng(11)
    for density, distinct in ((0.02, 15), (0.2, 15), (0.5, 2), (1.0, 1)):
        weights = layer(rng, 800, density, distinct)
        data = core.encode_weights(weights)
        for cut in range(len(data)):
            assert outcome(data[:cut], weights.size)


def test_another_count() -> None:
    weights = layer(np.random.default_rng(12), 800, 0.2)
    weights[-3:] = [4, 0, 0] if 4 in weights else [weights.max(), 0, 0]
    data = core.encode_weights(weights)
    for count in (0, 1, 400, 797):
        assert "a layer of" in outcome(data, count)
    assert core.decode_weights(data, 900)[0].tolist() == weights.tolist() + [0] * 100


def test_every_flipped_bit() -> None:
    rng = np.random.default_rng(13)
    for density, distinct in ((0.03, 15), (0.3, 15), (0.5, 2), (0.9, 1)):
        weights = layer(rng, 400, density, distinct)
        data = bytearray(core.encode_weights(weights))
        refused = 0
        for bit in range(8 * len(data)):
            data[bit // 8] ^= 1 << bit % 8
            refused += outcome(data, weights.size) != ""
            data[bit // 8] ^= 1 << bit % 8
        assert refused  # what decodes is another layer


def test_changed_bytes_never_crash() -> None:
    rng = np.random.default_rng(14)
    data = core.encode_weights(layer(rng, 300, 0.3))
    for _ in range(20000):
        changed = bytearray(data)
        for at in rng.integers(0, len(changed), rng.integers(1, 5)):
            changed[at] = rng.integers(256)
        outcome(changed, int(rng.choice([0, 1, 300, 100000])))


def test_memory_is_the_layer() -> None:
    """Decoding takes the layer's bytes, whatever a stream says."""
    weights = layer(np.random.default_rng(15), 1_000_000, 0.1)
    data = core.encode_weights(weights)
    tracemalloc.start()
    core.decode_weights(data, weights.size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    lying = b"\x0f" + b"\xff" * 200
    assert outcome(lying, 1000)
    lied = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < weights.size + 20_000 and lied < 20_000
