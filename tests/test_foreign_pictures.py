"""TIFF and WebP, which Pillow decodes: the same rules as of all other files, on any thread."""

import io
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import squeezenet_c as sq
from squeezenet_c._native import core
from squeezenet_c.base.pictures import decode_by_pillow
from squeezenet_c.cli import main

PICTURE = sq.synthetic.draw(1, 3, 60)[:40]


def encoded(image: Image.Image | np.ndarray, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(stream, format, **options)
    return stream.getvalue()


def test_pixels() -> None:
    for data in (
        encoded(PICTURE, "TIFF"),
        encoded(PICTURE, "TIFF", compression="tiff_lzw"),
        encoded(PICTURE, "WEBP", lossless=True),
        encoded(np.dstack([PICTURE, PICTURE[..., :1]]), "WEBP", lossless=True, exact=True),
    ):
        assert np.array_equal(core.decode_image(data), PICTURE)
    grey = PICTURE[..., 0]
    assert np.array_equal(core.decode_image(encoded(grey, "TIFF")), np.dstack([grey] * 3))
    deep = grey.astype(np.uint16) * 256 + 77  # 16 bits by their high byte
    assert np.array_equal(core.decode_image(encoded(deep, "TIFF")), np.dstack([grey] * 3))


@pytest.mark.parametrize("format", ["TIFF", "WEBP"])
def test_upright(format: str) -> None:
    exif = Image.Exif()
    exif[274] = 6  # lies on its side
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(PICTURE, format, exif=exif, **options)
    assert np.array_equal(core.decode_image(data), np.rot90(PICTURE, -1))


@pytest.mark.parametrize("format", ["TIFF", "WEBP"])
def test_the_first_of_several(format: str) -> None:
    frames = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(core.decode_image(data), PICTURE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder per class, of TIFF, WebP and PNG files."""
    for label, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for seed in range(6):
            picture = sq.synthetic.draw(label, seed, 40)
            format = ("TIFF", "WEBP", "PNG")[seed % 3]
            suffix = (".TIF" if seed else ".tiff", ".webp", ".png")[seed % 3]
            options = {"lossless": True} if format == "WEBP" else {}
            (tmp_path / name / f"{seed}{suffix}").write_bytes(encoded(picture, format, **options))
    return tmp_path


def test_folders_training_prediction_and_check(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = sq.Dataset.from_folder(folder, image_size=32)
    assert len(dataset) == 12
    order = np.arange(12)[::-1]
    store = core.PictureStore(dataset.paths, 32, 0)  # nothing is kept: each is decoded each time
    for _ in range(3):
        pictures = store.loader(order, ahead=5, threads=4).next(12)
        for row, place in zip(pictures, order, strict=True):
            picture = sq.synthetic.draw(int(place) // 6, int(place) % 6, 40)
            expected = core.fit_image(picture, 32)
            assert np.array_equal(row, expected)
    model = sq.Model(base_e=2, incr_e=0, image_size=32)
    sq.train(model, dataset, epochs=1, progress=False)
    model.save(folder / "model.safetensors")
    assert main(["predict", str(folder / "model.safetensors"), str(folder / "a")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert main(["check", str(folder)]) == 0


def test_damaged_ones_are_named(folder: Path) -> None:
    whole = encoded(PICTURE, "TIFF", compression="tiff_deflate")
    for cut in range(8, len(whole) - 1, 97):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, of what is cut short
            with pytest.raises(core.BadFileError, match="^f: "):
                core.decode_image(whole[:cut], "f")
    webp = encoded(PICTURE, "WEBP")
    for cut in range(12, len(webp) - 1, 97):
        with pytest.raises(core.BadFileError, match="^f: "):
            core.decode_image(webp[:cut], "f")
    (folder / "a" / "bad.webp").write_bytes(webp[:40])
    with pytest.raises(core.BadFileError, match=r"bad\.webp: Pillow cannot decode it"):
        list(sq.Dataset.from_folder(folder).batches(4))
    with pytest.warns(UserWarning, match="1 files were skipped"):
        assert len(sq.Dataset.from_folder(folder, on_error="skip")) == 12


def test_a_large_one_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(PICTURE, "TIFF")
    most = core.get_max_pixels()
    core.set_max_pixels(PICTURE.shape[0] * PICTURE.shape[1] - 1)
    monkeypatch.setattr(Image.Image, "convert", None)
    try:
        with pytest.raises(core.BadFileError, match=r"f: is too large \(60 x 40 pixels, expected"):
            core.decode_image(data, "f")
    finally:
        core.set_max_pixels(most)


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        core.BadFileError, match=r'^f: TIFF and WebP .* install "squeezenet_c\[pill'
    ):
        core.decode_image(encoded_tiff(), "f")


def encoded_tiff() -> bytes:
    """A TIFF's beginning; what follows is not looked at."""
    return b"II*\0\x08\0\0\0"


def test_a_decoder_that_fails() -> None:
    def interrupted(data: bytes, name: str) -> np.ndarray:
        raise KeyboardInterrupt

    def wrong(data: bytes, name: str) -> np.ndarray:
        return np.zeros((2, 2), np.uint8)

    def surprised(data: bytes, name: str) -> np.ndarray:
        raise ZeroDivisionError("by 0 \udcff")

    try:
        for function, error in (
            (interrupted, KeyboardInterrupt),
            (wrong, RuntimeError),
            (surprised, RuntimeError),
        ):
            core.set_decoder(function)
            with pytest.raises(error):
                core.decode_image(encoded_tiff(), "f")
        core.set_decoder(None)
        with pytest.raises(core.BadFileError, match="f: is a TIFF, expected JPEG, PNG or BMP"):
            core.decode_image(encoded_tiff(), "f")
        with pytest.raises(TypeError, match="a decoder is a int"):
            core.set_decoder(3)
    finally:
        core.set_decoder(decode_by_pillow)


def test_a_decoder_is_not_taken_away_while_somebody_is_in_it() -> None:
    entered, let_go = threading.Event(), threading.Event()

    def slow(data: bytes, name: str) -> np.ndarray:
        entered.set()
        let_go.wait(10)
        return PICTURE

    found = []
    core.set_decoder(slow)
    thread = threading.Thread(target=lambda: found.append(core.decode_image(encoded_tiff())))
    thread.start()
    entered.wait(10)
    threading.Timer(0.1, let_go.set).start()
    core.set_decoder(decode_by_pillow)
    assert let_go.is_set()
    thread.join()
    assert np.array_equal(found[0], PICTURE)


def test_python_ends_while_files_are_decoded(folder: Path) -> None:
    """A loader's threads may be in Pillow when the main thread is done."""
    code = (
        "import sys, numpy as np, squeezenet_c as sq\n"
        "paths = sq.Dataset.from_folder(sys.argv[1]).paths * 40\n"
        "store = sq._core.PictureStore(paths, 224, 0)\n"
        "loader = store.loader(np.arange(len(paths)), ahead=400, threads=4)\n"
        "loader.next(1)\n"
    )
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (result.returncode, result.stderr) == (0, "")
