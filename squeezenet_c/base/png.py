"""Pixels as a PNG file."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """An (H, W, 3) uint8 picture as a PNG file (ISO/IEC 15948): no filter, one data chunk."""
    h, w = picture.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    rows = np.zeros((h, 1 + 3 * w), np.uint8)  # each row begins with its filter, 0
    rows[:, 1:] = picture.reshape(h, 3 * w)
    header = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)  # 8 bits, RGB
    data = chunk(b"IDAT", zlib.compress(rows.tobytes(), 3))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")
