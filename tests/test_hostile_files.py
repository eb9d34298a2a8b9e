"""Files that are made to hang, to eat memory, or to end in an exception that nobody expects: each
is refused by one sentence. What could hang or grow runs in a process of its own with bounds."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import openpyxl
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.cli import main
from squeezenet_c.data.archives import unpack
from squeezenet_c.data.palm import _sheet_rows
from squeezenet_c.files import torch_pickle
from squeezenet_c.training.resume import RunState


def bounded(code: str, *arguments: str, seconds: float = 30, megabytes: int = 2000) -> str:
    """Run code in a process with so much time and address space; what it prints."""
    prepare = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({megabytes << 20},) * 2)\n"
        "import squeezenet_c as sq\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", prepare + textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


REFUSED = """
    try:
        {call}
    except (ValueError, OSError) as error:
        print(type(error).__name__, error)
"""


def archive(path: Path, pickled: bytes) -> None:
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("a/data.pkl", pickled)


# -- PyTorch's files -------------------------------------------------------------------------------


def test_a_shape_of_shared_tuples_is_not_spelled_out(tmp_path: Path) -> None:
    """Each of 60 tuples holds the one before twice: 2^60 words."""
    doubled = b"".join(  # kept in the list under "z", and each in the memo
        b"h%ch%c\x86q%c" % (place, place, place + 1) for place in range(60)
    )
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
    storage += b"X\x03\x00\x00\x00cpuK\x01tQ"
    pickled = b"\x80\x02}X\x01\x00\x00\x00z](K\x01q\x00" + doubled + b"es"
    pickled += b"X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n("
    pickled += storage + b"K\x00h\x3ch\x3c\x89NtRs."
    archive(tmp_path / "a.pth", pickled)
    said = bounded(REFUSED.format(call="sq.Model.load(sys.argv[1])"), str(tmp_path / "a.pth"))
    assert said.startswith("BadFileError") and "sides" in said and len(said) < 600


def test_keys_that_collide_are_refused(tmp_path: Path) -> None:
    modulus = (1 << 61) - 1  # of CPython's hash of whole numbers
    pickled = pickle.dumps({place * modulus: None for place in range(1, 3000)}, 2)
    with pytest.raises(torch_pickle.Refused, match="a number beyond 2147483648 for a key"):
        torch_pickle.load(pickled)


@pytest.mark.parametrize("reader", [sq.Model.load, lambda path: unpack(path, path.parent)])
def test_an_archive_with_a_member_without_a_name(tmp_path: Path, reader) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as opened:
        opened.writestr("x", b"1")
    path = tmp_path / "a.zip"
    raw = bytearray(data.getvalue())
    start = raw.index(b"PK\x01\x02")
    raw[start + 28 : start + 30] = struct.pack("<H", 0)  # the directory's name length
    raw[start + 30 : start + 32] = struct.pack("<H", 1)  # and its byte an extra field
    path.write_bytes(raw)
    with pytest.raises(core.BadFileError, match="zip") as raised:
        reader(path)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("where", [b"PK\x01\x02", b"PK\x03\x04"], ids=["directory", "member"])
@pytest.mark.parametrize("reader", [sq.Model.load, lambda path: unpack(path, path.parent)])
def test_an_archive_with_a_name_that_is_no_text(tmp_path: Path, reader, where: bytes) -> None:
    """Found by the fuzzing: a name is said to be UTF-8 and is not."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("é/data.pkl", b"1")  # which zipfile says to be UTF-8
    raw = bytearray(path.read_bytes())
    raw[raw.index("é".encode(), raw.index(where))] = 0xAB
    path.write_bytes(raw)
    with pytest.raises(core.BadFileError, match="zip") as raised:
        reader(path)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("begins", "kind"),
    [(b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG picture"), (b"%PDF-1.7", "a PDF")],
)
def test_other_kinds_of_files_are_named(tmp_path: Path, begins: bytes, kind: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(begins + bytes(100))
    with pytest.raises(core.BadFileError, match=f"is {kind}.*expected a model"):
        sq.Model.load(path)


# -- Lists and spreadsheets ------------------------------------------------------------------------


def test_a_class_number_without_bounds(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "list.txt").write_text("a.png 999999999\n")
    call = REFUSED.format(call="sq.Dataset.from_list(sys.argv[1])")
    said = bounded(call, str(tmp_path / "list.txt"))
    assert "label 999999999 found, expected at most 65535" in said


def sheet(path: Path, rows: str) -> None:
    """A spreadsheet whose rows are this XML."""
    openpyxl.Workbook().save(path)
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    text = f'<worksheet xmlns="{space}"><sheetData>{rows}</sheetData></worksheet>'
    parts["xl/worksheets/sheet1.xml"] = text.encode()
    with zipfile.ZipFile(path, "w") as book:
        for name, part in parts.items():
            book.writestr(name, part)


def test_a_row_far_below(tmp_path: Path) -> None:
    sheet(tmp_path / "a.xlsx", '<row r="1000000000"><c r="A1000000000"><v>1</v></c></row>')
    code = "from squeezenet_c.data.palm import _sheet_rows\n" + textwrap.dedent(
        REFUSED.format(call="_sheet_rows(sys.argv[1])")
    )
    assert "it has more than 20000 rows" in bounded(code, str(tmp_path / "a.xlsx"))


def test_a_cell_far_to_the_right(tmp_path: Path) -> None:
    rows = "".join(f'<row r="{row}"><c r="A{row}"><v>1</v></c></row>' for row in range(1, 100))
    sheet(tmp_path / "a.xlsx", rows + '<row r="100"><c r="XFD100"><v>1</v></c></row>')
    assert {len(row) for row in _sheet_rows(tmp_path / "a.xlsx")} == {64}


def test_a_sheet_of_empty_texts(tmp_path: Path) -> None:
    """8 MB of XML, of which openpyxl would make 1.4 million objects, in 8 kB of zip."""
    sheet(tmp_path / "a.xlsx", "<row/>" * ((8 << 20) // 6))
    with pytest.raises(core.BadFileError, match=r"a.xlsx unpacks to \d+ bytes, expected at most"):
        _sheet_rows(tmp_path / "a.xlsx")


def test_what_is_said_of_a_list_is_short(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    for text in ("a" * 100_000, f"a.png {'1' * 100_000}", f"{'a' * 100_000} 1"):
        (tmp_path / "list.txt").write_text(text)
        with pytest.raises((core.BadFileError, FileNotFoundError)) as raised:
            sq.Dataset.from_list(tmp_path / "list.txt")
        assert len(str(raised.value)) < 5000


# -- Archives --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_unpacks_all_at_once(tmp_path: Path, method: int) -> None:
    """400 MB of zeros in less than 100 kB, which are said to be 100 bytes."""
    path = tmp_path / "training.zip"
    with zipfile.ZipFile(path, "w", method) as opened, opened.open("a.jpg", "w") as member:
        for _ in range(400):
            member.write(bytes(1 << 20))
    raw = bytearray(path.read_bytes())
    assert len(raw) < 100_000
    struct.pack_into("<I", raw, 22, 100)
    struct.pack_into("<I", raw, raw.rindex(b"PK\x01\x02") + 24, 100)
    path.write_bytes(raw)
    code = "from squeezenet_c.data.archives import unpack\n" + textwrap.dedent(
        REFUSED.format(call="unpack(sys.argv[1], sys.argv[2])")
    )
    said = bounded(code, str(path), str(tmp_path), megabytes=700)
    assert f"is compressed by method {method}, expected stored or deflated" in said


def test_members_that_overlap(tmp_path: Path) -> None:
    """A thousand names for the same 100 kB of zeros."""
    path = tmp_path / "training.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("0000.jpg", bytes(100_000))
    raw = path.read_bytes()
    start, end = raw.index(b"PK\x01\x02"), raw.index(b"PK\x05\x06")
    entries = b"".join(raw[start:end].replace(b"0000.", b"%04d." % i) for i in range(1000))
    counts = struct.pack("<HHII", 1000, 1000, len(entries), start)
    path.write_bytes(raw[:start] + entries + raw[end : end + 8] + counts + raw[end + 20 :])
    with pytest.raises(core.BadFileError, match="larger than the file: they overlap"):
        unpack(path, tmp_path)
    assert os.listdir(tmp_path) == ["training.zip"]


# -- args.yaml -------------------------------------------------------------------------------------

RESUME = """
    from squeezenet_c.cli import main
    sys.stderr = sys.stdout
    print(main(["train", "--resume", sys.argv[1]]))
"""


def test_aliases_of_aliases_are_not_spelled_out(tmp_path: Path) -> None:
    """A list of 9^10 words, in 500 bytes."""
    lines = [f"a0: &a0 [{','.join('x' * 9)}]\n"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)]
    (tmp_path / "args.yaml").write_text("".join(lines) + "lr: *a9\n")
    said = bounded(RESUME, str(tmp_path), megabytes=1000)
    assert "lr is [[[...]" in said and "expected a word or a number" in said and len(said) < 500


@pytest.mark.parametrize(
    "value", ["!!timestamp x", "!!int ''", "2001-99-99", "!!bool x", "!!int 0x", "9" * 5000]
)
def test_values_that_are_none(tmp_path: Path, capsys, value: str) -> None:
    """PyYAML lets Python's errors through, of six kinds."""
    (tmp_path / "args.yaml").write_text(f"lr: {value}\n")
    assert main(["train", "--resume", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'args.yaml'}: no YAML that can be read" in said and said.count("\n") == 1


# -- Pipes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        "sq.Model.load(path)",
        "sq.Dataset.from_list(path)",
        "sq.predict(sq.Model(), path)",
        "sq.train(sq.Model(), sq.Dataset([path], [0]), resume=path)",
    ],
)
def test_a_pipe_is_not_waited_for(tmp_path: Path, call: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    code = textwrap.dedent(REFUSED.format(call=call).replace("path", "sys.argv[1]"))
    assert "is no regular file" in bounded(code, str(tmp_path / "pipe"), megabytes=4000), code


# -- Texts and types -------------------------------------------------------------------------------


def test_class_names_that_are_no_text() -> None:
    with pytest.raises(ValueError, match=r"class name 'a\\udcff' is no text that UTF-8 can write"):
        sq.Model(num_classes=2, class_names=["a\udcff", "b"])


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("history", lambda said: said["rows"][0].update(train_loss="low")),
        ("history", lambda said: said["rows"][0].update(epoch=10**400)),
        ("history", lambda said: said.update(rows=5)),
        ("optimizer", lambda said: said.update(spans=[["a", 1, 0]])),
        ("optimizer", lambda said: said.update(spans=[[0.5, 1, 0]])),
        ("optimizer", lambda said: said.update(spans=[[10**30, 1, 0]])),
        ("optimizer", lambda said: said.update(lr="1e-3")),
        ("optimizer", lambda said: said.update(step=None)),
    ],
)
def test_types_in_a_state(tmp_path: Path, part: str, change) -> None:
    """Whatever a state says, it ends in a sentence."""
    drawn = sq.synthetic.write(tmp_path / "drawn", 8, size=40)
    model = sq.Model(image_size=40)
    state = tmp_path / "a.state"
    sq.train(model, drawn, epochs=1, batch_size=8, progress=False, state=state)
    tensors, metadata = core.read_safetensors(str(state))
    said = json.loads(metadata[part])
    change(said)
    core.write_safetensors(str(state), tensors, metadata | {part: json.dumps(said)})
    with pytest.raises(ValueError) as raised:
        RunState.read(state)
        sq.train(model, drawn, epochs=2, batch_size=8, progress=False, resume=state)
    assert len(str(raised.value)) < 600
