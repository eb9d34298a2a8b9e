"""args.yaml: YAML that any reader has right, and what is resumed from it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import squeezenet_c as sq
from squeezenet_c.cli import main


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    sq.synthetic.write(folder, 8, size=40)
    return folder


def begin(pictures: Path | str, run: Path, *options: str) -> list[str]:
    return ["train", str(pictures), "--out", str(run), "--epochs", "1", *options]


def test_numbers_are_numbers(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    rates = ["--lr", "1e-05", "--class-weights", "1,2.5", "--freeze", "features.0,features.3"]
    assert main(begin(pictures, run, *rates)) == 0
    said = yaml.safe_load((run / "args.yaml").read_text(encoding="utf-8"))
    assert said["lr"] == 1e-05 and said["epochs"] == 1 and said["augment"] == "flips"
    assert said["class_weights"] == [1.0, 2.5] and said["data"] == [str(pictures)]
    assert said["freeze"] == ["features.0", "features.3"] and said["bypass"] is None
    with open(run / "args.yaml", "a") as file:
        file.write("# a comment\n")
    assert main(["train", "--resume", str(run)]) == 0


def test_what_earlier_versions_wrote(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(begin(pictures, run, "--lr", "1e-05")) == 0
    said = yaml.safe_load((run / "args.yaml").read_text(encoding="utf-8"))
    said["augment"] = True  # as it was while it was a switch
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in said.items()]
    assert "lr: 1e-05\n" in lines  # to YAML a text
    (run / "args.yaml").write_text("".join(lines))
    assert main(["train", "--resume", str(run)]) == 0


@pytest.mark.parametrize("name", [b"caf\xe9", "line\u2028end".encode(), "眼底".encode()])
def test_folders_of_any_name(pictures: Path, tmp_path: Path, name: bytes) -> None:
    data = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    os.symlink(pictures, data)
    run = tmp_path / "run"
    for command in (begin(data, run), ["train", "--resume", str(run)]):
        result = subprocess.run(
            [sys.executable, "-m", "squeezenet_c", *command], capture_output=True, cwd=tmp_path
        )
        assert result.returncode == 0, result.stderr
    assert yaml.safe_load((run / "args.yaml").read_text("utf-8"))["data"] == [data]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: two", "epochs is 'two': two found, a whole number"),
        ("epochs: [1, 2]", "epochs is [1, 2]: 1,2 found, a whole number"),
        ("lr: true", "lr is True, expected a word or a number"),
        ("augment: 3", "augment is 3: augment is '3': '3' is none of none, flips"),
        ("overwrite: 3\nskip_bad: 3", "skip_bad is 3, expected true or false"),
        ("data: 5", "data is 5, expected a list of texts"),
        ("arch: 2_0", "arch is 20, expected one of 1_0, 1_1"),  # YAML 1.1's 2_0 is a number
        ("- 1", "a list found, expected options by name"),
        ("a: [", "line 2: no YAML that can be read"),
        ("a: !!python/object:os.system x", "no YAML that can be read"),
        ("caf\udce9: 1", "args.yaml is not UTF-8 text"),
    ],
)
def test_wrong_arguments(tmp_path: Path, capsys, text: str, words: str) -> None:
    (tmp_path / "args.yaml").write_bytes((text + "\n").encode("utf-8", "surrogateescape"))
    assert main(["train", "--resume", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "args.yaml" in said and words in said and said.count("\n") == 1
