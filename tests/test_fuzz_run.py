"""That tests/fuzz/run.py would notice: what a harness finds, and what the guards are for."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent / "fuzz"))

import builder  # noqa: E402
import portable_support  # noqa: E402
import specs  # noqa: E402
from fuzz import run  # noqa: E402

PLANTED = """
#include "harness.h"
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *copy = malloc(4);
    memcpy(copy, data, size < 4 ? size : 4);
    size_t at = size > 2 && copy[0] == 'P' && copy[1] == 'N' ? 4 : 0;
    int found = copy[at] == 'x';
    free(copy);
    return found ? 0 : 0;
}
"""


@pytest.fixture(scope="module", autouse=True)
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> None:
    source = tmp_path_factory.mktemp("fuzzer") / "empty.c"
    source.write_text("int LLVMFuzzerTestOneInput(void) { return 0; }\n")
    try:
        builder.compile_with(["-fsanitize=fuzzer", str(source), "-o", str(source.with_suffix(""))])
    except (builder.BuildError, FileNotFoundError):
        pytest.skip("build: clang's libFuzzer is not installed")


def test_a_finding_is_named_and_shown_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, program = tmp_path / "planted.c", tmp_path / "planted"
    source.write_text(PLANTED)
    include = [f"-I{builder.HARNESSES}", f"-I{builder.ROOT / 'csrc'}", "-D_GNU_SOURCE"]
    flags = ["-g", "-fsanitize=fuzzer,address"]
    builder.compile_with([*include, *flags, str(source), "-o", str(program)])
    monkeypatch.setattr(run, "makers", lambda: {"planted": lambda: {"seed": b"PM?"}})
    found = run.fuzz("planted", [str(program)], tmp_path / "corpus", 60)
    assert found.executions > 0 and found.finding.startswith(
        "SUMMARY: AddressSanitizer: heap-buffer"
    )
    again = subprocess.run(shlex.split(found.again), capture_output=True, text=True)
    assert again.returncode != 0 and "heap-buffer-overflow" in again.stderr
    assert "heap-buffer-overflow" in run.table([found])


def test_nothing_found_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "makers", lambda: {"plain": dict})
    code = "print('stat::number_of_executed_units: 5')"
    found = run.fuzz("plain", [sys.executable, "-c", code], tmp_path, 1)
    assert (found.executions, found.finding) == (5, "")
    found = run.fuzz("plain", [sys.executable, "-c", "exit('it hung')"], tmp_path, 1)
    assert "it hung" in found.finding


@pytest.mark.parametrize("name", ["MODEL_ROW_BYTES", "MODEL_PATCH_BYTES", "MODEL_WINDOW_BYTES"])
def test_guards_notice_a_table_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An array of the state that is a few bytes too short."""
    spec = {"image_size": 33, "version": "1_1", "num_classes": 2, **portable_support.SMALL}
    plain = builder.guarded

    def shorter(source: str, stem: str) -> str:
        line = next(line for line in source.splitlines() if line.startswith(f"#define {name} "))
        return plain(source.replace(line, f"{line} - 8"), stem)

    monkeypatch.setattr(specs.builder, "guarded", shorter)
    assert "use-after-poison" in specs.check(spec, tmp_path)
