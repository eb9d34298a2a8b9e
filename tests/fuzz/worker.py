"""One target of targets.py under atheris, with libFuzzer's options: run.py starts it. With a file
for its only argument besides the name, what that file does."""

import importlib
import sys

import atheris

# What functions import when they are first called: by then nothing is instrumented any more.
LATE = ("squeezenet_c.data.lists", "squeezenet_c.files.torch_read", "yaml")

with atheris.instrument_imports(include=["squeezenet_c", "zipfile", "pickletools", "yaml"]):
    for name in LATE:
        importlib.import_module(name)
    import targets


def main() -> None:
    target = targets.TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, lambda data: targets.try_out(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
