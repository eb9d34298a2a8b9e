"""Tries an installed wheel as its first user does, in an environment that need hold nothing else:

    python tests/try_wheel.py [--own-kernels]

The module is there with all that it carries, trains, and the packaged model tells what it should.
--own-kernels: oneDNN is not installed, and nothing is asked of it."""

import argparse
import platform
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path


def command(folder: str, *arguments: str) -> str:
    """What `squeezenet-c ARGUMENTS` prints in a folder where no source hides what is installed."""
    words = [sys.executable, "-m", "squeezenet_c", *arguments]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=folder).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--own-kernels", action="store_true", help="oneDNN is not installed")
    options = parser.parse_args()

    import squeezenet_c as sq

    info = sq.build_info()
    assert info["version"] == metadata.version("squeezenet_c"), info
    assert info["openmp"], "it was built without OpenMP"
    with_onednn = platform.machine() == "x86_64" and not options.own_kernels
    assert bool(info["onednn_version"]) == with_onednn, info["onednn_reason"]
    with tempfile.TemporaryDirectory() as folder:
        said = command(folder, "demo", "--pictures", "24", "--epochs", "1", "--out", "demo")
        picture = str(next(Path(folder, "demo", "pictures").rglob("*.*g")))
        answer = command(folder, "predict", "palm", picture)
        assert answer.startswith("Predicted: "), answer
        command(folder, "export", "palm", "palm.c")
    print(
        f"{said}{answer}{info['backend']}, {info['isa']}, {info['threads']} threads: all is there"
    )


if __name__ == "__main__":
    main()
