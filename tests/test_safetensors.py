"""safetensors: files written and read, and every way in which a file can lie."""

import json
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from squeezenet_c._native import core

HUGE = 1 << 63
Refuses = Callable[[bytes, str], None]


def header_of(entries: dict) -> bytes:
    return json.dumps(entries, separators=(",", ":")).encode()


def pack(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A file by hand; `length` is what it says of its header."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensor(shape: list, begin: int, end: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def unpack(path: Path) -> tuple[dict, bytes]:
    """Header and data of a file, by the format's description."""
    contents = path.read_bytes()
    (length,) = struct.unpack("<Q", contents[:8])
    return json.loads(contents[8 : 8 + length]), contents[8 + length :]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.safetensors"


@pytest.fixture
def refuses(path: Path) -> Refuses:
    """Checks that contents are refused with words that match, after the file's name."""

    def check(contents: bytes, words: str) -> None:
        path.write_bytes(contents)
        with pytest.raises(core.BadFileError, match=words) as raised:
            core.read_safetensors(path)
        assert str(raised.value).startswith(f"{path}: ")

    return check


def some_tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {"z.weight": (3, 2, 5, 1), "a.bias": (7,), "scalar": (), "empty": (4, 0, 2)}
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tensors["bytes"] = rng.integers(0, 256, (3, 30_000), np.uint8)
    tensors["signed"] = rng.integers(-128, 128, (5, 1), np.int8)
    tensors["no bytes"] = np.zeros((0, 7), np.uint8)
    tensors["eight"] = np.ones((1, 2, 1, 2, 1, 2, 1, 2), np.float32)
    tensors["large"] = rng.normal(size=(100, 411)).astype(np.float32)  # several chunks
    return tensors


SOME_METADATA = {
    "format": "pt",
    "empty": "",
    'a "quoted" \\ key': "tab\t, newline\n, \x01, \x7f",
}
NAMES = ["病理性近视", "👁 eye", "é", "\u2028", "", 'quote " backslash \\ slash /', "\x1f\x01\t"]


def same(found: dict, expected: dict) -> None:
    assert list(found) == list(expected)  # the order too
    for name, values in expected.items():
        assert found[name].dtype == values.dtype and found[name].shape == values.shape
        assert found[name].tobytes() == values.tobytes()


# -- Round trips -----------------------------------------------------------------------------------


def test_round_trip(path: Path) -> None:
    core.write_safetensors(path, some_tensors(), SOME_METADATA)
    tensors, metadata = core.read_safetensors(str(path))
    same(tensors, some_tensors())
    assert metadata == SOME_METADATA and list(metadata) == list(SOME_METADATA)


def test_what_is_written_follows_the_format(path: Path) -> None:
    core.write_safetensors(path, some_tensors(), SOME_METADATA)
    header, data = unpack(path)
    assert header.pop("__metadata__") == SOME_METADATA
    assert (path.stat().st_size - len(data)) % 8 == 0
    at = 0
    for name, values in some_tensors().items():
        dtype = {"f": "F32", "u": "U8", "i": "I8"}[values.dtype.kind]
        expected = tensor(list(values.shape), at, at + values.nbytes, dtype)
        assert header.pop(name) == expected
        assert data[at : at + values.nbytes] == values.tobytes()
        at += values.nbytes
    assert not header and at == len(data)


def test_nothing_in_it(path: Path) -> None:
    core.write_safetensors(path, {}, {})
    assert path.read_bytes() == pack(b"{}      ")
    assert core.read_safetensors(path) == ({}, {})
    path.write_bytes(pack(b"{}"))
    assert core.read_safetensors(path) == ({}, {})


def test_special_values_keep_their_bits(path: Path) -> None:
    bits = np.array([0, HUGE >> 32, 1, 0x7F800000, 0xFF800000, 0x7FC00001, 0x7F7FFFFF], np.uint32)
    core.write_safetensors(path, {"x": bits.view(np.float32)}, {})
    np.testing.assert_array_equal(core.read_safetensors(path)[0]["x"].view(np.uint32), bits)


def test_any_unicode(path: Path) -> None:
    tensors = {name: np.float32([i]) for i, name in enumerate(NAMES)}
    metadata = {name: name[::-1] for name in NAMES}
    core.write_safetensors(path, tensors, metadata)
    found, found_metadata = core.read_safetensors(path)
    same(found, tensors)
    assert found_metadata == metadata
    header, _ = unpack(path)
    assert header.pop("__metadata__") == metadata and list(header) == NAMES


def test_escapes_of_other_writers(path: Path) -> None:
    # json.dumps writes surrogate pairs for what lies past U+FFFF
    metadata = {name: name for name in NAMES} | {"\b\f\r/": "\ud7ff\ue000\uffff\U0010ffff"}
    header = json.dumps({"__metadata__": metadata}, indent=1).replace("/", r"\/").encode()
    path.write_bytes(pack(header + b" \n\t\r"))
    assert core.read_safetensors(path) == ({}, metadata)


def test_against_the_reference_package(path: Path) -> None:
    reference = pytest.importorskip("safetensors.numpy")
    safe_open = pytest.importorskip("safetensors").safe_open
    core.write_safetensors(path, some_tensors(), SOME_METADATA)
    found = reference.load_file(path)
    assert set(found) == set(some_tensors())
    for name, values in some_tensors().items():
        assert found[name].dtype == values.dtype and found[name].shape == values.shape
        assert found[name].tobytes() == values.tobytes()
    with safe_open(path, "numpy") as file:
        assert file.metadata() == SOME_METADATA

    floats = {name: values for name, values in some_tensors().items() if values.dtype == "f4"}
    halves = {name: values.astype(np.float16) for name, values in floats.items()}
    tensors = some_tensors() | {f"half.{name}": values for name, values in halves.items()}
    reference.save_file(tensors, path, SOME_METADATA)
    found, metadata = core.read_safetensors(path)
    assert set(found) == set(tensors) and metadata == SOME_METADATA
    for name, values in tensors.items():
        expected = values.astype(np.float32) if values.dtype == np.float16 else values
        np.testing.assert_array_equal(found[name], expected, strict=True)

    core.write_safetensors(path, floats, {}, dtypes=dict.fromkeys(floats, "F16"))
    for name, values in reference.load_file(path).items():
        np.testing.assert_array_equal(values, halves[name], strict=True)


@pytest.mark.parametrize("version", ["1_0", "1_1"])
def test_pretrained_files(shared: Path, version: str) -> None:
    reference = pytest.importorskip("safetensors.numpy")
    path = shared / "pretrained" / f"squeezenet{version}-imagenet.safetensors"
    expected = reference.load_file(path)
    found, _ = core.read_safetensors(path)
    assert set(found) == set(expected) and len(found) == 52
    assert {values.dtype for values in expected.values()} == {np.dtype("f2"), np.dtype("f4")}
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values.astype(np.float32), strict=True)


def test_every_float16(path: Path) -> None:
    halves = np.arange(1 << 16, dtype="<u2")
    path.write_bytes(pack(header_of({"x": tensor([1 << 16], 0, 1 << 17, "F16")}), halves.tobytes()))
    found = core.read_safetensors(path)[0]["x"]
    expected = halves.view("<f2").astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_every_bfloat16(path: Path) -> None:
    halves = np.arange(1 << 16, dtype="<u2")
    header = header_of({"x": tensor([256, 256], 0, 1 << 17, "BF16")})
    path.write_bytes(pack(header, halves.tobytes()))
    found = core.read_safetensors(path)[0]["x"]
    np.testing.assert_array_equal(found.view(np.uint32).ravel(), halves.astype(np.uint32) << 16)


def floats_around(bits: np.ndarray) -> np.ndarray:
    """float32 values by their bits, and those just below, just above and half way to the next."""
    return np.concatenate([bits - 1, bits, bits + 1]).astype(np.uint32).view(np.float32)


def stored(path: Path, values: np.ndarray, dtype: str) -> np.ndarray:
    """The 16-bit words that a file of `values` holds."""
    core.write_safetensors(path, {"x": values}, {}, dtypes={"x": dtype})
    header, data = unpack(path)
    assert header == {"x": tensor(list(values.shape), 0, 2 * values.size, dtype)}
    return np.frombuffer(data, "<u2").reshape(values.shape)


def test_rounding_to_float16(path: Path) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].astype(np.float32)
    middles = (halves[:-1] + halves[1:]) / 2  # exact in float32
    largest = np.nextafter(np.float32(65520), np.float32(0))
    values = floats_around(np.concatenate([halves, middles]).view(np.uint32))
    values = np.concatenate([values, [np.inf, -np.inf, np.float32(1e-44), largest]])
    values = values[(np.abs(values) < 65520) | np.isinf(values)].astype(np.float32)
    expected = values.astype(np.float16)
    np.testing.assert_array_equal(stored(path, values, "F16"), expected.view(np.uint16))
    assert np.isnan(core.read_safetensors(path)[0]["x"]).sum() == 0
    stored(path, np.float32([np.nan, -np.nan]), "F16")
    assert np.isnan(core.read_safetensors(path)[0]["x"]).all()


def test_rounding_to_bfloat16(path: Path) -> None:
    words = np.arange(1 << 16, dtype=np.uint32) << 16
    words = words[np.isfinite(words.view(np.float32))]
    words = words[words & 0x7FFFFFFF < 0x7F7F0000]  # half way past the largest is infinity
    values = floats_around(np.concatenate([words + (1 << 20), words, words + (1 << 15)])[1:])
    values = values[np.isfinite(values) & (np.abs(values) < np.float32(3.3e38))]
    bits = values.view(np.uint32).astype(np.uint64)
    expected = (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16)
    np.testing.assert_array_equal(stored(path, values, "BF16"), expected)
    stored(path, np.float32([np.nan, np.inf, -np.inf]), "BF16")
    np.testing.assert_array_equal(core.read_safetensors(path)[0]["x"], [np.nan, np.inf, -np.inf])


def test_halves_of_several_chunks(path: Path) -> None:
    values = np.random.default_rng(2).normal(size=(333, 301)).astype(np.float16)
    tensors = {"a": np.int8([-1]), "x": values.astype(np.float32), "z": np.float32([1 / 3])}
    core.write_safetensors(path, tensors, {}, dtypes={"x": "F16"})
    same(core.read_safetensors(path)[0], tensors)


@pytest.mark.parametrize(
    ("dtypes", "error", "words"),
    [
        ({"y": "F16"}, ValueError, "dtypes names tensor 'y', which is not there"),
        ({"x": "F64"}, ValueError, "asks for 'F64' of tensor 'x', expected 'F16' or 'BF16'"),
        ({"b": "F16"}, ValueError, "asks for 'F16' of tensor 'b', .* of a float32 array"),
        ({"x": 16}, TypeError, "the dtype 16 is a int, expected a str"),
        ({1: "F16"}, TypeError, "the tensor name 1 is a int, expected a str"),
        ("F16", TypeError, "dict"),
        ({"x": "F16"}, ValueError, 'tensor "x" has -65520, beyond the range of F16'),
        ({"x": "BF16"}, ValueError, 'tensor "x" has 3.4.*e\\+38, beyond the range of BF16'),
    ],
)
def test_dtypes_that_cannot_be_written(
    path: Path, dtypes: dict, error: type[Exception], words: str
) -> None:
    path.write_bytes(b"before")
    tensors = {"x": np.float32([1, -65520, 3.4e38]), "b": np.zeros(3, np.uint8)}
    with pytest.raises(error, match=words):
        core.write_safetensors(path, tensors, {}, dtypes=dtypes)
    assert path.read_bytes() == b"before" and os.listdir(path.parent) == [path.name]


def test_tensors_in_any_order_and_at_odd_offsets(path: Path) -> None:
    entries = {
        "last": tensor([2], 6, 14),
        "nothing": tensor([0, 3], 6, 6),
        "first": tensor([1], 0, 2, "F16"),
        "nothing more": tensor([0], 0, 0),
        "middle": {"data_offsets": [2, 6], "shape": [1, 1], "dtype": "F32"},
    }
    data = struct.pack("<efff", 0.5, 3, 1, 2)
    path.write_bytes(pack(header_of(entries), data))
    found, _ = core.read_safetensors(path)
    assert {name: values.tolist() for name, values in found.items()} == {
        "last": [1, 2], "nothing": [], "first": [0.5], "nothing more": [], "middle": [[3]],
    }  # fmt: skip


# -- Files that are not what they should be --------------------------------------------------------


def test_cut_files(path: Path, refuses: Refuses) -> None:
    core.write_safetensors(path, some_tensors(), SOME_METADATA)
    contents = path.read_bytes()
    cuts = [len(contents) * i // 50 for i in range(50)]
    for cut in cuts + list(range(0, 600, 7)) + [len(contents) - 1]:
        refuses(contents[:cut], "bytes")
    refuses(contents + b"\0", "bytes of data follow the header, expected")


@pytest.mark.parametrize("length", [0, 1, 3, 5, 7, 100_000_001, HUGE, HUGE - 1, 2 * HUGE - 1])
def test_header_length_lies(refuses: Refuses, length: int) -> None:
    refuses(pack(b"{}  ", length=length), "header")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"  {}", r"header byte 0: found byte 0x20, expected '\{'"),
        (b"[]", r"header byte 0: found '\[', expected '\{'"),
        (b"{}x", "header byte 2: found 'x', expected nothing but spaces"),
        (b"{}\0", "header byte 2: found byte 0x00, expected nothing but spaces"),
        (b"{,}", "header byte 1: found ',', expected a string"),
        (b'{"a"}', "header byte 4: found '}', expected ':'"),
        (b'{"a":}', r"header byte 5: found '}', expected '\{'"),
        (b'{"a":1}', r"header byte 5: found '1', expected '\{'"),
        (b'{"a":null}', r"found 'n', expected '\{'"),
        (b'{"a', "header byte 3: found the end, expected '\"'"),
        (b"{'a':1}", "expected a string"),
        (b'{"__metadata__":{"a":"b"', "found the end, expected ',' or '}'"),
        (b'{"__metadata__":{"a":"b",}}', "found '}', expected a string"),
        (b'{"__metadata__":{"a":"b" "c":"d"}}', "found '\"', expected ',' or '}'"),
        (b'{"__metadata__":{"a":1}}', "found '1', expected a string"),
        (b'{"__metadata__":[]}', r"found '\[', expected '\{'"),
        (b'{"__metadata__":{"a":"\\x"}}', "found 'x', expected one of"),
        (b'{"__metadata__":{"a":"\\u12g4"}}', "found 'g', expected four hexadecimal digits"),
        (b'{"__metadata__":{"a":"\\u0000"}}', "expected no NUL"),
        (b'{"__metadata__":{"a":"\\ud800"}}', "expected surrogates in pairs"),
        (b'{"__metadata__":{"a":"\\ud800\\u0041"}}', "expected surrogates in pairs"),
        (b'{"__metadata__":{"a":"\\udc00\\ud800"}}', "expected surrogates in pairs"),
        (b'{"__metadata__":{"a":"\n"}}', "found byte 0x0a, expected control characters"),
        (b'{"__metadata__":{"a":"\0"}}', "found byte 0x00, expected control characters"),
        (b'{"__metadata__":{"a":"b","a":"c"}}', 'metadata key "a" is there twice'),
        (b'{"__metadata__":{},"__metadata__":{}}', "__metadata__ twice"),
        (b'{"__metadata__":{},}', "expected a string"),
        (b"{" + b'"a":{' * 100_000, r'tensor "a" has an unknown field "a"'),
        (b"[" * 100_000, "expected '{'"),
        (b'{"a":{"shape":' + b"[" * 100_000, r"found '\[', expected a whole number"),
    ],
)
def test_headers_that_are_no_headers(refuses: Refuses, header: bytes, words: str) -> None:
    refuses(pack(header), words)


@pytest.mark.parametrize(
    "text",
    [
        b"\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xed\xa0\x80",
        b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"\xc3",
        b"\xe2\x82",        b"\xe2\x28\xa1", b"\xf0\x9f\x91",
    ],
)  # fmt: skip
def test_text_that_is_not_utf8(refuses: Refuses, text: bytes) -> None:
    refuses(pack(b'{"__metadata__":{"a":"' + text + b'"}}'), "expected UTF-8")
    refuses(pack(b'{"' + text + b'":{}}'), "expected UTF-8")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            {"a": tensor([4], 0, 15)},
            '"a" has 15 bytes of data, expected the 16 of 4 numbers',
        ),
        ({"a": tensor([4], 0, 16, "F16")}, "expected the 8 of 4 numbers of type F16"),
        ({"a": tensor([3], 0, 12)}, "16 bytes of data follow the header, expected the 12"),
        ({}, "16 bytes of data follow the header, expected the 0"),
        ({"a": tensor([3], 4, 16)}, 'tensor "a" begins at byte 4 of the data, expected 0'),
        ({"a": tensor([1], 0, 4), "b": tensor([2], 8, 16)}, 'tensor "b" begins at byte 8 .* 4,'),
        ({"a": tensor([3], 0, 12), "b": tensor([2], 8, 16)}, 'tensor "b" begins at byte 8 .* 12,'),
        ({"a": tensor([4], 0, 16), "b": tensor([4], 0, 16)}, "begins at byte 0 .* expected 16"),
        ({"a": tensor([4], 0, 16), "b": tensor([0], 8, 8)}, "begins at byte 8 .* expected 16"),
        ({"a": tensor([5], 0, 20)}, "not a begin and an end within the 16 bytes of data"),
        ({"a": tensor([4], 16, 0)}, "not a begin and an end"),
        ({"a": tensor([4], 0, 16) | {"data_offsets": [0]}}, "not a begin and an end"),
        ({"a": tensor([4], 0, 16) | {"data_offsets": []}}, "not a begin and an end"),
        ({"a": tensor([4], 0, 16) | {"data_offsets": [0, 16, 16]}}, "not a begin and an end"),
        ({"a": tensor([4], 0, HUGE)}, "expected a whole number from 0 to"),
        ({"a": tensor([4], -16, 0)}, "found '-', expected a whole number"),
        ({"a": tensor([4.0], 0, 16)}, r"found '\.', expected a whole number"),
        ({"a": tensor([True], 0, 16)}, "found 't', expected a whole number"),
        ({"a": tensor(["4"], 0, 16)}, "found '\"', expected a whole number"),
        ({"a": tensor([[4]], 0, 16)}, r"found '\[', expected a whole number"),
        ({"a": tensor([-4], 0, 16)}, "found '-', expected a whole number"),
        ({"a": tensor([1] * 9, 0, 16)}, "more than 8 dimensions"),
        ({"a": tensor([1 << 32, 1 << 32], 0, 0)}, "shape whose product is too large"),
        ({"a": tensor([(1 << 62) + 1, 4], 0, 16)}, "shape whose product is too large"),
        ({"a": tensor([0, 1 << 40, 1 << 40], 0, 0)}, "shape whose product is too large"),
        ({"a": tensor([1 << 63], 0, 16)}, "expected a whole number from 0 to"),
        ({"a": tensor([1 << 62], 0, 16)}, "shape whose product is too large"),
        ({"a": tensor([4], 0, 16, "I32")}, 'dtype "I32", expected F32, F16, BF16, U8 or I8'),
        ({"a": tensor([4], 0, 16, "U8")}, "expected the 4 of 4 numbers of type U8"),
        ({"a": tensor([4], 0, 16, "f32")}, 'dtype "f32", expected F32'),
        ({"a": tensor([4], 0, 16, "")}, 'dtype "", expected F32'),
        ({"a": {"shape": [4], "data_offsets": [0, 16]}}, 'tensor "a" has no dtype'),
        ({"a": {"dtype": "F32", "data_offsets": [0, 16]}}, 'tensor "a" has no shape'),
        ({"a": {"dtype": "F32", "shape": [4]}}, 'tensor "a" has no data_offsets'),
        ({"a": tensor([4], 0, 16) | {"strides": [1]}}, 'an unknown field "strides"'),
    ],
)
def test_tensors_that_do_not_fit(refuses: Refuses, entries: dict, words: str) -> None:
    refuses(pack(header_of(entries), bytes(16)), words)


def test_what_stands_twice(refuses: Refuses) -> None:
    one, two = header_of(tensor([2], 0, 8)), header_of(tensor([2], 8, 16))
    refuses(pack(b'{"a":%b,"\\u0061":%b}' % (one, two), bytes(16)), 'tensor "a" is there twice')
    twice = one[:-1] + b',"dtype":"F32"}'
    refuses(pack(b'{"a":%b}' % twice, bytes(8)), 'has a second field "dtype"')


@pytest.mark.parametrize(
    "number", [b"04", b"00", b"4e0", b"+4", b"0x4", b"4-", b"", b" ", b"9" * 40]
)
def test_numbers_that_are_no_sizes(refuses: Refuses, number: bytes) -> None:
    header = b'{"a":{"dtype":"F32","data_offsets":[0,16],"shape":[1,%b]}}' % number
    refuses(pack(header, bytes(16)), "expected (a whole number|',' or ']')")


def test_flipped_bytes_never_crash(path: Path) -> None:
    tensors = {name: values for name, values in some_tensors().items() if name != "large"}
    core.write_safetensors(path, tensors, SOME_METADATA)
    contents = path.read_bytes()
    header_end = 8 + struct.unpack("<Q", contents[:8])[0]
    rng = np.random.default_rng(7)
    read = 0
    with path.open("r+b", buffering=0) as file:  # in place: making a file anew takes milliseconds
        for _ in range(20000):
            changed = bytearray(contents)
            for at in rng.integers(0, header_end, rng.integers(1, 4)):
                changed[at] = rng.choice([rng.integers(256), *b'"\\{}[],:0919u'])
            file.seek(0)
            file.write(changed)
            try:
                found, _ = core.read_safetensors(path)
                read += 1
                assert len(found) == len(tensors)
            except core.BadFileError as error:
                assert str(error).startswith(f"{path}: ")
    assert 0 < read < 10000  # a changed name or value is still a file


def test_missing_and_unreadable_files(tmp_path: Path, path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="file.safetensors: cannot be read"):
        core.read_safetensors(path)
    with pytest.raises(IsADirectoryError):
        core.read_safetensors(tmp_path)
    os.mkfifo(path)
    with pytest.raises(core.BadFileError, match="no regular file"):
        core.read_safetensors(path)
    with pytest.raises(ValueError, match="null byte"):
        core.read_safetensors("a\0b")
    with pytest.raises(TypeError):
        core.read_safetensors(3)


# -- Writing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "words"),
    [
        ({"a": [1.0]}, {}, TypeError, "tensor 'a' is a list, expected a float32, uint8 or int8"),
        ({"a": np.ones(2)}, {}, TypeError, "tensor 'a' is an array of float64, expected a float"),
        ({"a": np.ones(2, np.float16)}, {}, TypeError, "array of float16"),
        ({1: np.ones(2, np.float32)}, {}, TypeError, "the tensor name 1 is a int, expected a str"),
        ({"a\0": np.ones(2, np.float32)}, {}, ValueError, "NUL"),
        ({"\ud800": np.ones(2, np.float32)}, {}, ValueError, "surrogates"),
        ({"__metadata__": np.ones(2, np.float32)}, {}, ValueError, "which the format reserves"),
        ({"a": np.ones((1,) * 9, np.float32)}, {}, ValueError, "9 dimensions, expected 0 to 8"),
        ({}, {"a": 1}, TypeError, "the metadata value 1 is a int, expected a str"),
        ({}, {1: "a"}, TypeError, "the metadata key 1 is a int, expected a str"),
        ({}, {"a": "b\0"}, ValueError, "NUL"),
        ({}, None, TypeError, "dict"),
        ([], {}, TypeError, "dict"),
    ],
)
def test_what_cannot_be_written(
    tmp_path: Path, path: Path, tensors: dict, metadata: dict, error: type[Exception], words: str
) -> None:
    path.write_bytes(b"before")
    with pytest.raises(error, match=words):
        core.write_safetensors(path, tensors, metadata)
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == [path.name]


def test_arrays_of_any_layout(path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tensors = {
        "transposed": values.T,
        "reversed": values[::-1, :, ::2],
        "swapped": values.astype(">f4"),
        "unaligned": np.frombuffer(b"\0" + values.tobytes(), np.float32, 24, 1),
        "one value": np.broadcast_to(np.float32(3), (2, 2)),
    }
    core.write_safetensors(path, tensors, {})
    same(
        core.read_safetensors(path)[0],
        {k: np.array(v, "f4", order="C") for k, v in tensors.items()},
    )


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    tensors = some_tensors()
    with pytest.raises(FileNotFoundError, match="x.safetensors: cannot be written"):
        core.write_safetensors(tmp_path / "no folder" / "x.safetensors", tensors, {})
    with pytest.raises(NotADirectoryError):
        (tmp_path / "a file").write_bytes(b"before")
        core.write_safetensors(tmp_path / "a file" / "x.safetensors", tensors, {})
    (tmp_path / "target").mkdir()
    with pytest.raises(IsADirectoryError):
        core.write_safetensors(tmp_path / "target", tensors, {})
    with pytest.raises(OSError):
        core.write_safetensors(tmp_path / ("n" * 300), tensors, {})
    with pytest.raises(OSError):
        core.write_safetensors("", tensors, {})
    with pytest.raises(ValueError, match="null byte"):
        core.write_safetensors("a\0b", tensors, {})
    assert sorted(os.listdir(tmp_path)) == ["a file", "target"]
    assert os.listdir(tmp_path / "target") == []
    assert (tmp_path / "a file").read_bytes() == b"before"


def test_a_full_disk_leaves_the_target(path: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    core.write_safetensors(path, {"a": np.ones(5, np.float32)}, {})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing past it is EFBIG
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(OSError, match="cannot be written"):
            core.write_safetensors(path, some_tensors(), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_replacing(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"before")
    path.chmod(0o640)
    core.write_safetensors(path, some_tensors(), {})
    same(core.read_safetensors(path)[0], some_tensors())
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == [path.name]


def test_new_files_follow_the_umask(path: Path) -> None:
    before = os.umask(0o027)
    try:
        core.write_safetensors(path, {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_symbolic_links_are_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    real = tmp_path / "folder" / "real"
    real.write_bytes(b"before")
    path.symlink_to(real)
    core.write_safetensors(path, some_tensors(), {})
    assert path.is_symlink() and not real.is_symlink()
    same(core.read_safetensors(real)[0], some_tensors())


@pytest.mark.parametrize("name", ["模型.safetensors", "a b\n.safetensors", "m" * 255])
def test_names_of_files(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in [name, tmp_path / name]:
        core.write_safetensors(path, some_tensors(), {})
        same(core.read_safetensors(path)[0], some_tensors())
    assert os.listdir(tmp_path) == [name]
