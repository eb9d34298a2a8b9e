"""Rules that the source keeps: who includes what, what the library never calls, sizes, style."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from squeezenet_c._native import core

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
FOLDERS = ["base", "image", "ops", "net", "data", "io", "python"]  # each includes those before it
PUBLIC = ("sqz.h", "sqz_files.h")  # the first includes the second
C_FILES = sorted(path for path in CSRC.rglob("*") if path.suffix in (".c", ".h"))
PORTABLE = CSRC / "portable"  # what users compile: no part of the library
LIBRARY_FILES = [
    path for path in C_FILES if not {CSRC / "python", PORTABLE}.intersection(path.parents)
]

COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
FORBIDDEN_CALL = re.compile(
    r"\b(v?f?printf|puts|fputs|putchar|perror|_?exit|quick_exit|abort|assert|system)\s*\("
)


def _includes(path: Path) -> list[tuple[str, str]]:
    """Its includes, each as (bracket or quote, name)."""
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_rules_see_the_library() -> None:
    found = {path.relative_to(CSRC).parts[0] for path in C_FILES}
    assert found == {*FOLDERS, PORTABLE.name, *PUBLIC}


def test_only_the_binding_includes_python() -> None:
    for path in LIBRARY_FILES:
        for _, name in _includes(path):
            assert name != "Python.h" and not name.startswith("numpy/"), _name(path)


def test_only_its_backend_includes_onednn() -> None:
    for path in C_FILES:
        if path.parent == CSRC / "ops" and path.name.startswith("onednn"):
            continue
        assert not any("dnnl" in name for kind, name in _includes(path) if kind == "<"), _name(path)


def test_only_image_includes_stb_image() -> None:
    for path in C_FILES:
        if path.parent != CSRC / "image":
            assert not any("stb" in name for _, name in _includes(path)), _name(path)


def test_intrinsics_are_in_one_file() -> None:
    allowed = CSRC / "ops" / "integer" / "kernels" / "vector.h"  # sums of products of bytes
    for path in C_FILES:
        assert path == allowed or not any(
            name.endswith("intrin.h") or name == "arm_neon.h" for _, name in _includes(path)
        ), _name(path)


def test_what_users_compile_includes_nothing() -> None:
    """But for <stdint.h> and <stddef.h>, which the exporter writes, and what the program needs."""
    for path in C_FILES:
        if path.parent == PORTABLE:
            headers = {"math.h", "stdio.h", "stdlib.h"} if path.name == "program.c" else set()
            assert {name for _, name in _includes(path)} == headers, _name(path)


def test_includes_go_in_one_direction() -> None:
    for path in C_FILES:
        for kind, name in _includes(path):
            if kind == "<" or name == "stb_image.h":
                continue
            target = (path.parent / name).resolve()
            assert target.is_file(), f"{_name(path)} includes {name}, which is not there"
            folder = path.relative_to(CSRC).parts[0]
            included = target.relative_to(CSRC).parts[0]
            assert (
                included == "sqz.h"
                or (folder, included) == PUBLIC
                or (folder not in PUBLIC and FOLDERS.index(included) <= FOLDERS.index(folder))
            ), f"{_name(path)} includes {name}"


def test_the_library_never_prints_exits_or_aborts() -> None:
    for path in LIBRARY_FILES:
        code = COMMENT_OR_STRING.sub("", path.read_text(encoding="utf-8"))
        found = FORBIDDEN_CALL.search(code)
        assert not found, f"{_name(path)} calls {found.group(1)}"
        assert not re.search(r"\b(stdout|stderr)\b", code), f"{_name(path)} names stdout or stderr"


def test_the_rule_on_calls_would_notice() -> None:
    for call in ("printf(", "fprintf (", "vfprintf(", "exit(", "abort(", "assert(", "puts("):
        assert FORBIDDEN_CALL.search(f"    {call}x);")
    for call in ("snprintf(", "vsnprintf(", "_Static_assert(", "sqz_exit("):
        assert not FORBIDDEN_CALL.search(f"    {call}x);")


def test_files_are_short() -> None:
    suffixes = {".c", ".h", ".py", ".pyi", ".md", ".toml", ".html", ".css", ".js"}
    folders = [CSRC, ROOT / "squeezenet_c", ROOT / "tests", ROOT / "benchmarks"]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in suffixes]
    files += [path for path in ROOT.iterdir() if path.suffix in suffixes]
    assert len(files) > 50
    for path in files:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines < 600, f"{_name(path)} has {lines} lines"


def test_stb_image_is_not_in_the_repository() -> None:
    for folder in (CSRC, ROOT / "squeezenet_c", ROOT / "tests"):
        assert not list(folder.rglob("stb_image*.h"))


def test_no_path_of_the_machine_that_builds_is_in_the_module() -> None:
    """oneDNN's library is found when the module runs, and nothing else is far from it."""
    for name in ("setup.py", "csrc/sources.py"):
        assert ",-rpath," not in (ROOT / name).read_text(encoding="utf-8"), name


def test_c_style() -> None:
    beside_python = Path(sys.executable).parent / "clang-format"
    tool = str(beside_python) if beside_python.exists() else shutil.which("clang-format")
    if not tool:
        pytest.skip("clang-format is not installed")
    folders = [ROOT / "tests" / name for name in ("c", "faults", "portable")]
    tests = [path for folder in folders for path in folder.glob("*.[ch]")]
    files = [str(path) for path in [*C_FILES, *sorted(tests)]]
    result = subprocess.run(
        [tool, "--dry-run", "-Werror", *files], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr


def _public(names: object) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def _declared(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """The names a stub declares, with their statements."""
    names = {}
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names[statement.name] = statement
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names[statement.target.id] = statement
    return names


def test_stub_and_compiled_module_have_the_same_names() -> None:
    stub = ast.parse((ROOT / "squeezenet_c" / "_core.pyi").read_text(encoding="utf-8"))
    declared = _declared(stub.body)
    found = _public(dir(core)) | {"set_onednn_library"}  # builds without oneDNN have no such name
    assert _public(declared) == found
    for name, statement in declared.items():
        if isinstance(statement, ast.ClassDef):
            kind = getattr(core, name)
            inherited = _public(dir(kind.__bases__[0]))
            assert _public(_declared(statement.body)) == _public(dir(kind)) - inherited, name
