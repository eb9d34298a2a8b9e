"""The C library without Python, compiled with the sanitizers and run by tests/c."""

import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import c_programs
import numpy
import pytest
from c_programs import ROOT, TEST_NAMES, TESTS, externals, sources
from portable_support import run

import squeezenet_c

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


def _environment(shared: Path | None) -> dict[str, str]:
    suppressions = TESTS / "leaks.txt"
    environment = dict(os.environ)
    environment["LSAN_OPTIONS"] = f"suppressions={suppressions}:print_suppressions=0"
    environment["UBSAN_OPTIONS"] = "print_stacktrace=1"
    if shared:
        environment["SQZ_SHARED"] = str(shared)
    return environment


def test_c_library_under_sanitizers(tmp_path: Path) -> None:
    onednn = bool(squeezenet_c.build_info()["onednn_version"])
    flags = ("-O1", "-g", *SANITIZE)
    compiler = tuple(c_programs.own_compiler())
    program = c_programs.Build(compiler, flags, onednn=onednn).program(tmp_path)
    shared = Path(os.environ.get("SQZ_SHARED") or ROOT.parent / "shared")
    environment = _environment(shared if shared.is_dir() else None)
    result = subprocess.run(
        [program],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=300,
    )
    print(result.stdout, result.stderr)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    for name in TEST_NAMES:
        assert f"{name}: passed" in result.stdout
    # The integer kernels of less than this CPU has, too.
    for less in ({"SQZ_VNNI": "0"}, {"SQZ_VNNI": "0", "SQZ_ISA": "avx2"}, {"SQZ_ISA": "baseline"}):
        command = [program, "test_engine", "test_integer"]
        said = run(command, env=environment | less, cwd=tmp_path)
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
        run(["clang", *flags, *unit.flags, "-c", str(unit.source), "-o", str(target)])

    units = sources.library_units(onednn) + sources.binding_units(onednn)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_unit, units))


def _other_pythons() -> list[Path]:
    """Of the versions that the package is for: those on PATH, and pyenv's."""
    found = [Path(shutil.which(f"python3.{minor}") or "/none") for minor in range(10, 15)]
    found += sorted(Path.home().glob(".pyenv/versions/3.1[0-4].*/bin/python3"))
    return [path for path in found if path.is_file() and path.resolve() != Path(sys.executable)]


def test_other_pythons_compile_the_binding() -> None:
    """Without a warning, against the headers of each that is installed here."""
    folders = set()
    for python in _other_pythons():
        code = "import sysconfig; print(sysconfig.get_paths()['include'])"
        asked = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True)
        if asked.returncode == 0 and Path(asked.stdout.strip(), "Python.h").is_file():
            folders.add(asked.stdout.strip())
    folders.discard(sysconfig.get_paths()["include"])
    if not folders:
        pytest.skip("build: no other Python with its headers is installed")
    flags = [*sources.compile_flags(["gcc"]), "-O0", "-Werror", "-fsyntax-only"]
    flags += [f"-I{numpy.get_include()}"]
    for folder in sorted(folders):
        for unit in sources.binding_units(False):
            run([*c_programs.own_compiler(), *flags, f"-I{folder}", *unit.flags, unit.source])


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
    flags = sources.compile_flags(c_programs.own_compiler())
    for unit in sources.library_units(True) + sources.binding_units(True):
        flags += unit.flags
    assert "-march=native" not in flags
    assert "-ffast-math" not in flags
    assert not any(flag.startswith(("-march", "-mtune", "-Ofast")) for flag in flags)


def test_only_kernels_are_compiled_for_an_instruction_set() -> None:
    for unit in sources.library_units(True):
        assert bool(unit.isa) == (unit.source.parent in sources.KERNELS)
        assert unit.isa or not any(flag.startswith("-m") for flag in unit.flags)
