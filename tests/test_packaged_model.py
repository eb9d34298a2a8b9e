"""The model that comes with the package: its file, its card, its word on the command line."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.models import NAMES, is_packaged, packaged_model
from squeezenet_c.models.make_palm import FOLDS, folds_of

SHARED = Path(os.environ.get("SQZ_SHARED") or Path(__file__).resolve().parents[2] / "shared")


def _card() -> str:
    return Path(packaged_model("palm")).with_suffix(".md").read_text(encoding="utf-8")


def test_each_has_a_card() -> None:
    for name in NAMES:
        path = Path(packaged_model(name))
        assert path.is_file() and path.with_suffix(".md").is_file()
        assert is_packaged(str(path))
    assert not is_packaged("palm.safetensors")


def test_it_is_small_and_made_for_int8() -> None:
    size = Path(packaged_model("palm")).stat().st_size
    assert size < 100_000
    assert f"{size} bytes" in _card().replace("\n", " ")
    model = sq.palm.model()
    assert model.precision == "int8" and model.quantization is not None
    assert model.class_names == sq.palm.CLASS_NAMES and model.positive == 1
    assert model.threshold is not None and 0 < model.threshold < 1
    assert f"threshold {model.threshold:.3f}" in _card().replace("\n", " ")
    assert sq.palm.model("float32").precision == "float32"


def test_its_word_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sq.synthetic.write(tmp_path / "eyes", 2, seed=0, size=224)
    photo = next((tmp_path / "eyes").rglob("*.png"))
    assert main(["predict", "palm", str(photo), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    row = found[0] if isinstance(found, list) else found
    answer = sq.predict(sq.palm.model(), photo)
    assert row["label"] == answer.label
    assert main(["info", "palm"]) == 0
    assert "density" in capsys.readouterr().out


def test_it_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sq.synthetic.write(tmp_path / "eyes", 8, seed=0, size=224)
    before = Path(packaged_model("palm")).read_bytes()
    for command in ("threshold", "calibrate"):
        assert main([command, "palm", str(tmp_path / "eyes")]) == 1
        assert "comes with the package" in capsys.readouterr().err
    assert Path(packaged_model("palm")).read_bytes() == before


def test_the_cards_figures() -> None:
    """What the card says of the validation photographs is what the model does."""
    if not (SHARED / "palm").is_dir():
        pytest.skip("data: ../shared/palm is not there")
    validation = sq.palm.load_validation(SHARED / "palm")
    found = sq.palm.model().evaluate(validation)
    for name, value in (("accuracy", found.accuracy), ("auc", found.auc)):
        said = re.search(rf"^\| {name} \| ([0-9.]+) ", _card(), re.MULTILINE)
        assert said and value is not None and float(said[1]) == pytest.approx(value, abs=5e-5)
    assert found.accuracy > 0.9 and found.auc is not None and found.auc > 0.97


def test_it_knows_its_training_pictures(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    if not (SHARED / "palm").is_dir():
        pytest.skip("data: ../shared/palm is not there")
    training = sq.palm.load_training(SHARED / "palm")
    with pytest.raises(ValueError, match="trained on"):
        sq.calibrate(sq.palm.model(), training)


def test_folds_are_even_and_of_all_classes() -> None:
    sets = sq.Dataset([f"{i}.png" for i in range(40)], [0] * 25 + [1] * 15, ("a", "b"))
    folds = folds_of(sets, seed=0)
    assert np.bincount(folds).tolist() == [8] * FOLDS
    assert [np.bincount(folds[sets.labels == label]).tolist() for label in (0, 1)] == [
        [5] * FOLDS,
        [3] * FOLDS,
    ]
