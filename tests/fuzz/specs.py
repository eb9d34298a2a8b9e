"""Networks of any spec as exported C, against the package: the table of layers that the exporter
makes is right where the compiled file gives the package's bits and leaves the guards in its state
alone (builder.guarded). run.py starts it with libFuzzer's options, of which it knows some.

    python tests/fuzz/specs.py FILE    # the spec in a file, again
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import builder
import numpy as np
import portable_support

FLAGS = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-O1", "-DMODEL_PRINT"]


def drawn_spec(random: np.random.Generator) -> dict[str, Any]:
    """Arguments of portable_support.quantised."""
    bypass = [None, "simple"][random.integers(2)]
    return {
        "image_size": int(random.integers(32, 72)),
        "version": str(random.choice(["1_0", "1_1"])),
        "num_classes": int(random.integers(2, 6)),
        "bypass": bypass,
        "squeeze_ratio": float(random.uniform(0.05, 1)),
        "pct_3x3": float(random.uniform(0.05, 0.95)),
        "base_e": int(random.integers(2, 40)),
        "incr_e": int(random.integers(0, 40)),
        "freq": int(random.integers(1, 5)) if bypass is None else 2,  # which a bypass needs
        "final_relu": bool(random.integers(2)),
        "fit": str(random.choice(["pad", "crop"])),
        "compressed": bool(random.integers(2)),
    }


def check(spec: dict[str, Any], folder: Path) -> str:
    """What is wrong with the spec's file; "" for nothing. ValueError: so narrow a network has the
    same logits for all pictures, and cannot tell right from wrong."""
    model = portable_support.quantised(**spec)
    picture = portable_support.pictures_of(model.image_size)[1:2]
    path = folder / "model.c"
    model.export(path)
    path.write_text(builder.guarded(path.read_text("utf-8"), "model"), "utf-8")
    (folder / "picture").write_bytes(b"\xff" + picture.tobytes())
    include = [f"-I{folder}", f"-I{builder.ROOT / 'csrc'}", "-D_GNU_SOURCE"]
    harness = builder.HARNESSES / "engine.c"
    builder.compile_with([*include, *FLAGS, str(harness), "-o", str(folder / "engine")])
    command = [folder / "engine", folder / "picture"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if "ERROR" in line or "error" in line]
        return f"{(lines or result.stderr.splitlines() or ['?'])[0]}"
    expected = " ".join(f"{bits:08x}" for bits in model.forward(picture).view(np.uint32)[0])
    return "" if result.stdout.split("\n")[0].strip() == expected else "other logits than ours"


def main() -> int:
    options = dict(word[1:].split("=", 1) for word in sys.argv[1:] if word.startswith("-"))
    files = [word for word in sys.argv[1:] if Path(word).is_file()]
    random = np.random.default_rng(int(options.get("seed", "0")) or None)
    end = time.monotonic() + float(options.get("max_total_time", "0"))
    count, wrong = 0, ""
    while files or time.monotonic() < end:
        spec = json.loads(Path(files.pop()).read_text()) if files else drawn_spec(random)
        with tempfile.TemporaryDirectory() as folder:
            try:
                wrong = check(spec, Path(folder))
            except ValueError as error:
                print(f"passed over: {error}")
                continue
        count += 1
        if wrong:
            path = Path(f"{options.get('artifact_prefix', '')}spec.json")
            path.write_text(json.dumps(spec))
            print(f"SUMMARY: {wrong}\nTest unit written to {path}")
            break
    print(f"stat::number_of_executed_units: {count}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
