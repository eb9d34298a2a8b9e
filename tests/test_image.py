"""Pictures: decoding, resizing, flips, normalising. Pillow is the peer."""

from __future__ import annotations

import io
import os
import pathlib
import struct
import threading
import zlib

import numpy as np
import pytest

from squeezenet_c._native import core

Image = pytest.importorskip("PIL.Image", reason="Pillow, the peer of these tests, is missing")
ImageOps = pytest.importorskip("PIL.ImageOps")
PIL = pytest.importorskip("PIL")

PILLOW_MAJOR = int(PIL.__version__.split(".")[0])

# JPEG decoders may differ in rounding (inverse DCT, colour, upsampling): stb_image against
# libjpeg-turbo measured at most 3 of 255 on the photographs (mean 0.02) and 8 on the noise here.
PHOTO_TOLERANCE, NOISE_TOLERANCE = 4, 10


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


def pillow_resize(array: np.ndarray, h: int, w: int) -> np.ndarray:
    return np.asarray(Image.fromarray(array).resize((w, h), Image.Resampling.BICUBIC))


def pillow_fit(array: np.ndarray, size: int) -> np.ndarray:
    """The tutorial's square, with the one pixel that the thinnest pictures keep."""
    h, w = array.shape[:2]
    scale = size / max(h, w)
    new_w, new_h = max(1, int(w * scale)), max(1, int(h * scale))
    square = Image.new("RGB", (size, size), (0, 0, 0))
    resized = Image.fromarray(array).resize((new_w, new_h), Image.Resampling.BICUBIC)
    square.paste(resized, ((size - new_w) // 2, (size - new_h) // 2))
    return np.asarray(square)


def order_depends_on_pillow(h: int, w: int, new_h: int, new_w: int) -> bool:
    """Pillow 13 takes the columns first here, earlier versions never do."""
    return PILLOW_MAJOR < 13 and h - new_h > 2 * max(0, w - new_w)


# -- Resizing --------------------------------------------------------------------------------------


def test_resize_equals_pillow_on_random_sizes():
    rng = np.random.default_rng(7)
    compared = 0
    for _ in range(250):
        h, w, new_h, new_w = (int(side) for side in np.exp(rng.uniform(0, 5.6, 4)))
        if order_depends_on_pillow(h, w, new_h, new_w):
            continue
        array = rng.integers(0, 256, (h, w, 3), np.uint8)
        found = core.resize_image(array, new_h, new_w)
        assert np.array_equal(found, pillow_resize(array, new_h, new_w)), (h, w, new_h, new_w)
        compared += 1
    assert compared >= 100


@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (7, 1), (2, 300), (300, 2), (5, 5)])
def test_resize_equals_pillow_between_extremes(sides):
    rng = np.random.default_rng(1)
    array = rng.integers(0, 256, (*sides, 3), np.uint8)
    for new_h, new_w in [(1, 1), (1, 400), (400, 1), (5, 5), sides, (sides[0], 9), (9, sides[1])]:
        if not order_depends_on_pillow(*sides, new_h, new_w):
            found = core.resize_image(array, new_h, new_w)
            assert np.array_equal(found, pillow_resize(array, new_h, new_w)), (new_h, new_w)


def test_resize_overshoots_are_clipped():
    array = np.zeros((8, 8, 3), np.uint8)
    array[:, 4:] = 255
    found = core.resize_image(array, 32, 32)
    assert np.array_equal(found, pillow_resize(array, 32, 32))
    assert found.min() == 0 and found.max() == 255


def test_resize_and_fit_equal_pillow_on_photographs(shared):
    for path in sorted((shared / "fundus_fullres").glob("*.jpg")):
        array = np.array(Image.open(path).convert("RGB"))
        h, w = array.shape[:2]
        for new_h, new_w in [(224, 213), (223, 224), (h, 224), (224, w), (900, 1000), (50, 1000)]:
            if not order_depends_on_pillow(h, w, new_h, new_w):
                found = core.resize_image(array, new_h, new_w)
                assert np.array_equal(found, pillow_resize(array, new_h, new_w)), (new_h, new_w)
        for size in (224, 227, 64):
            assert np.array_equal(core.fit_image(array, size), pillow_fit(array, size))


def test_fit_equals_pillow_on_palm(palm_folder):
    paths = sorted(palm_folder.rglob("*.jpg"))[::50]
    assert paths
    for path in paths:
        array = np.array(Image.open(path).convert("RGB"))
        for size in (224, 100, 300):
            assert np.array_equal(core.fit_image(array, size), pillow_fit(array, size))


def test_fit_equals_pillow_on_random_sizes():
    rng = np.random.default_rng(3)
    for _ in range(100):
        h, w = (int(side) for side in np.exp(rng.uniform(0, 6.3, 2)))
        scale = 224 / max(h, w)
        if order_depends_on_pillow(h, w, max(1, int(h * scale)), max(1, int(w * scale))):
            continue
        array = rng.integers(0, 256, (h, w, 3), np.uint8)
        assert np.array_equal(core.fit_image(array, 224), pillow_fit(array, 224)), (h, w)


def test_fit_keeps_the_tutorials_223():
    """int() cuts 224.0 / side * side where that rounds below 224: for 526 sides below 6000."""
    short = [side for side in range(1, 6000) if int(side * (224.0 / side)) == 223]
    assert len(short) == 526
    for side in short[:12]:
        square = core.fit_image(np.full((side, side, 3), 255, np.uint8), 224)
        lit = square[:, :, 0] > 0
        assert lit.any(axis=0).sum() == 223 and lit.any(axis=1).sum() == 223
        assert np.array_equal(square, pillow_fit(np.full((side, side, 3), 255, np.uint8), 224))
    assert (core.fit_image(np.full((224, 224, 3), 9, np.uint8), 224) == 9).all()


def test_fit_keeps_one_pixel_of_a_thin_picture():
    square = core.fit_image(np.full((2000, 1, 3), 255, np.uint8), 224)
    assert (square[:, :, 1] > 0).sum() == 224


def test_resize_takes_arrays_that_are_not_contiguous():
    array = picture(40, 60)
    views = [array[::2, ::3], array[::-1], array.transpose(1, 0, 2), np.asfortranarray(array)]
    for view in views:
        expected = core.resize_image(np.ascontiguousarray(view), 17, 19)
        assert np.array_equal(core.resize_image(view, 17, 19), expected)
    frozen = picture(4, 4)
    frozen.flags.writeable = False
    assert core.resize_image(frozen, 2, 2).flags.writeable


@pytest.mark.parametrize(
    ("image", "error", "sentence"),
    [
        ([[1]], TypeError, "image is a list, expected a NumPy array of uint8"),
        (np.zeros((2, 2, 3)), TypeError, "image is an array of float64, expected uint8"),
        (
            np.zeros((2, 2), np.uint8),
            ValueError,
            r"image has shape \(2, 2\), expected \(height, width, 3\) with sides of at least 1",
        ),
        (
            np.zeros((2, 2, 4), np.uint8),
            ValueError,
            r"image has shape \(2, 2, 4\), expected \(height, width, 3\)",
        ),
        (np.zeros((0, 2, 3), np.uint8), ValueError, r"image has shape \(0, 2, 3\), expected"),
        (np.zeros((2, 0, 3), np.uint8), ValueError, r"image has shape \(2, 0, 3\), expected"),
    ],
)
def test_resize_refuses_other_arrays(image, error, sentence):
    with pytest.raises(error, match=sentence):
        core.resize_image(image, 3, 3)
    with pytest.raises(error, match=sentence):
        core.fit_image(image, 3)


def test_resize_refuses_other_sizes():
    array = picture(3, 3)
    with pytest.raises(ValueError, match="height is 0 and width is 3, expected at least 1 each"):
        core.resize_image(array, 0, 3)
    with pytest.raises(ValueError, match="height is 3 and width is -1"):
        core.resize_image(array, 3, -1)
    with pytest.raises(ValueError, match="size is 0, expected at least 1"):
        core.fit_image(array, 0)


# -- Decoding --------------------------------------------------------------------------------------


def test_decoding_photographs(shared, palm_folder):
    paths = [*sorted((shared / "fundus_fullres").glob("*.jpg"))]
    paths += sorted(palm_folder.rglob("*.jpg"))[::60]
    for path in paths:
        peer = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        found = core.read_image(path)
        assert found.dtype == np.uint8 and found.flags.c_contiguous and found.flags.writeable
        assert largest_difference(found, peer) <= PHOTO_TOLERANCE, path
        assert np.array_equal(core.decode_image(path.read_bytes()), found)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("sides", [(1, 1), (7, 9), (16, 33), (70, 51)])
def test_decoding_jpeg(progressive, subsampling, sides):
    data = encoded(
        picture(*sides), "JPEG", quality=90, progressive=progressive, subsampling=subsampling
    )
    found, peer = core.decode_image(data), pillow_rgb(data)
    assert found.shape == peer.shape
    if subsampling == 1:  # stb_image interpolates the last chroma column of 4:2:2 otherwise
        found, peer = found[:, :-2], peer[:, :-2]
    if found.size:
        assert largest_difference(found, peer) <= NOISE_TOLERANCE


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("blocks", [1, 3, 8])
def test_decoding_jpeg_with_restart_markers(progressive, blocks):
    options = {"quality": 80, "restart_marker_blocks": blocks, "progressive": progressive}
    data = encoded(picture(50, 70), "JPEG", **options)
    assert b"\xff\xd0" in data
    assert largest_difference(core.decode_image(data), pillow_rgb(data)) <= NOISE_TOLERANCE


def test_decoding_grey_jpeg():
    data = encoded(picture(30, 41), "JPEG", "L", quality=90)
    found = core.decode_image(data)
    assert (found[..., 0] == found[..., 1]).all() and (found[..., 1] == found[..., 2]).all()
    assert largest_difference(found, pillow_rgb(data)) <= NOISE_TOLERANCE


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
    [("GIF", "a GIF"), ("TIFF", "a TIFF"), ("WEBP", "a WebP"), ("JPEG2000", "a JPEG 2000")],
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
    for w, h in [(2**31 - 1, 2**31 - 1), (1, 178956971), (100_000, 100_000)]:
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
    with pytest.raises(FileNotFoundError, match="没有.jpg: cannot be opened"):
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


# -- Flips, normalising, shuffling -----------------------------------------------------------------


def test_flips_are_fair_and_functions_of_their_arguments():
    flips = core.augment_flips(0, 0, np.arange(40000))
    assert flips.dtype == np.uint8 and flips.max() == 3
    # 10000 expected of each; 5 standard deviations are 433.
    assert (np.abs(np.bincount(flips, minlength=4) - 10000) < 433).all()
    assert np.array_equal(core.augment_flips(0, 0, [39999, 7, 7]), flips[[39999, 7, 7]])
    for seed, epoch in [(1, 0), (0, 1), (2**64 - 1, 2**40)]:
        other = core.augment_flips(seed, epoch, np.arange(40000))
        assert 0.2 < (other == flips).mean() < 0.3
    assert core.augment_flips(0, 0, []).shape == (0,)


def test_flips_refuse_other_arguments():
    with pytest.raises(ValueError, match=r"seed is -1, expected an integer from 0 to 2\*\*64 - 1"):
        core.augment_flips(-1, 0, [1])
    with pytest.raises(ValueError, match="epoch is 18446744073709551616, expected"):
        core.augment_flips(0, 2**64, [1])
    with pytest.raises(ValueError, match=r"indices\[1\] is -3, expected at least 0"):
        core.augment_flips(0, 0, [1, -3])
    with pytest.raises(TypeError):
        core.augment_flips(0.5, 0, [1])


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def expected_normalised(pictures: np.ndarray, flips: np.ndarray | None) -> np.ndarray:
    x = pictures.copy()
    for i, flip in enumerate(flips if flips is not None else []):
        if flip & 1:
            x[i] = x[i][:, ::-1]
        if flip & 2:
            x[i] = x[i][::-1]
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    return ((x.astype(np.float32) / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)


def test_normalise_is_exactly_the_formula():
    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 256, (9, 13, 17, 3), np.uint8)
    found = core.normalise(pictures, MEAN, STD)
    assert found.dtype == np.float32 and found.shape == (9, 3, 13, 17)
    assert np.array_equal(found, expected_normalised(pictures, None))
    flips = np.arange(9, dtype=np.uint8) % 4
    expected = expected_normalised(pictures, flips)
    assert np.array_equal(core.normalise(pictures, MEAN, STD, flips), expected)
    assert np.array_equal(core.normalise(pictures[:, ::-1, ::-1], MEAN, STD, 3 - flips), expected)
    assert core.normalise(pictures[:0], MEAN, STD).shape == (0, 3, 13, 17)


def test_normalise_does_not_depend_on_threads():
    pictures = np.random.default_rng(4).integers(0, 256, (7, 20, 30, 3), np.uint8)
    threads = core.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            core.set_num_threads(count)
            results.append(core.normalise(pictures, MEAN, STD, np.full(7, 1, np.uint8)))
    finally:
        core.set_num_threads(threads)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_normalise_refuses_other_arguments():
    pictures = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"pictures has shape \(4, 4, 3\), expected \(N, height"):
        core.normalise(pictures[0], MEAN, STD)
    with pytest.raises(TypeError, match="pictures is an array of float32, expected uint8"):
        core.normalise(pictures.astype(np.float32), MEAN, STD)
    with pytest.raises(ValueError, match="mean has 2 numbers, expected 3"):
        core.normalise(pictures, (0.5, 0.5), STD)
    with pytest.raises(ValueError, match=r"std\[1\] is 0, expected a finite number above 0"):
        core.normalise(pictures, MEAN, (1, 0, 1))
    with pytest.raises(ValueError, match=r"mean\[0\] is nan, expected a finite number$"):
        core.normalise(pictures, (float("nan"), 0, 0), STD)
    with pytest.raises(ValueError, match="flips has 3 values for 2 pictures"):
        core.normalise(pictures, MEAN, STD, np.zeros(3, np.uint8))
    with pytest.raises(TypeError, match="flips is an array of int64, expected uint8"):
        core.normalise(pictures, MEAN, STD, np.zeros(2, np.int64))


def test_shuffle_is_a_permutation_of_its_seed_and_epoch():
    order = core.shuffle(1000, 3, 0)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(1000))
    assert np.array_equal(order, core.shuffle(1000, 3, 0))
    assert not np.array_equal(order, core.shuffle(1000, 3, 1))
    assert not np.array_equal(order, core.shuffle(1000, 4, 0))
    assert core.shuffle(0, 0, 0).shape == (0,) and core.shuffle(1, 0, 0).tolist() == [0]
    with pytest.raises(ValueError, match="count is -1, expected 0 to"):
        core.shuffle(-1, 0, 0)


def test_shuffle_is_fair():
    """Each of the 24 orders of 4, 400 times of 9600; 5 standard deviations are 98."""
    seen = [tuple(core.shuffle(4, 0, epoch)) for epoch in range(9600)]
    counts = [seen.count(order) for order in set(seen)]
    assert len(counts) == 24 and max(abs(count - 400) for count in counts) < 98
