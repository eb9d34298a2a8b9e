"""Models to files and back; files that are not what they should be."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.base.earlier import EARLIER


@pytest.fixture(scope="module")
def model():
    return sq.Model(
        "1_1",
        3,
        seed=4,
        bypass="simple",
        class_names=["a", "β", "类"],
        image_size=64,
        mean=0.4,
        fit="crop",
    )


def rewrite(path, target, state=None, metadata=None):
    """A copy of a model file with some tensors and metadata replaced; None leaves one out."""
    old_state, old_metadata = core.read_safetensors(str(path))
    new = {**old_state, **(state or {})}, {**old_metadata, **(metadata or {})}
    new = [{key: value for key, value in part.items() if value is not None} for part in new]
    core.write_safetensors(str(target), *new)


def test_a_pickled_model_is_the_model(model):
    kept = model.copy()
    kept.temperature, kept.trained_on, kept.pretrained = 1.5, ("mark",), True
    twin = pickle.loads(pickle.dumps(kept))
    assert type(twin) is sq.Model and twin.spec == model.spec
    assert twin.preprocessing == model.preprocessing and twin.class_names == model.class_names
    assert (twin.temperature, twin.trained_on, twin.pretrained) == (1.5, ("mark",), True)
    for name, values in model.state_dict().items():
        assert np.array_equal(twin.state_dict()[name], values)


def test_all_of_a_model_comes_back(model, tmp_path):
    model.save(tmp_path / "模型.safetensors")
    loaded = sq.Model.load(tmp_path / "模型.safetensors")
    assert loaded.spec == model.spec
    assert loaded.preprocessing == model.preprocessing
    assert loaded.class_names == model.class_names
    for key, tensor in model.state_dict().items():
        assert np.array_equal(loaded.state_dict()[key], tensor)
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    assert np.array_equal(loaded.forward(x), model.forward(x))


def test_a_file_that_says_nothing_of_fit_pads(model, tmp_path):
    """The first versions wrote such files."""
    model.save(tmp_path / "new.safetensors")
    preprocessing = model.preprocessing.to_dict()
    del preprocessing["fit"]
    metadata = {"preprocessing": json.dumps(preprocessing)}
    rewrite(tmp_path / "new.safetensors", tmp_path / "old.safetensors", metadata=metadata)
    assert sq.Model.load(tmp_path / "old.safetensors").preprocessing.fit == "pad"


def test_a_file_from_before_a_field_was_added_to_the_spec(model, tmp_path, monkeypatch):
    model.save(tmp_path / "new.safetensors")
    spec = {key: value for key, value in model.spec.items() if key != "freq"}
    metadata = {"spec": json.dumps(spec)}
    rewrite(tmp_path / "new.safetensors", tmp_path / "old.safetensors", metadata=metadata)
    with pytest.raises(sq.BadFileError, match="metadata spec has the keys"):
        sq.Model.load(tmp_path / "old.safetensors")
    monkeypatch.setitem(EARLIER, "freq", 2)
    assert sq.Model.load(tmp_path / "old.safetensors").spec == model.spec


@pytest.mark.parametrize("version", ["1_0", "1_1"])
def test_torchvision_files(shared, version):
    path = shared / "pretrained" / f"squeezenet{version}-imagenet.safetensors"
    model = sq.Model.load(path)
    assert model.version == version and model.num_classes == 1000
    assert model.spec["final_relu"] and model.preprocessing.mean == (0.485, 0.456, 0.406)
    with pytest.warns(UserWarning, match="for 1000 classes, is replaced by a fresh one for 2"):
        tuned = sq.Model.from_pretrained(path, num_classes=2, seed=1)
    assert not tuned.spec["final_relu"] and model.preprocessing.fit == "crop"
    assert tuned.preprocessing == dataclasses.replace(model.preprocessing, fit="pad")
    old, new = model.state_dict(), tuned.state_dict()
    for key in old:
        assert np.array_equal(old[key], new[key]) == (not key.startswith("classifier"))
    assert sq.Model.from_pretrained(path).spec["final_relu"]


@pytest.mark.parametrize(
    ("state", "metadata", "message"),
    [
        ({"features.3.squeeze.bias": None}, {}, r"features\.3\.squeeze\.bias is missing"),
        ({"extra": np.zeros(2, np.float32)}, {}, "extra is none of this network's"),
        (
            {"features.0.bias": None, "conv1.bias": np.zeros(64, np.float32)},
            {},
            r"conv1\.bias found, features\.0\.bias expected",
        ),
        (
            {"features.0.bias": np.zeros(65, np.float32)},
            {},
            r"features\.0\.bias has the shape \[65\], expected \[64\]",
        ),
        ({"features.0.bias": np.full(64, np.nan, np.float32)}, {}, "not finite"),
        (
            {"features.0.bias": np.zeros(64, np.uint8)},
            {},
            r"features\.0\.bias has the dtype uint8, expected float32, float16 or bfloat16",
        ),
        ({}, {"squeezenet_c.format": "9"}, "format '9'"),
        ({}, {"spec": "{"}, "spec is not JSON"),
        ({}, {"spec": "[]"}, "spec is a list"),
        ({}, {"spec": "{}"}, "spec has the keys"),
        ({}, {"spec": None}, "spec is missing"),
        ({}, {"class_names": '["a"]'}, "1 class names, expected one for each of 3"),
        ({}, {"preprocessing": '{"image_size": 64, "mean": 0, "std": 0}'}, "std is 0"),
        ({}, {"preprocessing": '{"image_size": 64, "mean": 0, "std": 1, "fit": 2}'}, "fit is 2"),
        ({}, {"squeezenet_c.format": None}, r"classifier|features\.\d+|expected"),
    ],
)
def test_bad_contents(model, tmp_path, state, metadata, message):
    model.save(tmp_path / "good.safetensors")
    rewrite(tmp_path / "good.safetensors", tmp_path / "bad.safetensors", state, metadata)
    if metadata == {"squeezenet_c.format": None}:  # then it is a plain network of three classes
        assert sq.Model.load(tmp_path / "bad.safetensors").spec["bypass"] is None
        return
    with pytest.raises(sq.BadFileError, match=message) as raised:
        sq.Model.load(tmp_path / "bad.safetensors")
    assert "bad.safetensors" in str(raised.value)


def test_spec_cannot_ask_for_more_than_the_file_holds(model, tmp_path):
    model.save(tmp_path / "good.safetensors")
    spec = model.spec | {"base_e": 65536, "incr_e": 0, "squeeze_ratio": 1.0}
    metadata = {"spec": json.dumps(spec)}
    rewrite(tmp_path / "good.safetensors", tmp_path / "bad.safetensors", None, metadata)
    message = r"features\.3\.squeeze\.weight has the shape \[16, 64, 1, 1\], expected \[65536, 64"
    with pytest.raises(sq.BadFileError, match=message):
        sq.Model.load(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"squeeze_ratio": "a"}, "squeeze_ratio is 'a', expected a number above 0, at most 1"),
        ({"num_classes": [3]}, r"num_classes is \[3\], expected a whole number from 1 to 65536"),
        ({"num_classes": True}, "num_classes is True, expected a whole number"),
        ({"final_relu": "no"}, "final_relu is 'no', expected True or False"),
        ({"bypass": 1}, "bypass is 1, expected None, 'simple' or 'complex'"),
        ({"version": None}, "version is None, expected '1_0' or '1_1'"),
        ({"incr_e": 10**400}, r"incr_e is 10{50,99}\.*, expected a whole number"),
        ({"dropout": 10**400}, "dropout is 10"),
        ({"freq": 0}, "freq is 0, expected a whole number of at least 1"),
        ({"base_e": 2.5}, r"base_e is 2\.5"),
    ],
)
def test_wrong_types_in_a_spec(model, tmp_path, spec, message):
    metadata = {"spec": json.dumps(model.spec | spec)}
    model.save(tmp_path / "good.safetensors")
    rewrite(tmp_path / "good.safetensors", tmp_path / "bad.safetensors", None, metadata)
    with pytest.raises(sq.BadFileError, match=r"bad\.safetensors: .*" + message):
        sq.Model.load(tmp_path / "bad.safetensors")


LOAD = """
import resource, sys
import squeezenet_c as sq
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    sq.Model.load(sys.argv[1])
except sq.BadFileError as error:
    print(error)
"""


@pytest.mark.parametrize("squeeze_ratio", [1.0, "a"])
def test_small_files_of_empty_tensors(model, tmp_path, squeeze_ratio):
    """Shapes with a 0 in them may be of any size and take no byte of the file. The network they
    stand for would take 25 GB; text times a number of channels, 6 GB."""
    channels = 65536 if squeeze_ratio == 1.0 else 10**10
    spec = model.spec | {"base_e": channels, "incr_e": 0, "squeeze_ratio": squeeze_ratio}
    metadata = {
        "squeezenet_c.format": "1",
        "spec": json.dumps(spec),
        "preprocessing": json.dumps(model.preprocessing.to_dict()),
        "class_names": "null",
    }
    rows = {"squeeze": channels, "expand1x1": channels // 2, "expand3x3": channels // 2}
    tensors = {f"features.12.{part}.weight": (count, 0) for part, count in rows.items()}
    tensors["classifier.1.weight"] = (3, 0)
    empty = {key: np.zeros(shape, np.float32) for key, shape in tensors.items()}
    path = str(tmp_path / "bad.safetensors")
    core.write_safetensors(path, empty, metadata)
    found = subprocess.run(
        [sys.executable, "-c", LOAD, path], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert found.returncode == 0 and found.stdout.startswith(path), found
    assert os.path.getsize(path) < 1000 and "Error" not in found.stderr


def test_cut_files(model, tmp_path):
    path = tmp_path / "cut.safetensors"
    model.save(path)
    content = path.read_bytes()
    for length in (0, 4, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(sq.BadFileError, match=r"cut\.safetensors"):
            sq.Model.load(path)
    with pytest.raises(FileNotFoundError):
        sq.Model.load(tmp_path / "none.safetensors")


def test_failed_save_leaves_the_old_file(model, tmp_path):
    with pytest.raises(OSError):
        model.save(tmp_path / "nowhere" / "a.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        model.save(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


def test_arguments():
    with pytest.raises(ValueError, match="precision is 'half', expected 'float32', 'bfloat16' or"):
        sq.Model("1_1", 2, precision="half")
    with pytest.raises(ValueError, match="version is '2_0'"):
        sq.Model("2_0", 2)
    with pytest.raises(ValueError, match="1 class names"):
        sq.Model("1_1", 2, class_names=["a"])
    with pytest.raises(ValueError, match="image_size is 10"):
        sq.Model("1_1", 2, image_size=10)
    with pytest.raises(ValueError, match="mean is 'none'"):
        sq.Model("1_1", 2, mean="none")


def test_train_step_refuses_another_models_optimizer():
    x, labels = np.zeros((1, 3, 64, 64), np.float32), np.array([0])
    one, two = (sq.Model("1_1", 2) for _ in range(2))
    with pytest.raises(ValueError, match="made for another model"):
        one.train_step(x, labels, sq.Adam(two))
    one.train_step(x, labels, sq.Adam(one))


def test_train_step_is_its_two_calls():
    x = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
    labels = np.array([0, 1, 1], np.uint8)
    one, two = (sq.Model("1_1", 2, seed=1) for _ in range(2))
    first, second = sq.Adam(one), sq.Adam(two)
    for _ in range(2):  # the second step drops other units than the first
        loss = one.train_step(x, labels, first)
        assert loss == two.compute_gradients(x, labels)
        second.step()
    for key, tensor in one.state_dict().items():
        assert np.array_equal(tensor, two.state_dict()[key])
    assert one.step == 2 and one.copy().parameter_count == one.parameter_count


def test_pretrained_weights_on_other_pictures(tmp_path):
    """Their tensors stay; with another head too."""
    path = tmp_path / "a.safetensors"
    saved = sq.Model("1_1", 3, seed=2, mean=0.4, image_size=96, fit="crop")
    saved.save(path)
    changes = {"image_size": 64, "std": 0.25, "dropout": 0.1}
    same = sq.Model.from_pretrained(path, **changes)
    with pytest.warns(UserWarning, match="its last convolution"):
        other = sq.Model.from_pretrained(path, 2, **changes)
    with pytest.warns(UserWarning, match="its last convolution"):
        cropped = sq.Model.from_pretrained(path, 2, **changes, fit="crop")
    for model, fit in ((same, "crop"), (other, "pad"), (cropped, "crop")):
        assert model.preprocessing == sq.Preprocessing(64, 0.4, 0.25, fit)
        assert model.spec["dropout"] == 0.1 and model.pretrained
        state = model.state_dict()
        for name, values in saved.state_dict().items():
            assert np.array_equal(values, state[name]) or name.startswith("classifier")
    imagenet = sq.Model.from_pretrained(path, mean="imagenet")
    assert imagenet.preprocessing == sq.Preprocessing(96, "imagenet", fit="crop")
    with pytest.raises(ValueError, match="image_size is 8, expected"):
        sq.Model.from_pretrained(path, image_size=8)
    with pytest.raises(TypeError, match="copy.. changes dropout, fit, .*, not version"):
        saved.copy(version="1_0")
