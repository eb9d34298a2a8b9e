"""Exported C files on other processors: the same bits under QEMU, on a microcontroller without an
operating system, and in WebAssembly. Each is skipped by name where its tool is missing."""

import functools
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from portable_support import (
    HERE,
    SMALL,
    STRICT,
    bits_of,
    build,
    check,
    need,
    pictures_of,
    quantised,
    run,
)

import squeezenet_c as sq

FLASH_BYTES, RAM_BYTES = 448 << 10, 56 << 10
STACK_BYTES = 1536  # of cortex_m7.ld
# UBSan without its library. The plain form of sum.c, which x86 does not take, is checked here.
TRAPS = ["-O1", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]


@functools.cache
def compressed() -> sq.Model:
    """v1.1 at 224: what is to fit."""
    return quantised(224, compressed=True)


@functools.cache
def small(name: str) -> sq.Model:
    if name == "int8":
        return quantised(61, **SMALL, num_classes=4, final_relu=True)
    return quantised(64, **SMALL, bypass="simple", num_classes=3, compressed=True)


@pytest.mark.parametrize(
    ("prefix", "emulator"),
    [
        ("aarch64-linux-gnu", "qemu-aarch64-static"),
        ("arm-linux-gnueabihf", "qemu-arm-static"),
        ("s390x-linux-gnu", "qemu-s390x-static"),  # big-endian
    ],
)
def test_processors(tmp_path: Path, prefix: str, emulator: str) -> None:
    need(emulator)
    for name, options in (("int8", ["-O3"]), ("compressed", ["-O3"]), ("compressed", TRAPS)):
        command = [f"{prefix}-gcc", *options, "-static", *STRICT]
        program = build(tmp_path, small(name), command)
        check(small(name), [emulator, program])


def test_a_cortex_m7_without_an_operating_system(tmp_path: Path) -> None:
    """In 448 kB of flash and 56 kB of RAM, by the linker script, the stack included."""
    need("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")
    model, pictures = compressed(), pictures_of(224, 5)
    core = ["-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard", "-mthumb"]
    # -std=gnu99, which allows a product and a sum to be fused.
    script = ["-std=gnu99", "-O3", "-nostartfiles", "-T", str(HERE / "cortex_m7.ld")]
    program = build(tmp_path, model, ["arm-none-eabi-gcc", *core, *script], "cortex_m7")
    sizes = run(["arm-none-eabi-size", program]).splitlines()[1].split()
    flash, data, ram = (int(size) for size in sizes[:3])
    assert data == 0
    (tmp_path / "pictures.bin").write_bytes(pictures.tobytes())
    board = ["qemu-system-arm", "-M", "mps2-an500", "-display", "none", "-icount", "shift=0"]
    host = ["-chardev", "stdio,id=host", "-semihosting-config", "enable=on,chardev=host"]
    said = run([*board, *host, "-kernel", program], cwd=tmp_path, stdin=subprocess.DEVNULL)
    *lines, figures = said.splitlines()
    print(f"flash {flash}, RAM with {STACK_BYTES} of stack {ram}; {figures}")
    np.testing.assert_array_equal(bits_of(lines), model.forward(pictures).view(np.uint32))
    assert int(figures.split()[1]) < STACK_BYTES - 64
    assert flash < FLASH_BYTES and ram < RAM_BYTES


@pytest.mark.parametrize("simd", [False, True], ids=["plain", "simd"])
def test_webassembly(tmp_path: Path, simd: bool) -> None:
    for module in ("ziglang", "wasmtime"):
        pytest.importorskip(module, reason=f"build: {module} is not installed")
    wasmtime = importlib.import_module("wasmtime")
    model, pictures = small("compressed"), pictures_of(64)
    model.export(tmp_path / "eyes.c")
    options = ["-O3", "-nostdlib", "-Wl,--no-entry", *(["-msimd128"] if simd else [])]
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding", *options]
    target = tmp_path / "eyes.wasm"
    run([*compiler, *STRICT, f"-I{tmp_path}", tmp_path / "eyes.c", HERE / "wasm.c", "-o", target])
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module.from_file(store.engine, str(target)), [])
    exports = instance.exports(store)
    memory, place = exports["memory"], exports["logits"](store)
    for picture, expected in zip(pictures, model.forward(pictures), strict=True):
        memory.write(store, picture.tobytes(), exports["picture"](store))
        assert exports["answer"](store) == 0
        found = memory.read(store, place, place + 4 * model.num_classes)
        assert bytes(found) == expected.astype("<f4").tobytes()
