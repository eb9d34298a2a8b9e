"""Files by grammar: what Hypothesis makes of the rules of pickles, spreadsheets, archives, YAML,
JSON and lists goes through tests/fuzz/targets.py, where only documented exceptions may come out;
and memory stays below a stated multiple of what was read.
"""

import csv
import io
import json
import struct
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parent / "fuzz"))

import targets  # noqa: E402
from hypothesis import example, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from property_support import plainly  # noqa: E402

from squeezenet_c._native import core  # noqa: E402
from squeezenet_c.base.write import write_table  # noqa: E402

# What reading may take: bytes a byte of input, and bytes besides (a model, openpyxl's own).
MULTIPLE, BESIDE = 100, 8 << 20


def try_out(name: str, data: bytes) -> Exception | None:
    return targets.try_out(targets.TARGETS[name], data)


def try_out_measured(name: str, data: bytes) -> Exception | None:
    targets.try_out(targets.TARGETS[name], b"")  # what is imported and made once
    tracemalloc.start()
    try:
        error = try_out(name, data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= MULTIPLE * len(data) + BESIDE, f"{peak} bytes for {len(data)}"
    return error


@pytest.mark.parametrize("name", sorted(targets.TARGETS))
def test_seeds_are_read(name: str) -> None:
    """Else fuzzing would begin with files that are refused at the door."""
    found = [try_out(name, data) for data in targets.TARGETS[name].seeds().values()]
    assert None in found


# -- Pickles ---------------------------------------------------------------------------------------

words = st.sampled_from(
    [
        *("torch._utils", "_rebuild_tensor_v2", "torch", "FloatStorage", "HalfStorage"),
        *("collections", "OrderedDict", "os", "system", "storage", "cpu", "0", "1", "state_dict"),
        "features.0.weight",
    ]
)
wholes = st.one_of(
    st.integers(-3, 5),
    st.sampled_from([2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30]),
)


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _whole(value: int) -> bytes:
    data = value.to_bytes(20, "little", signed=True)
    return b"\x8a\x14" + data if not 0 <= value < 256 else b"K" + bytes([value])


opcodes = st.one_of(
    st.sampled_from([bytes([code]) for code in b"(.012NQRabdetlsu}])\x85\x86\x87\x88\x89\x93\x94"]),
    words.map(_text),
    wholes.map(_whole),
    st.integers(0, 9).map(lambda place: b"q" + bytes([place])),
    st.integers(0, 9).map(lambda place: b"h" + bytes([place])),
    st.tuples(words, words).map(lambda pair: f"c{pair[0]}\n{pair[1]}\n".encode()),
    st.sampled_from([b"\x80\x02", b"\x95" + bytes(8), b"B\1\0\0\0a", b"G" + bytes(8), b"I1\n"]),
    st.sampled_from([b"j\xff\xff\xff\xff", b"r\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f"]),
)


@plainly
@given(st.lists(opcodes, max_size=60))
def test_pickles_of_any_opcodes(codes: list[bytes]) -> None:
    try_out_measured("py_torch", b"\1" + b"\x80\x02" + b"".join(codes) + b".")


def _storage(kind: str, key: str, count: int) -> bytes:
    named = f"ctorch\n{kind}\n".encode()
    return b"(" + _text("storage") + named + _text(key) + _text("cpu") + _whole(count) + b"tQ"


def _tuple(values: list[int]) -> bytes:
    return b"(" + b"".join(map(_whole, values)) + b"t"


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    """A tensor whose numbers need not fit each other, or whose storage is another's."""
    sides = st.lists(st.one_of(st.integers(0, 3), wholes), max_size=9)
    kind = draw(st.sampled_from(["FloatStorage", "HalfStorage", "BFloat16Storage", "LongStorage"]))
    key = draw(st.sampled_from(["0", "1", "2", "../data.pkl", ""]))
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + _storage(kind, key, draw(st.one_of(st.sampled_from([54, 2, 32]), wholes)))
        + _whole(draw(st.one_of(st.just(0), wholes)))
        + _tuple(draw(sides))
        + _tuple(draw(sides))
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


@plainly
@given(
    st.lists(st.tuples(st.sampled_from(["features.0.weight", "features.0.bias", "a"]), tensors()))
)
def test_pickles_of_tensors_of_any_shape(items: list[tuple[str, bytes]]) -> None:
    pickled = b"}(" + b"".join(_text(name) + tensor for name, tensor in items) + b"u."
    assert try_out_measured("py_torch", b"\1\x80\x02" + pickled) is not None


# -- Archives --------------------------------------------------------------------------------------

member_names = st.one_of(
    st.text("ab./\\:\0é", max_size=12),
    st.sampled_from(["../a", "/etc/a", "a/../../b", "C:a", "a/", ".", "PALM-Training400.zip"]),
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A zip file in which some numbers are wrong."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name in draw(st.lists(member_names, max_size=4)):
            info = zipfile.ZipInfo(name or "x")
            info.external_attr = draw(st.sampled_from([0, 0o120777 << 16, 0o40755 << 16]))
            info.compress_type = draw(st.sampled_from([0, 8, 12, 14]))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a name that is there already
                opened.writestr(info, draw(st.binary(max_size=40)))
    raw = bytearray(stream.getvalue())
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(raw) - 1))
        raw[place] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, raw[place] ^ 1]))
    return bytes(raw)


@plainly
@given(archives())
def test_archives(data: bytes) -> None:
    try_out_measured("py_archive", data)
    try_out_measured("py_torch", b"\0" + data)


# -- Spreadsheets ----------------------------------------------------------------------------------

cell_values = st.one_of(
    st.sampled_from(["imgName", "Label", "V0001.jpg", "0", "1", "", "1e999", "#N/A", "-1", "0.5"]),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8),
)
attributes = st.sampled_from(["A1", "B1", "XFD1", "A1048577", "ZZZZ9", "1", "A", "", "é1"])


@st.composite
def sheets(draw: st.DrawFn) -> str:
    rows = []
    for _ in range(draw(st.integers(0, 5))):
        cells = []
        for _ in range(draw(st.integers(0, 4))):
            kind = draw(st.sampled_from(["", "s", "n", "b", "str", "inlineStr", "e", "d", "x"]))
            said = f' t="{kind}"' if kind else ""
            said += f' r="{draw(attributes)}"' if draw(st.booleans()) else ""
            said += f' s="{draw(st.integers(-1, 99))}"' if draw(st.booleans()) else ""
            value = draw(cell_values).replace("&", "&amp;").replace("<", "&lt;")
            inner = f"<is><t>{value}</t></is>" if kind == "inlineStr" else f"<v>{value}</v>"
            cells.append(f"<c{said}>{inner}</c>")
        number = f' r="{draw(st.integers(-1, 70000))}"' if draw(st.booleans()) else ""
        rows.append(f"<row{number}>{''.join(cells)}</row>")
    return "".join(rows)


@plainly
@given(sheets(), st.sampled_from(["", '<dimension ref="A1:XFD1048576"/>', "<mergeCells/>"]))
def test_spreadsheets(rows: str, before: str) -> None:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    text = f'<worksheet xmlns="{space}">{before}<sheetData>{rows}</sheetData></worksheet>'
    try_out_measured("py_sheet", b"\0" + text.encode())


ENTITIES = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">{}]>'.format(
    "".join(f'<!ENTITY a{i} "{f"&a{i - 1 or str()};" * 10}">' for i in range(1, 10))
)


@pytest.mark.parametrize("part", range(len(targets.SHEET_PARTS)))
def test_entities_of_entities(part: int) -> None:
    """The billion laughs: each entity is ten of the one before."""
    text = f"{ENTITIES}<a>&a9;</a>"
    error = try_out_measured("py_sheet", bytes([part]) + text.encode())
    assert isinstance(error, core.BadFileError)


# -- Lists, YAML, JSON -----------------------------------------------------------------------------

list_lines = st.tuples(
    st.sampled_from(["a.png", "b.png", "", " ", "a b.png", "\0", "é"]),
    st.sampled_from([" ", "\t", "\u3000", "  ", ""]),
    st.one_of(words, wholes.map(str), st.text(max_size=5)),
    st.sampled_from(["\n", "\r\n", "\x0b", ""]),
)


@plainly
@given(st.lists(list_lines, max_size=8))
def test_lists(lines: list[tuple[str, ...]]) -> None:
    text = "".join("".join(line) for line in lines)
    try_out_measured("py_list", text.encode("utf-8", "replace"))


plain_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        wholes,
        st.floats(),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=6),
        st.sampled_from(["1_1", "simple", "0.5", "NaN", "imagenet"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
OPTIONS = ["lr", "epochs", "data", "augment", "class_weights", "freeze", "arch", "seed", "bypass"]


@plainly
@given(st.dictionaries(st.sampled_from(OPTIONS), plain_values, max_size=4))
def test_arguments_of_any_type(values: dict[str, Any]) -> None:
    try_out_measured("py_arguments", json.dumps(values).encode())


@plainly
@given(
    st.lists(
        st.sampled_from(
            [*"[]{}&*!:-?|>%@`\"'#,\n a1", "\n  ", "<<: ", "!!int ", "!!set ", "&a ", "*a ", "lr: "]
        ),
        max_size=30,
    )
)
def test_arguments_of_any_signs(signs: list[str]) -> None:
    try_out_measured("py_arguments", "".join(signs).encode())


def _changed(value: Any, draw: st.DrawFn) -> Any:
    """JSON in which one value somewhere is another."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _changed(value[place], draw), *value[place + 1 :]]
    return draw(plain_values)


@st.composite
def changed_seeds(draw: st.DrawFn, name: str) -> bytes:
    seed = draw(st.sampled_from(sorted(targets.TARGETS[name].seeds().values())))
    return seed[:1] + json.dumps(_changed(json.loads(seed[1:]), draw)).encode()


@plainly
@given(changed_seeds("py_metadata"))
@example(b"\2" + b"[" * 100_000)
@example(b"\2" + b"9" * 5000)
@example(b"\0[" + b"[]," * 5000 + b"[]]")  # of which a sentence must not say all
@example(b"\2" + json.dumps({"k" * 10_000: 1}).encode())
@example(b"\5" + json.dumps("v" * 10_000).encode())
def test_metadata_of_models(data: bytes) -> None:
    try_out_measured("py_metadata", data)


@plainly
@given(changed_seeds("py_state"))
@example(b"\1[" + b"[]," * 5000 + b"[]]")
@example(b"\4" + json.dumps({"rows": [{"k" * 10_000: 1}]}).encode())
@example(b"\1" + b'{"a":' * 100_000)
def test_states_of_runs(data: bytes) -> None:
    with np.errstate(all="ignore"):
        try_out_measured("py_state", data)


@plainly
@given(
    st.integers(0, 3),
    st.one_of(
        st.binary(max_size=400),
        st.lists(
            st.sampled_from([0.0, 1.0, -1.0, 1e-45, 1e38, 3e38, float("inf"), float("nan")]),
            max_size=500,
        ).map(lambda numbers: np.array(numbers, np.float32).tobytes()),
        st.sampled_from([0x7F7FFFFF, 1, 0x00800000, 0x3F800000]).map(
            lambda bits: np.full(361, bits, np.uint32).tobytes()
        ),
    ),
)
def test_tensors_of_quantised_models(part: int, data: bytes) -> None:
    try_out_measured("py_quantised", bytes([part]) + data)


# -- CSV -------------------------------------------------------------------------------------------


@plainly
@given(
    st.lists(st.lists(st.text(st.characters(exclude_categories=("Cs",))), min_size=2, max_size=2))
)
def test_tables_are_read_as_they_were_written(tmp_path_factory: Any, rows: list[list[str]]) -> None:
    """Whatever class names and pictures are called; CSV has no NUL."""
    rows = [[cell.replace("\0", "") for cell in row] for row in rows]
    path = tmp_path_factory.mktemp("table") / "a.csv"
    write_table(path, ["a", "b"], rows)
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a", "b"], *rows]
