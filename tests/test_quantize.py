"""int8 through the package: made by calibration, saved and loaded, used and told of."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.base.png import encode_png
from squeezenet_c.cli import main
from squeezenet_c.compression import quantize as module
from squeezenet_c.files.export import verify
from squeezenet_c.files.native import metadata_of

SIZE = 48
SCALES = ("activation_scales", "weight_scales")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in parts, a model that was trained on them, and its int8 form."""
    home = tmp_path_factory.mktemp("quantize")
    sq.synthetic.write(home / "data" / "train", 40, seed=0, size=SIZE)
    sq.synthetic.write(home / "data" / "val", 16, seed=1, size=SIZE + 2)
    model = sq.Model(seed=1, image_size=SIZE, base_e=32, incr_e=32, mean=(0.4, 0.3, 0.5), std=0.2)
    training = sq.Dataset.from_folder(home / "data" / "train")
    sq.train(model, training, epochs=8, batch_size=4, lr=2e-3, progress=False)
    model.threshold = 0.4
    model.save(home / "model.safetensors")
    model.quantize(training).save(home / "int8.safetensors")
    return home


@pytest.fixture
def model(home: Path) -> sq.Model:
    return sq.Model.load(home / "model.safetensors")


@pytest.fixture
def training(home: Path) -> sq.Dataset:
    return sq.Dataset.from_folder(home / "data" / "train")


@pytest.fixture
def valid(home: Path) -> sq.Dataset:
    return sq.Dataset.from_folder(home / "data" / "val")


# -- Quantising ------------------------------------------------------------------------------------


def test_it_answers_as_the_float_model_does(model, training, valid) -> None:
    before = model.state_dict()
    quantised = sq.quantize(model, training)
    assert (model.precision, quantised.precision) == ("float32", "int8")
    assert model.quantization is None
    assert all(np.array_equal(model.state_dict()[key], before[key]) for key in before)
    floats, whole = model.predict_proba(valid), quantised.predict_proba(valid)
    assert not np.array_equal(floats, whole)
    assert np.abs(floats - whole).max() < 0.1
    assert 0.05 < floats[:, 0].std(), "all the same: nothing was compared"
    quantised.precision = "float32"
    rounded = quantised.predict_proba(valid)
    assert 0 < np.abs(rounded - whole).max() < 0.1 and not np.array_equal(rounded, floats)
    assert quantised.threshold == 0.4 and quantised.trained_on == model.trained_on


def test_scales_are_the_largest_over_the_largest(model, training) -> None:
    quantised = sq.quantize(model, training, pictures=len(training))
    scales = quantised.quantization
    sized = training.at_size(SIZE)
    x = model.preprocessing.normalise(np.stack([picture for picture, _ in sized]))
    limits, groups = model.observe(x), model.activation_groups()
    for number, group in enumerate(groups):
        members = [limits[other] for other in range(len(groups)) if groups[other] == group]
        expected = 1 if group < 0 else np.float32(max(members)) / np.float32(255)
        assert scales["activation_scales"][number] == pytest.approx(expected, rel=1e-6)
    first = np.abs(model.state_dict()["features.0.weight"] / (255 * 0.2)).max(axis=(1, 2, 3)) / 127
    np.testing.assert_allclose(scales["weight_scales"][: len(first)], first, rtol=1e-6)
    last = np.abs(model.state_dict()["classifier.1.weight"]).max(axis=(1, 2, 3)) / 127
    np.testing.assert_allclose(scales["weight_scales"][-len(last) :], last, rtol=1e-6)


def test_the_same_pictures_each_time_and_of_each_class_its_share(model, training) -> None:
    labels = np.array([0] * 90 + [1] * 10)
    many = sq.Dataset([f"{i}.png" for i in range(100)], labels, ["a", "b"])
    chosen = module._spread(many, 20)
    assert len(set(chosen)) == 20 and (labels[chosen] == 1).sum() == 2
    assert chosen.tolist() != list(range(18)) + [90, 91]
    assert np.array_equal(chosen, module._spread(many, 20))
    assert np.array_equal(module._spread(many, 1000), np.arange(100))
    found = [sq.quantize(model, training, pictures=12).quantization for _ in range(2)]
    assert all(np.array_equal(found[0][key], found[1][key]) for key in SCALES)


def test_anew(model, training) -> None:
    once = sq.quantize(model, training)
    twice = sq.quantize(once, training)
    assert once.precision == twice.precision == "int8"
    for key, weights in once.state_dict().items():  # the largest weight of a channel is on the grid
        np.testing.assert_allclose(twice.state_dict()[key], weights, rtol=0.02, atol=1e-3)


def test_a_channel_of_zeros(model, training) -> None:
    state = model.state_dict()
    state["features.0.weight"][3] = 0
    state["features.3.squeeze.weight"][0] = 1e-44
    model.load_state_dict(state)
    quantised = sq.quantize(model, training)
    assert not quantised.state_dict()["features.0.weight"][3].any()
    assert quantised.quantization["weight_scales"][3] == 1
    assert np.isfinite(quantised.predict_proba(training)).all()


@pytest.mark.parametrize("pictures", [2, 7])
def test_too_few_pictures(model, training, pictures) -> None:
    with pytest.raises(ValueError, match=f"{pictures} pictures to calibrate on, expected at least"):
        sq.quantize(model, training[:pictures])
    with pytest.raises(ValueError, match=f"{pictures} pictures to calibrate on, expected at least"):
        sq.quantize(model, training, pictures=pictures)


def test_one_class(model, training) -> None:
    alone = training.subset(np.flatnonzero(training.labels == 1))
    with pytest.warns(UserWarning, match="20 pictures to calibrate on are of one class, synthetic"):
        sq.quantize(model, alone)


def test_pictures_of_one_colour(model, tmp_path) -> None:
    for name in range(9):
        colour = (0, 0, 0) if name % 2 else (10, 200, 10)
        picture = np.broadcast_to(np.array(colour, np.uint8), (SIZE, SIZE, 3))
        (tmp_path / f"{name}.png").write_bytes(encode_png(np.ascontiguousarray(picture)))
    black = sq.Dataset(sorted(tmp_path.iterdir()), np.arange(9) % 2)
    with pytest.raises(ValueError, match=r"9 pictures to calibrate on is of one colour \(.*0\.png"):
        sq.quantize(model, black)


def test_a_dead_layer(model, training) -> None:
    state = model.state_dict()
    state["features.6.squeeze.bias"] -= 1e6
    model.load_state_dict(state)
    with pytest.raises(ValueError, match=r"features\.6\.squeeze gives nothing above 0"):
        sq.quantize(model, training)


def test_broken_weights(model, training) -> None:
    state = model.state_dict()
    state["features.6.squeeze.weight"][:] = 1e38
    model.load_state_dict(state)
    with pytest.raises(ValueError, match="activations are not finite numbers"):
        sq.quantize(model, training)


def test_a_complex_bypass(training) -> None:
    with pytest.raises(ValueError, match="complex bypass"):
        sq.quantize(sq.Model(bypass="complex", image_size=SIZE), training)


# -- The precision ---------------------------------------------------------------------------------


def test_int8_of_a_float_model(model, home, capsys) -> None:
    sentence = "needs a quantised model: squeezenet-c quantize MODEL DATA makes one"
    with pytest.raises(ValueError, match=sentence):
        model.precision = "int8"
    assert model.precision == "float32"
    with pytest.raises(ValueError, match=sentence):
        sq.Model(precision="int8")
    with pytest.raises(ValueError, match=sentence):
        sq.Model.load(home / "model.safetensors", "int8")
    command = ["evaluate", str(home / "model.safetensors"), str(home / "data")]
    assert main([*command, "--precision", "int8"]) == 1
    assert sentence in capsys.readouterr().err


def test_it_is_not_trained(home, training, capsys) -> None:
    quantised = sq.Model.load(home / "int8.safetensors")
    before = quantised.predict_proba(training)
    with pytest.raises(ValueError, match="a model is not trained in int8"):
        sq.train(quantised, training, epochs=1, progress=False)
    with pytest.raises(ValueError, match="a model is not trained in int8"):
        sq.train(sq.Model(image_size=SIZE), training, precision="int8", progress=False)
    assert np.array_equal(quantised.predict_proba(training), before)
    assert quantised.threshold == 0.4, "what was refused has changed the model"
    tuned = sq.Model.from_pretrained(home / "int8.safetensors")
    assert tuned.precision == "float32" and tuned.quantization is not None
    sq.train(tuned, training, epochs=1, progress=False)
    assert tuned.quantization is None
    with pytest.raises(SystemExit):
        main(["train", str(home / "data"), "--precision", "int8"])


def test_copies(home, valid) -> None:
    quantised = sq.Model.load(home / "int8.safetensors")
    twin = quantised.copy()
    assert twin.precision == "int8"
    assert np.array_equal(twin.predict_proba(valid), quantised.predict_proba(valid))
    quantised.precision = "float32"
    twin = quantised.copy()
    assert twin.precision == "float32" and twin.quantization is not None
    assert np.array_equal(twin.predict_proba(valid), quantised.predict_proba(valid))


def test_everything_that_answers(home, valid, tmp_path) -> None:
    """They all give int8's answers, which are not float32's."""
    quantised = sq.Model.load(home / "int8.safetensors")
    probabilities = quantised.predict_proba(valid)
    answers = quantised.predict(valid)
    assert np.array_equal([answer.probabilities for answer in answers], probabilities)
    explained = quantised.explain(valid.paths[0])
    assert explained.probability == pytest.approx(probabilities[0, explained.label], abs=1e-6)
    assert quantised.evaluate(valid).loss == pytest.approx(
        -np.log(probabilities[np.arange(len(valid)), valid.labels]).mean(), rel=1e-4
    )
    report = quantised.report(valid, tmp_path / "report", resamples=10)
    assert np.array_equal(report.probabilities.astype(np.float32), probabilities)
    quantised.choose_threshold(valid)
    quantised.precision = "float32"
    assert not np.array_equal(quantised.predict_proba(valid), probabilities)


def test_threads_have_the_same_bits(home, valid) -> None:
    quantised = sq.Model.load(home / "int8.safetensors")
    found = []
    for threads in (1, 2):
        sq.set_num_threads(threads)
        found.append((quantised.predict_proba(valid), quantised.predict_proba(valid.paths[0])))
    assert np.array_equal(found[0][0], found[1][0]) and np.array_equal(found[0][1], found[1][1])
    assert np.array_equal(found[0][0][:1], found[0][1])


def test_exports_are_its_float_form(home, valid, tmp_path) -> None:
    quantised = sq.Model.load(home / "int8.safetensors")
    quantised.export(tmp_path / "model.pth")
    loaded = sq.Model.load(tmp_path / "model.pth")
    assert loaded.precision == "float32"
    pytest.importorskip("torch", reason="torch is not installed")
    assert verify(quantised, tmp_path / "model.pth", valid.paths[:2]) < 1e-5
    assert quantised.precision == "int8"
    quantised.precision = "float32"
    assert np.array_equal(loaded.predict_proba(valid), quantised.predict_proba(valid))


@pytest.mark.parametrize("version", ["1_0", "1_1"])
def test_imagenet(shared, tmp_path, version) -> None:
    """Calibrated on pieces of the two photographs, they are named as in float32."""
    model = sq.Model.load(shared / "pretrained" / f"squeezenet{version}-imagenet.safetensors")
    photographs = sorted((shared / "imagenet_samples").glob("*.jpg"))
    pieces = []
    for path in photographs:
        picture = core.read_image(str(path))
        rows, columns = (side // 5 for side in picture.shape[:2])
        for number in range(4):
            top, left = rows * (number // 2), columns * (number % 2)
            pieces.append(tmp_path / f"{path.stem}{number}.png")
            piece = np.ascontiguousarray(picture[top : top + 4 * rows, left : left + 4 * columns])
            pieces[-1].write_bytes(encode_png(piece))
    quantised = model.quantize(sq.Dataset(pieces, np.arange(8) // 4))
    squares = np.stack([model.preprocessing.square(core.read_image(str(p))) for p in photographs])
    floats, whole = (network.forward(network.input_of(squares)) for network in (model, quantised))
    assert np.array_equal(floats.argmax(axis=1), whole.argmax(axis=1))
    lengths = np.linalg.norm(floats, axis=1) * np.linalg.norm(whole, axis=1)
    assert ((floats * whole).sum(axis=1) / lengths).min() > 0.998


# -- Files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bypass", [None, "simple"])
def test_a_file_keeps_every_bit(training, tmp_path, bypass) -> None:
    path = tmp_path / "int8.safetensors"
    quantised = sq.Model(
        "1_0",
        seed=2,
        image_size=SIZE,
        base_e=64,
        incr_e=6,
        mean=0.3,
        std=(0.1, 0.7, 0.33),
        bypass=bypass,
        class_names=training.class_names,
    ).quantize(training)
    quantised.save(path)
    loaded = sq.Model.load(path)
    assert loaded.precision == "int8" and loaded.class_names == training.class_names
    for key, value in quantised.quantization.items():
        np.testing.assert_array_equal(loaded.quantization[key], value)
    for key, value in quantised.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[key], value)
    assert np.array_equal(loaded.predict_proba(training), quantised.predict_proba(training))
    loaded.save(tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    assert sq.Model.load(path, "float32").precision == "float32"
    tensors, _ = core.read_safetensors(str(path))
    assert tensors["weights"].dtype == np.int8 and len(tensors) == 4


def test_it_is_a_quarter_of_the_size(home) -> None:
    sizes = [(home / name).stat().st_size for name in ("int8.safetensors", "model.safetensors")]
    assert sizes[0] < 0.3 * sizes[1]


def test_halves_where_nothing_is_lost(home, tmp_path) -> None:
    path = tmp_path / "int8.safetensors"
    tensors, metadata = core.read_safetensors(str(home / "int8.safetensors"))
    tensors["biases"] = tensors["biases"].astype(np.float16).astype(np.float32)
    tensors["weight_scales"] = (tensors["weight_scales"].view(np.uint32) & 0xFFFF0000).view(
        np.float32
    )
    core.write_safetensors(str(path), tensors, metadata)
    model = sq.Model.load(path)
    model.save(tmp_path / "halves.safetensors")
    lengths = [path.stat().st_size, (tmp_path / "halves.safetensors").stat().st_size]
    assert abs(lengths[0] - lengths[1] - 4 * len(tensors["biases"])) < 20
    again = sq.Model.load(tmp_path / "halves.safetensors")
    for key, value in model.quantization.items():
        np.testing.assert_array_equal(again.quantization[key], value)


def _first(value):
    def put(tensor):
        tensor[0] = value

    return put


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("weights", None, "tensor weights is missing"),
        ("biases", None, "tensor biases is missing"),
        ("weights", lambda t: t[:-1], r"weights has the shape \[\d+\], expected \[\d+\]"),
        ("weights", lambda t: t[None], "weights has the shape"),
        ("weights", lambda t: t.astype(np.float32), "weights is float32, expected int8"),
        ("weights", lambda t: t.view(np.uint8), "weights is uint8, expected int8"),
        ("weights", _first(-128), "weights has a value below -127"),
        ("biases", lambda t: t[1:], "biases has the shape"),
        ("biases", _first(np.inf), "biases has values that are not finite"),
        ("biases", lambda t: t.astype(np.int8), "biases is int8, expected float32"),
        ("weight_scales", lambda t: np.append(t, t[:1]), "weight_scales has the shape"),
        ("weight_scales", _first(0), "weight_scales has values that are not above 0"),
        ("weight_scales", _first(np.nan), "weight_scales has values that are not finite"),
        ("weight_scales", _first(1e38), "larger than a float32"),
        ("weight_scales", _first(1e-40), "the scale of features.0.weight"),
        ("activation_scales", lambda t: t[:-1], "activation_scales has the shape"),
        ("activation_scales", lambda t: t[None], "activation_scales has the shape"),
        ("activation_scales", lambda t: -t, "activation_scales has values that are not above 0"),
        ("activation_scales", _first(2), "the scale of activation 0"),
        (
            "activation_scales",
            lambda t: t * np.linspace(1, 2, len(t), dtype=np.float32),
            "scale",
        ),
        ("extra", lambda t: np.zeros(3, np.float32), "tensor extra is none of a quantised model's"),
    ],
)
def test_files_that_are_not_what_they_should_be(home, tmp_path, name, change, message) -> None:
    path = str(tmp_path / "broken.safetensors")
    tensors, metadata = core.read_safetensors(str(home / "int8.safetensors"))
    if change is None:
        del tensors[name]
    else:
        tensor = tensors.get(name, np.zeros(1, np.float32)).copy()
        changed = change(tensor)
        tensors[name] = np.ascontiguousarray(tensor if changed is None else changed)
    core.write_safetensors(path, tensors, metadata)
    with pytest.raises(sq.BadFileError, match=message) as raised:
        sq.Model.load(path)
    assert path in str(raised.value)


def test_a_spec_that_lies(home, tmp_path) -> None:
    path = str(tmp_path / "broken.safetensors")
    tensors, metadata = core.read_safetensors(str(home / "int8.safetensors"))
    spec = json.loads(metadata["spec"])
    for lie in ({"base_e": 1 << 15}, {"num_classes": 65536}, {"bypass": "complex", "incr_e": 0}):
        core.write_safetensors(path, tensors, metadata | {"spec": json.dumps(spec | lie)})
        with pytest.raises(sq.BadFileError, match="has the shape"):
            sq.Model.load(path)
    network = sq.Model(bypass="complex", image_size=SIZE)
    shapes = core.parameter_shapes(**network.spec)
    outputs = sum(shape[0] for shape in shapes.values() if len(shape) == 1)
    count = sum(int(np.prod(shape)) for shape in shapes.values() if len(shape) == 4)
    tensors = {
        "weights": np.zeros(count, np.int8),
        "biases": np.zeros(outputs, np.float32),
        "weight_scales": np.ones(outputs, np.float32),
        "activation_scales": np.ones(len(network.activation_groups()), np.float32),
    }
    core.write_safetensors(path, tensors, metadata_of(network))
    with pytest.raises(sq.BadFileError, match="complex bypass"):
        sq.Model.load(path)


# -- The commands ----------------------------------------------------------------------------------


def test_the_command(home, training, valid, tmp_path, capsys) -> None:
    source, out = home / "model.safetensors", tmp_path / "int8.safetensors"
    assert main(["quantize", str(source), str(home / "data"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    quantised, floats = sq.Model.load(out), sq.Model.load(source)
    assert quantised.precision == "int8"
    for name, model, path in (("float32", floats, source), ("int8", quantised, out)):
        found = model.evaluate(valid)
        line = next(line for line in printed.splitlines() if line.startswith(name))
        assert f"{found.accuracy:.4f}" in line and f"{found.auc:.4f}" in line
        assert f"{path.stat().st_size:,}" in line
    answers = [[answer.label for answer in model.predict(valid)] for model in (floats, quantised)]
    same = np.mean(np.equal(*answers))
    assert f"the same answer for {same:.4f}" in printed and "On 16 pictures" in printed
    expected = sq.quantize(floats, training).quantization
    assert all(np.array_equal(quantised.quantization[key], expected[key]) for key in SCALES)


def test_the_file_itself_is_replaced(home, tmp_path, capsys) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((home / "model.safetensors").read_bytes())
    before = path.stat().st_size
    assert main(["quantize", str(path), str(home / "data"), "--out", str(path)]) == 0
    printed = capsys.readouterr().out
    assert f"{before:,}" in printed and f"{path.stat().st_size:,}" in printed
    assert sq.Model.load(path).precision == "int8"


def test_without_a_validation_set_a_fifth_is_judged_on(home, tmp_path, capsys) -> None:
    command = ["quantize", str(home / "model.safetensors"), str(home / "data" / "train")]
    assert main([*command, "--out", str(tmp_path / "int8.safetensors"), "--pictures", "9"]) == 0
    assert "On 8 pictures" in capsys.readouterr().out
    assert main([*command, "--out", str(tmp_path / "int8.safetensors"), "--pictures", "2"]) == 1
    assert "2 pictures to calibrate on" in capsys.readouterr().err


def test_commands_use_int8_where_the_file_is(home, valid, tmp_path, capsys) -> None:
    path, picture = str(home / "int8.safetensors"), valid.paths[0]
    shown = {}
    for precision in (None, "int8", "float32"):
        options = [] if precision is None else ["--precision", precision]
        assert main(["predict", path, picture, "--json", *options]) == 0
        shown[precision] = json.loads(capsys.readouterr().out)[0]["probabilities"]
    assert shown[None] == shown["int8"] != shown["float32"]
    quantised = sq.Model.load(path)
    assert shown["int8"] == quantised.predict_proba(picture)[0].tolist()
    assert main(["evaluate", path, str(home / "data"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == quantised.evaluate(valid).loss
    assert main(["explain", path, picture, "--out", str(tmp_path / "maps")]) == 0
    out = str(tmp_path / "chosen.safetensors")
    assert main(["threshold", path, str(home / "data"), "--out", out]) == 0
    assert sq.Model.load(out).precision == "int8"


def test_info_of_a_model(home, capsys) -> None:
    for name, precision in (("int8", "int8"), ("model", "float32")):
        path = home / f"{name}.safetensors"
        assert main(["info", str(path)]) == 0
        printed = capsys.readouterr().out
        assert precision in printed and f"{path.stat().st_size:,}" in printed
        assert main(["info", str(path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["precision"] == precision and found["bytes"] == path.stat().st_size


def test_no_warning_on_the_way(model, training) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sq.quantize(model, training).predict(training)
