"""Models for PyTorch and for ONNX runtimes: that those read them and compute the same."""

import json
import os
import re
import resource
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.files import export as exporting
from squeezenet_c.files import torch_read

NO_ONNX = "build: onnx is not installed"
NO_RUNTIME = "build: onnxruntime is not installed"
NO_TORCH = "torch is not installed"

MODELS: dict[str, dict[str, Any]] = {
    "1_0": {"version": "1_0", "image_size": 224, "class_names": ["普通", "病理性近视"]},
    "1_1 of ImageNet's kind": {"num_classes": 10, "final_relu": True, "mean": "imagenet"},
    "simple bypass": {"num_classes": 3, "bypass": "simple", "mean": 0.4, "std": 0.3},
    "complex bypass": {"version": "1_0", "num_classes": 4, "bypass": "complex"},
    "odd channel counts": {"squeeze_ratio": 0.11, "pct_3x3": 0.37, "base_e": 45, "incr_e": 19},
}


def model_of(name: str) -> sq.Model:
    """Fresh weights, but a head and biases that say something."""
    model = sq.Model(**{"image_size": 65, **MODELS[name]}, seed=3)
    random = np.random.RandomState(0)
    state = model.state_dict()
    for key, values in state.items():
        if key.endswith("bias"):
            state[key] = (0.1 * random.standard_normal(values.shape)).astype(np.float32)
    model.load_state_dict(state)
    # Logits of a few units, so that a difference shows in probabilities too.
    logits = model.forward(model.preprocessing.normalise(pictures_of(model)))
    for part in ("weight", "bias"):
        state[f"classifier.1.{part}"] *= 3 / np.abs(logits).max()
    model.load_state_dict(state)
    return model


def pictures_of(model: sq.Model, count: int = 3) -> np.ndarray:
    side = model.image_size
    return np.random.RandomState(1).randint(0, 256, (count, side, side, 3)).astype(np.uint8)


# -- ONNX ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_onnx_is_valid(tmp_path: Path, name: str) -> None:
    onnx = pytest.importorskip("onnx", reason=NO_ONNX)
    model = model_of(name)
    sq.export(model, tmp_path / "model.onnx")
    loaded = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(loaded, full_check=True)
    weights = {part.name: onnx.numpy_helper.to_array(part) for part in loaded.graph.initializer}
    for key, values in model.state_dict().items():
        assert np.array_equal(weights[key], values)
    metadata = {pair.key: json.loads(pair.value) for pair in loaded.metadata_props}
    assert metadata["class_names"] == (list(model.class_names) if model.class_names else None)
    assert metadata["spec"] == model.spec
    assert metadata["preprocessing"] == model.preprocessing.to_dict()
    assert (loaded.producer_name, loaded.producer_version) == ("squeezenet_c", sq.__version__)


@pytest.mark.parametrize("name", MODELS)
def test_onnx_runtime_computes_the_same(tmp_path: Path, name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason=NO_RUNTIME)
    model = model_of(name)
    model.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (source,) = session.get_inputs()
    side = model.image_size
    assert (source.name, source.type) == ("pictures", "tensor(uint8)")
    assert source.shape == ["N", side, side, 3]
    assert [output.name for output in session.get_outputs()] == ["probabilities", "logits"]
    for count in (1, 3):
        x = pictures_of(model, count)
        probabilities, logits = session.run(None, {"pictures": x})
        expected = model.predict_proba(x)
        assert probabilities.shape == expected.shape and np.ptp(expected) > 0.01
        assert np.abs(probabilities - expected).max() < 1e-5
        ours = model.forward(model.preprocessing.normalise(x))
        assert np.abs(logits - ours).max() < 1e-4 * np.abs(ours).max()
    assert exporting.verify(model, tmp_path / "model.onnx", list(x)) < 1e-5


def test_verify_sees_what_probabilities_hide(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason=NO_RUNTIME)
    model = model_of("1_1 of ImageNet's kind")
    state = model.state_dict()
    state["classifier.1.bias"][3] = 1000  # all pictures are of class 3, with probability 1
    model.load_state_dict(state)
    model.export(tmp_path / "model.onnx")
    pictures = list(pictures_of(model))
    assert exporting.verify(model, tmp_path / "model.onnx", pictures) < 1e-5
    state["classifier.1.bias"][3] = 1001
    model.load_state_dict(state)
    assert np.array_equal(model.predict_proba(pictures)[:, 3], np.ones(3))
    assert exporting.verify(model, tmp_path / "model.onnx", pictures) > exporting.TOLERANCE


def test_varints() -> None:
    """The values and bytes of protobuf's own page on its encoding, and the edges beside them."""
    from squeezenet_c.files.onnx_write import _varint

    for number, encoded in (
        (0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (150, "9601"), (1 << 32, "8080808010")
    ):  # fmt: skip
        assert _varint(number).hex() == encoded


def test_a_broken_file_fails_to_verify(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason=NO_RUNTIME)
    model = model_of("1_1 of ImageNet's kind")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(RuntimeError, match=r"bad\.onnx cannot be run to verify it: "):
        exporting.verify(model, tmp_path / "bad.onnx", list(pictures_of(model)))


# -- PyTorch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_pytorch_file_comes_back_whole(tmp_path: Path, name: str) -> None:
    model = model_of(name)
    model.export(tmp_path / "模型.pth")
    loaded = sq.Model.load(tmp_path / "模型.pth")
    assert loaded.spec == model.spec and loaded.preprocessing == model.preprocessing
    assert loaded.class_names == model.class_names
    x = pictures_of(model)
    assert np.array_equal(loaded.predict_proba(x), model.predict_proba(x))


@pytest.mark.parametrize("name", MODELS)
def test_pytorch_reads_it(tmp_path: Path, name: str) -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    model = model_of(name)
    model.export(tmp_path / "model.pt")
    for options in ({}, {"mmap": True}):
        state = torch.load(tmp_path / "model.pt", weights_only=True, **options)
        assert type(state).__name__ == "OrderedDict" and list(state) == list(model.state_dict())
        for key, values in model.state_dict().items():
            assert state[key].dtype == torch.float32 and state[key].is_contiguous()
            assert np.array_equal(state[key].numpy(), values)
    assert exporting.verify(model, tmp_path / "model.pt", list(pictures_of(model))) < 1e-5


def test_pytorch_file_is_a_function_of_the_model(tmp_path: Path) -> None:
    """And its records lie where a program can read them in place."""
    model = model_of("1_0")
    for name in ("a.pth", "b.pth"):
        model.export(tmp_path / name)
    contents = (tmp_path / "a.pth").read_bytes()
    assert contents == (tmp_path / "b.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "archive/data.pkl"
        for info in archive.infolist():
            record = archive.read(info)
            start = info.header_offset + 30 + len(info.filename) + len(info.extra)
            assert start % 64 == 0 and contents[start : start + len(record)] == record


# -- Files -----------------------------------------------------------------------------------------


def test_endings(tmp_path: Path) -> None:
    model = model_of("simple bypass")
    for name in ("model", "model.h5", "model.onnx.gz"):
        with pytest.raises(ValueError, match=r"ends in '.*', expected \.c, \.html, \.onnx, \.pth"):
            model.export(tmp_path / name)
    assert not os.listdir(tmp_path)
    model.export(tmp_path / "MODEL.PTH")
    model.export(tmp_path / "model.safetensors")
    for name in ("MODEL.PTH", "model.safetensors"):
        assert sq.Model.load(tmp_path / name).spec == model.spec
    with pytest.raises(ValueError, match=r"expected \.onnx, \.pth or \.pt"):
        exporting.verify(model, tmp_path / "model.safetensors", [])
    with pytest.raises(ValueError, match="no pictures to verify with"):
        exporting.verify(model, tmp_path / "MODEL.PTH", [])


@pytest.mark.parametrize("name", ["model.pth", "model.onnx"])
def test_a_failed_export_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    model = model_of("simple bypass")
    with pytest.raises(FileNotFoundError) as raised:
        model.export(tmp_path / "nowhere" / name)
    assert str(tmp_path / "nowhere" / name) in str(raised.value)
    (tmp_path / name).write_bytes(b"old")

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)  # as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large") as failed:
            model.export(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path / name) in str(failed.value)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"old"


# -- The command -----------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> str:
    path = tmp_path / "model.safetensors"
    model_of("complex bypass").save(path)
    sq.synthetic.write(tmp_path / "pictures", 4, size=64)
    return str(path)


@pytest.mark.parametrize("ending", ["onnx", "pth"])
def test_export_command(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    if ending == "onnx":
        pytest.importorskip("onnxruntime", reason=NO_RUNTIME)
    else:
        pytest.importorskip("torch", reason=NO_TORCH)
    out = str(tmp_path / f"out.{ending}")
    assert main(["export", saved, out]) == 0
    assert capsys.readouterr().out == f"Written: {out}\n"
    pictures = [str(path) for path in sorted((tmp_path / "pictures").rglob("*.png"))]
    assert len(pictures) == 4
    assert main(["export", saved, out, "--verify", *pictures]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    said = r"Largest difference of logits over 4 pictures: (\S+) of the largest logit"
    found = re.fullmatch(said, line)
    assert found and float(found[1]) < 1e-5


def test_export_command_says_what_is_wrong(
    saved: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = str(next((tmp_path / "pictures").rglob("*.png")))
    assert main(["export", saved, "model.h5"]) == 1
    assert "model.h5 ends in '.h5', expected .c, .html, .onnx" in capsys.readouterr().err
    monkeypatch.setattr(
        exporting, "_run_onnx", lambda model, path, pictures: np.full((1, 4), np.nan)
    )
    out = str(tmp_path / "out.onnx")
    assert main(["export", saved, out, "--verify", picture]) == 1
    assert "does not compute what the model does, within 0.0001" in capsys.readouterr().err
    monkeypatch.undo()
    for ending, module, needed in (("onnx", "onnxruntime", "ONNX Runtime"), ("pt", "torch", "PyT")):
        monkeypatch.setitem(sys.modules, module, None)
        out = str(tmp_path / f"out.{ending}")
        assert main(["export", saved, out, "--verify", picture]) == 1
        printed = capsys.readouterr()
        assert printed.out == f"Written: {out}\n"
        assert f"{out} is not verified: that needs {needed}" in printed.err
        assert os.path.exists(out)


def test_exported_photographs(shared: Path, tmp_path: Path) -> None:
    """ImageNet's weights on photographs, by ONNX Runtime and by PyTorch from the files written."""
    pytest.importorskip("onnxruntime", reason=NO_RUNTIME)
    pytest.importorskip("torch", reason=NO_TORCH)
    pictures = [shared / "imagenet_samples" / name for name in ("cat.jpg", "000017.jpg")]
    for version in ("1_0", "1_1"):
        model = sq.Model.load(shared / "pretrained" / f"squeezenet{version}-imagenet.safetensors")
        for name in ("model.onnx", "model.pth"):
            model.export(tmp_path / name)
            assert exporting.verify(model, tmp_path / name, pictures) < 1e-4
        assert torch_read.read(str(tmp_path / "model.pth"))[1]["spec"] == json.dumps(model.spec)
