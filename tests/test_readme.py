"""README's Python blocks and its commands on DATA run as they stand there, on a few synthetic
pictures in PALM's layout and for one epoch."""

import re
import shlex
import shutil
from pathlib import Path

import openpyxl
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [text for language, text in BLOCKS if language != "python" and "DATA" in text]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current folder: palm/, and new_pictures/ with one."""
    drawn = sq.synthetic.write(tmp_path / "drawn", 12, size=64)
    parts = {"PALM-Training400": [], "PALM-Validation400": []}
    for place, (path, label) in enumerate(zip(drawn.paths, drawn.labels, strict=True)):
        training = place % 3 > 0
        folder = tmp_path / "palm" / ("PALM-Training400" if training else "PALM-Validation400")
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{'NP'[label] if training else 'V'}{place:04d}.jpg"
        shutil.copy(path, folder / name)
        parts[folder.name].append((place, name, int(label)))
    book = openpyxl.Workbook()
    for row in [("ID", "imgName", "Label"), *parts["PALM-Validation400"]]:
        book.active.append(row)
    (tmp_path / "palm" / "PALM-Validation-GT").mkdir()
    book.save(tmp_path / "palm" / "PALM-Validation-GT" / "PM_Label_and_Fovea_Location.xlsx")
    (tmp_path / "new_pictures").mkdir()
    shutil.copy(drawn.paths[0], tmp_path / "new_pictures" / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_blocks():
    assert PYTHON and any("squeezenet-c train DATA" in text for text in COMMANDS)


@pytest.mark.parametrize("block", PYTHON)
def test_python_block(home, block):
    block = re.sub(r"epochs=\d+", "epochs=1", block)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("block", COMMANDS)
def test_commands_on_data(home, block, capsys):
    """Those of one block in their order; training for one epoch."""
    for line in block.splitlines():
        words = shlex.split(re.sub(r"\bDATA\b", "palm", line), comments=True)
        if words[:1] == ["squeezenet-c"]:
            more = ["--epochs", "1"] if words[1] == "train" and "--resume" not in words else []
            assert main([*words[1:], *more]) == 0, line
    assert capsys.readouterr().out
