"""Calls on one model, loader or array from several threads, and forks in the midst of them."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PREPARE = '''
import os, signal, sys, threading, time
import numpy as np
from squeezenet_c._native import core

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
x = np.random.default_rng(0).standard_normal((4, 3, 64, 64)).astype(np.float32)

def start(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread

waits, done = [], False

def tick():
    """Into `waits`, how long this thread was kept from running, until it is all done."""
    last = time.monotonic()
    while not done:
        time.sleep(0.001)
        now = time.monotonic()
        waits.append(now - last)
        last = now
'''


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

        def change():
            time.sleep(0.001)
            labels[:] = 1 << 40

        for _ in range(20):  # where the change comes before the call, as it may, the call refuses
            labels[:] = 0
            again = core.Network("1_1", 2)
            changing = start(change)
            try:
                print(again.compute_gradients(x, labels, class_weights=np.ones(2)) == expected)
                break
            except ValueError:
                pass
            finally:
                changing.join()
    """
    assert run(code) == "True"


# -- Turns on one model ----------------------------------------------------------------------------


def test_a_trainer_and_predicting_threads_take_turns() -> None:
    """Nobody is refused, and neither side starves."""
    code = """
        network, steps, done = core.Network("1_1", 2), 0, False
        adam = core.Adam(network)
        predicted = [0] * 3

        def predict(index):
            while not done:
                network.forward(x[:1])
                predicted[index] += 1

        threads = [start(lambda index=index: predict(index)) for index in range(3)]
        while steps < 20 or min(predicted) < 5:
            network.compute_gradients(x, [0, 1, 0, 1])
            adam.step()
            network.state_dict(), adam.state_dict()
            steps += 1
        done = True
        for thread in threads:
            thread.join()
        print(steps < 1000 and max(predicted) < 1000)
    """
    assert run(code) == "True"


def test_training_on_two_threads_is_refused() -> None:
    code = """
        network, refused = core.Network("1_1", 2), []

        def train():
            while not refused:
                try:
                    network.compute_gradients(x, [0, 1, 0, 1])
                except RuntimeError as error:
                    refused.append(str(error))

        threads = [start(train) for _ in range(2)]
        for thread in threads:
            thread.join()
        print(refused[0])
    """
    assert run(code) == "the model is being trained by another thread"


def test_a_wait_for_ones_turn_can_be_interrupted() -> None:
    code = """
        network = core.Network("1_0", 1000)
        pictures = np.zeros((64, 3, 224, 224), np.float32)
        core.set_num_threads(1)
        training = start(lambda: network.compute_gradients(pictures, np.zeros(64, int)))
        time.sleep(0.3)
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        try:
            network.state_dict()
        except KeyboardInterrupt:
            print(training.is_alive() and time.monotonic() - began < 1)
        os._exit(0)
    """
    assert run(code.replace("os._exit", "sys.stdout.flush(); os._exit")) == "True"


# -- Plans -----------------------------------------------------------------------------------------


def test_nothing_waits_for_a_plan_with_the_interpreter_stopped() -> None:
    """While a plan is made, a thread that never asks for the model goes on undisturbed."""
    code = """
        network = core.Network("1_0", 1000)
        adam = core.Adam(network)
        network.compute_gradients(x, [0, 1, 2, 3])

        ticking = start(tick)
        sizes = range(225, 245)
        making = start(lambda: [network.forward(np.zeros((1, 3, size, size), np.float32))
                                for size in sizes])
        while making.is_alive():
            network.precision, network.state_dict(), adam.step(), core.get_backend()
            time.sleep(0.002)
        done = True
        ticking.join()
        print(round(1000 * max(waits)))
    """
    assert int(run(code)) < 60  # milliseconds; a plan takes longer where oneDNN makes it


# -- Forks -----------------------------------------------------------------------------------------

FORK = """
    core.set_num_threads(2)  # so that OpenMP has a helper, which a fork does not copy
    network, done = core.Network("1_1", 2), False
    expected = network.forward(x).tobytes()

    def child():
        signal.alarm(10)  # ends a child that hangs
        try:
            good = network.forward(x).tobytes() == expected
            network.forward(x[:, :, :50, :50])  # a plan of its own
            network.compute_gradients(x, [0, 1, 0, 1])
            core.Adam(network).step()
            os._exit(0 if good else 3)
        except BaseException:
            os._exit(4)

    def work():
        side = 40
        while not done:
            {work}

    working, ends = [], []
    for number in range(12):
        if number == 1:  # the first child finds both threads free, and takes them
            working = [start(work) for _ in range(2)]
        time.sleep(0.01)
        process = os.fork()
        if process == 0:
            child()
        ends.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    done = True
    for thread in working:
        thread.join()
    print(ends == [0] * 12, ends, network.forward(x).tobytes() == expected)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="hardware: no fork here")
@pytest.mark.parametrize(
    "work",
    [
        "network.forward(x)",
        "side = 40 + (side + 1) % 40; network.forward(x[:1, :, :side, :side])",
        "core.Network('1_1', 2).compute_gradients(x, [0, 1, 0, 1])",
    ],
    ids=["predicts", "makes plans", "trains"],
)
def test_a_fork_beside_working_threads(work: str) -> None:
    """The child is free, whatever the other threads were about when it was made."""
    found = run(FORK.format(work=work))
    assert found.startswith("True") and found.endswith("True"), found


# -- Loaders ---------------------------------------------------------------------------------------

SLOW = """
    import struct, tempfile, zlib

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    side = 4000  # its pixels take a while
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\\4" + bytes(3 * side)) * side, 1))
    path = os.path.join(tempfile.mkdtemp(), "slow.png")
    with open(path, "wb") as file:
        file.write(b"\\x89PNG\\r\\n\\x1a\\n" + header + pixels + chunk(b"IEND", b""))
    store = core.PictureStore([path], cache_bytes=0)
    began = time.monotonic()
    store.picture(0)
    takes = time.monotonic() - began
    loader = store.loader([0] * 100, ahead=8, threads=1)
    time.sleep(0.05)  # it is decoding now
"""


def test_other_threads_go_on_while_a_loader_is_dropped() -> None:
    code = """
        ticking = start(tick)
        del loader
        done = True
        ticking.join()
        os.remove(path)
        print(max(waits) < 0.5 * takes, max(waits), takes)
    """
    found = run(textwrap.dedent(SLOW) + textwrap.dedent(code))
    assert found.startswith("True"), found


def test_a_wait_for_a_picture_can_be_interrupted() -> None:
    code = """
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        try:
            loader.next(100)
        except KeyboardInterrupt:
            print(time.monotonic() - began < 0.1 + 0.5 * takes + 0.1)
        try:
            loader.next(1)
        except ValueError as error:
            print(error)
        os.remove(path)
    """
    found = run(textwrap.dedent(SLOW) + textwrap.dedent(code))
    assert found == "True\nthe loader was interrupted, which lost its place"
