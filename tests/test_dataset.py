"""Data sets from lists, folders and paths, and what they say of bad input."""

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.data.synthetic import draw, encode_png


@pytest.fixture
def pictures(tmp_path):
    """Six small pictures in a folder whose name is not ASCII and has a space."""
    folder = tmp_path / "眼 底"
    folder.mkdir()
    paths = [folder / f"{index} a.png" for index in range(6)]
    for index, path in enumerate(paths):
        path.write_bytes(encode_png(draw(index % 2, index, 40)))
    return paths


def test_list_with_blank_lines_spaces_and_bom(pictures, tmp_path):
    lines = "".join(
        f"{path.relative_to(tmp_path)} {i % 2}\r\n\n" for i, path in enumerate(pictures)
    )
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    dataset = sq.Dataset.from_list(tmp_path / "train.txt", image_size=32)
    assert dataset.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert dataset.class_counts() == {"0": 3, "1": 3}
    picture, label = dataset[1]
    assert picture.shape == (32, 32, 3) and picture.dtype == np.uint8 and label == 1
    with pytest.raises(IndexError):
        dataset[6]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a.png 0\n\nb.png 1\n", FileNotFoundError, r"line 3: there is no file b\.png"),
        ("a.png ?\n", sq.BadFileError, r"line 1: the label is '\?', expected a whole number"),
        ("a.png 0\na.png cat\n", sq.BadFileError, r"line 2: the label 'cat' is a name, those"),
        ("a.png cat\na.png 1\n", sq.BadFileError, r"line 2: the label '1' is a number, those"),
        ("my a.png\n", sq.BadFileError, r"line 1: the label is 'a\.png'"),
        ("a.png -1\n", sq.BadFileError, r"line 1: the label is '-1'"),
        ("a.png 1.0\n", sq.BadFileError, r"the label is '1\.0'"),
        ("a.png\n", sq.BadFileError, r"line 1: 'a\.png' found, 'path label' expected"),
        ("\n \n", sq.BadFileError, r"lists no picture"),
    ],
)
def test_bad_lists(tmp_path, text, error, message):
    (tmp_path / "a.png").write_bytes(encode_png(draw(0, 0, 40)))
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(error, match=message):
        sq.Dataset.from_list(tmp_path / "list.txt")


def test_labels_may_be_names(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(draw(0, 0, 40)))
    (tmp_path / "list.txt").write_text("a.png dog\na.png 猫\na.png dog\n", encoding="utf-8")
    dataset = sq.Dataset.from_list(tmp_path / "list.txt")
    assert dataset.class_names == ("dog", "猫") and dataset.labels.tolist() == [0, 1, 0]
    dataset = sq.Dataset.from_list(tmp_path / "list.txt", ["猫", "dog", "bird"])
    assert dataset.labels.tolist() == [1, 0, 1] and dataset.class_names[2] == "bird"
    with pytest.raises(sq.BadFileError, match="line 2: the label is '猫', .* or one of dog, cat"):
        sq.Dataset.from_list(tmp_path / "list.txt", ["dog", "cat"])
    (tmp_path / "numbers.txt").write_text("a.png 0\na.png 1\na.png dog\n")
    dataset = sq.Dataset.from_list(tmp_path / "numbers.txt", ["cat", "dog"])
    assert dataset.labels.tolist() == [0, 1, 1]


def test_slices(pictures):
    dataset = sq.Dataset(pictures, [0, 1, 0, 1, 0, 1])
    part = dataset[1:6:2]
    assert isinstance(part, sq.Dataset) and part.paths == dataset.paths[1::2]
    assert part.labels.tolist() == [1, 1, 1] and (part[0][0] == dataset[1][0]).all()
    assert dataset[:-4].paths == dataset.paths[:2] and len(dataset[:]) == 6
    with pytest.raises(ValueError, match="without pictures"):
        dataset[6:]


def test_list_that_is_not_text(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00 1\n")
    with pytest.raises(sq.BadFileError, match="not UTF-8"):
        sq.Dataset.from_list(tmp_path / "list.txt")


def test_list_in_another_folder_than_the_current_one(pictures, tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "a.txt").write_text(f"{pictures[0].relative_to(tmp_path)} 0\n")
    monkeypatch.chdir(tmp_path)
    assert len(sq.Dataset.from_list("lists/a.txt")) == 1


def test_written_lists_read_back(pictures, tmp_path):
    dataset = sq.Dataset(pictures, [0, 1, 2, 0, 1, 2], ["a", "b", "c"])
    dataset.write_list(tmp_path / "list.txt")
    assert (tmp_path / "list.txt").read_text(encoding="utf-8").startswith("眼 底/0 a.png 0\n")
    again = sq.Dataset.from_list(tmp_path / "list.txt")
    assert again.paths == dataset.paths and again.labels.tolist() == dataset.labels.tolist()


def test_folder_per_class(tmp_path):
    for name in ("b", "a", ".hidden"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "1.PNG").write_bytes(encode_png(draw(0, 0, 40)))
        (tmp_path / name / "notes.txt").write_text("no picture")
    dataset = sq.Dataset.from_folder(tmp_path)
    assert dataset.class_names == ("a", "b") and dataset.labels.tolist() == [0, 1]
    assert sq.Dataset.from_folder(tmp_path, ["b", "a"]).labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="none of the classes: b"):
        sq.Dataset.from_folder(tmp_path, ["b"])
    (tmp_path / "c").mkdir()
    with pytest.raises(ValueError, match="c holds no picture"):
        sq.Dataset.from_folder(tmp_path)
    with pytest.raises(ValueError, match="one for each class"):
        sq.Dataset.from_folder(tmp_path / "c")
    with pytest.raises(FileNotFoundError):
        sq.Dataset.from_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], "shape"),
        ([0.0, 1.0], "float64, expected whole"),
        ([0, -1], "label -1"),
        ([0, 2], "label 2 found"),
    ],
)
def test_bad_labels(pictures, labels, message):
    with pytest.raises(ValueError, match=message):
        sq.Dataset(pictures[:2], labels, ["a", "b"])


def test_empty():
    with pytest.raises(ValueError, match="without pictures"):
        sq.Dataset([], [])


def test_broken_file_raises_by_name_or_is_skipped(pictures):
    pictures[2].write_bytes(b"")
    pictures[4].write_bytes(pictures[5].read_bytes()[:100])
    labels = [0, 1, 0, 1, 0, 1]
    broken = sq.Dataset(pictures, labels)
    with pytest.raises(sq.BadFileError, match="2 a.png"):
        list(broken.batches(2))
    with pytest.warns(UserWarning, match="2 files were skipped; the first: .*2 a.png"):
        dataset = sq.Dataset(pictures, labels, on_error="skip")
    assert [path for path, _ in dataset.skipped] == [str(pictures[2]), str(pictures[4])]
    assert dataset.labels.tolist() == [0, 1, 1, 1]
    whole = sq.Dataset(dataset.paths, dataset.labels)
    for (_, got), (_, expected) in zip(dataset.batches(3), whole.batches(3), strict=True):
        assert np.array_equal(got, expected)
    with pytest.raises(sq.BadFileError, match="none of 2 files"):
        sq.Dataset([pictures[2], pictures[4]], [0, 1], on_error="skip")


def test_batches_come_in_order_from_any_subset(pictures):
    dataset = sq.Dataset(pictures, [0, 1, 0, 1, 0, 1], image_size=32)
    part = dataset.subset([5, 0, 3, 3])
    got = list(part.batches(3, order=[3, 1, 0, 2]))
    assert [indices.tolist() for indices, _ in got] == [[3, 1, 0], [2]]
    stacked = np.concatenate([batch for _, batch in got])
    for row, source in zip(stacked, (3, 0, 5, 3), strict=True):
        assert np.array_equal(row, dataset[source][0])
    assert part.at_size(48)[0][0].shape == (48, 48, 3)


def test_split_takes_of_each_class(tmp_path):
    dataset = sq.synthetic.write(tmp_path, 20, size=32)
    rest, held_out = dataset.split(0.3, seed=1)
    assert held_out.class_counts() == dict.fromkeys(dataset.class_names, 3)
    assert sorted(rest.paths + held_out.paths) == sorted(dataset.paths)
    assert dataset.split(0.3, seed=1)[1].paths == held_out.paths
    assert dataset.split(0.3, seed=2)[1].paths != held_out.paths
    with pytest.raises(ValueError, match="fraction"):
        dataset.split(1.0)


def test_class_count_chart(pictures, tmp_path):
    pytest.importorskip("matplotlib")
    sq.Dataset(pictures, [0, 1, 0, 1, 0, 1]).plot_class_counts(tmp_path / "counts.png")
    assert (tmp_path / "counts.png").stat().st_size > 1000


def test_a_set_and_its_sizes_have_one_cache(tmp_path):
    made = sq.synthetic.write(tmp_path, 24, size=64)
    dataset = sq.Dataset(made.paths, made.labels, image_size=64, cache_mb=16 * 64 * 64 * 3 / 2**20)
    for index in range(12):
        dataset[index]
    small = dataset.subset(np.arange(20)).at_size(32)
    for index in range(20):
        picture, label = small[index]
        assert picture.shape == (32, 32, 3) and label == dataset.labels[index]
    stores = dataset._store, small._store
    assert [store.cached_bytes for store in stores] == [12 * 64 * 64 * 3, 16 * 32 * 32 * 3]
    dataset[20]
    assert stores[0].cached_bytes == 12 * 64 * 64 * 3  # full
    del small, stores  # what the small ones took is free again
    dataset[20]
    assert dataset._store.cached_bytes == 13 * 64 * 64 * 3
    with pytest.raises(ValueError, match="cache_mb is -1"):
        sq.Dataset(made.paths, made.labels, cache_mb=-1)
