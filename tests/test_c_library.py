"""The C library without Python, compiled with the sanitizers and run by tests/c."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy
import portable_support
import pytest

import squeezenet_c
from squeezenet_c._native import core

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "c"
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]

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


def _compiler() -> list[str]:
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("gcc") or "cc"]
    assert shutil.which(compiler[0]), "these tests need a C compiler"
    return compiler


def _run(command: list[str], **kwargs: object) -> str:
    result = subprocess.run(command, capture_output=True, text=True, **kwargs)
    assert result.returncode == 0, f"{shlex.join(command)}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def _write_engines(folder: Path) -> None:
    """Each model as C, and as arrays that the library takes."""
    for name, arguments in ENGINES.items():
        model = portable_support.quantised(61, num_classes=3, **arguments)
        model.export(folder / f"{name}.c")
        parameters = [values.ravel() for values in model.state_dict().values()]
        pictures = portable_support.pictures_of(61)
        tensors = {"parameters": numpy.concatenate(parameters), "pictures": pictures}
        tensors |= model.quantization
        core.write_safetensors(folder / f"{name}.safetensors", tensors, {})


def _build(folder: Path, onednn: bool) -> Path:
    """Compile library, tests and engines into `folder`, and link them to one program."""
    compiler = _compiler()
    _write_engines(folder)
    include = [ROOT / "csrc", TESTS, folder, externals.find_stb_image(ROOT / "build").parent]
    found = externals.find_onednn() if onednn else None
    if found:
        include.append(found.include)
    tests = sorted(TESTS.glob("test_*.c"))
    names = " ".join(f"X({test.stem})" for test in tests)
    flags = [*sources.compile_flags(compiler), "-O1", "-g", "-Werror", *SANITIZE]
    flags += [f"-I{path}" for path in include]

    units = sources.library_units(onednn)
    units += [sources.Unit(test, "", ("-ffp-contract=off",)) for test in tests]
    units.append(sources.Unit(TESTS / "main.c", "", (f"-DSQZ_TESTS={names}",)))
    units += [sources.Unit(folder / f"{name}.c", "", ()) for name in ENGINES]

    def compile_unit(numbered: tuple[int, object]) -> str:
        number, unit = numbered
        target = folder / f"{number}-{unit.source.stem}.o"
        _run([*compiler, *flags, *unit.flags, "-c", str(unit.source), "-o", str(target)])
        return str(target)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_unit, enumerate(units)))
    program = folder / "tests"
    link = [*sources.link_flags(compiler), *SANITIZE]
    if found:
        link = [str(found.library), f"-Wl,-rpath,{found.library.parent}", *link]
    _run([*compiler, *objects, *link, "-o", str(program)])
    return program


def _environment(shared: Path | None) -> dict[str, str]:
    suppressions = TESTS / "leaks.txt"
    environment = dict(os.environ)
    environment["LSAN_OPTIONS"] = f"suppressions={suppressions}:print_suppressions=0"
    environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
    if shared:
        environment["SQZ_SHARED"] = str(shared)
    return environment


def test_c_library_under_sanitizers(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    onednn = bool(squeezenet_c.build_info()["onednn_version"])
    program = _build(tmp_path, onednn)
    shared = Path(os.environ.get("SQZ_SHARED") or ROOT.parent / "shared")
    environment = _environment(shared if shared.is_dir() else None)
    result = subprocess.run(
        [str(program)], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300
    )
    print(result.stdout, result.stderr)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    for test in sorted(TESTS.glob("test_*.c")):
        assert f"{test.stem}: passed" in result.stdout
    # The integer kernels of less than this CPU has, too.
    for less in ({"SQZ_VNNI": "0"}, {"SQZ_VNNI": "0", "SQZ_ISA": "avx2"}, {"SQZ_ISA": "baseline"}):
        command = [str(program), "test_engine", "test_integer"]
        said = _run(command, env=environment | less, cwd=tmp_path)
        assert said == "test_engine: passed\ntest_integer: passed\n"


def test_clang_compiles_everything(tmp_path: Path) -> None:
    """Library and binding, without a warning. Unoptimised, which takes a tenth of the time."""
    if not shutil.which("clang"):
        pytest.skip("build: clang is not installed")
    onednn = bool(squeezenet_c.build_info()["onednn_version"])
    include = [ROOT / "csrc", externals.find_stb_image(ROOT / "build").parent]
    include += [sysconfig.get_paths()["include"], numpy.get_include()]
    include += [externals.find_onednn().include] if onednn else []
    flags = [*sources.compile_flags(["clang"]), "-O0", "-Werror", *(f"-I{at}" for at in include)]

    def compile_unit(unit: object) -> None:
        target = tmp_path / f"{unit.source.stem}-{unit.isa}-{unit.element}.o"
        _run(["clang", *flags, *unit.flags, "-c", str(unit.source), "-o", str(target)])

    units = sources.library_units(onednn) + sources.binding_units(onednn)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_unit, units))


@pytest.mark.parametrize("name", ["SQZ_ONEDNN", "SQZ_STB_IMAGE"])
def test_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv(name, "no/such/thing")
    with pytest.raises(externals.Missing, match=name):
        externals.onednn_wanted()
        externals.find_stb_image(tmp_path)


def test_another_stb_image_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "stb_image.h"
    other.write_text("/* stb_image - v2.27 */\n")
    monkeypatch.setenv("SQZ_STB_IMAGE", str(other))
    with pytest.raises(externals.Missing, match="is not stb_image.h 2.30"):
        externals.find_stb_image(tmp_path / "cache")


def test_missing_onednn_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(externals, "ONEDNN_HEADERS", "no-such-distribution")
    with pytest.raises(externals.Missing, match="SQZ_ONEDNN=0"):
        externals.find_onednn()


def test_flags_suit_every_machine_of_a_kind() -> None:
    flags = sources.compile_flags(_compiler())
    for unit in sources.library_units(True) + sources.binding_units(True):
        flags += unit.flags
    assert "-march=native" not in flags
    assert "-ffast-math" not in flags
    assert not any(flag.startswith(("-march", "-mtune", "-Ofast")) for flag in flags)


def test_only_kernels_are_compiled_for_an_instruction_set() -> None:
    for unit in sources.library_units(True):
        assert bool(unit.isa) == (unit.source.parent in sources.KERNELS)
        assert unit.isa or not any(flag.startswith("-m") for flag in unit.flags)
