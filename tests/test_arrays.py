"""Data sets of pictures in memory: the same as of files, in all that is done with sets."""

import io
from pathlib import Path

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.base.png import encode_png

SMALL = {"base_e": 16, "incr_e": 16, "image_size": 64}


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """24 pictures of 48 x 48 and their labels."""
    y = np.arange(24) % 2
    return np.stack([sq.synthetic.draw(label, seed, 48) for seed, label in enumerate(y)]), y


@pytest.fixture(scope="module")
def files(drawn: tuple, tmp_path_factory: pytest.TempPathFactory) -> sq.Dataset:
    """The same in files."""
    folder = tmp_path_factory.mktemp("files")
    for place, picture in enumerate(drawn[0]):
        (folder / f"{place}.png").write_bytes(encode_png(picture))
    return sq.Dataset([folder / f"{place}.png" for place in range(24)], drawn[1], image_size=32)


def test_pictures_are_those_of_files(drawn: tuple, files: sq.Dataset) -> None:
    dataset = sq.Dataset.from_arrays(*drawn, image_size=32)
    assert len(dataset) == 24 and dataset.paths[17] == "picture 17" and not dataset.has_names
    for size in (32, 48, 20):
        ours, theirs = dataset.at_size(size), files.at_size(size)
        for _ in range(2):  # fitted, then from the cache
            for (_, got), (_, expected) in zip(ours.batches(7), theirs.batches(7), strict=True):
                assert np.array_equal(got, expected)
    part = dataset.subset([5, 0]).at_size(48)
    assert part.paths == ["picture 5", "picture 0"]
    assert np.array_equal(part[0][0], drawn[0][5]) and np.array_equal(part.original(1), drawn[0][0])


def test_what_is_square_already_is_not_kept_twice(drawn: tuple) -> None:
    dataset = sq.Dataset.from_arrays(*drawn, image_size=48)
    assert np.shares_memory(dataset.original(3), drawn[0])
    list(dataset.batches(5))
    assert dataset._store.cached_bytes == 0
    list(dataset.at_size(16).batches(5))
    assert dataset.at_size(16)._store.cached_bytes == 0  # another store
    small = dataset.at_size(16)
    list(small.batches(5))
    assert small._store.cached_bytes == 24 * 16 * 16 * 3


def test_grey_alpha_pil_and_sizes(drawn: tuple) -> None:
    image = pytest.importorskip("PIL.Image")
    grey = drawn[0][:3, :, :, 0]
    dataset = sq.Dataset.from_arrays(grey, [0, 1, 0])
    assert np.array_equal(dataset.original(1), np.dstack([grey[1]] * 3))
    mixed = [drawn[0][0, :30], image.fromarray(drawn[0][1]), np.dstack([drawn[0][2], grey[2]])]
    dataset = sq.Dataset.from_arrays(mixed, ["b", "a", "b"], image_size=40)
    assert dataset.class_names == ("a", "b") and dataset.labels.tolist() == [1, 0, 1]
    assert np.array_equal(dataset[0][0], core.fit_image(np.ascontiguousarray(mixed[0]), 40))
    assert np.array_equal(dataset.original(2), drawn[0][2])


def test_labels_of_every_kind(drawn: tuple) -> None:
    X = drawn[0][:3]
    for y, names, labels in (
        ([2, 0, 1], ("0", "1", "2"), [2, 0, 1]),
        (np.array(["10", "9", "9"]), tuple(map(str, range(11))), [10, 9, 9]),
        (np.array(["x y", "b", "x y"], object), ("b", "x y"), [1, 0, 1]),
    ):
        dataset = sq.Dataset.from_arrays(X, y)
        assert dataset.class_names == names and dataset.labels.tolist() == labels
    assert sq.Dataset.from_arrays(X, ["b", "a", "b"], ["b", "a"]).labels.tolist() == [0, 1, 0]
    for y, message in (
        ([0.5, 1, 1], "labels are float64"),
        (["a", "1", "a"], r"y\[1\]: the label '1' is a number, those of y before it are not"),
        (["a", "", "a"], r"y\[1\]: the label is ''"),
        ([0, 1], r"shape \(2,\), expected \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            sq.Dataset.from_arrays(X, y)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros((2, 4, 4, 3)), ValueError, "picture 0: a picture of float64, expected uint8"),
        (np.zeros((2, 4, 4, 2), np.uint8), ValueError, r"picture 0: .*\(4, 4, 2\)"),
        (np.zeros((2, 9), np.uint8), ValueError, r"picture 0: a picture of the shape \(9,\)"),
        ([np.zeros((4, 4), np.uint8), "a.png"], TypeError, "picture 1 is the path 'a.png'"),
        ([np.zeros((4, 4), np.uint8), 3], TypeError, "picture 1: a int is no picture"),
        ([], ValueError, "a data set without pictures"),
    ],
)
def test_what_is_no_picture(X: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sq.Dataset.from_arrays(X, [0, 1] if len(X) else [])


def test_training_is_that_on_files_and_resumes(
    drawn: tuple, files: sq.Dataset, tmp_path: Path
) -> None:
    weights = []
    state = tmp_path / "arrays.state"
    dataset = sq.Dataset.from_arrays(*drawn)
    for data, path in ((files, None), (dataset, state)):
        model = sq.Model(**SMALL)
        sq.train(
            model, data, epochs=2, batch_size=8, valid_fraction=0.25, state=path, progress=False
        )
        weights.append(model.state_dict())
        assert len(model.trained_on) == 18
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    model = sq.Model(**SMALL)
    again = {"epochs": 2, "batch_size": 8, "valid_fraction": 0.25, "progress": False}
    history = sq.train(model, sq.Dataset.from_arrays(*drawn), resume=state, **again)
    assert len(history) == 2
    others = drawn[0].copy()
    others[3, 5, 5, 0] ^= 1
    with pytest.raises(ValueError, match="valid is '6 pictures with pixels and labels of"):
        sq.train(sq.Model(**SMALL), sq.Dataset.from_arrays(others, drawn[1]), resume=state, **again)


def test_pictures_it_was_trained_on_are_recognised(drawn: tuple) -> None:
    from squeezenet_c.data.marks import refuse_training_pictures

    model = sq.Model(**SMALL)
    dataset = sq.Dataset.from_arrays(*drawn)
    sq.train(model, dataset[:8], epochs=1, progress=False)
    refuse_training_pictures(model.trained_on, dataset[8:], "it is judged")
    with pytest.raises(ValueError, match="was trained on 2 of its 4 pictures, picture 6 for one"):
        refuse_training_pictures(model.trained_on, dataset[6:10], "it is judged")


def test_prediction_report_check_and_quantisation(drawn: tuple, tmp_path: Path) -> None:
    model = sq.Model(**SMALL, class_names=["no", "yes"])
    dataset = sq.Dataset.from_arrays(*drawn, groups=np.arange(24) // 2)
    assert np.array_equal(model.predict_proba(dataset), model.predict_proba(list(drawn[0])))
    report = sq.report(model, dataset, tmp_path / "report", training=dataset[:3], resamples=10)
    assert (
        "picture 17,no" in (tmp_path / "report" / "predictions.csv").read_text()
        or len((tmp_path / "report" / "predictions.csv").read_text().splitlines()) == 25
    )
    assert len(report.worst) == 8
    check = sq.check_data(dataset[:3], dataset[2:])
    assert [(pair.first, pair.second) for pair in check.leaks] == [("picture 2", "picture 2")]
    assert check.shared_groups == ["1"] and not check.ok
    assert model.quantize(dataset).precision == "int8"
    with pytest.raises(ValueError, match="in memory: they have no paths to list"):
        dataset.write_list(tmp_path / "list.txt")


def test_one_that_is_not_contiguous_is_copied(drawn: tuple) -> None:
    flipped = drawn[0][:, ::-1]
    dataset = sq.Dataset.from_arrays(flipped, drawn[1], image_size=48)
    assert np.array_equal(dataset[2][0], flipped[2])


def test_the_store_refuses_what_is_no_picture() -> None:
    good = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(TypeError, match="a picture is a str, expected a NumPy array"):
        core.PictureStore([good, "a.png"])
    with pytest.raises(ValueError, match=r"a picture has shape \(4, 5, 1\)"):
        core.PictureStore([good[:, :, :1]])
    store = core.PictureStore([good], 7)
    del good
    assert store.picture(0).shape == (7, 7, 3)
    with io.BytesIO(b"x") as file, pytest.raises(TypeError):
        core.PictureStore([file])
