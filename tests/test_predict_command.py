"""The command `predict`: what it takes for pictures, and what it makes of bad ones."""

import csv
import json
from pathlib import Path

import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.inference.predict import predict_files

SIZE = 48


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder and photographs in folders, some of them of other kinds."""
    home = tmp_path_factory.mktemp("predict")
    sq.synthetic.write(home / "photos", 6, size=SIZE)
    (home / "photos" / "notes.txt").write_text("no picture")
    (home / "photos" / ".hidden").mkdir()
    (home / "photos" / ".hidden" / "a.png").write_bytes(b"")
    (home / "run" / "weights").mkdir(parents=True)
    model = sq.Model(seed=1, image_size=SIZE, base_e=32, incr_e=32, class_names=["no", "yes"])
    model.save(home / "run" / "weights" / "best.safetensors")
    return home


def answers(capsys) -> list[dict]:
    return json.loads(capsys.readouterr().out)


def test_folders_patterns_and_a_run(home: Path, capsys) -> None:
    run, photos = str(home / "run"), home / "photos"
    paths = sorted(map(str, photos.rglob("synthetic*.png")))
    assert main(["predict", run, str(photos), "--json"]) == 0
    rows = answers(capsys)
    assert [row["path"] for row in rows] == paths
    expected = sq.predict(sq.Model.load(home / "run"), paths)
    assert [row["confidence"] for row in rows] == [answer.confidence for answer in expected]
    assert main(["predict", run, f"{photos}/*atrophy/*", "--json"]) == 0
    assert [row["path"] for row in answers(capsys)] == [p for p in paths if "atrophy" in p]
    assert main(["predict", run, f"{photos}/**/*", "--json"]) == 0
    assert [row["path"] for row in answers(capsys)] == paths
    assert main(["predict", run, str(photos)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    strange = photos / "a[1].png"
    strange.write_bytes(Path(paths[0]).read_bytes())
    assert main(["predict", run, str(strange), "--json"]) == 0
    strange.unlink()
    capsys.readouterr()
    for place in (f"{photos}/*.jpg", str(home / "run")):
        assert main(["predict", run, place]) == 1
        assert f"{place}: no picture there" in capsys.readouterr().err


def test_tta(home: Path, capsys) -> None:
    run, photos = str(home / "run"), str(home / "photos")
    model, dataset = sq.Model.load(home / "run"), sq.Dataset.from_folder(home / "photos")
    assert main(["predict", run, photos, "--json", "--tta"]) == 0
    rows = answers(capsys)
    expected = model.predict_proba([row["path"] for row in rows], tta=True)
    assert [row["probabilities"] for row in rows] == expected.tolist()
    dataset.write_list(home / "list.txt")
    assert main(["evaluate", run, str(home / "list.txt"), "--json", "--tta"]) == 0
    listed = sq.Dataset.from_list(home / "list.txt")
    assert answers(capsys)["loss"] == model.evaluate(listed, tta=True).loss


@pytest.mark.parametrize("command", ["predict", "explain", "evaluate", "export", "summary"])
def test_a_folder_that_is_no_run(home: Path, capsys, command: str) -> None:
    arguments = {
        "predict": ["x.png"],
        "explain": ["x.png", "--out", str(home / "maps")],
        "evaluate": [str(home / "photos")],
        "export": [str(home / "x.pth")],
        "summary": [],
    }[command]
    assert main([command, str(home / "photos"), *arguments]) == 1
    assert "is a folder without weights/best.safetensors" in capsys.readouterr().err


def test_other_commands_take_a_run(home: Path, tmp_path: Path) -> None:
    run = str(home / "run")
    assert main(["summary", run]) == 0
    assert main(["export", run, str(tmp_path / "a.pth")]) == 0
    photos = str(home / "photos")
    assert main(["explain", run, photos, "--out", str(tmp_path / "maps")]) == 0
    assert len(list((tmp_path / "maps").iterdir())) == 6


def test_one_bad_file_does_not_lose_the_others(home: Path, tmp_path: Path, capsys) -> None:
    good = sorted(map(str, (home / "photos").rglob("synthetic*.png")))
    bad, missing = tmp_path / "bad.png", str(tmp_path / "missing.png")
    bad.write_bytes(b"no picture")
    given = [*good[:2], str(bad), *good[2:], missing]
    command = ["predict", str(home / "run"), *given]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert [line.split(": ")[0] for line in printed.out.splitlines()] == good
    assert "bad.png" in printed.err and "missing.png" in printed.err
    assert main([*command, "--json"]) == 1
    assert [row["path"] for row in answers(capsys)] == good
    table = tmp_path / "predictions.csv"
    assert main([*command, "--skip-bad", "--out", str(table)]) == 0
    assert "2 files were skipped; the first: " in capsys.readouterr().err
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == good
    assert set(rows[0]) == {"path", "label", "name", "confidence", "probability no",
                            "probability yes"}  # fmt: skip
    assert main(["predict", str(home / "run"), str(bad), "--skip-bad"]) == 1
    assert "bad.png" in capsys.readouterr().err


@pytest.mark.parametrize("batch_size", [1, 2, 4, 32])
def test_files_in_batches(home: Path, tmp_path: Path, batch_size: int) -> None:
    good = sorted(map(str, (home / "photos").rglob("synthetic*.png")))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    paths = [*good[:4], str(tmp_path / "bad.png"), *good[4:]]
    model = sq.Model.load(home / "run")
    found = list(predict_files(model, paths, batch_size))
    assert [path for path, _ in found] == paths
    assert [answer for _, answer in found if not isinstance(answer, str)] == model.predict(good)
    assert "bad.png" in found[4][1]


def test_a_bar_past_a_hundred_pictures(home: Path, capsys, monkeypatch) -> None:
    import sys

    picture = next((home / "photos").rglob("synthetic*.png"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for count, shown in ((100, False), (101, True)):
        assert main(["predict", str(home / "run"), *[str(picture)] * count]) == 0
        printed = capsys.readouterr()
        assert ("pictures" in printed.err) == shown
        assert printed.out.count("Predicted: ") == count
