"""What the harnesses begin with: small files of every form that the library reads, made of drawn
pictures and tiny models. Run by itself: writes them into a folder."""

from __future__ import annotations

import argparse
import io
import json
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import squeezenet_c as sq  # noqa: E402
from squeezenet_c._native import core  # noqa: E402

Seeds = dict[str, bytes]


def drawn(h: int, w: int) -> np.ndarray:
    return sq.synthetic.draw(1, size=max(h, w))[:h, :w]


# -- Pictures --------------------------------------------------------------------------------------


def _saved(picture: np.ndarray, kind: str, mode: str = "RGB", **options: Any) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def _orientation(number: int, order: str) -> bytes:
    """EXIF's APP1 segment with this alone."""
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, number, 0)
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 1) + entry
    data = b"Exif\0\0" + tiff + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


def _jpegs() -> Seeds:
    picture, found = drawn(24, 33), {}
    for progressive in (False, True):
        for mode in ("RGB", "L", "CMYK"):
            for sampling in (0, 1, 2):
                name = f"{mode}-{sampling}-{'progressive' if progressive else 'baseline'}"
                options = {"subsampling": sampling, "progressive": progressive}
                found[name] = _saved(picture, "JPEG", mode, quality=60, **options)
        found[f"restart-{progressive}"] = _saved(
            picture, "JPEG", restart_marker_blocks=2, progressive=progressive
        )
    upright = found["RGB-2-baseline"]
    for number in range(1, 10):
        segment = _orientation(number, "<>"[number % 2])
        found[f"orientation-{number}"] = upright[:2] + segment + upright[2:]
    adobe = found["CMYK-0-baseline"].index(b"\xff\xee")
    found["no-adobe"] = found["CMYK-0-baseline"][:adobe] + found["CMYK-0-baseline"][adobe + 16 :]
    for number in (1, 3, 0x82):  # Adobe's transform; of three components it is the decoder's
        found[f"adobe-{number}"] = found["CMYK-0-baseline"][: adobe + 15] + bytes([number])
        found[f"adobe-{number}"] += found["CMYK-0-baseline"][adobe + 16 :]
    frame = upright.index(b"\xff\xc0")
    for code in (0xC3, 0xC5, 0xC8, 0xC9, 0xF7):  # kinds that are not read
        found[f"kind-{code:x}"] = upright[: frame + 1] + bytes([code]) + upright[frame + 2 :]
    found["12-bit"] = upright[: frame + 4] + b"\x0c" + upright[frame + 5 :]
    found["restart-length"] = upright[:2] + b"\xff\xdd\0\3\0" + upright[2:]
    found["ends-in-marker"] = upright[:frame] + b"\xff"
    found["ends-in-length"] = upright[: frame + 2]
    for side in (1, 2):
        found[f"narrow-{side}"] = _saved(drawn(9, 9)[:, :side], "JPEG", subsampling=2)
    found |= {f"bomb-{i}": data for i, data in enumerate(_jpeg_bombs())}
    found["fill-bytes"] = upright[:2] + b"\xff\xff\xff" + upright[2:]
    return found


def _jpeg_bombs() -> list[bytes]:
    """Of a few bytes, which ask for much: those of tests/test_jpeg_bombs.py, small."""
    import test_jpeg_bombs as bombs

    dc = bombs.scan(bytes(9), bombs.DC)
    again = bombs.scan(bombs.RUNS, bombs.AC_AGAIN)
    frame = bombs.frame(bombs.PROGRESSIVE, 64, 64)
    return [
        bombs.jpeg(frame, bombs.scan(bombs.RUNS, bombs.AC)),
        bombs.jpeg(frame, dc, bombs.scan(bombs.RUNS, bombs.AC), again * 400),
    ]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(depth: int, colour: int, interlaced: bool) -> bytes:
    """Of 9 x 7 pixels: all is noise, the rows' filters too."""
    w, h = 9, 7
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)]
        passes += [(1, 0, 2, 2), (0, 1, 1, 2)]
    random, rows = np.random.RandomState(depth * 8 + colour), b""
    for x, y, across, down in passes:
        columns, lines = -(-(w - x) // across), -(-(h - y) // down)
        for line in range(lines if columns > 0 else 0):
            rows += bytes([line % 5]) + random.bytes((columns * channels * depth + 7) // 8)
    header = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlaced)
    palette = _chunk(b"PLTE", random.bytes(3 * (1 << depth))) if colour == 3 else b""
    data = zlib.compress(rows)
    half = len(data) // 2
    chunks = _chunk(b"IHDR", header) + palette + _chunk(b"tEXt", b"a\0b")
    chunks += _chunk(b"IDAT", data[:half]) + _chunk(b"IDAT", data[half:]) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _bomb(png: bytes) -> bytes:
    """The same header, and 200 kB of zeros."""
    data = _chunk(b"IDAT", zlib.compress(bytes(200_000)))
    return png[:33] + data + _chunk(b"IEND", b"")


def _pngs() -> Seeds:
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    return {
        f"png-{colour}-{depth}-{interlaced:d}": _png(depth, colour, interlaced)
        for colour, all_depths in depths.items()
        for depth in all_depths
        for interlaced in (False, True)
    } | {
        "png-stored": _saved(drawn(9, 9), "PNG", compress_level=0),
        "png-bomb": _bomb(_png(8, 0, False)),
        "png-wide": _saved(np.zeros((1, 200_000, 3), np.uint8), "PNG", "L"),
    }


def _bmps() -> Seeds:
    found = {f"bmp-{mode}": _saved(drawn(9, 11), "BMP", mode) for mode in ("RGB", "RGBA", "L", "1")}
    whole = found["bmp-RGB"]
    found["bmp-top-first"] = whole[:22] + struct.pack("<i", -9) + whole[26:]
    found["bmp-gap"] = whole[:10] + struct.pack("<I", 70) + whole[14:54] + bytes(16) + whole[54:]
    core_header = struct.pack("<IHHHH", 12, 2, 2, 1, 24)
    found["bmp-core"] = b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + core_header + bytes(range(16))
    core_header = struct.pack("<IHHHH", 12, 9, 2, 1, 4)
    palette = bytes(range(48))
    found["bmp-core-4"] = (
        b"BM" + struct.pack("<IHHI", 0, 0, 0, 26 + 48) + core_header + palette + bytes(range(16))
    )
    for bits in (16, 32):
        masks = {16: (0xF800, 0x7E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}[bits]
        header = struct.pack("<IiiHHIIiiII", 40, 3, 2, 1, bits, 3, 0, 0, 0, 0, 0)
        start = b"BM" + struct.pack("<IHHI", 0, 0, 0, 66) + header + struct.pack("<III", *masks)
        found[f"bmp-masks-{bits}"] = start + bytes(range(24))
    for header_bytes in (56, 108, 124):
        header = struct.pack("<IiiHHII", header_bytes, 2, 2, 1, 32, 3, 0).ljust(40, b"\0")
        header += struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
        start = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + header_bytes)
        found[f"bmp-{header_bytes}"] = start + header.ljust(header_bytes, b"\0") + bytes(range(16))
    return found


def _other_kinds() -> Seeds:
    """What is told by its first bytes to be no picture of ours."""
    starts = [b"", b"GIF89a", b"II*\0", b"%PDF-1.7", b"PK\3\4", b"\x1f\x8b", b"8BPS", b"<html>"]
    starts += [bytes(4) + b"ftypavif", bytes(4) + b"ftypmif1", b"RIFF....WEBP", b"text\n"]
    starts += [bytes(128) + b"DICM", b"\xff\x4f\xff\x51", b"\xff\x0a", bytes(9), b"\x89PNG"]
    return {f"other-{number}": start for number, start in enumerate(starts)}


def pictures() -> Seeds:
    return _jpegs() | _pngs() | _bmps() | _other_kinds()


# -- Model files -----------------------------------------------------------------------------------


def _safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors() -> Seeds:
    header: dict[str, Any] = {"__metadata__": {"spec": '{"a": 1}', "眼": "\u0001\n"}}
    at = 0
    for number, (dtype, size) in enumerate((("F32", 4), ("F16", 2), ("BF16", 2), ("U8", 1))):
        shape = [2, 3] if number % 2 else [5]
        end = at + size * int(np.prod(shape))
        header[f"features.{number}"] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    header["last"] = {"dtype": "I8", "shape": [], "data_offsets": [at, at + 1]}
    header["empty"] = {"dtype": "F32", "shape": [0, 3], "data_offsets": [at, at]}
    data = np.random.RandomState(1).bytes(at + 1)
    whole = _safetensors(header, data)
    many = {f"t{i}": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i in range(70)}
    pairs = {"__metadata__": {f"k{i}": "v" for i in range(70)}}
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    wrong = [
        {"a": one | {"dtype": "F64"}},
        {"a": one | {"shape": [1] * 9}},
        {"a": one | {"shape": [1 << 62, 1 << 62]}},
        {"a": one | {"data_offsets": [0, 4, 8]}},
        {"a": one | {"data_offsets": [4, 0]}},
        {"a": one | {"data_offsets": []}},
        {"a": one | {"more": 1}},
        {"a": one | {"shape": [2]}},
        {"a": {"dtype": "F32"}},
        {"a": one, "b": one},
        {},
    ]
    return {
        "whole": whole,
        "cut": whole[:-1],
        "many": _safetensors(many, bytes(70)),
        "pairs": _safetensors(pairs),
        "twice": _safetensors(b'{"a":{"dtype":"U8","dtype":"U8"}}'),
        "same": _safetensors(
            b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
            b'"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
        ),
        "metadata-twice": _safetensors(b'{"__metadata__":{},"__metadata__":{"a":"b","a":"b"}}'),
        "array": _safetensors(b"[1]"),
        "short": b"\1",
        "long": struct.pack("<Q", 1 << 40) + b"{}",
        **{f"wrong-{i}": _safetensors(said, bytes(4)) for i, said in enumerate(wrong)},
    }


def json_texts() -> Seeds:
    texts = [
        '{"a": [1, 2, {"b": "c"}], "d": {}, "e": [], "f": 9223372036854775807}',
        r'"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"',
        '["眼底", "é", "😀", 0, 01, -1, 1.5, 1e3]',
        '"\\ud800"',
        '"\\u0000"',
        '"\\x"',
        "[[[[[[",
        '{"a" 1}',
        " 12 \t\r\n",
    ]
    found = {f"text-{number}": text.encode() for number, text in enumerate(texts)}
    return found | {"latin": b'"\xe9"', "overlong": b'"\xc0\x80"', "surrogate": b'"\xed\xa0\x80"'}


def codes() -> Seeds:
    random, found = np.random.RandomState(2), {}
    for values in (1, 2, 5, 15):
        for density in (0.0, 0.02, 0.3, 1.0):
            book = random.permutation(np.r_[-127:0, 1:128])[:values]
            weights = random.choice(book, 400) * (random.random_sample(400) < density)
            stream = core.encode_weights(weights.astype(np.int8))
            found[f"{values}-{density}"] = struct.pack("<I", 400)[:3] + stream
    return found


def deep_compression() -> Seeds:
    """Of the network in harnesses/deep_compression.c."""
    shapes = core.parameter_shapes("1_1", 1, base_e=2, incr_e=0)
    random, found = np.random.RandomState(3), {}
    weights = [int(np.prod(shape)) for shape in shapes.values() if len(shape) == 4]
    biases = [shape[0] for shape in shapes.values() if len(shape) == 1]
    for name, share in (("few", 8), ("all", 1)):
        counts = [max(1, count // share) for count in weights]
        data = struct.pack(f"<{len(counts)}I", *counts)
        for codes_here, outputs in zip(counts, biases, strict=True):
            book = np.r_[0, random.standard_normal(255)].astype("<f4")
            data += book.tobytes() + random.standard_normal(outputs).astype("<f4").tobytes()
            data += random.bytes(codes_here) + bytes((codes_here + 1) // 2)
        found[name] = data
    return found


# -- Exported files --------------------------------------------------------------------------------


def engine() -> Seeds:
    """How many rows, then their bytes."""
    from builder import MODEL_SIDE

    picture = drawn(MODEL_SIDE, MODEL_SIDE).tobytes()
    found = {f"rows-{rows}": bytes([rows]) + picture[:96] for rows in (0, 1, 39, 40, 41, 79)}
    return found | {"drawn": b"\xff" + picture, "white": b"\xff\xff", "black": b"\xff\0"}


def program() -> Seeds:
    def ppm(h: int, w: int) -> bytes:
        return b"P6\n%d %d\n255\n" % (w, h) + drawn(h, w).tobytes()

    found = {f"{h}x{w}": ppm(h, w) for h, w in ((40, 40), (7, 60), (90, 11), (1, 1), (64, 50))}
    found["comments"] = b"P6 # a\n#b\n3 2\t255 " + bytes(18)
    return found | {
        "cut": found["7x60"][:-1],
        "large": b"P6 30000 65536 255\n",
        "P5": b"P5 1 1 255 ",
    }


def augment() -> Seeds:
    """As harnesses/augment.c takes it apart: sides, flags, a seed, an epoch and an index, ranges, a
    change that is drawn, and the picture."""
    found = {}
    for number, ranges in enumerate(([0.0] * 8, [180, 0.5, 0.5, 1, 1, 1, 0.5, 1], [15, 0.1] * 4)):
        head = struct.pack("<3B3Q8d", 24, 31, 7 * (number > 0), number, 2, 3, *ranges)
        change = struct.pack(
            "<25i", 3, 1, 65536, 0, 1 << 15, 0, 65536, 9, 1, *range(10), 2, 3, 9, 7, 1, 2
        )
        found[f"ranges-{number}"] = head + change + drawn(25, 32).tobytes()
    return found


MAKERS: dict[str, Callable[[], Seeds]] = {
    "pictures": pictures,
    "augment": augment,
    "safetensors": safetensors,
    "json": json_texts,
    "codes": codes,
    "deep_compression": deep_compression,
    "engine": engine,
    "program": program,
}


def write(seeds: Seeds, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args().folder
    for harness in MAKERS:
        write(MAKERS[harness](), chosen / harness)
