"""What the build takes from elsewhere: oneDNN, and the header stb_image.h.

Each function returns what it found, or raises Missing with one sentence that says what to do.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ONEDNN_VERSION = "2023.2.0"
ONEDNN_HEADERS = "onednn-devel-cpu-gomp"  # distributions on PyPI
ONEDNN_LIBRARY = "onednn-cpu-gomp"

STB_VERSION = "0.8.0"  # of the distribution libstb, which carries stb_image.h 2.30
STB_MEMBER = "src/third_party/stb/stb_image.h"
STB_SHA256 = "594c2fe35d49488b4382dbfaec8f98366defca819d916ac95becf3e75f4200b3"


class Missing(Exception):
    """Something the build needs is not there."""


@dataclass(frozen=True)
class OneDnn:
    include: Path  # holds oneapi/dnnl/dnnl.h
    library: Path  # libdnnl.so.3


def onednn_wanted() -> bool:
    """Whether this build shall have oneDNN: on x86-64 Linux, unless SQZ_ONEDNN=0."""
    choice = os.environ.get("SQZ_ONEDNN", "")
    if choice not in ("", "0", "1"):
        raise Missing(f'SQZ_ONEDNN is "{choice}", expected 1 or 0 (without oneDNN)')
    available = sys.platform == "linux" and platform.machine() == "x86_64"
    if choice == "1" and not available:
        raise Missing("SQZ_ONEDNN=1, but oneDNN is used on x86-64 Linux only: leave SQZ_ONEDNN out")
    return available and choice != "0"


def find_onednn() -> OneDnn:
    """oneDNN's header and library, wherever the environment that builds keeps them."""
    header = _installed_file(ONEDNN_HEADERS, "oneapi/dnnl/dnnl.h")
    library = _installed_file(ONEDNN_LIBRARY, "libdnnl.so.3")
    for distribution, path in ((ONEDNN_HEADERS, header), (ONEDNN_LIBRARY, library)):
        if path is None:
            raise Missing(
                f"oneDNN's {distribution} is not installed where squeezenet_c is built: "
                f"pip install {distribution}=={ONEDNN_VERSION}, or set SQZ_ONEDNN=0 to build with "
                "the OpenMP backend alone"
            )
    return OneDnn(include=header.parents[2], library=library)


def _installed_file(distribution: str, ending: str) -> Path | None:
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        path = Path(file.locate()).resolve()
        if file.as_posix().endswith(ending) and path.exists():
            return path
    return None


def find_stb_image(cache: Path) -> Path:
    """The header stb_image.h, of exactly the version that was tested.

    It is the file that SQZ_STB_IMAGE names, else cache/stb_image.h, else it is taken out of a
    source distribution that pip downloads, and kept in `cache`.
    """
    named = os.environ.get("SQZ_STB_IMAGE")
    if named:
        path = Path(named)
        if not path.is_file():
            raise Missing(f"SQZ_STB_IMAGE is {named}, and there is no such file")
        _check_stb(path.read_bytes(), f"{named}, which SQZ_STB_IMAGE names,")
        return path
    path = cache / "stb_image.h"
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == STB_SHA256:
        return path
    header = _download_stb()
    cache.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header)
    return path


def _check_stb(header: bytes, name: str) -> None:
    found = hashlib.sha256(header).hexdigest()
    if found != STB_SHA256:
        raise Missing(
            f"{name} is not stb_image.h 2.30: its sha256 is {found}, expected {STB_SHA256}"
        )


def _download_stb() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        # Not ":all:", by which an older pip compiles the tools that build libstb, CMake among them.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "libstb"]
        command += ["--disable-pip-version-check", "--dest", folder, f"libstb=={STB_VERSION}"]
        result = subprocess.run(command, capture_output=True, text=True)
        archives = list(Path(folder).glob("libstb-*.tar.gz"))
        if result.returncode != 0 or not archives:
            said = (result.stderr.strip().splitlines() or ["nothing"])[-1]
            raise Missing(
                f"stb_image.h 2.30 could not be taken from libstb {STB_VERSION} (pip said: {said}):"
                " connect to the package index, or set SQZ_STB_IMAGE to a copy of the header"
            )
        with tarfile.open(archives[0]) as archive:
            members = [m for m in archive.getmembers() if m.name.endswith(f"/{STB_MEMBER}")]
            file = archive.extractfile(members[0]) if members else None
            if file is None:
                raise Missing(f"{archives[0].name} has no {STB_MEMBER}: set SQZ_STB_IMAGE instead")
            header = file.read()
    _check_stb(header, f"{STB_MEMBER} of libstb {STB_VERSION}")
    return header


def main(arguments: list[str]) -> None:
    """Prints what meson.build asks for, a path a line: the folder of stb_image.h and, where
    `onednn` is an argument, oneDNN's folder of headers and its library."""
    try:
        print(find_stb_image(Path(__file__).resolve().parents[1] / "build").parent)
        if "onednn" in arguments:
            found = find_onednn()
            print(found.include, found.library, sep="\n")
    except Missing as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    main(sys.argv[1:])
