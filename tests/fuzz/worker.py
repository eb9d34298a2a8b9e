"""One target of targets.py under atheris, with libFuzzer's options: run.py starts it. With a file
for its only argument besides the name, what that file does."""

import sys

import atheris

with atheris.instrument_imports(include=["squeezenet_c", "zipfile", "pickletools", "yaml"]):
    import targets


def main() -> None:
    target = targets.TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, lambda data: targets.try_out(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
