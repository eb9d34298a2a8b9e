"""An int8 model as one page of HTML that answers pictures in a browser, without a network: the
engine of csrc/portable as WebAssembly, and the files of page/ around it, all in one file."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zlib
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .._version import __version__
from ..base.language import ENGLISH_NAMES, LANGUAGES, class_name
from ..inference.cam import COLOURS, FIRST_KERNEL, OVERLAY_SHARES, centres
from ..network import Network
from .c_write import page_source

PARTS = Path(__file__).with_name("page")
SCRIPTS = ("words.js", "evidence.js", "page.js")
COMPILER = "ziglang==0.15.2"
NEEDS_COMPILER = (
    "a page needs a compiler for WebAssembly, of the package ziglang, which is not installed: "
    'pip install "squeezenet_c[web]"'
)
# Of `zig`, one after the other. -mbulk-memory: memory is cleared and copied by instructions, and
# nothing has to be linked for that.
COMMANDS = (
    (
        *("cc", "-target", "wasm32-freestanding", "-std=c99", "-O3", "-msimd128", "-mbulk-memory"),
        *("-DEYES_MAPS", "-DEYES_SAMPLES=4", "-c", "eyes.c", "-o", "eyes.o"),
    ),
    ("wasm-ld", "--no-entry", "--strip-all", "eyes.o", "-o", "eyes.wasm"),
)
CAUTION = "No answer is a diagnosis: whoever worries about their eyes should see a doctor."


def html_page(model: Network, stem: str) -> str:
    """The text of the page; `stem`: its title, and what its table of answers is called when it is
    saved. ValueError: the model is not quantised. ImportError: no compiler for WebAssembly is
    installed. RuntimeError: it does not compile the engine."""
    style = _part("page.css")
    script = "".join(map(_part, SCRIPTS))
    return _filled(
        _part("page.html"),
        {
            "policy": _policy(style, script),
            "generator": f"squeezenet_c {__version__}",
            "title": escape(stem),
            "style": style,
            "model": _json(_facts(model, stem)),
            "engine": base64.b64encode(zlib.compress(web_engine(model), 9)).decode("ascii"),
            "worker": _part("worker.js"),
            "script": script,
        },
    )


def web_engine(model: Network) -> bytes:
    """The module of WebAssembly that csrc/portable/page.c describes. Raises as html_page does."""
    source = page_source(model)
    if not find_spec("ziglang"):
        raise ImportError(NEEDS_COMPILER)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "eyes.c").write_text(source, encoding="utf-8")
        for command in COMMANDS:
            _run_zig(command, folder)
        return Path(folder, "eyes.wasm").read_bytes()


def _run_zig(command: tuple[str, ...], folder: str) -> None:
    """In a folder, with its caches there: it asks for no home, and leaves nothing behind."""
    caches = {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}
    result = subprocess.run(
        [sys.executable, "-m", "ziglang", *command],
        cwd=folder,
        env=os.environ | caches,
        capture_output=True,
    )
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").strip().splitlines()
        reason = next((line for line in lines if "error" in line), "it says nothing of why")
        raise RuntimeError(f"the page's engine is not compiled by {COMPILER}: {reason}")


def _facts(model: Network, stem: str) -> dict[str, Any]:
    """What the page knows of the model besides its engine."""
    names = [model.name_of(label) for label in range(model.num_classes)]
    cells = model.layers(model.image_size, model.image_size)[-1]["in_shape"][1]
    return {
        "stem": stem,
        "made": __version__,
        "version": model.version.replace("_", "."),
        "side": model.image_size,
        "names": names,
        "shown": {key: [class_name(name, key) for name in names] for key in LANGUAGES},
        "positive": model.positive,
        "threshold": model.threshold,
        "caution": CAUTION if set(names) == set(ENGLISH_NAMES) else None,
        "map": {
            "centres": centres(cells, FIRST_KERNEL[model.version]).tolist(),
            "colours": COLOURS.tolist(),
            "shares": OVERLAY_SHARES,
        },
    }


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _filled(template: str, values: dict[str, str]) -> str:
    """With values for its {{places}}, whatever is in these."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: values[place[1]], template)


def _json(value: Any) -> str:
    """For a script element, which nothing in it ends."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy: nothing is loaded from anywhere, and no script or style runs but
    the page's own, and WebAssembly."""
    rules = {
        "default-src": "'none'",
        "script-src": f"{_hash(script)} 'wasm-unsafe-eval'",
        "worker-src": "blob:",
        "style-src": _hash(style),
        "connect-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"
