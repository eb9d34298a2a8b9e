"""Fixtures that find the shared data, and --no-skips, which turns a skipped test into a failure.

A test that is skipped for what the machine is (its CPU lacks an instruction set, or the build has
no oneDNN) says so with a reason that begins with "hardware: " or "build: "; --no-skips allows it.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED_REASONS = ("hardware: ", "build: ")

# `python -m pytest` puts the current folder first on the path, where the source would hide the
# installed package. (After an in-place build the source is the package.)
if not list(ROOT.glob("squeezenet_c/_core.*.so")):
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        help='fail tests that are skipped, unless the reason begins with "hardware: " or "build: "',
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips") and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield  # a file that skips itself, as pytest.importorskip does
    if report.outcome == "skipped" and collector.config.getoption("--no-skips"):
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(ALLOWED_REASONS):
        report.outcome = "failed"
        report.longrepr = f"skipped under --no-skips: {reason}"


@pytest.fixture(autouse=True)
def threads_and_backend() -> Iterator[None]:
    """Whatever a test sets, the next one finds what the first did."""
    import squeezenet_c

    threads, backend = squeezenet_c.get_num_threads(), squeezenet_c.get_backend()
    yield
    if squeezenet_c.get_backend() != backend:
        squeezenet_c.set_backend(backend)
    if squeezenet_c.get_num_threads() != threads:
        squeezenet_c.set_num_threads(threads)


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Texts are English in every test, whatever the locale, unless it chooses another language."""
    from squeezenet_c.base.language import set_language

    set_language("en")
    yield
    set_language(None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photographs and weights beside the repository; SQZ_SHARED names another."""
    folder = Path(os.environ.get("SQZ_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"../shared is not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def palm_folder(shared: Path) -> Path:
    """The PALM photographs, in the tutorial's layout."""
    return shared / "palm"


@pytest.fixture(scope="session")
def measured() -> Callable[..., float]:
    """measured(code, *arguments): the number that the code prints in a process of its own, whose
    memory is no other test's. It may import `memory`, of the benchmarks."""

    def run(code: str, *arguments: str) -> float:
        path = [str(ROOT / "benchmarks"), *sys.path]
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            cwd=ROOT / "tests",  # where no source hides the package
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return float(result.stdout)

    return run
