"""Builds the harnesses: the library once, what it reads files with instrumented, and a program of
each harness linked to it. clang, and its libFuzzer (Debian: clang, libclang-rt-dev)."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HARNESSES = HERE / "harnesses"
sys.path[:0] = [str(ROOT / "csrc"), str(HERE.parent)]

import externals  # noqa: E402
import sources  # noqa: E402

COMPILER = "clang"
# Those whose code meets a file's bytes. The others are linked where these call them (Deep
# Compression's file asks for the network's shapes), and never run long: they are not optimised.
WATCHED = ("base", "image", "io")
SANITIZERS = {"address": "address,undefined", "memory": "memory"}
GUARDED = "engine"  # the harness whose guards AddressSanitizer watches
MODEL_SIDE = 40
GUARD_BYTES = 64


class BuildError(Exception):
    """What is missing, or what the compiler said."""


def names(sanitizer: str = "address") -> list[str]:
    """The harnesses that can be built with it."""
    found = sorted(path.stem for path in HARNESSES.glob("*.c"))
    return [name for name in found if sanitizer == "address" or name != GUARDED]


def build(folder: Path, sanitizer: str, coverage: bool = False) -> None:
    """The program of each harness, as folder/NAME; coverage: made for llvm-cov too. What was built
    of the same sources stays."""
    if not shutil.which(COMPILER):
        raise BuildError(f"{COMPILER} is not installed (Debian: apt-get install {COMPILER})")
    folder.mkdir(parents=True, exist_ok=True)
    stamp, digest = folder / "digest", _digest(sanitizer, coverage)
    if stamp.is_file() and stamp.read_text() == digest:
        return
    stamp.unlink(missing_ok=True)
    watched = [f"-fsanitize={SANITIZERS[sanitizer]}", "-fno-sanitize-recover=all", "-O1", "-g"]
    watched += ["-fno-omit-frame-pointer"]
    # MemorySanitizer has to see every write, or it takes what was written for not written.
    everywhere = watched[:1] if sanitizer == "memory" else []
    if coverage:
        watched += ["-fprofile-instr-generate", "-fcoverage-mapping"]
    common = ["-std=gnu11", "-D_GNU_SOURCE", "-pthread", "-Wno-unknown-pragmas"]
    common += [f"-I{ROOT / 'csrc'}", f"-I{externals.find_stb_image(ROOT / 'build').parent}"]

    def compile_unit(unit: sources.Unit) -> str:
        parts = unit.source.relative_to(ROOT / "csrc").with_suffix("").parts
        path = folder / f"{'-'.join([*parts, unit.isa, unit.element])}.o"
        inside = parts[0] in WATCHED
        how = [*watched, "-fsanitize=fuzzer-no-link"] if inside else ["-O0", *everywhere]
        # How the unit is compiled comes before the flags of its own that are not about speed.
        own = [flag for flag in unit.flags if not flag.startswith("-O")]
        compile_with([*common, *how, *own, "-c", str(unit.source), "-o", str(path)])
        return str(path)

    archive = folder / "library.a"
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        objects = list(pool.map(compile_unit, sources.library_units(onednn=False)))
        archive.unlink(missing_ok=True)
        subprocess.run(["ar", "rcs", archive, *objects], check=True)
        export_model(folder)

        def link(name: str) -> None:
            command = [*common, *watched, "-fsanitize=fuzzer", f"-I{folder}"]
            command += [str(HARNESSES / f"{name}.c"), str(archive), "-lm", "-o", str(folder / name)]
            compile_with(command)

        list(pool.map(link, names(sanitizer)))
    stamp.write_text(digest)


def compile_with(arguments: list[str]) -> None:
    """clang with these. BuildError: it says no."""
    result = subprocess.run([COMPILER, *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        hint = ""
        if "clang_rt" in result.stderr:
            hint = "\n(libFuzzer and the sanitizers are in Debian's libclang-rt-dev)"
        raise BuildError(f"{shlex.join([COMPILER, *arguments])}\n{result.stderr}{hint}")


def _digest(sanitizer: str, coverage: bool) -> str:
    found = hashlib.sha256(f"{sanitizer} {coverage} {sources.digest()}".encode())
    for path in sorted([*HARNESSES.iterdir(), *HERE.glob("*.py")]):
        found.update(path.read_bytes())
    return found.hexdigest()


# -- An exported model -----------------------------------------------------------------------------


def export_model(folder: Path) -> None:
    """folder/model.c: a small quantised model as C, with guards in its state."""
    import portable_support

    model = portable_support.quantised(
        MODEL_SIDE, version="1_1", num_classes=2, compressed=True, **portable_support.SMALL
    )
    path = folder / "model.c"
    model.export(path)
    path.write_text(guarded(path.read_text("utf-8"), "model"), "utf-8")


def guarded(source: str, name: str) -> str:
    """An exported file whose state has an array of GUARD_BYTES between its own ones, in which
    nothing may be read or written, and NAME_GUARDS, a list of them in a variable `state`."""
    end = source.index(f"}} {name}_state;")
    begin = source.rindex("typedef struct {", 0, end)
    count = 0

    def after(member: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return f"{member[0]}\n    uint8_t guard_{count}[{GUARD_BYTES}];"

    # Members begin four columns from the margin; a union's own ones are deeper, and it ends at "}".
    state = re.sub(r"^    (?=[a-z}])[^{};]*;.*$", after, source[begin:end], flags=re.MULTILINE)
    state = re.sub(r"^    \} \w+;.*$", after, state, flags=re.MULTILINE)
    guards = ", ".join(f"(state)->guard_{number + 1}" for number in range(count))
    defines = f"#define {name.upper()}_GUARD_BYTES {GUARD_BYTES}\n"
    defines += f"#define {name.upper()}_GUARDS {guards}\n"
    return source[:begin] + defines + state + source[end:]
