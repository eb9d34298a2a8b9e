"""Takes protections out, one by one, in a copy of the source, and sees that a test of each fails:

    python tests/faults/take_out.py [--only WORD ...] [--list]

First all these tests have to pass on the copy as it is. About half an hour, of which ccache
(CC="ccache gcc") saves a part; the copy is built in place, without oneDNN.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Protection:
    """changes: in `file`, what it says and what it says without the protection; the former is there
    exactly once. test: the one that has to fail, below tests/."""

    name: str
    file: str
    test: str
    changes: tuple[tuple[str, str], ...]


SEQUENTIAL_SUM = """\
        parts = self.every((gradients.copy(), rows.copy()))
        gradients[:] = parts[0][0]
        for rank, (other, of_rank) in enumerate(parts):
            owned = self._owners(len(rows)) == rank
            rows[owned] = of_rank[owned]
            if rank:
                gradients += other
        return
        one = len(learning) == 1
"""
LEAK = "static void *volatile lost;\n    lost = __builtin_malloc(64);\n    "

# fmt: off
PROTECTIONS = [
    Protection("files are replaced whole", "csrc/io/atomic.c", "test_faults.py::test_killed_runs", (
        ("AT_FDCWD, file->temporary, O_WRONLY | O_CREAT | O_EXCL",
         "AT_FDCWD, file->target, O_WRONLY | O_CREAT | O_TRUNC"),
        ("rename(file->temporary, file->target) != 0", "false"))),
    Protection("temporary files are removed", "csrc/io/atomic.c",
        "test_faults.py::test_killed_runs", (("            remove_left_behind(file);\n", ""),)),
    Protection("files are synced", "csrc/io/atomic.c",
        "test_faults.py::test_what_a_power_cut_leaves",
        (("synced = fsync(file->descriptor)", "synced = 0"),)),
    Protection("folders are synced", "csrc/io/atomic.c",
        "test_faults.py::test_what_a_power_cut_leaves", (("    sync_folder(file);\n", ""),)),
    Protection("fsync may fail", "csrc/io/atomic.c",
        "test_faults.py::test_a_file_that_cannot_be_written",
        (("synced != 0 || rename", "rename"),)),
    Protection("rename may fail", "csrc/io/atomic.c",
        "test_faults.py::test_a_file_that_cannot_be_written",
        (("rename(file->temporary, file->target) != 0",
          "(rename(file->temporary, file->target) != 0 && false)"),)),
    Protection("write may fail", "csrc/io/atomic.c", "test_faults.py::test_a_full_disk",
        (("if (written < 0 && errno != EINTR)\n            return fail(file, error);",
          "if (written < 0 && errno != EINTR)\n            return SQZ_OK;"),)),
    Protection("stdout may be full", "squeezenet_c/cli/main.py",
        "test_faults.py::test_an_output_that_is_full",
        (("                sys.stdout.flush()  # now", "                # now"),)),
    Protection("SIGTERM is handled", "squeezenet_c/cli/stopping.py",
        "test_signals.py::test_a_stopped_run",
        (("signal.signal(signal.SIGTERM, _handle)", "signal.getsignal(signal.SIGTERM)"),)),
    Protection("SIGTERM waits for the step", "squeezenet_c/cli/stopping.py",
        "test_signals.py::test_a_signal_within_a_step", (("    if not _waits:", "    if True:"),)),
    Protection("Ctrl-C while training", "squeezenet_c/training/loop.py",
        "test_signals.py::test_a_stopped_run",
        (("        except KeyboardInterrupt as error:\n            ranks.meet(error)",
          "        except ZeroDivisionError as error:\n            ranks.meet(error)"),)),
    Protection("signals are a sentence", "squeezenet_c/cli/main.py",
        "test_signals.py::test_sigterm_where_nothing_is_trained",
        (("        except KeyboardInterrupt:", "        except ZeroDivisionError:"),)),
    Protection("Ctrl-C while C waits", "csrc/python/module.c",
        "test_concurrency.py::test_a_wait_for_ones_turn_can_be_interrupted",
        (("    sqz_set_interrupt(interrupted);", "    (void)interrupted;"),)),
    Protection("OpenMP's threads before a fork", "csrc/base/parallel.c",
        "test_concurrency.py::test_a_fork_beside_working_threads",
        (("    pthread_atfork(before_fork, NULL, after_fork);\n", ""),)),
    Protection("locks over a fork", "csrc/base/guard.c",
        "test_concurrency.py::test_a_fork_beside_working_threads",
        (("pthread_atfork(before_fork, after_fork, after_fork_in_child);", ""),)),
    Protection("models after a fork", "csrc/net/access.c",
        "test_concurrency.py::test_a_fork_beside_working_threads",
        (("    if (model->forks != sqz_guard_forks())\n        adopt(model);\n", ""),)),
    Protection("sub-interpreters are refused", "csrc/python/module.c",
        "test_signals.py::test_a_sub_interpreter_is_refused",
        (("PyInterpreterState_Get() != PyInterpreterState_Main()", "false"),)),
    Protection("readers wait for a writer", "csrc/net/access.c",
        "test_signals.py::test_many_threads_predict_while_one_trains",
        (("if (access->writing || access->writer_waits) {\n        access->waiting",
          "if (false) {\n        access->waiting"),)),
    # 64 threads that predict seldom meet the moment of a step: this is for the thread sanitizer.
    Protection("a writer waits for readers", "csrc/net/access.c",
        "test_c_machines.py::test_no_data_races",
        (("while (status == SQZ_OK && (access->readers || access->owed_readers))",
          "while (false)"),)),
    Protection("predictions leak nothing", "csrc/net/predict.c",
        "test_faults.py::test_memory_stays_flat",
        (("    SQZ_TRY(sqz_entry_pack(", f"    {LEAK}SQZ_TRY(sqz_entry_pack("),)),
    Protection("Python's objects are released", "csrc/python/inference.c",
        "test_faults.py::test_memory_stays_flat",
        (("    Py_DECREF(x);\n    return (PyObject *)results", "    return (PyObject *)results"),)),
    Protection("an allocation may fail", "csrc/io/codes.c",
        "test_c_library.py::test_c_library_under_sanitizers",
        (("    if (!*bytes)\n        return", "    if (false)\n        return"),)),
    Protection("big-endian machines", "csrc/sqz.h",
        "test_c_machines.py::test_big_endian_is_refused",
        (("__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__", "0"),)),
    Protection("ranks that differ", "squeezenet_c/base/mpi.py",
        "test_mpi.py::test_ranks_that_differ_are_refused",
        (("if found.get(name) != value:", "if False:"),)),
    Protection("a rank that fails ends all", "squeezenet_c/base/mpi.py",
        "test_mpi.py::test_a_rank_that_raises_ends_all_with_its_sentence",
        (("            self.meet(error)\n", "            pass\n"),)),
    Protection("ranks have whole subtrees", "squeezenet_c/base/mpi.py",
        "test_mpi.py::test_ranks_have_the_bits_of_one_process",
        (("np.arange(count) % core.LANES * self.size // core.LANES",
          "np.arange(count) % self.size"),)),
    Protection("the order of the sum over ranks", "squeezenet_c/base/mpi.py",
        "test_mpi.py::test_ranks_have_the_bits_of_one_process",
        (("        one = len(learning) == 1\n", SEQUENTIAL_SUM),)),
]
# fmt: on


def changed(protection: Protection, text: str) -> str:
    """The file's text without the protection. ValueError: it is not there, or not once."""
    for before, after in protection.changes:
        if text.count(before) != 1:
            raise ValueError(
                f"{protection.file} has {text.count(before)} times {before!r}, expected once"
            )
        text = text.replace(before, after)
    return text


class Copy:
    """Of the source, built in place."""

    def __init__(self, folder: Path):
        self.folder = folder / "source"
        ignored = shutil.ignore_patterns(".git", "__pycache__", "*.so", "*.egg-info", ".mypy_cache")
        shutil.copytree(ROOT, self.folder, ignore=ignored)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(self.folder),
            "SQZ_ONEDNN": "0",
            "SQZ_SHARED": os.environ.get("SQZ_SHARED") or str(ROOT.parent / "shared"),
        }
        self.stale = True  # what is built is not the source as it is
        self._build()

    def _build(self) -> None:
        """Where the source has changed since."""
        if not self.stale:
            return
        self._run("setup.py", "--quiet", "build_ext", "--build-lib", ".", check=True)
        self.stale = False

    def _run(self, *words: str, check: bool = False) -> subprocess.CompletedProcess:
        result = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check and result.returncode:
            sys.exit(result.stdout)
        return result

    def test(self, *tests: str) -> tuple[int, str]:
        """pytest's status, and its output."""
        self._build()
        places = [f"tests/{test}" for test in tests]
        result = self._run("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *places)
        return result.returncode, result.stdout

    def without(self, protection: Protection) -> tuple[int, str]:
        """The status and the output of its test."""
        path = self.folder / protection.file
        text, compiled = path.read_text("utf-8"), protection.file.startswith("csrc/")
        path.write_text(changed(protection, text), "utf-8")
        self.stale |= compiled
        try:
            return self.test(protection.test)
        finally:
            path.write_text(text, "utf-8")
            self.stale |= compiled


def why(said: str) -> str:
    """The line in which pytest says what was wrong."""
    lines = [line for line in said.splitlines() if line.startswith("E  ")]
    return (lines or said.strip().splitlines() or [""])[0][:200]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", default=[""], help="protections with one of these words"
    )
    parser.add_argument("--list", action="store_true", help="name them, and do nothing")
    options = parser.parse_args()
    wanted = [p for p in PROTECTIONS if any(word in f"{p.name} {p.file}" for word in options.only)]
    if options.list:
        print("\n".join(f"{p.name}: {p.file}, {p.test}" for p in wanted))
        return
    weak = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        status, said = copy.test(*dict.fromkeys(p.test for p in wanted))
        if status != 0:
            sys.exit(f"with all protections the tests end with {status}:\n{said}")
        for protection in wanted:
            begun = time.monotonic()
            status, said = copy.without(protection)
            took = time.monotonic() - begun
            result = why(said) if status == 1 else f"NOT SEEN, pytest ended with {status}"
            print(f"{protection.name} ({protection.test}, {took:.0f} s): {result}", flush=True)
            weak += [protection.name] * (status != 1)
    if weak:
        sys.exit(f"nothing fails without: {', '.join(weak)}")


if __name__ == "__main__":
    main()
