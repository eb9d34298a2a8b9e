"""Where weights and figures come from: in a model's file, in a run's folder, in a report."""

import hashlib
import json
import pickle
import shutil
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import yaml

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.cli import main
from squeezenet_c.data.provenance import data_of, lines_of

SMALL = {"image_size": 64, "base_e": 32, "incr_e": 32}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, and the run of a training on them."""
    home = tmp_path_factory.mktemp("provenance")
    sq.synthetic.write(home / "pictures", 16, size=64)
    model = sq.Model(seed=3, **SMALL)
    sq.train(model, sq.Dataset.from_folder(home / "pictures"), epochs=1, seed=7, progress=False)
    model.save(home / "model.safetensors")
    return home


@pytest.fixture
def dataset(home: Path) -> sq.Dataset:
    return sq.Dataset.from_folder(home / "pictures")


def test_the_hash_of_data_can_be_found_again_by_anyone(dataset: sq.Dataset, tmp_path: Path) -> None:
    lines = []
    for path, label in zip(dataset.paths, dataset.labels, strict=True):
        contents = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        lines.append(f"{contents} {Path(path).name} {label}\n")
    expected = hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
    assert data_of(dataset) == {"pictures": 16, "sha256": expected}
    copied = []
    for path in reversed(dataset.paths):  # in another folder, and another order
        copied.append(shutil.copy(path, tmp_path))
    moved = sq.Dataset(copied, dataset.labels[::-1], dataset.class_names)
    assert data_of(moved) == data_of(dataset)
    other = sq.Dataset(copied, dataset.labels[::-1] ^ 1, dataset.class_names)
    assert data_of(other) != data_of(dataset)
    with open(copied[3], "ab") as file:
        file.write(b"\0")
    assert data_of(moved) != data_of(dataset)


def test_a_model_says_what_it_learnt_from(home: Path, dataset: sq.Dataset, tmp_path: Path) -> None:
    model = sq.Model.load(home / "model.safetensors")
    said = model.provenance
    built = sq.build_info()
    assert said["data"] == data_of(dataset) and said["seed"] == 7
    assert (said["squeezenet_c"], said["isa"]) == (sq.__version__, built["isa"])
    assert said["numpy"] == np.__version__ and said["onednn"]
    assert sq.Model(**SMALL).provenance == {}
    int8 = model.quantize(dataset)
    int8.save(tmp_path / "int8.safetensors")
    for other in (
        model.copy(),
        pickle.loads(pickle.dumps(model)),
        sq.Model.load(tmp_path / "int8.safetensors"),
        sq.Model.from_pretrained(home / "model.safetensors"),
    ):
        assert other.provenance == said


def test_the_same_training_gives_the_same_file(home: Path, dataset: sq.Dataset, tmp_path) -> None:
    """Whenever, by whatever command and on however many threads."""
    sq.set_num_threads(2 if sq.get_num_threads() == 1 else 1)
    model = sq.Model(seed=3, **SMALL)
    sq.train(model, dataset, epochs=1, seed=7, progress=False)
    model.save(tmp_path / "again.safetensors")
    written = (tmp_path / "again.safetensors").read_bytes()
    assert written == (home / "model.safetensors").read_bytes()


def test_info(home: Path, capsys) -> None:
    path = home / "model.safetensors"
    model = sq.Model.load(path)
    assert main(["info", str(path)]) == 0
    printed = capsys.readouterr().out
    assert hashlib.sha256(path.read_bytes()).hexdigest() in printed
    for name, value in lines_of(model.provenance):
        assert f"trained: {name:15} {value}\n" in printed
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"] == model.provenance


def test_a_broken_one_in_a_file(home: Path, tmp_path: Path) -> None:
    state, metadata = core.read_safetensors(home / "model.safetensors")
    for wrong in ("[]", "7", "x", "[" * 100_000):
        core.write_safetensors(tmp_path / "b", state, metadata | {"provenance": wrong})
        with pytest.raises(sq.BadFileError, match="provenance"):
            sq.Model.load(tmp_path / "b")


def test_a_run_and_a_report_have_date_and_command(home: Path, tmp_path: Path, capsys) -> None:
    began = datetime.now(timezone.utc).replace(microsecond=0)
    run, data = tmp_path / "a run", str(home / "pictures")
    small = str(home / "model.safetensors")
    assert main(["train", data, data, "--pretrained", small, "--epochs=1", "--out", str(run)]) == 0
    said = yaml.safe_load((run / "args.yaml").read_text("utf-8"))
    assert said["command_line"] == (
        f"squeezenet-c train {data} {data} --pretrained {small} --epochs=1 --out '{run}'"
    )
    assert began <= datetime.fromisoformat(said["date"]) <= datetime.now(timezone.utc)
    assert main(["evaluate", str(run), data, "--out", str(tmp_path / "report")]) == 0
    capsys.readouterr()
    found = json.loads((tmp_path / "report" / "provenance.json").read_text("utf-8"))
    best = run / "weights" / "best.safetensors"
    model = sq.Model.load(best)
    assert found["model"]["sha256"] == hashlib.sha256(best.read_bytes()).hexdigest()
    assert found["training"] == model.provenance and found["data"] == model.provenance["data"]
    assert found["command"].startswith("squeezenet-c evaluate") and found["software"]["python"]
    assert began <= datetime.fromisoformat(found["date"]) <= datetime.now(timezone.utc)
    page = (tmp_path / "report" / "index.html").read_text("utf-8")
    assert found["model"]["sha256"] in page and found["data"]["sha256"] in page
    metrics = (tmp_path / "report" / "metrics.json").read_text("utf-8")
    assert "date" not in metrics and "provenance" not in metrics
