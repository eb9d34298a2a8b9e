"""For the tests of the C library without Python: it and tests/c compiled to one program, by any
compiler, for this machine or another."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "c"
# Of the library: they pass through tests/c/test_allocations.c.
WRAPPED = "malloc calloc realloc posix_memalign strdup strndup realpath opendir pthread_create"
TEST_NAMES = [path.stem for path in sorted(TESTS.glob("test_*.c"))]


def _load(name: str) -> ModuleType:
    """A module of csrc/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"csrc_{name}", ROOT / "csrc" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


sources = _load("sources")
externals = _load("externals")


def own_compiler() -> list[str]:
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("gcc") or "cc"]
    assert shutil.which(compiler[0]), "these tests need a C compiler"
    return compiler


def need(*commands: str) -> None:
    for command in commands:
        if not shutil.which(command):
            pytest.skip(f"build: {command} is not installed")


def run(command: Sequence[str | Path], **options: Any) -> str:
    """What it prints. A failure shows all of it."""
    result = subprocess.run(command, capture_output=True, text=True, **options)
    said = f"{shlex.join(map(str, command))}\n{result.stdout}\n{result.stderr}"
    assert result.returncode == 0, said
    return result.stdout


@dataclass(frozen=True)
class Build:
    """How library and tests are compiled. flags: for compiling and linking; they come last."""

    compiler: tuple[str, ...]
    flags: tuple[str, ...] = ()
    machine: str | None = None  # None: this one
    onednn: bool = False

    def program(self, folder: Path) -> Path:
        """Compile into `folder`, and link to one program."""
        include = [ROOT / "csrc", TESTS, externals.find_stb_image(ROOT / "build").parent]
        found = externals.find_onednn() if self.onednn else None
        if found:
            include.append(found.include)
        names = " ".join(f"X({name})" for name in TEST_NAMES)
        flags = [*sources.compile_flags(self.compiler), "-Werror"]
        flags += [*(f"-I{path}" for path in include), *self.flags]
        tests = [TESTS / f"{name}.c" for name in TEST_NAMES]
        units = sources.library_units(self.onednn, self.machine)
        units += [sources.Unit(test, "", ("-ffp-contract=off",)) for test in tests]
        units.append(sources.Unit(TESTS / "main.c", "", (f"-DSQZ_TESTS={names}",)))

        def compile_unit(numbered: tuple[int, Any]) -> Path:
            number, unit = numbered
            target = folder / f"{number}-{unit.source.stem}.o"
            run([*self.compiler, *flags, *unit.flags, "-c", unit.source, "-o", target])
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_unit, enumerate(units)))
        link = [*sources.link_flags(self.compiler), *self.flags]
        link += [f"-Wl,--wrap={name}" for name in WRAPPED.split()]
        if found:
            link = [str(found.library), f"-Wl,-rpath,{found.library.parent}", *link]
        run([*self.compiler, *objects, *link, "-o", folder / "tests"])
        return folder / "tests"
