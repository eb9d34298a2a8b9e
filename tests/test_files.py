"""Files as the core reads and writes them: regular ones alone, whole or not at all."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from squeezenet_c._native import core

# A process that the system ends while it writes, as kill -9 would: past the limit on a file's size.
DIES = """
import resource, signal, sys
import numpy as np
from squeezenet_c._native import core
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
core.write_safetensors(sys.argv[1], {"a": np.ones(100_000, np.float32)}, {})
"""


def left_in(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.startswith(".sqz-"))


@pytest.fixture
def irregular(tmp_path: Path) -> list[str]:
    """A pipe that nobody writes to, a socket, two devices and a link to one."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("/dev/zero")
    return [str(tmp_path / "pipe.png"), "/dev/zero", "/dev/null", str(tmp_path / "link.png")]


@pytest.mark.parametrize("reader", ["read_image", "read_file", "file_opener", "read_safetensors"])
def test_only_regular_files_are_read(tmp_path: Path, irregular: list[str], reader: str) -> None:
    read = f"core.{reader}(path)"
    program = f"""
import sys
from squeezenet_c._native import core
for path in sys.argv[1:]:
    try:
        {read}
    except core.BadFileError as error:
        assert str(error).startswith(path + ": is no regular file"), error
    else:
        raise SystemExit(path + " was read")
"""
    command = [sys.executable, "-c", program, *irregular]
    subprocess.run(command, check=True, timeout=30, cwd=tmp_path)


def test_a_socket_is_not_read(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        with pytest.raises(OSError, match="socket: cannot be read"):
            core.read_file(tmp_path / "socket")


def test_a_data_set_does_not_wait_for_a_pipe(irregular: list[str]) -> None:
    loader = core.PictureStore(irregular).loader(range(len(irregular)))
    with pytest.raises(core.BadFileError, match=r"pipe\.png: is no regular file"):
        loader.next(1)


def test_reading_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "病例"
    for content in [b"", b"a", os.urandom(300_000)]:
        path.write_bytes(content)
        assert core.read_file(path) == content
        assert core.read_file(os.fsencode(path), limit=len(content)) == content
        with open(path, "rb", opener=core.file_opener) as file:
            assert file.read() == content
    with pytest.raises(core.BadFileError, match="病例: has 300000 bytes, expected at most 299999"):
        core.read_file(path, 299_999)
    with pytest.raises(FileNotFoundError, match="missing: cannot be read"):
        core.read_file(tmp_path / "missing")
    with pytest.raises(IsADirectoryError, match="cannot be read"):
        core.read_file(tmp_path)
    with pytest.raises(ValueError, match="limit is -1"):
        core.read_file(path, -1)
    with pytest.raises(ValueError, match="reading alone"):
        open(path, "wb", opener=core.file_opener)
    assert path.stat().st_size == 300_000


def test_the_first_bytes_of_a_picture_are_looked_at_first(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with open(path, "wb") as file:
        file.write(b"8BPS")
        file.truncate(700_000_000)  # zeros that take no room
    start = time.monotonic()
    with pytest.raises(core.BadFileError, match=r"huge\.jpg: is a Photoshop file, expected"):
        core.read_image(path)
    assert time.monotonic() - start < 0.2  # reading it takes half a second
    with open(path, "ab") as file:
        file.truncate(800_000_000)
    with pytest.raises(core.BadFileError, match="has 800000000 bytes, expected at most 782936744"):
        core.read_image(path)


def test_writing_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "结果.csv"
    for content in [b"", b"a\n", os.urandom(300_000), bytearray(b"b"), memoryview(b"c")]:
        core.write_file(path, content)
        assert path.read_bytes() == content and os.listdir(tmp_path) == [path.name]
    path.chmod(0o600)
    core.write_file(os.fsencode(path), b"d")
    assert path.read_bytes() == b"d" and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileNotFoundError, match=r"no/结果\.csv: cannot be written"):
        core.write_file(tmp_path / "no" / path.name, b"")
    with pytest.raises(IsADirectoryError, match="cannot be written"):
        core.write_file(tmp_path, b"")
    with pytest.raises(TypeError):
        core.write_file(path, "text")
    assert path.read_bytes() == b"d"


def test_a_file_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    core.write_file("file", b"a")
    assert core.read_file("file") == b"a" and os.listdir() == ["file"]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for _ in range(2):
        command = [sys.executable, "-c", DIES, str(path)]
        died = subprocess.run(command, timeout=60, cwd=tmp_path)
        assert died.returncode == -signal.SIGXFSZ
        assert len(left_in(tmp_path)) == 1  # the second one removes the first one's
    (tmp_path / ".sqz-mine.tmp").write_bytes(b"somebody's own")
    core.write_file(tmp_path / "another file", b"")
    assert left_in(tmp_path) == [".sqz-mine.tmp"] and not path.exists()


def test_files_of_another_machine_are_removed_after_a_day(tmp_path: Path) -> None:
    left = [tmp_path / f".sqz-00000000-{number}-0.tmp" for number in range(2)]
    for path, hours in zip(left, (23, 25), strict=True):
        path.write_bytes(b"half of a file")
        changed = time.time() - 3600 * hours
        os.utime(path, (changed, changed))
    core.write_file(tmp_path / "file", b"")
    assert left_in(tmp_path) == [left[0].name]


def test_writers_leave_each_others_files_alone(tmp_path: Path) -> None:
    data = np.ones(50_000, np.float32)
    errors = []

    def write(number: int) -> None:
        try:
            for _ in range(20):
                core.write_safetensors(tmp_path / f"{number}", {"a": data * number}, {})
                core.write_file(tmp_path / f"{number}.txt", b"text")
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(os.listdir(tmp_path)) == 12
    for number in range(6):
        assert (core.read_safetensors(tmp_path / f"{number}")[0]["a"] == number).all()
