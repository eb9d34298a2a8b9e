"""The photograph that is decoded and fitted: a real one where it is at hand, else a synthetic one.

Run in a process of its own by run.py; makes a JPEG with Pillow where there is none.
"""

from __future__ import annotations

import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
SIZE = (1736, 1824)  # width and height of a fundus camera's picture


def find(named: Path | None) -> Path | None:
    """The file that was named, or the first full-size photograph in ../shared."""
    if named is not None:
        return named
    return next(iter(sorted(SHARED.glob("fundus_fullres/*.jpg"))), None)


def write_synthetic(path: Path) -> None:
    from PIL import Image

    from squeezenet_c import synthetic

    picture = Image.fromarray(synthetic.draw(1, 0, max(SIZE))).resize(SIZE)
    picture.save(path, quality=90)


if __name__ == "__main__":
    write_synthetic(Path(sys.argv[1]))
