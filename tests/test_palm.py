"""PALM: its layout, its labels, and its zip files, which are not trusted."""

import fcntl
import stat
import zipfile

import openpyxl
import pytest

import squeezenet_c as sq
from squeezenet_c.data.archives import unpack

XLSX = "PM_Label_and_Fovea_Location.xlsx"


def write_sheet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


@pytest.fixture
def small(tmp_path):
    """Two pictures of each part, unpacked. They are no pictures; nothing decodes them here."""
    training = tmp_path / "palm" / "PALM-Training400" / "PALM-Training400"
    valid = tmp_path / "palm" / "PALM-Validation400"
    for folder, names in (
        (training, ("H0001.jpg", "N0001.jpg", "P0001.jpg")),
        (valid, ("V1.jpg",)),
    ):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(b"x" * 100)
    rows = [("ID", "imgName", "Label"), (1, "V1.jpg", 1)]
    write_sheet(tmp_path / "palm" / "PALM-Validation-GT" / XLSX, rows)
    return tmp_path / "palm"


def test_shared_palm(palm_folder):
    train, valid = sq.palm.load(palm_folder)
    assert sq.palm.kind_counts(train) == {"H": 26, "N": 161, "P": 213}
    assert train.class_counts() == {"非病理性近视": 187, "病理性近视": 213}
    assert len(valid) == 199
    label = dict(zip(valid.paths, valid.labels.tolist(), strict=True))
    assert label[str(palm_folder / "PALM-Validation400" / "V0002.jpg")] == 1
    assert train[0][0].shape == (224, 224, 3)


def test_lists(small, tmp_path):
    train, valid = sq.palm.load(small)
    sq.palm.write_lists(tmp_path, train, valid)
    again = sq.Dataset.from_list(tmp_path / "train.txt", sq.palm.CLASS_NAMES)
    assert again.paths == train.paths and again.labels.tolist() == [0, 0, 1]
    assert sq.Dataset.from_list(tmp_path / "valid.txt").labels.tolist() == [1]


def test_other_letter(small):
    (small / "PALM-Training400" / "PALM-Training400" / "X0001.jpg").write_bytes(b"x")
    with pytest.raises(sq.BadFileError, match=r"X0001\.jpg: .* begins with H, N or P; .* with X"):
        sq.palm.load(small)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("ID", "imgName"), (1, "V1.jpg")], "has the columns ID, imgName; expected imgName and"),
        ([], r"has the columns \(none\)"),
        ([("imgName", "Label"), ("V1.jpg", 2)], "row 2: Label is 2, expected 0 or 1"),
        ([("imgName", "Label"), ("V1.jpg", None)], "row 2: Label is None"),
        ([("imgName", "Label"), (None, 1)], "row 2: imgName is None"),
        ([("imgName", "Label"), ("V1.jpg", 1), ("V1.jpg", 0)], "row 3: a second, other label"),
        ([("imgName", "Label"), ("V2.jpg", 1)], "no label for the picture .*V1.jpg"),
    ],
)
def test_bad_sheets(small, rows, message):
    write_sheet(small / "PALM-Validation-GT" / XLSX, rows)
    with pytest.raises(sq.BadFileError, match=message):
        sq.palm.load(small)


def test_sheet_that_is_none(small):
    (small / "PALM-Validation-GT" / XLSX).write_bytes(b"PK\x03\x04 no")
    with pytest.raises(sq.BadFileError, match="not an xlsx"):
        sq.palm.load(small)
    (small / "PALM-Validation-GT" / XLSX).unlink()
    with pytest.raises(FileNotFoundError, match="nor a valid_gt.zip"):
        sq.palm.load(small)


def test_label_without_its_picture_is_a_warning(small):
    rows = [("imgName", "Label"), ("V1.jpg", 0), ("V2.jpg", 1)]
    write_sheet(small / "PALM-Validation-GT" / XLSX, rows)
    with pytest.warns(UserWarning, match=r"1 of the 2 pictures .* V2\.jpg for one"):
        assert len(sq.palm.load(small)[1]) == 1


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nor a training\.zip"):
        sq.palm.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        sq.palm.load(tmp_path / "none")


def test_as_downloaded(small, tmp_path):
    """training.zip holds a zip with the pictures, as the real one does."""
    home = tmp_path / "zips"
    home.mkdir()
    inner = tmp_path / "PALM-Training400.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        for path in (small / "PALM-Training400" / "PALM-Training400").iterdir():
            archive.write(path, f"PALM-Training400/{path.name}")
    with zipfile.ZipFile(home / "training.zip", "w") as archive:
        archive.write(inner, "PALM-Training400/PALM-Training400.zip")
    with zipfile.ZipFile(home / "validation.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(small / "PALM-Validation400" / "V1.jpg", "PALM-Validation400/V1.jpg")
    with zipfile.ZipFile(home / "valid_gt.zip", "w") as archive:
        archive.write(small / "PALM-Validation-GT" / XLSX, f"PALM-Validation-GT/{XLSX}")
    assert sq.palm.is_palm(home)
    train, valid = sq.palm.load(home)
    assert train.labels.tolist() == [0, 0, 1] and valid.labels.tolist() == [1]
    (home / "PALM-Validation400" / "V1.jpg").write_bytes(b"cut")  # as an interrupted run leaves it
    assert sq.palm.load(home)[1].paths == valid.paths
    assert (home / "PALM-Validation400" / "V1.jpg").stat().st_size == 100


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:/evil.txt"]
)
def test_zip_slip(tmp_path, name):
    target = tmp_path / "target"
    target.mkdir()
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("good.txt", "good")
        archive.writestr(name, "evil")
    with pytest.raises(sq.BadFileError, match=r"bad\.zip: the member .* points outside"):
        unpack(tmp_path / "bad.zip", target)
    assert not list(target.iterdir())  # refused before anything was written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip", "target"]


def test_links_in_zip_and_in_target(tmp_path):
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, str(outside))
    with pytest.raises(sq.BadFileError, match="is a link"):
        unpack(tmp_path / "link.zip", target)
    (target / "folder").symlink_to(outside)
    (outside / "secret").write_text("mine")
    (target / "file").symlink_to(outside / "secret")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("file", "new")
        archive.writestr("folder/b/c", "x")
    with pytest.raises(sq.BadFileError, match="folder is a link"):
        unpack(tmp_path / "a.zip", target)
    assert (outside / "secret").read_text() == "mine" and (target / "file").read_text() == "new"
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_broken_zips(tmp_path):
    with zipfile.ZipFile(tmp_path / "training.zip", "w") as archive:
        archive.writestr("PALM-Training400/N1.jpg", b"0123456789" * 30)
    content = bytearray((tmp_path / "training.zip").read_bytes())
    content[60] ^= 255  # in the picture: its checksum is wrong
    (tmp_path / "training.zip").write_bytes(content)
    with pytest.raises(sq.BadFileError, match="training.zip is not a zip file that can be read"):
        sq.palm.load(tmp_path)
    assert not list((tmp_path / "PALM-Training400").iterdir())
    (tmp_path / "training.zip").write_bytes(content[:50])
    with pytest.raises(sq.BadFileError, match="training.zip is not a zip file"):
        sq.palm.load(tmp_path)


def test_what_a_killed_process_left_is_removed(tmp_path):
    """But not what another process is writing."""
    (tmp_path / ".unpacking-dead").write_bytes(b"cut")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inside.txt", "whole")
    with open(tmp_path / ".unpacking-alive", "wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        unpack(tmp_path / "a.zip", tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"a.zip", "inside.txt", ".unpacking-alive"}
