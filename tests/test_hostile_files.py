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
