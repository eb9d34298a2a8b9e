"""Where figures and weights come from: which pictures, which software, which machine.

A model keeps what is said here of its training, in its file; a report says it of itself too. In a
model's file nothing stands that differs between two runs that end in the same weights: no date, no
command, no number of threads. Those are in the run's folder (args.yaml) and in reports.
"""

import hashlib
import os
import platform
from datetime import datetime, timezone
from typing import Any

import numpy as np

from .._native import core
from .._version import __version__
from ..base.read import open_regular
from .dataset import Dataset

CHUNK_BYTES = 1 << 20


def software() -> dict[str, str]:
    """The versions, and what on this machine the bits of a result depend on."""
    built = core.build_info()
    return {
        "squeezenet_c": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onednn": built["onednn_version"] or "none",
        "backend": built["backend"],
        "isa": built["isa"],
        "system": f"{platform.system()} {platform.machine()}",
    }


def now() -> str:
    """The date and time, UTC, as ISO 8601 has them."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, as sha256sum prints it. OSError, BadFileError: it
    cannot be read."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def data_of(dataset: Dataset) -> dict[str, Any]:
    """How many pictures, and a SHA-256 of what they are: of the lines "HASH NAME CLASS" (the
    SHA-256 of the file's bytes, its name without folders, the number of its class), sorted, each
    ended by a newline. So it is the same wherever the folder lies and in whatever order it was
    listed. The hash of a file that is no longer there is "-", that of a picture in memory one of
    its shape and pixels."""
    in_memory = dataset.known_by == "pixels"
    hashes = dataset.identities if in_memory else map(_hash_or_dash, dataset.paths)
    lines = sorted(
        f"{hashed} {os.path.basename(path)} {label}\n"
        for hashed, path, label in zip(hashes, dataset.paths, dataset.labels.tolist(), strict=True)
    )
    text = "".join(lines).encode("utf-8", "surrogateescape")
    return {"pictures": len(lines), "sha256": hashlib.sha256(text).hexdigest()}


def _hash_or_dash(path: str) -> str:
    try:
        return file_hash(path)
    except (OSError, ValueError):
        return "-"


def training_of(dataset: Dataset, seed: int) -> dict[str, Any]:
    """What a model keeps of the training that made its weights."""
    return {"data": data_of(dataset), "seed": seed, **software()}


def lines_of(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of all that it says, of nested ones by "outer inner"."""
    rows: list[tuple[str, str]] = []
    for name, value in provenance.items():
        if isinstance(value, dict):
            rows += [(f"{name} {inner}", text) for inner, text in lines_of(value)]
        elif value is not None:
            rows.append((str(name), str(value)))
    return rows
