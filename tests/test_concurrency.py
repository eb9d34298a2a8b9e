"""Calls on one model, loader or array from several threads, and forks in the midst of them."""

import subprocess
import sys
import textwrap
from pathlib import Path

PREPARE = """
import os, signal, sys, threading, time
import numpy as np
from squeezenet_c._native import core

x = np.random.default_rng(0).standard_normal((4, 3, 64, 64)).astype(np.float32)

def start(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
"""


def run(code: str, timeout: float = 60) -> str:
    """In a process of its own, which a hang or a crash ends alone. Its output."""
    result = subprocess.run(
        [sys.executable, "-c", PREPARE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,  # not the source folder, whose package is not compiled
        timeout=timeout,
    )
    assert result.returncode == 0, (result.returncode, result.stdout, result.stderr)
    return result.stdout.strip()


def test_labels_that_another_thread_changes() -> None:
    """Checked and used are the same labels. Between the two a plan is made, which takes time."""
    code = """
        network = core.Network("1_1", 2)
        labels = np.zeros(4, np.int64)
        expected = network.compute_gradients(x, labels, class_weights=np.ones(2))
        again = core.Network("1_1", 2)

        def change():
            time.sleep(0.001)
            labels[:] = 1 << 40

        changing = start(change)
        print(again.compute_gradients(x, labels, class_weights=np.ones(2)) == expected)
        changing.join()
    """
    assert run(code) == "True"
