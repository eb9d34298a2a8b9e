"""How large a picture may be, and what is said where there is no memory for it."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from squeezenet_c._native import core

Image = pytest.importorskip("PIL.Image", reason="Pillow, the peer of these tests, is missing")


def encoded(array: np.ndarray, format: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).convert(mode).save(stream, format, **options)
    return stream.getvalue()


def test_the_limit_on_pixels_can_be_set(tmp_path: Path) -> None:
    assert core.get_max_pixels() == 89478485 == Image.MAX_IMAGE_PIXELS
    data = encoded(np.zeros((5, 8, 3), np.uint8), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    store = core.PictureStore([tmp_path / "a.png"], 4)
    try:
        core.set_max_pixels(39)
        sentence = "8 x 5 pixels, expected at most 39 in all, which set_max_pixels changes"
        with pytest.raises(core.BadFileError, match=sentence):
            core.decode_image(data)
        with pytest.raises(core.BadFileError, match=r"a\.png: is too large"):
            store.picture(0)
        core.set_max_pixels(40)
        assert core.decode_image(data).shape == (5, 8, 3)
        assert store.picture(0).shape == (4, 4, 3)
        core.set_max_pixels(250_000_000)
        header = b"IHDR" + struct.pack(">II", 15625, 16000) + data[24:29]
        huge = data[:12] + header + struct.pack(">I", zlib.crc32(header))
        with pytest.raises(core.BadFileError, match="is cut short"):  # and not too large
            core.decode_image(huge)
    finally:
        core.set_max_pixels(89478485)
    for wrong in (0, -1, 250_000_001, 2**70, -(2**70)):
        with pytest.raises(ValueError, match="max_pixels is .*, expected 1 to 250000000"):
            core.set_max_pixels(wrong)
    with pytest.raises(TypeError):
        core.set_max_pixels(1.5)


OUT_OF_MEMORY = """
import resource, sys
from squeezenet_c._native import core
data = [open(path, "rb").read() for path in sys.argv[1:]]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
decoded = refused = 0
for allowed in range(0, 8 << 20, 1 << 18):
    resource.setrlimit(resource.RLIMIT_AS, (used + allowed, resource.RLIM_INFINITY))
    for i in range(len(data)):
        try:
            core.decode_image(data[i], "it")
            decoded += 1
        except MemoryError as error:
            assert "out of memory" in str(error), error
            refused += 1
assert decoded > 20 and refused > 20, (decoded, refused)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures itself in /proc")
def test_out_of_memory_is_not_damage(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 600, 3), np.uint8)
    files = {
        "a.png": encoded(pixels, "PNG"),
        "b.png": encoded(pixels, "PNG", mode="P"),
        "c.jpg": encoded(pixels, "JPEG"),
        "d.jpg": encoded(pixels, "JPEG", progressive=True),
        "e.bmp": encoded(pixels, "BMP"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", OUT_OF_MEMORY, *files]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    subprocess.run(command, check=True, timeout=60, cwd=tmp_path, env=environment)
