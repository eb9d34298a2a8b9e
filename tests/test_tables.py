"""Data sets from CSV tables: which columns, labels and groups, and what is said of bad ones."""

from pathlib import Path

import pytest

import squeezenet_c as sq
from squeezenet_c.base.png import encode_png
from squeezenet_c.cli import main
from squeezenet_c.data.layouts import load_training_data
from squeezenet_c.data.tables import Columns


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures, a.png to d.png."""
    folder = tmp_path_factory.mktemp("眼 底")
    for seed, name in enumerate("abcd"):
        (folder / f"{name}.png").write_bytes(encode_png(sq.synthetic.draw(seed % 2, seed, 40)))
    return folder


def table(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_columns_by_rule_and_by_name(folder: Path) -> None:
    text = "\ufeffage,Filename, target ,patient\r\n60,a.png,myopic,7\r\n\r\n9, b.png,normal,8\r\n"
    text += '61,"c.png","myopic",7\r\n'
    dataset = sq.Dataset.from_csv(table(folder, text))
    assert dataset.class_names == ("myopic", "normal") and dataset.labels.tolist() == [0, 1, 0]
    assert [Path(path).name for path in dataset.paths] == ["a.png", "b.png", "c.png"]
    assert dataset.groups is not None and dataset.groups.tolist() == ["7", "8", "7"]
    named = sq.Dataset.from_csv(folder / "table.csv", label="age", class_names=["9", "60", "61"])
    assert named.labels.tolist() == [1, 0, 2]
    other = sq.Dataset.from_csv(folder / "table.csv", "Filename", "target", "age")
    assert other.groups is not None and other.groups.tolist() == ["60", "9", "61"]


def test_numbers_are_numbers_and_names_are_in_alphabetical_order(folder: Path) -> None:
    numbers = sq.Dataset.from_csv(table(folder, "path,label\na.png,2\nb.png,0\n"))
    assert numbers.labels.tolist() == [2, 0] and not numbers.has_names and numbers.groups is None
    names = sq.Dataset.from_csv(table(folder, "path,label\na.png,眼\nb.png,stage 2\nc.png,-1\n"))
    assert names.class_names == ("-1", "stage 2", "眼") and names.labels.tolist() == [2, 1, 0]


def test_a_path_is_looked_for_beside_the_table_then_here(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here.png").write_bytes((folder / "a.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    text = "image,label,group\na.png,0,x\nhere.png,1,y\ngone.png,1,z\n"
    with pytest.raises(FileNotFoundError, match=r"table\.csv, line 4: there is no file gone\.png"):
        sq.Dataset.from_csv(table(folder, text))
    with pytest.warns(UserWarning, match="1 files were skipped"):
        dataset = sq.Dataset.from_csv(folder / "table.csv", on_error="skip")
    assert dataset.paths == [str(folder / "a.png"), "here.png"]
    assert dataset.groups is not None and dataset.groups.tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns none .* none of them called image or path or file or filename"),
        (
            "a,b\n",
            r"columns a, b \(separated by commas\), none .* the image is to stand in; image=",
        ),
        ("image;label\na.png;1\n", "has the columns image;label"),
        ("image,label,class\n", "more than one of them called label or class or target"),
        ("image,label,patient,subject\n", "more than one of them called group or patient"),
        ("image,label\n", "lists no picture"),
        ("image,label\na.png\n", "line 2: 1 fields found, expected 2"),
        ("image,label\na.png,0\nb.png,0,1\n", "line 3: 3 fields found, expected 2"),
        ("image,label\na.png, \n", "line 2: nothing stands in the column label"),
        ("image,label,group\na.png,0,\n", "line 2: nothing stands in the column group"),
        ("image,label\na.png,0\nb.png,yes\n", "line 3: the label 'yes' is a name, those of"),
        ("image,label\na.png,1234567890\n", "line 2: the label is '1234567890', expected a whole"),
        ('image,label\n"a.png,0\n', r"line 2: no CSV that can be read \(unexpected end of data\)"),
        ("image,label\na.png," + "x" * 140000, "line 2: no CSV .*field larger than field limit"),
        (b"image,label\na.png,\xff\n", "is not UTF-8 text"),
    ],
)
def test_bad_tables(folder: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(sq.BadFileError, match=message):
        sq.Dataset.from_csv(table(folder, text))


def test_a_column_that_is_named_and_not_there(folder: Path) -> None:
    table(folder, "image,label\na.png,1\n")
    for kind in ("image", "label", "group"):
        with pytest.raises(
            sq.BadFileError, match="columns image, label .* none of them called eye"
        ):
            sq.Dataset.from_csv(folder / "table.csv", **{kind: "eye"})


def test_a_label_that_is_none_of_the_classes(folder: Path) -> None:
    with pytest.raises(sq.BadFileError, match="line 2: the label is 'x', .*, or one of a, b"):
        sq.Dataset.from_csv(table(folder, "image,label\na.png,x\n"), class_names=["a", "b"])


def test_a_table_is_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = table(folder, "eye,label,who\na.png,yes,1\nb.png,no,2\nc.png,yes,3\n")
    two = folder / "two.CSV"
    two.write_text("eye,label,who\nd.png,no,3\n")
    columns = Columns(image="eye", group="who")
    sets = load_training_data([str(one), str(two)], columns=columns)
    assert sets.validation is not None and sets.validation.labels.tolist() == [0]
    with pytest.raises(ValueError, match=r"has no columns \(eye, who\): only a table does"):
        load_training_data([str(folder)], columns=columns)
    command = ["check", str(one), str(two), "--image-column", "eye"]
    assert main(command) == 0 and "groups" not in capsys.readouterr().out
    assert main([*command, "--group-column", "who"]) == 1
    said = capsys.readouterr()
    assert "groups in two of the sets: 1\n  3\n" in said.out and "1 groups in two sets" in said.err
    assert main(["check", str(one)]) == 1
    assert "table.csv has the columns eye, label, who" in capsys.readouterr().err
