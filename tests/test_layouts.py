"""What DATA means: which folders are classes, and which are parts of a set."""

from pathlib import Path

import pytest

import squeezenet_c as sq
from squeezenet_c.base.png import encode_png
from squeezenet_c.cli import main
from squeezenet_c.data.layouts import load_evaluation_data, load_training_data

PICTURE = encode_png(sq.synthetic.draw(1, size=32))


def write(root: Path, *folders: str) -> Path:
    """A picture in each of the folders."""
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / "a.png").write_bytes(PICTURE)
    return root


@pytest.mark.parametrize(
    ("training", "valid"),
    [("train", "val"), ("Training", "Validation"), ("TRAIN", "valid")],
)
def test_parts_whatever_they_are_called(tmp_path: Path, training: str, valid: str) -> None:
    folders = [f"{part}/{name}" for part in (training, valid) for name in ("cat", "dog")]
    root = write(tmp_path, *folders, ".ipynb_checkpoints", "__MACOSX/train", f"{training}/.hidden")
    first, second, third = load_training_data([str(root)])
    assert second is not None and third is None
    assert first.class_names == second.class_names == ("cat", "dog")
    assert first.paths[0] == str(root / training / "cat" / "a.png")
    assert second.paths[1] == str(root / valid / "dog" / "a.png")


def test_the_test_part_is_a_set_of_its_own(tmp_path: Path) -> None:
    root = write(tmp_path, "train/cat", "train/dog", "TEST/dog", "val/dog")
    sets = load_training_data([str(root)])
    assert sets.test is not None and sets.test.paths == [str(root / "TEST" / "dog" / "a.png")]
    assert sets.validation is not None and sets.validation.labels.tolist() == [1]
    assert sets.test.class_names == ("cat", "dog") and sets.test.labels.tolist() == [1]
    (root / "val").rename(root / ".val")  # nothing that reports may choose the best epoch
    assert [part is None for part in load_training_data([str(root)])] == [False, True, False]
    three = [str(root / part) for part in ("train", ".val", "TEST")]
    assert load_training_data(three).test.paths == sets.test.paths
    with pytest.raises(ValueError, match="4 data sets named, expected at most 3"):
        load_training_data([str(root)] * 4)


def test_check_looks_at_all_three(tmp_path: Path, capsys) -> None:
    root = write(tmp_path, "train/cat", "val/cat", "test/cat")
    assert main(["check", str(root)]) == 1
    said = capsys.readouterr()
    assert "in two of the sets: 3\n" in said.out and "test set, 1 pictures" in said.out
    assert "3 of them in two sets" in said.err


def test_a_part_is_taken_to_evaluate(tmp_path: Path) -> None:
    root = write(tmp_path, "train/a", "val/a", "Test/a")
    for split, expected in ((None, "Test"), ("validation", "val"), ("TRAIN", "train")):
        dataset = load_evaluation_data(str(root), None, split)
        assert dataset.paths == [str(root / expected / "a" / "a.png")]
    with pytest.raises(ValueError, match="the split 'other' found, expected one of train"):
        load_evaluation_data(str(root), None, "other")
    (root / "Test").rename(root / ".Test")
    assert load_evaluation_data(str(root), None).paths == [str(root / "val" / "a" / "a.png")]
    with pytest.raises(ValueError, match="holds the folders train, val; expected a test part"):
        load_evaluation_data(str(root), None, "test")
    (root / "val").rename(root / ".val")
    with pytest.raises(ValueError, match="holds the folders train; expected a test or validation"):
        load_evaluation_data(str(root), None)
    assert load_training_data([str(root)])[1] is None
    with pytest.raises(ValueError, match="no folders train, val or test to take the test part"):
        load_evaluation_data(str(root / "train"), None, "test")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "cat", "dog"), "holds the folders cat, dog, train: train is called as a part"),
        (("train/a", "val/a", "Validation/a"), "Validation and val are both its validation part"),
        (("val/a", "test/a"), "the folders test, val and no folder train"),
        (("train", "val"), "train has no folders in it; expected one for each class"),
        ((".git", "__MACOSX"), "no folders in it"),
    ],
)
def test_what_is_ambiguous_is_an_error(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_training_data([str(write(tmp_path, *folders))])


def test_names_say_that_folders_are_classes(tmp_path: Path) -> None:
    root = write(tmp_path, "car", "train")
    dataset = load_training_data([str(root)], ["train", "car"]).training
    assert dataset.class_counts() == {"train": 1, "car": 1}
    assert load_evaluation_data(str(root), ["train", "car"]).labels.tolist() == [1, 0]


def test_a_folder_of_parts_is_no_folder_of_classes(tmp_path: Path) -> None:
    root = write(tmp_path, "train/a", "val/a")
    with pytest.raises(ValueError, match="holds train, val, parts of a data set and no classes"):
        sq.Dataset.from_folder(root)


def test_train_and_evaluate_tell_the_classes_first(tmp_path: Path, capsys) -> None:
    """And the test part is looked at once, when the best epoch has been chosen on val."""
    root = tmp_path / "set"
    for part, count in (("train", 6), ("val", 4), ("test", 2)):
        sq.synthetic.write(root / part, count, size=32)
    normal, atrophy = sq.synthetic.CLASS_NAMES
    run = str(tmp_path / "run")
    command = ["train", str(root), "--epochs", "1", "--batch-size", "3", "--image-size", "64"]
    assert main([*command, "--out", run, "--positive", atrophy]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == (
        f"Classes: 0 {atrophy}, positive (3 training, 2 validation, 1 test); "
        f"1 {normal} (3 training, 2 validation, 1 test)"
    )
    held_out = said.partition("On the test set, held out from choosing it:\n")[2]
    model = str(tmp_path / "run" / "weights" / "best.safetensors")
    assert main(["evaluate", model, str(root)]) == 0
    printed = capsys.readouterr().out
    first = f"Classes: 0 {atrophy}, positive (1 evaluated); 1 {normal} (1 evaluated)"
    assert printed == f"{first}\n{held_out}" and f"positive          {atrophy}" in held_out
    for split, count in (("train", 3), ("val", 2)):
        assert main(["evaluate", model, str(root), "--split", split]) == 0
        assert f"({count} evaluated)" in capsys.readouterr().out
    assert main([*command, "--out", f"{run}2", "--valid-fraction", "0.3"]) == 0
    said = capsys.readouterr()
    assert "valid is not looked at: with valid_fraction" in said.err
    assert "On the test set, held out" in said.out
