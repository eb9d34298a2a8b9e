"""Unpacks PALM's zip files. What an archive says is not trusted: nothing is ever written outside
the target folder, through a link, or past a bound; and a file is complete or not there."""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from .._native import core
from ..base.read import brief, open_regular
from ..base.zips import DAMAGED

ARCHIVES = ("training.zip", "validation.zip", "valid_gt.zip")
# training.zip holds more zips; the photographs are in this one, the others are annotations.
NESTED = "PALM-Training400.zip"
TEMPORARY = ".unpacking-"  # how the names of files begin that are not yet complete
MOST_BYTES = 16 << 30  # PALM is 1.3 GB; an archive that grows past this is a bomb


def unpack_archive(folder: Path, name: str) -> None:
    """Unpack the archive called `name` (in any case of letters) in `folder`, where it lies, if it
    is there. Files that are there already, in full size, are left as they are.

    BadFileError names the archive and the member that is not what it should be, before anything is
    written. OSError: a file cannot be written.
    """
    for entry in sorted(folder.iterdir()):
        if entry.name.lower() == name and entry.is_file():
            unpack(entry, folder)
            for nested in sorted(folder.rglob(NESTED)):
                unpack(nested, nested.parent)


def unpack(archive: str | os.PathLike, target: str | os.PathLike) -> list[Path]:
    """Unpack `archive` into the folder `target`; the files it holds. See unpack_archive."""
    root = Path(target).resolve()
    try:
        with open_regular(archive) as file, zipfile.ZipFile(file) as opened:
            members = [info for info in opened.infolist() if not info.is_dir()]
            places = [_place(archive, info, root) for info in members]
            check_sizes(archive, opened, os.fstat(file.fileno()).st_size, MOST_BYTES)
            for parent in {place.parent for place in places}:
                if parent.resolve() == parent:  # no link leads out of the target
                    _remove_stale(parent)
            for info, place in zip(members, places, strict=True):
                _write(opened, info, place, root, archive)
    except core.BadFileError:
        raise
    except DAMAGED as error:
        reason = brief(error)
        raise core.BadFileError(f"{archive} is not a zip file that can be read: {reason}") from None
    return places


def check_sizes(
    path: str | os.PathLike, opened: zipfile.ZipFile, size_bytes: int, most_bytes: int
) -> None:
    """BadFileError where the members of a zip file of `size_bytes` could take more memory than they
    say, or more room than 1032 times the file, which is deflate's limit, or than most_bytes."""
    members = opened.infolist()
    for info in members:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # bzip2's and LZMA's data unpack all at once, whatever size the archive says
            raise core.BadFileError(
                f"{path}: the member {info.filename!r:.200} is compressed by method "
                f"{info.compress_type}, expected stored or deflated"
            )
    if sum(info.compress_size for info in members) > size_bytes:
        raise core.BadFileError(f"{path}: its members are larger than the file: they overlap")
    total = sum(info.file_size for info in members)
    if total > most_bytes:
        raise core.BadFileError(f"{path} unpacks to {total} bytes, expected at most {most_bytes}")


def _place(archive: str | os.PathLike, info: zipfile.ZipInfo, root: Path) -> Path:
    """Where a member goes; BadFileError where that is not strictly inside `root`."""
    name = info.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
        raise core.BadFileError(f"{archive}: the member {name!r:.200} points outside the folder")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise core.BadFileError(f"{archive}: the member {name!r:.200} is a link")
    if info.flag_bits & 1:
        raise core.BadFileError(f"{archive}: the member {name!r:.200} is encrypted")
    return root.joinpath(*path.parts)


def _remove_stale(folder: Path) -> None:
    """Remove what was being unpacked in the folder when its process was killed: no living one holds
    the file's lock."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _write(
    opened: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    place: Path,
    root: Path,
    archive: str | os.PathLike,
) -> None:
    if not place.is_symlink() and place.is_file() and place.stat().st_size == info.file_size:
        return
    # A link that was in the target before must not lead out of it either; so check each parent
    # before making anything in it.
    for parent in reversed(place.relative_to(root).parents):
        if (root / parent).is_symlink():
            raise core.BadFileError(f"{archive}: {root / parent} is a link, expected a folder")
        (root / parent).mkdir(exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=place.parent)
    fcntl.flock(handle, fcntl.LOCK_EX)  # a killed process lets go of it
    try:
        with os.fdopen(handle, "wb") as out, opened.open(info) as source:
            shutil.copyfileobj(source, out, 1 << 20)
        os.chmod(temporary, 0o644)
        os.replace(temporary, place)
    except BaseException:
        os.unlink(temporary)
        raise
