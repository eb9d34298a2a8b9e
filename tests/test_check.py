"""The data check: duplicates between and within sets, unreadable files, class balance."""

import io

import numpy as np
import pytest

import squeezenet_c as sq
from squeezenet_c.cli import main
from squeezenet_c.data.synthetic import encode_png


def _photograph(seed, label=0, size=200):
    return sq.synthetic.draw(label, seed, size)


def _set(folder, pictures, labels=None):
    """A set of pictures, by name: arrays, or a file's bytes."""
    folder.mkdir()
    for name, picture in pictures.items():
        data = picture if isinstance(picture, bytes) else encode_png(picture)
        (folder / name).write_bytes(data)
    paths = [folder / name for name in pictures]
    return sq.Dataset(paths, labels or [0] * len(paths), ("no", "yes"))


def _jpeg(picture, quality):
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.fromarray(picture).save(file, "JPEG", quality=quality)
    return file.getvalue()


def test_different_pictures(tmp_path):
    training = _set(tmp_path / "a", {f"{i}.png": _photograph(i, i % 2) for i in range(20)})
    valid = _set(tmp_path / "b", {f"{i}.png": _photograph(i, i % 2) for i in range(50, 60)})
    check = sq.check_data(training, valid)
    assert check.ok and check.pairs == [] and check.leaks == []
    assert check.counts["training"] == {"no": 20, "yes": 0}
    assert "in both training and validation set: none" in str(check)
    assert "uneven: one class has 20 pictures, another 0" in str(check)


def test_the_same_pixels_in_another_file(tmp_path):
    picture = _photograph(1)
    bmp = pytest.importorskip("PIL.Image").fromarray(picture)
    file = io.BytesIO()
    bmp.save(file, "BMP")
    training = _set(tmp_path / "a", {"x.png": picture, "y.png": _photograph(2)})
    valid = _set(tmp_path / "b", {"z.bmp": file.getvalue()}, [1])
    (pair,) = sq.check_data(training, valid).leaks
    assert pair.exact and pair.leaks and not pair.same_label
    assert pair.first.endswith("x.png") and pair.second.endswith("z.bmp")
    assert "same pixels, WITH DIFFERENT LABELS" in str(pair)


def test_near_duplicates(tmp_path):
    from squeezenet_c._native import core

    picture = _photograph(7, 1, 400)
    training = _set(tmp_path / "a", {"x.png": picture, "y.png": _photograph(8, 1, 400)}, [1, 1])
    changed = {
        "smaller.png": core.resize_image(picture, 150, 150),
        "compressed.jpg": _jpeg(picture, 40),
        "brighter.png": (picture.astype(int) + 2).clip(0, 255).astype(np.uint8),
    }
    check = sq.check_data(training, _set(tmp_path / "b", changed, [1, 1, 1]))
    assert len(check.leaks) == 3 and not any(pair.exact for pair in check.leaks)
    assert all(pair.first.endswith("x.png") and pair.same_label for pair in check.leaks)
    assert len(check.pairs) == 6  # the three of validation among each other
    assert [pair.leaks for pair in check.pairs] == [True] * 3 + [False] * 3


def test_pictures_of_one_colour(tmp_path):
    plain = {str(grey) + ".png": np.full((20, 20, 3), grey, np.uint8) for grey in (0, 100, 102)}
    (pair,) = sq.check_data(_set(tmp_path / "a", plain)).pairs
    assert pair.first.endswith("100.png") and not pair.exact and not pair.leaks


def test_unreadable_files(tmp_path):
    training = _set(tmp_path / "a", {"x.png": _photograph(1), "broken.png": b"no picture"}, [0, 1])
    check = sq.check_data(training)
    assert not check.ok and len(check.unreadable) == 1
    assert "broken.png" in check.unreadable[0][1]
    assert check.counts == {"training": {"no": 1, "yes": 0}}
    with pytest.warns(UserWarning, match="1 files were skipped"):
        skipping = sq.Dataset(training.paths, training.labels, ("no", "yes"), on_error="skip")
    assert len(sq.check_data(skipping).unreadable) == 1


def test_command_line_and_report(tmp_path, capsys):
    pictures = {f"{i}.png": _photograph(i, i % 2, 64) for i in range(6)}
    training = _set(tmp_path / "a", pictures, [0, 1] * 3)
    training.write_list(tmp_path / "train.txt")
    valid = _set(tmp_path / "b", {"0.png": pictures["0.png"], "x.png": _photograph(9, 1, 64)})
    valid.write_list(tmp_path / "valid.txt")
    lists = [str(tmp_path / name) for name in ("train.txt", "valid.txt")]
    assert main(["check", lists[0]]) == 0
    assert "duplicates within a set: none" in capsys.readouterr().out
    assert main(["check", *lists]) == 1
    said = capsys.readouterr()
    assert "in both training and validation set: 1" in said.out
    assert "1 of them in two sets" in said.err
    sq.Model(image_size=64).save(tmp_path / "m.safetensors")
    command = ["evaluate", str(tmp_path / "m.safetensors"), lists[1], "--out"]
    assert main([*command, str(tmp_path / "r"), "--training-data", lists[0]]) == 0
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert "same pixels" in page and "in both training and validation set: 1" in page
