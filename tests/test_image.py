"""Decoding pictures, whole and damaged. Pillow is the peer."""

from __future__ import annotations

import hashlib
import io
import os
import pathlib
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from squeezenet_c._native import core

Image = pytest.importorskip("PIL.Image", reason="Pillow, the peer of these tests, is missing")
ImageOps = pytest.importorskip("PIL.ImageOps")

# Where chroma is halved across only, and in CMYK's product, stb_image rounds otherwise than
# Pillow's libjpeg-turbo. In all other JPEGs the pixels are equal.
NOISE_TOLERANCE = 10


def picture(h: int, w: int, seed: int = 0) -> np.ndarray:
    """(h, w, 3) uint8 with gradients, an edge and some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w].astype(float)
    planes = [x * 255 / max(w - 1, 1), y * 255 / max(h - 1, 1), 200.0 * (x + y > (h + w) / 3)]
    noisy = np.stack(planes, axis=-1) + rng.normal(0, 6, (h, w, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encoded(array: np.ndarray, format: str, mode: str | None = None, **options) -> bytes:
    image = Image.fromarray(array)
    if mode:
        image = image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pillow_rgb(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def largest_difference(a: np.ndarray, b: np.ndarray) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


# -- Decoding --------------------------------------------------------------------------------------


def test_decoding_photographs(shared, palm_folder):
    paths = [*sorted((shared / "fundus_fullres").glob("*.jpg"))]
    paths += sorted(palm_folder.rglob("*.jpg"))[::60]
    for path in paths:
        peer = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        found = core.read_image(path)
        assert found.dtype == np.uint8 and found.flags.c_contiguous and found.flags.writeable
        assert np.array_equal(found, peer), path
        assert np.array_equal(core.decode_image(path.read_bytes()), found)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("sides", [(1, 1), (7, 9), (16, 33), (70, 51), (90, 3), (9, 4), (2, 99)])
def test_decoding_jpeg(progressive, subsampling, sides):
    data = encoded(
        picture(*sides), "JPEG", quality=90, progressive=progressive, subsampling=subsampling
    )
    found, peer = core.decode_image(data), pillow_rgb(data)
    assert found.shape == peer.shape
    if subsampling != 1:
        assert np.array_equal(found, peer)
    elif sides[1] > 4:  # stb_image interpolates the last chroma column of 4:2:2 otherwise
        assert largest_difference(found[:, :-2], peer[:, :-2]) <= NOISE_TOLERANCE


@pytest.mark.parametrize("quality", [5, 60, 100])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_decoding_noise_equals_pillow(quality, subsampling):
    """Coefficients of every size: samples are clipped at both ends, constant blocks are some."""
    noise = np.random.default_rng(quality).integers(0, 256, (61, 85, 3), dtype=np.uint8)
    noise[:24, :40] = noise[0, 0]
    data = encoded(noise, "JPEG", quality=quality, subsampling=subsampling)
    assert np.array_equal(core.decode_image(data), pillow_rgb(data))


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])  # the best of it that the CPU has
def test_every_instruction_set_gives_the_same_bytes(isa):
    data = encoded(picture(75, 123), "JPEG", quality=70, subsampling=2)
    program = (
        "import sys, hashlib; from squeezenet_c._native import core\n"
        "image = core.decode_image(sys.stdin.buffer.read())\n"
        "resized = [core.resize_image(image, h, w) for h, w in [(30, 31), (75, 10), (200, 250)]]\n"
        "print(*(hashlib.sha256(array).hexdigest() for array in [image, *resized]))"
    )
    environment = {**os.environ, "SQZ_ISA": isa}
    command = [sys.executable, "-c", program]
    folder = Path(__file__).parent  # not the source folder, whose package is not compiled
    answer = subprocess.run(
        command, input=data, env=environment, cwd=folder, capture_output=True, check=True
    )
    image = core.decode_image(data)
    resized = [core.resize_image(image, h, w) for h, w in [(30, 31), (75, 10), (200, 250)]]
    expected = [hashlib.sha256(array).hexdigest() for array in [image, *resized]]
    assert answer.stdout.decode().split() == expected


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("blocks", [1, 3, 8])
def test_decoding_jpeg_with_restart_markers(progressive, blocks):
    options = {"quality": 80, "restart_marker_blocks": blocks, "progressive": progressive}
    data = encoded(picture(50, 70), "JPEG", **options)
    assert b"\xff\xd0" in data
    assert np.array_equal(core.decode_image(data), pillow_rgb(data))


@pytest.mark.parametrize(("mode", "subsampling"), [("L", 0), ("RGB", 0), ("RGB", 2)])
def test_decoding_jpeg_with_a_restart_before_every_smooth_block(mode, subsampling):
    """Where an interval's data are a few bytes, the decoder meets its marker before each block."""
    levels = np.linspace(0, 200, 80).astype(np.uint8)
    for array in (np.zeros((160, 80, 3), np.uint8), np.tile(levels[:, None], (160, 1, 3))):
        options = {"quality": 50, "restart_marker_blocks": 1, "subsampling": subsampling}
        data = encoded(array, "JPEG", mode, **options)
        assert np.array_equal(core.decode_image(data), pillow_rgb(data))


def test_decoding_grey_jpeg():
    data = encoded(picture(30, 41), "JPEG", "L", quality=90)
    found = core.decode_image(data)
    assert np.array_equal(found, pillow_rgb(data))


def without_segments(data: bytes, marker: int) -> bytes:
    """A JPEG's bytes without the segments of this marker."""
    at = 2
    kept = data[:2]
    while data[at + 1] != 0xDA:
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        if data[at + 1] != marker:
            kept += data[at:end]
        at = end
    return kept + data[at:]


@pytest.mark.parametrize("adobe", [True, False])
def test_decoding_cmyk_jpeg(adobe):
    """Pillow takes every CMYK JPEG for Adobe's inverted kind, with or without Adobe's marker."""
    data = encoded(picture(32, 48), "JPEG", "CMYK", quality=95)
    assert b"Adobe" in data
    if not adobe:
        data = without_segments(data, 0xEE)
    assert largest_difference(core.decode_image(data), pillow_rgb(data)) <= NOISE_TOLERANCE


def test_decoding_ycck_jpeg():
    data = bytearray(encoded(picture(32, 48), "JPEG", "CMYK", quality=95))
    at = data.index(b"Adobe") + 11
    data[at] = 2
    found, peer = core.decode_image(bytes(data)), pillow_rgb(bytes(data))
    assert largest_difference(found, peer) <= NOISE_TOLERANCE
    data[at] = 1
    with pytest.raises(core.BadFileError, match="4 colour components with Adobe's transform 1"):
        core.decode_image(bytes(data))


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1"])
@pytest.mark.parametrize("sides", [(1, 1), (13, 9), (40, 33)])
def test_decoding_png_exactly(mode, sides):
    data = encoded(picture(*sides), "PNG", mode)
    assert np.array_equal(core.decode_image(data), pillow_rgb(data))


def test_decoding_png_drops_alpha():
    rgba = np.dstack([picture(20, 30), np.arange(600, dtype=np.uint8).reshape(20, 30)])
    assert np.array_equal(core.decode_image(encoded(rgba, "PNG")), rgba[..., :3])


def test_decoding_png_with_a_transparent_colour():
    for mode, transparency in [("P", 3), ("L", 128), ("RGB", (1, 2, 3))]:
        data = encoded(picture(20, 30), "PNG", mode, transparency=transparency)
        assert np.array_equal(core.decode_image(data), pillow_rgb(data))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bytes(w: int, h: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + b"".join(extra)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def test_decoding_16_bit_png_keeps_the_high_byte():
    rng = np.random.default_rng(5)
    samples = rng.integers(0, 65536, (6, 5, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    found = core.decode_image(png_bytes(5, 6, 16, 2, rows))
    assert np.array_equal(found, (samples >> 8).astype(np.uint8))
    grey = samples[..., 0]
    rows = b"".join(b"\0" + row.tobytes() for row in grey)
    found = core.decode_image(png_bytes(5, 6, 16, 0, rows))
    assert np.array_equal(found[..., 1], (grey >> 8).astype(np.uint8))


def test_decoding_png_with_a_colour_past_its_palette():
    data = png_bytes(4, 1, 8, 3, b"\0\0\1\2\xff", png_chunk(b"PLTE", bytes([9, 8, 7, 6, 5, 4])))
    expected = [[[9, 8, 7], [6, 5, 4], [0, 0, 0], [0, 0, 0]]]
    assert core.decode_image(data).tolist() == expected


def test_png_that_unpacks_to_too_much_is_refused():
    data = png_bytes(4, 4, 8, 0, b"\0" * 10_000_000)
    with pytest.raises(core.BadFileError, match="unpack to more than its width and height need"):
        core.decode_image(data, "bomb.png")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA"])
@pytest.mark.parametrize("sides", [(1, 1), (13, 9), (40, 33)])
def test_decoding_bmp_exactly(mode, sides):
    data = encoded(picture(*sides), "BMP", mode)
    assert np.array_equal(core.decode_image(data), pillow_rgb(data))


def test_decoding_bmp_with_a_gap_and_from_the_top():
    data = bytearray(encoded(picture(5, 6), "BMP"))
    expected = pillow_rgb(bytes(data))
    gap = bytearray(data[:54] + b"\xee" * 64 + data[54:])
    gap[10:14] = struct.pack("<I", 54 + 64)
    assert np.array_equal(core.decode_image(bytes(gap)), expected)
    data[22:26] = struct.pack("<i", -5)
    assert np.array_equal(core.decode_image(bytes(data)), expected[::-1])


def test_decoding_bmp_with_a_core_header():
    """OS/2's 12-byte header, 3-byte colours: all 256 of them, or fewer than a pixel names."""
    palette = bytes(i * 7 % 256 for i in range(768))
    rows = bytes([0, 1, 255, 254, 253, 252, 0, 0, 9, 8, 7, 6, 5, 4, 0, 0])
    for colours in (256, 10):
        data = struct.pack("<HHHH", 6, 2, 1, 8)
        offset = 26 + 3 * colours
        head = b"BM" + struct.pack("<IHHI", offset + 16, 0, 0, offset) + struct.pack("<I", 12)
        found = core.decode_image(head + data + palette[: 3 * colours] + rows)
        table = np.zeros((256, 3), np.uint8)
        table[:colours] = np.frombuffer(palette, np.uint8).reshape(256, 3)[:colours, ::-1]
        indices = np.array([[9, 8, 7, 6, 5, 4], [0, 1, 255, 254, 253, 252]])
        assert np.array_equal(found, table[indices])


def exif_segment(orientation: int, order: str) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(order + "HHIHH", 0x0110, 3, 1, 77, 0)
    entries += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = mark + struct.pack(order + "IH", 8, 2) + entries + struct.pack(order + "I", 0)
    return b"\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation, order):
    plain = encoded(picture(24, 40), "JPEG", quality=95)
    turned = plain[:2] + exif_segment(orientation, order) + plain[2:]
    transposed = ImageOps.exif_transpose(Image.open(io.BytesIO(turned)))
    peer = np.asarray(transposed.convert("RGB"))
    found = core.decode_image(turned)
    assert found.shape == ((40, 24, 3) if orientation >= 5 else (24, 40, 3))
    assert largest_difference(found, peer) <= NOISE_TOLERANCE
    # Exactly the upright pixels of our own decoding, moved.
    moved = ImageOps.exif_transpose(_with_orientation(core.decode_image(plain), orientation))
    assert np.array_equal(found, np.asarray(moved))


def _with_orientation(array: np.ndarray, orientation: int):
    image = Image.fromarray(array)
    image.getexif()[0x0112] = orientation
    return image


def test_orientation_that_cannot_be_read_is_none():
    plain = encoded(picture(24, 40), "JPEG")
    expected = core.decode_image(plain)
    whole = exif_segment(6, "<")
    bad = [exif_segment(0, "<"), exif_segment(9, ">")]
    for cut in range(10, len(whole) - 8):  # the TIFF structure ends early, its segment is right
        bad.append(b"\xff\xe1" + struct.pack(">H", cut - 2) + whole[4:cut])
    bad.append(whole.replace(struct.pack("<I", 8), struct.pack("<I", 0xFFFFFFF0)))
    for segment in bad:
        found = core.decode_image(plain[:2] + segment + plain[2:])
        assert np.array_equal(found, expected)


# -- Bad files -------------------------------------------------------------------------------------


def whole_files() -> dict[str, bytes]:
    array = picture(20, 28)
    return {
        "baseline": encoded(array, "JPEG", quality=60),
        "progressive": encoded(array, "JPEG", quality=60, progressive=True),
        "restarts": encoded(array, "JPEG", quality=60, restart_marker_blocks=2),
        "png": encoded(array, "PNG"),
        "palette png": encoded(array, "PNG", "P"),
        "bmp": encoded(array, "BMP"),
        "palette bmp": encoded(array, "BMP", "P"),
    }


@pytest.mark.parametrize("kind", whole_files())
def test_every_cut_is_noticed(kind):
    data = whole_files()[kind]
    core.decode_image(data)
    for length in range(len(data)):
        with pytest.raises(core.BadFileError) as caught:
            core.decode_image(data[:length], "a picture.x")
        assert str(caught.value).startswith("a picture.x: ")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("baseline", "^x: the JPEG is cut short"),
        ("progressive", "^x: the JPEG is cut short"),
        ("png", "^x: the PNG is cut short"),
        ("bmp", "^x: the BMP is cut short"),
    ],
)
def test_a_cut_is_called_a_cut(kind, sentence):
    data = whole_files()[kind]
    for length in (len(data) // 3, len(data) // 2, len(data) - 1):
        with pytest.raises(core.BadFileError, match=sentence):
            core.decode_image(data[:length], "x")


def test_a_photograph_cut_to_2_percent_is_refused(shared):
    data = (shared / "fundus_fullres" / "fundus1.jpg").read_bytes()
    for share in (0.02, 0.5, 0.99):
        with pytest.raises(core.BadFileError, match="the JPEG is cut short"):
            core.decode_image(data[: int(len(data) * share)])


def test_bytes_after_the_end_are_allowed():
    for data in whole_files().values():
        expected = core.decode_image(data)
        for tail in (b"\0", b"\xff", b"\xff\xd9", b"trailing junk" * 50):
            assert np.array_equal(core.decode_image(data + tail), expected)


def test_missing_restart_markers_are_noticed():
    data = whole_files()["restarts"]
    with pytest.raises(core.BadFileError, match="restart markers"):
        core.decode_image(data.replace(b"\xff\xd0", b""))


def test_jpeg_data_that_end_before_the_picture_are_noticed():
    """A baseline file cut in its data, with an end marker put behind."""
    data = encoded(picture(96, 128), "JPEG", quality=90)
    start = data.index(b"\xff\xda")
    for share in (0.02, 0.3, 0.7, 0.9):
        cut = data[: start + 20 + int((len(data) - start) * share)].rstrip(b"\xff")
        with pytest.raises(core.BadFileError, match="its data end before the picture does"):
            core.decode_image(cut + b"\xff\xd9")


def test_damaged_png_is_noticed():
    data = bytearray(whole_files()["png"])
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(core.BadFileError, match="wrong CRC in the IDAT chunk"):
        core.decode_image(bytes(data))


OTHERS = {
    "empty": (b"", r"^f: is empty \(0 bytes\), expected JPEG, PNG or BMP$"),
    "text": (b"a list of pictures\n", "^f: is text, expected JPEG, PNG or BMP$"),
    "chinese text": ("眼底照片".encode(), "^f: is text, expected"),
    "html": (b"<!DOCTYPE html><html></html>", "^f: is HTML or XML, expected"),
    "noise": (bytes(range(1, 200)), "^f: is not a picture, expected JPEG, PNG or BMP$"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "^f: is a HEIC, expected"),
    "avif": (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "^f: is an AVIF, expected"),
    "pdf": (b"%PDF-1.7\n", "^f: is a PDF, expected"),
    "zip": (b"PK\x03\x04\x14\0\0\0", "^f: is a ZIP archive, expected"),
    "dicom": (b"\0" * 128 + b"DICM\0", "^f: is a DICOM file, expected"),
    "jpeg xl": (b"\xff\x0a\0\0", "^f: is a JPEG XL, expected"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_named(kind):
    data, sentence = OTHERS[kind]
    with pytest.raises(core.BadFileError, match=sentence):
        core.decode_image(data, "f")


@pytest.mark.parametrize(
    ("format", "name"),
    [("GIF", "a GIF"), ("JPEG2000", "a JPEG 2000")],  # TIFF and WebP: test_foreign_pictures.py
)
def test_other_pictures_are_named(format, name):
    try:
        data = encoded(picture(8, 8), format)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {format}")
    with pytest.raises(core.BadFileError, match=f"^f: is {name}, expected JPEG, PNG or BMP$"):
        core.decode_image(data, "f")


def test_huge_sizes_are_refused_before_decoding():
    jpeg = bytearray(whole_files()["baseline"])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65000, 65001)
    with pytest.raises(core.BadFileError, match=r"is too large \(65001 x 65000 pixels"):
        core.decode_image(bytes(jpeg))
    for w, h in [(2**31 - 1, 2**31 - 1), (1, 89478486), (100_000, 100_000)]:
        with pytest.raises(core.BadFileError, match=rf"is too large \({w} x {h} pixels"):
            core.decode_image(png_bytes(w, h, 8, 2, b""))
    bmp = bytearray(whole_files()["bmp"])
    bmp[18:26] = struct.pack("<ii", 2**31 - 1, -(2**31))
    with pytest.raises(core.BadFileError, match="is too large"):
        core.decode_image(bytes(bmp))


def test_sizes_of_nothing_are_refused():
    jpeg = bytearray(whole_files()["baseline"])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 7] = b"\0\0"
    with pytest.raises(core.BadFileError, match="is 28 x 0 pixels, expected at least 1 x 1"):
        core.decode_image(bytes(jpeg))
    with pytest.raises(core.BadFileError, match="is 0 x 3 pixels"):
        core.decode_image(png_bytes(0, 3, 8, 2, b""))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0xC3, "a lossless"),
        (0xC5, "a hierarchical"),
        (0xC9, "an arithmetic-coded"),
        (0xCA, "an arithmetic-coded"),
        (0xF7, "a JPEG-LS"),
    ],
)
def test_other_kinds_of_jpeg_are_named(code, kind):
    data = bytearray(whole_files()["baseline"])
    data[data.index(b"\xff\xc0") + 1] = code
    with pytest.raises(core.BadFileError, match=f"^f: is {kind}"):
        core.decode_image(bytes(data), "f")


def test_12_bit_jpeg_is_named():
    data = bytearray(whole_files()["baseline"])
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(core.BadFileError, match="^f: is a 12-bit JPEG, expected"):
        core.decode_image(bytes(data), "f")


@pytest.mark.parametrize("kind", whole_files())
def test_random_damage_never_crashes(kind):
    data = whole_files()[kind]
    rng = np.random.default_rng(zlib.crc32(kind.encode()))
    for _ in range(150):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            damaged[at] = rng.integers(0, 256)
        if rng.random() < 0.3:
            start = int(rng.integers(0, len(data)))
            del damaged[start : start + int(rng.integers(1, 40))]
        try:
            found = core.decode_image(bytes(damaged))
        except core.BadFileError as error:
            assert str(error).startswith("image: ")
        else:
            assert found.ndim == 3 and found.shape[2] == 3
            # Damage within the pixels may go unnoticed, but always gives the same picture.
            assert np.array_equal(core.decode_image(bytes(damaged)), found)


def test_reading_files(tmp_path: pathlib.Path):
    data = whole_files()["baseline"]
    path = tmp_path / "眼底 фото é" / "病理性近视 0001.jpg"
    path.parent.mkdir()
    path.write_bytes(data)
    expected = core.decode_image(data)
    for name in (path, str(path), os.fsencode(path)):
        assert np.array_equal(core.read_image(name), expected)
    path.write_bytes(data[:100])
    with pytest.raises(core.BadFileError, match="病理性近视 0001.jpg: the JPEG is cut short"):
        core.read_image(path)
    path.write_bytes(b"")
    with pytest.raises(core.BadFileError, match=r"0001.jpg: is empty \(0 bytes\)"):
        core.read_image(path)


def test_files_that_cannot_be_read(tmp_path: pathlib.Path):
    with pytest.raises(FileNotFoundError, match="没有.jpg: cannot be read"):
        core.read_image(tmp_path / "没有.jpg")
    with pytest.raises(IsADirectoryError, match=f"{tmp_path.name}: cannot be read"):
        core.read_image(tmp_path)
    with pytest.raises(TypeError):
        core.read_image(3)
    with pytest.raises(ValueError):
        core.read_image("a\0b")


def test_decoding_from_several_threads():
    files = list(whole_files().values())
    expected = [core.decode_image(data) for data in files]
    wrong = []

    def work(first: int) -> None:
        for i in range(60):
            at = (first + i) % len(files)
            if not np.array_equal(core.decode_image(files[at]), expected[at]):
                wrong.append(at)
            try:
                core.decode_image(files[at][:-30], f"thread {first}")
            except core.BadFileError as error:
                if not str(error).startswith(f"thread {first}: "):
                    wrong.append(str(error))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
