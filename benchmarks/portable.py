"""Exported C files: memory, and time a picture by several compilers, in WebAssembly and on a
Cortex-M7 in QEMU, beside ONNX Runtime and LiteRT with the same integers.

    python benchmarks/portable.py [--runs 200] [--only 'v1.1*'] [--peers]

v1.1 and v1.0 at 224 x 224, 2 classes, int8 and 4-bit indices, with drawn weights: no figure depends
on these. All of it is on one core. Times are the least of so many runs, so that other work on the
machine matters little. Whatever tool is missing is named and left out; LiteRT is `pip install
ai-edge-litert flatbuffers`. Every answer is compared with the package's. `--peers` is the peers
alone.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
PORTABLE = TESTS / "portable"

MODELS: dict[str, dict[str, Any]] = {
    "v1.1 int8": {"version": "1_1"},
    "v1.1 4-bit": {"version": "1_1", "compressed": True},
    "v1.0 int8": {"version": "1_0"},
    "v1.0 4-bit": {"version": "1_0", "compressed": True},
}
AVX2 = "-march=x86-64-v3"
COMMANDS = [
    *(["gcc", "-O3"], ["gcc", "-O2"], ["gcc", "-O3", AVX2], ["gcc", "-O3", "-march=native"]),
    *(["clang", "-O3"], ["clang", "-O3", AVX2]),
]
CORTEX = ["-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard", "-mthumb", "-std=gnu99"]
BOARD = ["-M", "mps2-an500", "-display", "none", "-icount", "shift=0"]
HOST = ["-chardev", "stdio,id=host", "-semihosting-config", "enable=on,chardev=host"]
ZIG = ["cc", "-target", "wasm32-freestanding", "-O3", "-nostdlib", "-Wl,--no-entry"]


class Missing(Exception):
    """A tool is not there, or the model does not fit; the text says which."""


def need(*commands: str) -> None:
    for command in commands:
        if not shutil.which(command):
            raise Missing(f"{command} is not installed")


def run(command: list[Any], **options: Any) -> str:
    result = subprocess.run(command, capture_output=True, **options)
    if result.returncode:
        raise SystemExit(f"{command}: {result.stderr.decode()}")
    return result.stdout.decode()


# -- Ours ------------------------------------------------------------------------------------------


def said(folder: Path) -> dict[str, int]:
    """What the file's first lines say of memory."""
    text = (folder / "eyes.c").read_text()
    found = re.search(r"eyes_state ([\d,]+) bytes, constants ([\d,]+)", text)
    assert found
    state, constants = (int(number.replace(",", "")) for number in found.groups())
    return {"state, bytes": state, "constants, bytes": constants}


def stack(folder: Path, command: list[str]) -> int:
    """The sum of the functions' frames: nothing is recursive."""
    need(command[0])
    run([*command, "-c", "-fstack-usage", "eyes.c", "-o", "usage.o"], cwd=folder)
    frames: dict[str, int] = {}  # the largest of each function's copies
    for line in (folder / "usage.su").read_text().splitlines():
        place, size, _ = line.split("\t")
        function = place.rpartition(":")[2].partition(".")[0]
        frames[function] = max(frames.get(function, 0), int(size))
    return sum(frames.values())


def native(folder: Path, command: list[str], picture: bytes, runs: int) -> tuple[float, str]:
    need(command[0])
    program = folder / "time"
    run([*command, f"-I{folder}", folder / "eyes.c", HERE / "portable.c", "-o", program])
    least, *bits = run([program, str(runs)], input=picture).split()
    return float(least), " ".join(bits)


def wasm(folder: Path, options: list[str], picture: bytes, runs: int) -> tuple[float, str]:
    for module in ("ziglang", "wasmtime"):
        if not importlib.util.find_spec(module):
            raise Missing(f"{module} is not installed")
    wasmtime = importlib.import_module("wasmtime")
    sources = [folder / "eyes.c", PORTABLE / "wasm.c"]
    target = folder / "eyes.wasm"
    zig = [sys.executable, "-m", "ziglang", *ZIG, *options]
    run([*zig, f"-I{folder}", *sources, "-o", target])
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module.from_file(store.engine, str(target)), [])
    exports = instance.exports(store)
    memory, place = exports["memory"], exports["logits"](store)
    memory.write(store, picture, exports["picture"](store))
    least = least_milliseconds(lambda: exports["answer"](store), runs)
    return least, hexadecimal(np.frombuffer(memory.read(store, place, place + 8), "<f4"))


def cortex(folder: Path, picture: bytes) -> tuple[dict[str, int], str]:
    need("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")
    program = folder / "cortex"
    sources = [folder / "eyes.c", PORTABLE / "run.c", PORTABLE / "cortex_m7.c"]
    script = ["-O3", "-nostartfiles", "-T", PORTABLE / "cortex_m7.ld"]
    command = ["arm-none-eabi-gcc", *CORTEX, *script, f"-I{folder}", *sources, "-o", program]
    result = subprocess.run(command, capture_output=True, text=True)
    if "overflowed" in result.stderr:
        raise Missing("it does not fit 448 kB of flash and 56 kB of RAM")
    assert result.returncode == 0, result.stderr
    sizes = run(["arm-none-eabi-size", program]).splitlines()[1].split()
    (folder / "pictures.bin").write_bytes(picture)
    board = ["qemu-system-arm", *BOARD, *HOST, "-kernel", program]
    bits, figures = run(board, cwd=folder, stdin=subprocess.DEVNULL).splitlines()
    _, used, _, thousands = figures.split()
    return {
        "Cortex-M7: flash, bytes": int(sizes[0]),
        "RAM with 1,536 of stack, bytes": int(sizes[2]),
        "stack used, bytes": int(used),
        "million instructions a picture": round(int(thousands) / 1000),
    }, bits.strip()


def least_milliseconds(call: Callable[[], Any], runs: int) -> float:
    least = float("inf")
    for _ in range(runs):
        begun = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - begun)
    return 1e3 * least


def hexadecimal(logits: np.ndarray) -> str:
    return " ".join(f"{bits:08x}" for bits in logits.astype(np.float32).view(np.uint32))


def measure(name: str, model: Any, picture: np.ndarray, runs: int) -> dict[str, Any]:
    """A model's row. SystemExit: an answer differs from the package's."""
    expected, data = hexadecimal(model.forward(picture[None])[0]), picture.tobytes()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model.export(folder / "eyes.c")
        row: dict[str, Any] = said(folder)
        ways: dict[str, Callable[[], Any]] = {
            f"{' '.join(command)}, ms": lambda c=command: native(folder, c, data, runs)
            for command in COMMANDS
        }
        ways["wasm with SIMD, ms"] = lambda: wasm(folder, ["-msimd128"], data, runs)
        ways["wasm without, ms"] = lambda: wasm(folder, [], data, max(1, runs // 10))
        ways["Cortex-M7"] = lambda: cortex(folder, data)
        for label in ("gcc -O3", f"gcc -O3 {AVX2}"):
            row[f"stack, {label}, bytes"] = attempt(label, lambda c=label: stack(folder, c.split()))
        for label, way in ways.items():
            found = attempt(f"{name}, {label}", way)
            if found is None:
                continue
            figure, bits = found
            if bits != expected:
                raise SystemExit(f"{name}, {label}: {bits}, expected {expected}")
            row |= figure if isinstance(figure, dict) else {label: figure}
    return row


def attempt(label: str, way: Callable[[], Any]) -> Any:
    try:
        return way()
    except Missing as missing:
        print(f"{label} is left out: {missing}", file=sys.stderr)
        return None


# -- Peers -----------------------------------------------------------------------------------------


def peer(kind: str, path: str, runs: int) -> None:
    """In a process of its own: prints its milliseconds, its MiB beyond what importing takes, and
    its logits, as JSON. The picture is on stdin."""
    from memory import peak_mib, resident_mib

    picture = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(1, 224, 224, 3)
    if kind == "ONNX Runtime":
        import onnxruntime

        before = resident_mib()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(path, options, providers)

        def answer() -> np.ndarray:
            return session.run(["logits"], {"pictures": picture})[0][0]
    else:
        from ai_edge_litert.interpreter import Interpreter
        from lite_rt import answer_of

        before = resident_mib()
        interpreter = Interpreter(path, num_threads=1)
        interpreter.allocate_tensors()

        def answer() -> np.ndarray:
            return answer_of(interpreter, picture)

    least = least_milliseconds(answer, runs)
    size = {"beyond imports": peak_mib() - before, "process": peak_mib()}
    print(json.dumps({"ms": least, "MiB": size, "logits": answer().tolist()}))


def measure_peers(model: Any, picture: np.ndarray, runs: int) -> None:
    """Of the model that has the name v1.1 int8."""
    from lite_rt import write_tflite

    files = {"ONNX Runtime": ("onnxruntime", "eyes.onnx", model.export)}
    files["LiteRT"] = ("ai_edge_litert", "eyes.tflite", lambda path: write_tflite(model, path))
    ours = model.forward(picture[None])[0]
    with tempfile.TemporaryDirectory() as folder:
        for name, (module, file, write) in files.items():
            if not importlib.util.find_spec(module):
                print(f"{name} is left out: {module} is not installed", file=sys.stderr)
                continue
            path = Path(folder, file)
            write(path)
            command = [sys.executable, __file__, "--peer", name, str(path), "--runs", str(runs)]
            found = json.loads(run(command, input=picture.tobytes()))
            difference = np.abs(np.array(found["logits"]) - ours).max() / np.abs(ours).max()
            print(
                f"{name} on the same integers: {found['ms']:.1f} ms, "
                f"{found['MiB']['beyond imports']:.1f} MiB beyond its imports (process "
                f"{found['MiB']['process']:.0f}), file {path.stat().st_size:,} bytes, largest "
                f"difference of logits {difference:.1g} of the largest"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", default="*", metavar="PATTERN")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        peer(*options.peer, options.runs)
        return
    sys.path.insert(0, str(TESTS))
    import portable_support

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    picture = portable_support.pictures_of(224)[0]
    rows: dict[str, dict[str, Any]] = {}
    for name, arguments in MODELS.items():
        if options.peers or not fnmatch.fnmatch(name, options.only):
            continue
        model = portable_support.quantised(224, **arguments)
        rows[name] = measure(name, model, picture, options.runs)
    labels = list(dict.fromkeys(label for row in rows.values() for label in row))
    if rows:
        print(f"|  | {' | '.join(rows)} |\n| --- |{' ---: |' * len(rows)}")
    for label in labels:
        cells = (row.get(label) for row in rows.values())
        print(f"| {label} | {' | '.join(map(shown, cells))} |")
    model = portable_support.quantised(224, **MODELS["v1.1 int8"])
    measure_peers(model, picture, options.runs)


def shown(figure: Any) -> str:
    if figure is None:
        return ""
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:.1f}"


if __name__ == "__main__":
    main()
