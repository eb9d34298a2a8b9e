"""The C library and its tests compiled and linked for other systems, by zig's compiler:

    python tests/cross_build.py [--target TARGET ...] [--out FOLDER]

Needs ziglang (the extra "web"). Without OpenMP, whose library zig does not have, and without
test_allocations, which needs a linker that wraps functions. Where Wine is installed, the program
for Windows is run, but for two tests whose own code names files in Chinese by Windows' C library,
which wants another encoding; macOS programs are linked and no more. Minutes of one core: what
depends on the system is compiled by tests/test_c_machines.py."""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from c_programs import TEST_NAMES, Build

# What zig, sources.py (platform.machine() and sys.platform) call them, and zig's flags. evex512 is
# part of AVX-512F everywhere but in clang 20, which has it as a flag of its own.
TARGETS = {
    "x86_64-windows-gnu": ("x86_64", "win32", ("-mevex512",)),
    "aarch64-windows-gnu": ("arm64", "win32", ()),
    "x86_64-macos": ("x86_64", "darwin", ("-mevex512",)),
    "aarch64-macos": ("arm64", "darwin", ()),
}
TESTS = tuple(name for name in TEST_NAMES if name != "test_allocations")
WINDOWS_TESTS = sorted({*TESTS} - {"test_data", "test_safetensors"})
# Debian's wine64 is not on PATH.
WINE = shutil.which("wine") or shutil.which("wine64", path="/usr/lib/wine")


def zig(target: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "ziglang", "cc", "-target", target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--out", type=Path, help="for the programs (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for target in options.target:
            machine, system, flags = TARGETS[target]
            folder = Path(options.out or temporary, target)
            folder.mkdir(parents=True, exist_ok=True)
            build = Build(zig(target), ("-O1", *flags), machine, system, tests=TESTS)
            program = build.program(folder)
            print(f"{target}: linked, {program.stat().st_size} bytes", flush=True)
            if target == "x86_64-windows-gnu" and WINE:
                subprocess.run([WINE, program, *WINDOWS_TESTS], cwd=folder, check=True)


if __name__ == "__main__":
    main()
