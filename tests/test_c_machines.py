"""The C library on other machines, by other compilers and on another C library: its tests, run by
QEMU where this machine is none of that kind. With the own kernels alone, which is all there is
there. int8's logits are noted in tests/c/test_integer.c: the same bits everywhere."""

import os
import subprocess
from pathlib import Path

import cross_build
import pytest
from c_programs import ROOT, Build, sources
from portable_support import need, run

STATIC = ("-O2", "-static")
NO_OPENMP = ("-fno-openmp", "-Wno-unknown-pragmas")
# What emulation makes slow is left out: whole networks of v1.0, and files cut at every byte.
QUICK = "base codes data engine files image integer ops spec".split()


def passed(command: list[str | Path], names: list[str], folder: Path, **environment: str) -> None:
    said = run(
        [*command, *(f"test_{name}" for name in names)],
        cwd=folder,
        env=os.environ | environment,
    )
    for name in names:
        assert f"test_{name}: passed" in said


def test_aarch64(tmp_path: Path) -> None:
    need("aarch64-linux-gnu-gcc", "qemu-aarch64-static")
    program = Build(("aarch64-linux-gnu-gcc",), STATIC, "aarch64").program(tmp_path)
    passed(["qemu-aarch64-static", program], QUICK, tmp_path, OMP_NUM_THREADS="2")


def test_musl(tmp_path: Path) -> None:
    """And so without OpenMP, whose library here is made for another C library."""
    need("musl-gcc")
    program = Build(("musl-gcc",), (*STATIC, *NO_OPENMP)).program(tmp_path)
    passed([program], [*QUICK, "network", "sharing"], tmp_path)


def test_big_endian_is_refused() -> None:
    """By the compiler, with a sentence: model files hold little-endian numbers, which are read as
    they are."""
    need("s390x-linux-gnu-gcc")
    for source in ("base/memory.c", "io/safetensors.c"):
        command = ["s390x-linux-gnu-gcc", "-std=gnu11", "-fsyntax-only", ROOT / "csrc" / source]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode != 0
        assert "squeezenet_c needs a little-endian machine" in result.stderr


def test_no_data_races(tmp_path: Path) -> None:
    """Under clang's thread sanitizer, which is told by the tool Archer what its own OpenMP does;
    of GNU OpenMP's barriers it knows nothing."""
    need("clang")
    program = Build(("clang",), ("-O1", "-g", "-fsanitize=thread")).program(tmp_path)
    passed(
        [program],
        ["data", "network", "races", "sharing"],
        tmp_path,
        OMP_NUM_THREADS="4",
        TSAN_OPTIONS="ignore_noninstrumented_modules=1",
    )


@pytest.mark.parametrize("target", ["aarch64-macos", "x86_64-windows-gnu"])
def test_other_systems_compile(target: str, tmp_path: Path) -> None:
    """What asks the system for something, as macOS and Windows have it; cross_build.py compiles and
    links all of it."""
    pytest.importorskip("ziglang", reason="build: ziglang is not installed")
    machine, system, flags = cross_build.TARGETS[target]
    units = sources.library_units(False, machine, system)
    asking = [unit for unit in units if unit.source.parent.name in ("base", "data")]
    asking += [unit for unit in units if unit.source.stem.startswith("atomic")]
    assert any(unit.source.stem.endswith("_windows") for unit in asking) == (system == "win32")
    command = [*cross_build.zig(target), "-std=gnu11", "-Wall", "-Wextra", "-Werror", *flags]
    command += ["-Wno-unknown-pragmas", "-c", "-o", str(tmp_path / "object.o")]
    for unit in asking:
        run([*command, str(unit.source)])
