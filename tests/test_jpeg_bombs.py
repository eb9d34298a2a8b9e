"""JPEGs of a few bytes that ask for much: time is bounded by a multiple of bytes and pixels."""

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from squeezenet_c._native import core

BASELINE, PROGRESSIVE = 0xC0, 0xC2
SIDE = 9000


def segment(code: int, data: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(data) + 2) + data


def frame(kind: int, h: int, w: int, components: int = 1) -> bytes:
    entries = b"".join(bytes([i + 1, 0x11, 0]) for i in range(components))
    return segment(kind, struct.pack(">BHHB", 8, h, w, components) + entries)


def tables() -> bytes:
    """One quantisation table, and Huffman tables of one code of one bit: 0, DC difference none and
    AC end of block; for AC also 10, a run of 2^14 blocks without coefficients."""
    dc = bytes([0x00, 1, *[0] * 15, 0])
    ac = bytes([0x10, 1, 1, *[0] * 14, 0x00, 0xE0])
    return segment(0xDB, bytes([0, *[1] * 64])) + segment(0xC4, dc) + segment(0xC4, ac)


def scan(data: bytes, spectrum: tuple[int, int, int], components: tuple[int, ...] = (1,)) -> bytes:
    entries = b"".join(bytes([i, 0]) for i in components)
    return segment(0xDA, bytes([len(components)]) + entries + bytes(spectrum)) + data


def jpeg(*parts: bytes) -> bytes:
    return b"\xff\xd8" + tables() + b"".join(parts) + b"\xff\xd9"


SEQUENTIAL, DC, AC, AC_AGAIN = (0, 63, 0), (0, 0, 0), (1, 63, 1), (1, 63, 0x10)
RUNS = bytes.fromhex("8000") * 78  # a run each


def refused(data: bytes, words: str) -> None:
    start = time.process_time()
    with pytest.raises(core.BadFileError, match=words):
        core.decode_image(data)
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize("kind", [BASELINE, PROGRESSIVE])
def test_a_huge_picture_without_data(kind: int) -> None:
    spectrum = SEQUENTIAL if kind == BASELINE else DC
    data = jpeg(frame(kind, SIDE, SIDE), scan(b"", spectrum))
    assert len(data) < 200
    refused(data, "is cut short .the scan that ends at byte .* has 0 bytes, needs at least")


def test_a_huge_picture_without_dc() -> None:
    refused(jpeg(frame(PROGRESSIVE, SIDE, SIDE), scan(RUNS, AC)), "component without data")


def test_repeated_baseline_scans() -> None:
    black = scan(bytes(16), SEQUENTIAL)
    assert core.decode_image(jpeg(frame(BASELINE, 64, 64), black)).shape == (64, 64, 3)
    refused(jpeg(frame(BASELINE, 64, 64), black * 2), "a colour component scanned twice")
    twice = scan(bytes(64), SEQUENTIAL, (1, 1, 2))
    refused(jpeg(frame(BASELINE, 64, 64, 3), twice), "a colour component scanned twice")


def test_baseline_scans_of_a_component_each() -> None:
    scans = b"".join(scan(bytes(16), SEQUENTIAL, (i,)) for i in (1, 2, 3))
    assert core.decode_image(jpeg(frame(BASELINE, 64, 64, 3), scans)).shape == (64, 64, 3)


def test_a_thousand_progressive_scans() -> None:
    blocks = (SIDE + 7) // 8 * ((SIDE + 7) // 8)
    dc = scan(bytes(blocks // 8 + 1), DC)
    data = jpeg(frame(PROGRESSIVE, SIDE, SIDE), dc, scan(RUNS, AC), scan(RUNS, AC_AGAIN) * 1000)
    refused(data, "far more scans than its size and its data have use for")


@pytest.mark.parametrize("quality", [1, 50, 100])
@pytest.mark.parametrize("content", ["black", "noise", "slope"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_good_files_have_enough(quality: int, content: str, mode: str, progressive: bool) -> None:
    """What libjpeg writes, its codes chosen to be as short as they can be."""
    pixels = np.zeros((200, 333, 3), np.uint8)
    if content == "noise":
        pixels[:] = np.random.default_rng(1).integers(0, 256, pixels.shape)
    elif content == "slope":
        pixels[:] = np.arange(333)[None, :, None] % 256
    stream = io.BytesIO()
    options = {"quality": quality, "optimize": True, "progressive": progressive}
    Image.fromarray(pixels).convert(mode).save(stream, "JPEG", **options)
    found = core.decode_image(stream.getvalue())
    expected = np.asarray(Image.open(stream).convert("RGB"))
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_many_scans_of_real_data_are_read() -> None:
    """Each AC coefficient in a scan of its own is legal, and here has data: noise."""
    blocks = 8 * 8
    scans = b"".join(scan(bytes(blocks // 8), (k, k, 0)) for k in range(1, 64))
    data = jpeg(frame(PROGRESSIVE, 64, 64), scan(bytes(blocks // 8), DC), scans)
    assert core.decode_image(data).shape == (64, 64, 3)
