"""int8 by AVX-VNNI where no CPU has it: the kernels as they were compiled for it, with their one
instruction done by a signal handler (c/emulated_vnni.c), give the oracle's bits."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from squeezenet_c._native import core

HERE = Path(__file__).resolve().parent

# Small networks: an instruction takes a thousand times as long as it should.
CHILD = """
import ctypes, sys
from squeezenet_c._native import core
import test_int8
done = ctypes.c_ulong.in_dll(ctypes.CDLL(sys.argv[1]), "sqz_vnni_emulations")
for threads, name in enumerate(("1_0 tiny", "1_1 tiny"), 1):
    core.set_num_threads(threads)
    network, pictures, logits, _ = test_int8.case(name)
    before = done.value
    test_int8.np.testing.assert_array_equal(network.forward(pictures), logits, strict=True)
    print(done.value - before)
print(network.plan(33, 39)[0]["implementation"].split()[-1])
"""


def cpu_flags() -> list[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return line.split()
    return []


def emulator(folder: Path) -> Path:
    compiler = shlex.split(os.environ.get("CC", "")) or [shutil.which("gcc") or "cc"]
    library = folder / "emulated_vnni.so"
    source = HERE / "c" / "emulated_vnni.c"
    command = [*compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    result = subprocess.run([*command, str(source), "-o", str(library)], capture_output=True)
    assert result.returncode == 0, result.stderr.decode()
    return library


def test_the_oracles_bits_by_emulated_instructions(tmp_path: Path) -> None:
    if platform.machine() != "x86_64" or sys.platform != "linux":
        pytest.skip("hardware: AVX-VNNI is emulated on x86-64 Linux alone")
    if "avx_vnni" in cpu_flags():
        pytest.skip("hardware: this CPU has AVX-VNNI, and test_int8.py runs it")
    if {"SQZ_ISA", "SQZ_VNNI"} & set(os.environ) or core.build_info()["cpu_isa"] == "baseline":
        pytest.skip("hardware: this CPU has no avx2, or the process is held to less")
    library = emulator(tmp_path)
    path = os.pathsep.join([str(HERE), *(entry for entry in sys.path if entry)])
    preload = f"{os.environ.get('LD_PRELOAD', '')} {library}".strip()
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(library)],
        env={**os.environ, "SQZ_ISA": "avx2", "LD_PRELOAD": preload, "PYTHONPATH": path},
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stderr
    *done, implementation = child.stdout.split()
    assert implementation == "avx2vnni"
    assert len(done) == 2 and all(int(count) > 10000 for count in done), done
