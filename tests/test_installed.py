"""The tests import the package that is installed: it has to be the one that lies here."""

import sys
from pathlib import Path

import squeezenet_c

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = Path(squeezenet_c.__file__).parent
HINT = "is not what is installed, which the tests test: pip install --no-build-isolation ."


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for pattern in ("*.py", "*.pyi", "files/page/*")
        for path in folder.rglob(pattern)
    }


def test_the_installed_files_are_these() -> None:
    here, installed = _files(ROOT / "squeezenet_c"), _files(INSTALLED)
    differing = [n for n in sorted(here.keys() | installed) if here.get(n) != installed.get(n)]
    assert not differing, f"{', '.join(differing)} {HINT}"


def test_the_compiled_part_is_of_these_sources() -> None:
    sys.path.insert(0, str(ROOT / "csrc"))
    try:
        import sources
    finally:
        sys.path.pop(0)
    built = (INSTALLED / sources.DIGEST_FILE).read_text(encoding="ascii").strip()
    assert built == sources.digest(), f"csrc {HINT}"
