"""What was built, and how it is found: each case in a Python of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import squeezenet_c

PACKAGE = Path(squeezenet_c.__file__).resolve().parent
INFO = squeezenet_c.build_info()
LIBRARY_HEADER = Path(__file__).resolve().parent.parent / "csrc" / "ops" / "onednn_library.h"
COMPILER = shutil.which("gcc") or "cc"
ISAS = ["baseline", "avx2", "avx512"]
SETTINGS = ("SQZ_BACKEND", "SQZ_ISA", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "OMP_NUM_THREADS")

# One training step and one forward, small: prints build_info, the logits, the loss.
WORK = """
import json
import numpy as np
import squeezenet_c as sq
model = sq.Model("1_1", num_classes=3, seed=1, dropout=0.0)
x = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
logits = model.forward(x)
loss = model.train_step(x, np.array([0, 2]), sq.Adam(model, lr=1e-3))
moved = model.forward(x)
print(json.dumps([sq.build_info(), logits.tolist(), float(loss), moved.tolist()]))
"""


def _python(
    code: str, folder: Path, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `code` in `folder`; of the variables that steer the library, only `settings` are set."""
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    environment.update(settings)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=120,
    )


def _answer(result: subprocess.CompletedProcess[str]) -> list:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> list:
    """What WORK prints without any setting."""
    return _answer(_python(WORK, tmp_path_factory.mktemp("usual")))


def _same_numbers(answer: list, usual: list) -> None:
    for mine, theirs in zip(answer[1], usual[1], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    assert answer[2] == pytest.approx(usual[2], rel=1e-4)
    for mine, theirs in zip(answer[3], usual[3], strict=True):
        # Adam's first step is lr times the gradient's sign: where a gradient is almost 0 another
        # order of addition can turn it.
        assert mine == pytest.approx(theirs, rel=5e-2, abs=5e-2)


# -- build_info ------------------------------------------------------------------------------------


def test_build_info_has_its_keys() -> None:
    expected = {
        "backend",
        "backends",
        "convolutions",
        "isa",
        "cpu_isa",
        "block",
        "threads",
        "version",
    }
    expected |= {"openmp", "onednn", "onednn_version", "onednn_reason"}
    expected |= {"bfloat16", "bfloat16_reason", "vnni"}
    assert expected <= set(INFO)
    assert INFO["backend"] in INFO["backends"]
    assert INFO["backend"] == INFO["backends"][0] or os.environ.get("SQZ_BACKEND")
    assert "openmp" in INFO["backends"]
    assert INFO["isa"] in ISAS
    assert INFO["threads"] >= 1
    assert INFO["onednn"] == ("onednn" in INFO["backends"])
    assert bool(INFO["onednn_reason"]) != INFO["onednn"]
    assert bool(INFO["bfloat16_reason"]) != INFO["bfloat16"]
    assert INFO["bfloat16"] == (INFO["backend"] != "openmp" and INFO["isa"] == "avx512")
    assert INFO["version"] == squeezenet_c.__version__


def test_a_build_without_onednn_does_not_load_it(tmp_path: Path) -> None:
    if INFO["onednn_version"]:
        pytest.skip("build: oneDNN is part of it")
    code = "import squeezenet_c; print('libdnnl' in open('/proc/self/maps').read())"
    result = _python(code, tmp_path)
    assert result.stdout.strip() == "False", result.stderr
    assert INFO["backends"] == ["openmp"]


def _needs_onednn() -> None:
    if not INFO["onednn_version"]:
        pytest.skip("build: oneDNN is no part of it")


INFO_WITH = """
import json, sys
from squeezenet_c._native import core
core.set_onednn_library(sys.argv[1])
print(json.dumps(core.build_info()))
try:
    core.set_onednn_library(sys.argv[1])
except ValueError as error:
    print(error, file=sys.stderr)
"""


def test_without_onednns_library_the_own_kernels_serve(tmp_path: Path, usual: list) -> None:
    _needs_onednn()
    hidden = "import importlib.metadata as m, pathlib; m.distributions = lambda **_: []\n"
    hidden += "pathlib.Path.is_file = lambda path: False\n"
    answer = _answer(_python(hidden + WORK, tmp_path))
    assert answer[0]["backends"] == ["openmp"] and answer[0]["backend"] == "openmp"
    assert answer[0]["onednn_reason"].startswith("oneDNN is not there: libdnnl.so.3: cannot open")
    assert answer[0]["onednn_version"] == ""
    _same_numbers(answer, usual)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (None, "libdnnl.so.3 has no function dnnl_convolution_backward_data_primitive_desc_create"),
        ((2, 7), "libdnnl.so.3 is oneDNN 2.7, expected 3.2 or a later 3"),
        ((3, 1), "libdnnl.so.3 is oneDNN 3.1, expected 3.2 or a later 3"),
    ],
)
def test_another_onednn_is_refused(
    tmp_path: Path, version: tuple[int, int] | None, reason: str
) -> None:
    _needs_onednn()
    names = re.findall(r"X\((\w+)\)", LIBRARY_HEADER.read_text()) if version else []
    lines = [f"int dnnl_{name}(void) {{ return 1; }}" for name in names if name != "version"]
    if version:
        major, minor = version
        lines.append(f"static int numbers[5] = {{{major}, {minor}}};")
        lines.append("const int *dnnl_version(void) { return numbers; }")
    (tmp_path / "fake.c").write_text("\n".join([*lines, ""]))
    library = tmp_path / "libfake.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", tmp_path / "fake.c", "-o", library], check=True)
    result = _python(INFO_WITH, tmp_path, str(library))
    assert result.returncode == 0, result.stderr
    info = json.loads(result.stdout)
    assert info["backends"] == ["openmp"] and info["onednn_reason"] == reason
    assert result.stderr.strip() == f"oneDNN was looked for before {library} was named"


# -- Importing -------------------------------------------------------------------------------------


def _copy_package(target: Path, compiled: bool) -> None:
    """The package's files in target/squeezenet_c, with or without the compiled part."""
    left_out = shutil.ignore_patterns("__pycache__", *(() if compiled else ("_core.*",)))
    shutil.copytree(PACKAGE, target / "squeezenet_c", ignore=left_out)


# An editable install finds modules through an entry of sys.meta_path, even those of a copy.
FORGET_EDITABLE = (
    "import sys; sys.meta_path = [f for f in sys.meta_path if 'ditable' not in repr(f)]; "
)


def test_import_without_compiled_part_says_what_to_do(tmp_path: Path) -> None:
    _copy_package(tmp_path, compiled=False)
    result = _python(FORGET_EDITABLE + "import squeezenet_c", tmp_path)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: the compiled part of squeezenet_c is not in")
    assert str(tmp_path) in last
    assert "pip install ." in last


def test_import_from_a_place_that_the_linker_does_not_expect(tmp_path: Path) -> None:
    """As with --target and editable installs: oneDNN's library is found all the same."""
    _copy_package(tmp_path, compiled=True)
    code = FORGET_EDITABLE + "import squeezenet_c as sq; print(sq.__file__, sq.build_info())"
    result = _python(code, tmp_path)
    assert result.returncode == 0, result.stderr
    assert str(tmp_path) in result.stdout
    assert repr(INFO["backends"]) in result.stdout


def test_import_is_light(tmp_path: Path) -> None:
    heavy = ["torch", "matplotlib", "PIL", "openpyxl", "sklearn", "scipy", "pandas", "IPython"]
    code = f"import squeezenet_c, sys; print([m for m in {heavy} if m in sys.modules])"
    result = _python(code, tmp_path)
    assert result.stdout.strip() == "[]", result.stderr


# -- Choosing when it runs -------------------------------------------------------------------------


def test_unknown_backend_is_a_sentence(tmp_path: Path) -> None:
    result = _python(WORK, tmp_path, SQZ_BACKEND="cuda")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: ")
    assert "SQZ_BACKEND" in last and "cuda" in last and "openmp" in last


def test_unknown_instruction_set_is_a_sentence(tmp_path: Path) -> None:
    result = _python(WORK, tmp_path, SQZ_ISA="sse9")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: ")
    assert "SQZ_ISA" in last and "sse9" in last and "baseline" in last


def test_unknown_word_for_vnni_is_a_sentence(tmp_path: Path) -> None:
    result = _python(WORK, tmp_path, SQZ_VNNI="off")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last == 'ValueError: SQZ_VNNI is "off", expected "0" or "1"'


def test_set_backend_refuses_what_is_not_offered() -> None:
    with pytest.raises(ValueError, match="cuda"):
        squeezenet_c.set_backend("cuda")


@pytest.mark.parametrize("backend", ["mixed", "onednn", "openmp"])
def test_backend_by_environment(tmp_path: Path, usual: list, backend: str) -> None:
    if backend not in INFO["backends"]:
        pytest.skip(f"build: {backend} is not offered: {INFO['onednn_reason']}")
    answer = _answer(_python(WORK, tmp_path, SQZ_BACKEND=backend))
    assert answer[0]["backend"] == backend
    _same_numbers(answer, usual)


@pytest.mark.parametrize("backend", ["mixed", "onednn", "openmp"])
@pytest.mark.parametrize("isa", ISAS)
def test_instruction_set_by_environment(
    tmp_path: Path, usual: list, isa: str, backend: str
) -> None:
    """The same build on lesser CPUs: with AVX2 only, and with neither AVX2 nor AVX-512."""
    if ISAS.index(isa) > ISAS.index(INFO["cpu_isa"]):
        pytest.skip(f"hardware: the CPU has no {isa}")
    if backend not in INFO["backends"]:
        pytest.skip(f"build: {backend} is not offered: {INFO['onednn_reason']}")
    if backend != "openmp" and isa == "baseline":
        answer = _answer(_python(WORK, tmp_path, SQZ_ISA=isa))
        assert answer[0]["backends"] == ["openmp"]
        assert answer[0]["onednn_reason"]
    else:
        answer = _answer(_python(WORK, tmp_path, SQZ_ISA=isa, SQZ_BACKEND=backend))
        assert answer[0]["backend"] == backend
    assert answer[0]["isa"] == isa
    assert answer[0]["block"] == {"baseline": 4, "avx2": 8, "avx512": 16}[isa]
    _same_numbers(answer, usual)


def test_onednn_is_not_offered_below_avx2(tmp_path: Path, usual: list) -> None:
    if not INFO["onednn"]:
        pytest.skip(f"build: onednn is not offered: {INFO['onednn_reason']}")
    answer = _answer(_python(WORK, tmp_path, ONEDNN_MAX_CPU_ISA="SSE41"))
    assert answer[0]["backends"] == ["openmp"]
    assert answer[0]["backend"] == "openmp"
    assert "AVX2" in answer[0]["onednn_reason"]
    _same_numbers(answer, usual)

    refused = _python(WORK, tmp_path, ONEDNN_MAX_CPU_ISA="SSE41", SQZ_BACKEND="onednn")
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: ") or last.startswith("RuntimeError: ")
    assert "onednn" in last


def test_onednn_under_avx2_works_in_blocks_of_8(tmp_path: Path, usual: list) -> None:
    if not INFO["onednn"]:
        pytest.skip(f"build: onednn is not offered: {INFO['onednn_reason']}")
    answer = _answer(_python(WORK, tmp_path, ONEDNN_MAX_CPU_ISA="AVX2", SQZ_BACKEND="onednn"))
    assert answer[0]["isa"] == "avx2"
    assert answer[0]["block"] == 8
    _same_numbers(answer, usual)
