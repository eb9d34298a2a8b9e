"""Pictures in all their forms give the same answer, and what is no picture is refused."""

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.base.pictures import to_picture
from squeezenet_c.data.synthetic import draw, encode_png
from squeezenet_c.inference.predict import predict_files


@pytest.fixture(scope="module")
def model():
    return sq.Model("1_1", 2, seed=3, image_size=64, class_names=["no", "yes"])


@pytest.fixture
def paths(tmp_path):
    for index in range(5):
        (tmp_path / f"{index}.png").write_bytes(encode_png(draw(index % 2, index, 50 + index)))
    return [str(tmp_path / f"{index}.png") for index in range(5)]


def test_all_forms_agree(model, paths):
    pil = pytest.importorskip("PIL.Image")
    expected = model.predict_proba(paths)
    assert expected.shape == (5, 2) and expected.dtype == np.float32
    assert np.allclose(expected.sum(axis=1), 1)
    arrays = [core.read_image(path) for path in paths]
    for images in (
        arrays,
        [pil.open(path) for path in paths],
        sq.Dataset(paths, [0, 1, 0, 1, 0]),
        [paths[0], arrays[1], pil.open(paths[2]), *paths[3:]],
        tuple(paths),
    ):
        assert np.array_equal(model.predict_proba(images), expected)
    for images in (paths[1], arrays[1], pil.open(paths[1]), arrays[1][None]):
        assert np.array_equal(model.predict_proba(images), expected[1:2])
    assert np.array_equal(model.predict_proba(paths, batch_size=2), expected)
    assert model.predict_proba([]).shape == (0, 2)


def test_answers(model, paths):
    answer = sq.predict(model, paths[0])
    assert answer.name == ("no", "yes")[answer.label]
    assert answer.confidence == answer.probabilities[answer.label] == answer.probabilities.max()
    answers = sq.predict(model, paths[:1])
    assert isinstance(answers, list) and answers[0].confidence == answer.confidence
    assert sq.predict(sq.Model("1_1", 2, seed=3, image_size=64), paths[0]).name in ("0", "1")


def flips_of(squares):
    return [squares, squares[:, :, ::-1], squares[:, ::-1], squares[:, ::-1, ::-1]]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_tta_is_the_mean_of_the_logits_of_four_flips(model, paths, tmp_path, precision):
    dataset = sq.Dataset(paths, [0, 1, 0, 1, 0], ["no", "yes"]).at_size(64)
    if precision == "int8":
        model = model.quantize(sq.Dataset(paths * 2, [0, 1, 0, 1, 0] * 2, ["no", "yes"]))
    squares = np.stack([picture for picture, _ in dataset])
    logits = np.mean([model.forward(model.input_of(f)) for f in flips_of(squares)], axis=0)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = model.predict_proba(paths, tta=True)
    assert np.allclose(found, expected, rtol=1e-5) and not np.allclose(
        found, model.predict_proba(paths), rtol=1e-5
    )
    assert np.array_equal(model.predict_proba(dataset, 2, tta=True), found)
    for turned in flips_of(squares):  # it is the same, whichever way up a picture is
        assert np.allclose(model.predict_proba(turned, tta=True), found, rtol=1e-5)
    assert model.predict(paths[1], tta=True).probabilities.tolist() == found[1].tolist()
    assert [answer.confidence for _, answer in predict_files(model, paths, tta=True)] == [
        row.max() for row in found
    ]
    loss = -np.log(found[np.arange(5), dataset.labels]).mean()
    assert model.evaluate(dataset, tta=True).loss == pytest.approx(loss, rel=1e-5)
    assert model.report(dataset, tmp_path / "report", tta=True, resamples=200).summary.loss == (
        model.evaluate(dataset, tta=True).loss
    )
    scores = np.sort(found[:, 1])
    assert scores.min() <= model.copy().choose_threshold(dataset, tta=True) <= scores.max()


def test_unusual_pictures(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    grey = np.random.default_rng(0).integers(256, size=(20, 30), dtype=np.uint8)
    assert np.array_equal(to_picture(grey), np.dstack([grey] * 3))
    rgba = np.dstack([grey] * 4)
    assert np.array_equal(to_picture(rgba), rgba[..., :3])
    for image in (
        pil.fromarray(grey),
        pil.fromarray(rgba),
        pil.fromarray(grey).convert("P"),
        pil.fromarray(grey.astype(np.uint16) << 8),
    ):
        image.save(tmp_path / "a.png")
        expected = core.read_image(str(tmp_path / "a.png"))
        with pil.open(tmp_path / "a.png") as opened:
            assert np.array_equal(to_picture(opened), expected)


def test_a_turned_photograph(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    image = pil.fromarray(draw(1, 0, 64)[:40])
    exif = image.getexif()
    exif[0x0112] = 6  # turn it by a quarter
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    with pil.open(tmp_path / "a.jpg") as opened:
        from_pil = to_picture(opened)
    from_file = core.read_image(str(tmp_path / "a.jpg"))
    assert from_pil.shape == from_file.shape == (64, 40, 3)
    assert np.abs(from_pil.astype(int) - from_file).mean() < 3


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), ValueError, "a picture of float32, expected uint8"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, r"shape \(3, 8, 8\), expected \(H, W, 3\)"),
        (np.zeros((0, 8, 3), np.uint8), ValueError, r"shape \(0, 8, 3\)"),
        (np.zeros(3, np.uint8), ValueError, r"shape \(3,\)"),
        (7, TypeError, "a int is no picture"),
        ([None], TypeError, "a NoneType is no picture"),
        ("nowhere.jpg", FileNotFoundError, r"nowhere\.jpg"),
    ],
)
def test_no_pictures(model, image, error, message):
    with pytest.raises(error, match=message):
        sq.predict(model, image)


def test_broken_files_are_named(model, paths):
    with open(paths[3], "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n no")
    with pytest.raises(sq.BadFileError, match=r"3\.png"):
        sq.predict(model, paths)


def test_wrong_inputs_to_the_network(model):
    x = np.zeros((1, 3, 64, 64), np.float32)
    x[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN|nan|finite"):
        model.forward(x)
    for wrong in (np.zeros((1, 64, 64, 3), np.float32), np.zeros((3, 64, 64), np.float32)):
        with pytest.raises(ValueError):
            model.forward(wrong)
    with pytest.raises((TypeError, ValueError)):
        model.forward(np.zeros((1, 3, 64, 64)))


def test_broken_weights_are_noticed(model, paths):
    broken = model.copy()
    state = broken.state_dict()
    state["classifier.1.bias"][:] = 3e38  # finite, but the sum over a map is not
    broken.load_state_dict(state)
    with pytest.raises(ValueError, match="its weights are broken"):
        sq.predict(broken, paths[0])


def test_evaluate_checks_labels(model, paths):
    report = sq.evaluate(model, sq.Dataset(paths, [0, 1, 0, 1, 0]))
    assert report.confusion_matrix.sum() == 5 and report.class_names == ("no", "yes")
    with pytest.raises(ValueError, match=r"4\.png has the label 2, expected 0 to 1"):
        sq.evaluate(model, sq.Dataset(paths, [0, 1, 0, 1, 2]))


def test_answers_are_compared_by_value(model, paths):
    first, second = sq.predict(model, paths[:2]), sq.predict(model, paths[:2])
    assert first == second and first[0] != first[1] and first[0] != None  # noqa: E711
    dataset = sq.Dataset(paths, [0, 1, 0, 1, 0])
    assert sq.evaluate(model, dataset) == sq.evaluate(model, dataset)
    assert sq.explain(model, paths[0]) == sq.explain(model, paths[0])
    assert sq.explain(model, paths[0], 0) != sq.explain(model, paths[0], 1)
