"""What is compiled and how: the one list that setup.py, meson.build and the C tests read.

Every C file is compiled once, except kernels (the OpenMP backend's, the integers' and the
pictures'): these are compiled once for each instruction set, the first for each type of element
too, and the library chooses among them when it runs. So nothing here is tuned to the machine that
builds.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VERSION = ROOT.parent / "squeezenet_c" / "_version.py"

LIBRARY_FOLDERS = ("base", "image", "ops", "net", "data", "io")
PORTABLE = ROOT / "portable"  # compiled by users, of what the exporter makes of it
INTEGER_KERNELS = ROOT / "ops" / "integer" / "kernels"
KERNELS = (ROOT / "ops" / "openmp" / "kernels", ROOT / "image" / "kernels", INTEGER_KERNELS)

# The elements that a kernel file is compiled for; float32 alone where nothing is said.
ELEMENTS = {
    "average_pool.c": ("float32", "bfloat16"),
    "conv_bfloat16.c": ("bfloat16",),
    "dropout.c": ("float32", "bfloat16"),
    "elementwise.c": ("float32", "bfloat16"),
    "max_pool.c": ("float32", "bfloat16"),
    "winograd_backward_weights.c": ("float32", "bfloat16"),
    "winograd_convolve.c": ("float32", "bfloat16"),
}

ISA_FLAGS = {
    "baseline": (),
    "avx2": ("-mavx2", "-mfma"),
    "avx512": (
        *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
        "-mprefer-vector-width=512",
    ),
}

# The integer kernels' own sets: with and without the instruction that multiplies four bytes.
INTEGER_FLAGS = {
    "baseline": (),
    "avx2": ISA_FLAGS["avx2"],
    "avx2vnni": (*ISA_FLAGS["avx2"], "-mavxvnni"),
    "avx512": ISA_FLAGS["avx512"],
    "avx512vnni": (*ISA_FLAGS["avx512"], "-mavx512vnni"),
}


@dataclass(frozen=True)
class Unit:
    """One object file: a source, the instruction set and the element that it is for ("" if any),
    and its own flags."""

    source: Path
    isa: str
    flags: tuple[str, ...]
    element: str = ""


def kernel_isas(machine: str | None = None) -> tuple[str, ...]:
    """The instruction sets that kernels are compiled for, on this kind of machine (or another)."""
    return _sets(ISA_FLAGS, machine)


def _sets(flags: dict[str, tuple[str, ...]], machine: str | None) -> tuple[str, ...]:
    x86_64 = (machine or platform.machine()).lower() in ("x86_64", "amd64")
    return tuple(flags) if x86_64 else ("baseline",)


def library_units(
    onednn: bool, machine: str | None = None, system: str = sys.platform
) -> list[Unit]:
    """The C library without Python; `onednn` says whether oneDNN's backend is part of it. For this
    kind of machine and system, or another, as platform.machine() and sys.platform would name it."""
    units = []
    for folder in LIBRARY_FOLDERS:
        for source in sorted((ROOT / folder).rglob("*.c")):
            if not _is_for(system, source):
                continue
            if source.parent == INTEGER_KERNELS:
                units += [_integer_unit(source, name) for name in _sets(INTEGER_FLAGS, machine)]
            elif source.parent in KERNELS:
                units += [
                    _kernel_unit(source, isa, element)
                    for isa in kernel_isas(machine)
                    for element in ELEMENTS.get(source.name, ("float32",))
                ]
            elif onednn or not _is_onednn(source):
                units.append(_plain_unit(source, onednn))
    return units


def binding_units(onednn: bool) -> list[Unit]:
    """The CPython extension around it."""
    return [_plain_unit(source, onednn) for source in sorted((ROOT / "python").glob("*.c"))]


def _is_for(system: str, source: Path) -> bool:
    """NAME_windows.c takes the place of NAME.c there."""
    own = "_windows.c"
    if system == "win32":
        return not source.with_name(source.stem + own).exists()
    return not source.name.endswith(own)


def _is_onednn(source: Path) -> bool:
    return source.parent == ROOT / "ops" and source.name.startswith("onednn")


def _plain_unit(source: Path, onednn: bool) -> Unit:
    # Pillow's arithmetic, and results that do not depend on the compiler's mood: no contraction.
    flags = ("-ffp-contract=off", *(("-DSQZ_WITH_ONEDNN=1",) if onednn else ()))
    if source.name == "stb.c":  # GCC 12 makes stb_image's Huffman decoder 10 % slower with -O3
        flags += ("-O2",)
    if source.name == "adam.c":  # else its square root may set errno, and no loop is vectorized
        flags += ("-fno-math-errno",)
    return Unit(source, "", flags)


def _kernel_unit(source: Path, isa: str, element: str) -> Unit:
    defines = (f"-DSQZ_KERNEL_ISA={isa}", f"-DSQZ_KERNEL_ELEMENT={element}")
    return Unit(source, isa, ("-ffp-contract=fast", *defines, *ISA_FLAGS[isa]), element)


def _integer_unit(source: Path, name: str) -> Unit:
    # No contraction: rounding twice is part of the arithmetic.
    flags = ("-ffp-contract=off", f"-DSQZ_INTEGER_SET={name}", *INTEGER_FLAGS[name])
    return Unit(source, name, flags)


# What Meson has options of its own for.
OPTIMISATION, PLACEABLE = "-O3", "-fPIC"


def compile_flags(compiler: Sequence[str]) -> list[str]:
    """Flags that all units share. `compiler` is the command that will get them."""
    openmp = ["-fopenmp"] if has_openmp(compiler) else ["-Wno-unknown-pragmas"]
    warnings = ["-Wall", "-Wextra", *(["-Werror"] if _switch("SQZ_WERROR") else [])]
    return [
        *("-std=gnu11", OPTIMISATION, PLACEABLE, "-pthread", "-fvisibility=hidden"),
        *openmp,
        *warnings,
        *sanitizer_flags(),
    ]


def link_flags(compiler: Sequence[str], onednn: bool) -> list[str]:
    """Flags for linking what compile_flags compiled; they go after the objects."""
    openmp = ["-fopenmp"] if has_openmp(compiler) else []
    dlopen = ["-ldl"] if onednn else []
    return ["-pthread", *openmp, *sanitizer_flags(), *dlopen, "-lm"]


def sanitizer_flags() -> list[str]:
    """Of SQZ_SANITIZE, as "address,undefined". A module so built runs with libasan preloaded."""
    sanitizers = os.environ.get("SQZ_SANITIZE", "")
    if not sanitizers:
        return []
    return [
        f"-fsanitize={sanitizers}",
        *("-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g"),
    ]


def has_openmp(compiler: Sequence[str]) -> bool:
    """Whether `compiler` compiles and links a program that uses OpenMP."""
    program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
    key = tuple(compiler)
    if key not in _openmp_answers:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "openmp.c")
            source.write_text(program)
            command = [*compiler, "-fopenmp", str(source), "-o", str(Path(folder, "openmp"))]
            result = subprocess.run(command, capture_output=True)
        _openmp_answers[key] = result.returncode == 0
    return _openmp_answers[key]


_openmp_answers: dict[tuple[str, ...], bool] = {}


def _switch(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


DIGEST_FILE = "_core.sources"  # beside the compiled module: the digest of what it was made from


def digest() -> str:
    """SHA-256 of the names and contents of all that is compiled."""
    found = hashlib.sha256()
    for path in sorted(ROOT.rglob("*.[ch]")):
        contents = path.read_bytes()
        found.update(f"{path.relative_to(ROOT).as_posix()} {len(contents)}\n".encode() + contents)
    return found.hexdigest()


# -- For meson.build -------------------------------------------------------------------------------


def version() -> str:
    """The library's and the package's."""
    found = re.search(r'__version__ = "(.*)"', VERSION.read_text(encoding="utf-8"))
    assert found, f"{VERSION} has no version"
    return found[1]


def unit_lines(onednn: bool) -> list[str]:
    """Units of the same flags a line: the flags, a colon, the sources."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for unit in library_units(onednn):
        groups.setdefault(unit.flags, []).append(unit.source.relative_to(ROOT).as_posix())
    return [f"{' '.join(flags)}:{' '.join(names)}" for flags, names in groups.items()]


def main(arguments: list[str]) -> None:
    """Prints what meson.build asks for."""
    what, *rest = arguments
    if what == "version":
        print(version())
    elif what == "flags":
        print(*(flag for flag in compile_flags(rest) if flag not in (OPTIMISATION, PLACEABLE)))
    elif what == "links":
        print(*link_flags([word for word in rest if word != "onednn"], "onednn" in rest))
    elif what == "units":
        print(*unit_lines("onednn" in rest), sep="\n")
    else:
        sys.exit(f"sources.py: {what} is none of version, flags, links, units")


if __name__ == "__main__":
    main(sys.argv[1:])
