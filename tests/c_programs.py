"""For the tests of the C library without Python: it and tests/c compiled to one program, by any
compiler, for this machine or another."""

import importlib.util
import os
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from portable_support import pictures_of, quantised, run

from squeezenet_c._native import core

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "c"
# Of the library: they pass through tests/c/test_allocations.c.
WRAPPED = "malloc calloc realloc posix_memalign strdup strndup realpath opendir pthread_create"
TEST_NAMES = tuple(path.stem for path in sorted(TESTS.glob("test_*.c")))

# Models that the exporter writes for tests/c/test_engine.c, which has their specs.
ENGINES = {
    "plain": {"version": "1_0", "base_e": 20, "incr_e": 12},
    "coded": {"bypass": "simple", "final_relu": True, "compressed": True},
}


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


def _write_engines(folder: Path) -> None:
    """Each model as C, and as arrays that the library takes."""
    for name, arguments in ENGINES.items():
        model = quantised(61, num_classes=3, **arguments)
        model.export(folder / f"{name}.c")
        parameters = [values.ravel() for values in model.state_dict().values()]
        pictures = pictures_of(61)
        tensors = {"parameters": np.concatenate(parameters), "pictures": pictures}
        tensors |= model.quantization
        core.write_safetensors(folder / f"{name}.safetensors", tensors, {})


@dataclass(frozen=True)
class Build:
    """How library and tests are compiled. flags: for compiling and linking; they come last."""

    compiler: tuple[str, ...]
    flags: tuple[str, ...] = ()
    machine: str | None = None  # None: this one
    system: str = sys.platform
    onednn: bool = False
    tests: tuple[str, ...] = TEST_NAMES

    def program(self, folder: Path) -> Path:
        """Write engines into `folder`, compile library, tests and engines, link to one program,
        which is to run there."""
        _write_engines(folder)
        include = [ROOT / "csrc", TESTS, folder, externals.find_stb_image(ROOT / "build").parent]
        found = externals.find_onednn() if self.onednn else None
        if found:
            include.append(found.include)
        names = " ".join(f"X({name})" for name in self.tests)
        flags = [*sources.compile_flags(self.compiler), "-Werror"]
        flags += [*(f"-I{path}" for path in include), *self.flags]
        tests = [TESTS / f"{name}.c" for name in self.tests]
        units = sources.library_units(self.onednn, self.machine, self.system)
        units += [sources.Unit(test, "", ("-ffp-contract=off",)) for test in tests]
        units.append(sources.Unit(TESTS / "main.c", "", (f"-DSQZ_TESTS={names}",)))

        units += [sources.Unit(folder / f"{name}.c", "", ()) for name in ENGINES]

        def compile_unit(numbered: tuple[int, Any]) -> Path:
            number, unit = numbered
            target = folder / f"{number}-{unit.source.stem}.o"
            run([*self.compiler, *flags, *unit.flags, "-c", unit.source, "-o", target])
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compile_unit, enumerate(units)))
        link = [*sources.link_flags(self.compiler, self.onednn), *self.flags]
        if "test_allocations" in self.tests:
            link += [f"-Wl,--wrap={name}" for name in WRAPPED.split()]
        if found:
            link = [f"-Wl,-rpath,{found.library.parent}", *link]  # for dlopen
        run([*self.compiler, *objects, *link, "-o", folder / "tests"])
        return folder / "tests"
