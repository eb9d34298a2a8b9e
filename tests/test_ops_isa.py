"""The tests of single ops once more, in processes that are held to a lesser instruction set: the
kernels for it, and its block of channels, are other code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from squeezenet_c._native import core

HERE = Path(__file__).resolve().parent
EXPECTED = "SQZ_TEST_EXPECTED_ISA"  # set in the children: "onednn=avx2,openmp=baseline"
RANKS = {"baseline": 0, "avx2": 1, "avx512": 2}
VARIABLES = ("SQZ_ISA", "ONEDNN_MAX_CPU_ISA", "SQZ_BACKEND")


def isa_by_backend():
    """What each offered backend's kernels use; the backend in use stays as it is."""
    current = core.get_backend()
    found = {}
    for backend in core.build_info()["backends"]:
        core.set_backend(backend)
        info = core.build_info()
        assert info["block"] == {"baseline": 4, "avx2": 8, "avx512": 16}[info["isa"]]
        found[backend] = info["isa"]
    core.set_backend(current)
    return found


def describe(isas):
    return ",".join(f"{backend}={isa}" for backend, isa in sorted(isas.items()))


if EXPECTED in os.environ:  # a child: it must be what its parent wanted

    def test_instruction_set_of_this_process():
        assert describe(isa_by_backend()) == os.environ[EXPECTED]

else:

    @pytest.mark.parametrize(
        "variable, value, isa",
        [
            ("SQZ_ISA", "avx2", "avx2"),
            ("SQZ_ISA", "baseline", "baseline"),
            ("ONEDNN_MAX_CPU_ISA", "AVX2", "avx2"),
        ],
    )
    def test_lesser_instruction_set(variable, value, isa):
        for name in VARIABLES:
            if name in os.environ:
                pytest.skip(f"hardware: {name} already holds this process to an instruction set")
        mine = isa_by_backend()
        if RANKS[core.build_info()["cpu_isa"]] < RANKS[isa]:
            pytest.skip(f"hardware: this CPU has no {isa}")
        expected = dict(mine)
        if variable == "SQZ_ISA":
            expected = {backend: isa for backend in mine}
            if isa == "baseline":  # its backward passes would be reference code
                expected.pop("onednn", None)
                expected.pop("mixed", None)
        elif "onednn" not in mine:
            pytest.skip("build: oneDNN is not offered")
        else:
            expected["onednn"] = expected["mixed"] = isa
        # Where nothing changes the child only has to say so.
        files = ["test_ops_isa.py"]
        if expected != mine:
            files += ["test_ops_conv.py", "test_ops_other.py", "test_ops_bfloat16.py"]
        output = run_tests(files, {variable: value, EXPECTED: describe(expected)})
        assert " passed" in output and " failed" not in output, output

    def run_tests(files, variables):
        """The output of these test files run by a process of its own; its failure is ours."""
        child = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            + ["--import-mode=importlib", "-o", f"pythonpath={HERE}"]
            + [str(HERE / file) for file in files],
            cwd=HERE.parent,
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert child.returncode == 0, f"{variables} {child.args}:\n{child.stdout}"
        return child.stdout
