"""The commands: what they print and write, and their exit statuses."""

import argparse
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.cli.train import add_train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of pictures and the run of `train` on it."""
    home = tmp_path_factory.mktemp("cli")
    sq.synthetic.write(home / "pictures", 12, size=64)
    command = ["train", str(home / "pictures"), "--epochs", "1", "--out", str(home / "run")]
    assert main([*command, "--valid-fraction", "0.5", "--batch-size", "4"]) == 0
    return home


def test_train_writes_its_folder(trained):
    run = trained / "run"
    assert {path.name for path in run.iterdir()} == {
        "args.yaml",
        "confusion_matrix.png",
        "results.csv",
        "results.png",
        "weights",
    }
    arguments = (run / "args.yaml").read_text(encoding="utf-8").splitlines()
    assert "epochs: 1" in arguments and f"lr: {sq.Recipe().lr}" in arguments
    header, row = (run / "results.csv").read_text().splitlines()
    assert header.startswith("epoch,train_acc,train_loss,valid_acc") and row.startswith("1,")
    for name in ("best", "last"):
        model = sq.Model.load(run / "weights" / f"{name}.safetensors")
        assert model.class_names == ("synthetic atrophy", "synthetic normal")


PREPROCESSING = ["--image-size", "64", "--mean", "imagenet", "--fit", "crop", "--dropout", "0.25"]


def test_train_is_told_what_pictures_the_network_takes(trained, tmp_path, capsys):
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    data = str(trained / "pictures")
    assert main(["train", data, "--epochs", "1", *PREPROCESSING, "--out", str(run)]) == 0
    first = sq.Model.load(run)
    assert first.preprocessing == sq.Preprocessing(64, "imagenet", fit="crop")
    assert first.spec["dropout"] == 0.25
    given = ["--pretrained", str(run), "--std", "0.5,0.25,1", "--mean", "0.4", "--epochs", "1"]
    assert main(["train", data, *given, "--out", str(tuned)]) == 0
    second = sq.Model.load(tuned)
    assert second.preprocessing == sq.Preprocessing(64, 0.4, (0.5, 0.25, 1.0), "crop")
    assert second.spec["dropout"] == 0.25
    again = ["train", "--resume", str(tuned), "--epochs", "2"]
    for other, words in (
        (["--image-size", "96"], "--image-size is 96, expected 64, with which the run in"),
        (["--mean", "0.5"], "--mean is [0.5, 0.5, 0.5], expected [0.4, 0.4, 0.4], with"),
        (["--dropout", "0"], "--dropout is 0.0, expected 0.25, with"),
    ):
        assert main([*again, *other]) == 1 and words in capsys.readouterr().err
    assert main([*again, "--image-size", "64", "--mean", "0.4"]) == 0
    for wrong, words in (
        (["--image-size", "8"], "image_size is 8, expected"),
        (["--mean", "0.1,0.2"], "mean is [0.1, 0.2]"),
        (["--dropout", "1"], "dropout is 1"),
    ):
        assert main(["train", data, *wrong]) == 1 and words in capsys.readouterr().err


def test_train_without_out(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dataset = sq.Dataset.from_folder(trained / "pictures")
    dataset.write_list("a.txt")
    assert main(["train", "a.txt", "a.txt", "--epochs", "1", "--seed", "3", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Classes: 0 (")
    assert f"folder: {Path('runs', 'train')}\n" in out and "Epoch: 1, Train_acc:" in out
    assert main(["train", "a.txt", "--epochs", "1", "--lr", "nan"]) == 1  # and takes no folder
    first = Path("runs/train/weights/best.safetensors").read_bytes()
    assert main(["train", "a.txt", "a.txt", "--epochs", "1"]) == 0
    assert "runs/train2" in capsys.readouterr().out.replace(os.sep, "/")
    assert sorted(os.listdir()) == ["a.txt", "runs"] and len(os.listdir("runs")) == 2
    assert Path("runs/train/weights/best.safetensors").read_bytes() == first
    assert main(["train", "--resume", str(Path("runs", "train")), "--threads", "1"]) == 0


def test_an_earlier_run_is_replaced_only_when_asked(trained, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["train", str(trained / "pictures"), "--epochs", "1", "--out", str(out)]
    out.mkdir()
    (out / "mine.txt").write_text("not a run's")
    assert main([*command, "--seed", "5"]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert main(command) == 1
    assert "holds an earlier run (weights" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "no"), *command[2:], "--overwrite"]) == 1
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert main([*command, "--overwrite"]) == 0
    assert (out / "mine.txt").exists()
    best = out / "weights" / "best.safetensors"
    assert best.read_bytes() != before[best]
    with pytest.raises(SystemExit) as raised:
        main(["train", "--resume", str(out), "--overwrite"])
    assert raised.value.code == 2


def test_defaults_are_those_of_train():
    """Also of options that nobody gave a default by hand."""
    parser = argparse.ArgumentParser()
    add_train(parser)
    given, taken = vars(parser.parse_args([])), inspect.signature(sq.train).parameters
    shared = given.keys() & taken.keys()
    assert {"epochs", "batch_size", "seed", "augment", "early_stopping", "freeze"} <= shared
    recipe = {"lr", "body_lr_scale", "resume", "precision"}  # None or float32 in effect
    assert all(given[name] == taken[name].default for name in shared - recipe)


def test_predict(trained, capsys):
    model = str(trained / "run" / "weights" / "best.safetensors")
    paths = sq.Dataset.from_folder(trained / "pictures").paths[:2]
    assert main(["predict", model, paths[0]]) == 0
    line = capsys.readouterr().out
    assert line.startswith("Predicted: synthetic ") and ", confidence: 0." in line
    assert main(["predict", model, *paths, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in rows] == paths
    answer = sq.predict(sq.Model.load(model), paths[0])
    assert set(rows[0]) == {"path", "label", "name", "confidence", "probabilities"}
    assert (rows[0]["label"], rows[0]["name"]) == (answer.label, answer.name)
    assert rows[0]["confidence"] == answer.confidence


def test_evaluate(trained, capsys):
    model = str(trained / "run" / "weights" / "best.safetensors")
    assert main(["evaluate", model, str(trained / "pictures"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert sum(map(sum, report["confusion_matrix"])) == 12
    assert main(["evaluate", model, str(trained / "pictures")]) == 0
    assert f"accuracy          {report['accuracy']:.4f}" in capsys.readouterr().out


def test_summary_and_info(capsys):
    assert main(["summary", "--arch", "1_0", "--num-classes", "4"]) == 0
    assert "Total parameters: 737,476" in capsys.readouterr().out
    assert main(["summary", "--arch", "1_0", "--num-classes", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 737476
    assert main(["info"]) == 0
    assert f"version         {sq.__version__}" in capsys.readouterr().out
    plan = ["info", "--plan", "1_1", "--training", "--image-size", "64", "--repeats", "2"]
    assert main(plan) == 0
    out = capsys.readouterr().out
    assert "classifier.1" in out and "backward" in out and "ms a picture on one thread" in out
    assert main([*plan, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"][0]["layer"] == "features.0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere"], "there is no file or folder nowhere"),
        (["evaluate", "none.safetensors", "."], "none.safetensors"),
        (["predict", "none.safetensors", "a.jpg"], "none.safetensors"),
        (["info", "--plan", "3"], "version is '3'"),
        (["train", "file", "--out", "file/run"], "file/run"),
    ],
)
def test_failures_are_one_sentence(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no list")
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["train"], ["train", "a", "--epochs", "0"], ["train", "a", "--arch", "2"]],
)
def test_wrong_usage(arguments):
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2


def test_broken_picture_stops_or_is_skipped(trained, tmp_path, capsys):
    sq.synthetic.write(tmp_path / "data", 8, size=64)
    (tmp_path / "data" / "synthetic normal" / "bad.png").write_bytes(b"")
    command = ["train", str(tmp_path / "data"), "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(command) == 1
    assert "bad.png" in capsys.readouterr().err
    assert main([*command, "--skip-bad", "--overwrite"]) == 0
    assert "1 files were skipped" in capsys.readouterr().err


def test_demo(tmp_path, capsys):
    command = ["demo", "--out", str(tmp_path / "demo"), "--pictures", "16", "--epochs", "1"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "synthetic" in out and "Predicted: " in out
    assert (tmp_path / "demo" / "results.png").exists()
    assert main(command) == 1
    assert "holds an earlier run" in capsys.readouterr().err


def test_import_brings_nothing_slow():
    code = (
        "import sys, squeezenet_c.cli; "
        "slow = {'matplotlib', 'openpyxl', 'PIL', 'tqdm', 'sklearn', 'joblib', 'argcomplete'}; "
        "print(*(set(sys.modules) & slow))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=env,
        cwd=Path(__file__).parent,  # where no source hides the package
    )
    assert done.stdout.strip() == ""
