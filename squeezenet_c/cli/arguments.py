"""args.yaml: the options of a run, in its folder, by which it is resumed.

It is YAML 1.1 as PyYAML writes it, so that any YAML reader has the types right, and a user may put
comments into it. Earlier versions wrote a name and JSON on each line, which is read too.
"""

import argparse
import reprlib
from pathlib import Path
from typing import Any

from .. import __version__, get_num_threads
from ..base.earlier import EARLIER, completed
from ..base.read import brief, read_text
from ..base.write import write_bytes
from ..data.provenance import now
from ..network import COPY_CHANGES
from ..training.resume import RunState, state_path
from .options import SHAPES

ARGUMENTS_FILE = "args.yaml"
# Of what argparse hands us, not of a run.
NOT_ARGUMENTS = (
    *("command", "run", "usage_error", "parser", "ranks", "shared"),
    *("resume", "overwrite", "lang", "debug"),
)
MOST_BYTES = 1 << 18  # a run's file has 1 kB; of so many PyYAML reads 50 kB a second

# Aliases of aliases stand for far more than is in the file: nothing is shown whole.
_shown = reprlib.Repr()
_shown.maxlevel, _shown.maxstring, _shown.maxother = 2, 100, 100


def write_arguments(path: Path, options: argparse.Namespace) -> None:
    """The options as YAML. What is no text, as a folder's name in another encoding, is escaped."""
    import yaml

    values = {name: value for name, value in vars(options).items() if name not in NOT_ARGUMENTS}
    values |= {"threads": options.threads or get_num_threads(), "version": __version__}
    values["date"] = now()
    # Without allow_unicode, surrogates and line separators are escaped; names of folders in any
    # language stay readable where nothing needs an escape.
    texts = [text for value in values.values() for text in _texts(value)]
    readable = all(text.isprintable() for text in texts)
    dumped = yaml.safe_dump(values, sort_keys=False, allow_unicode=readable, width=10**6)
    write_bytes(path, dumped.encode("utf-8"))


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [text for text in values if isinstance(text, str)]


def begun_with(options: argparse.Namespace) -> dict[str, Any]:
    """The options of the run that is to be resumed, from its folder, as the parser makes them.
    ValueError: the file is no YAML, or an option in it is none that `train` takes."""
    if options.out is not None:
        options.usage_error("--out and --resume: the run stays in its folder")
    if options.overwrite:
        options.usage_error("--overwrite and --resume: the run is resumed, not replaced")
    path = Path(options.resume) / ARGUMENTS_FILE
    said = completed(_read(path), EARLIER.keys() - COPY_CHANGES)  # these are the state's
    begun: dict[str, Any] = {"out": options.resume}
    for action in options.parser._actions:
        if action.nargs == 0 and not isinstance(action.const, bool | None):
            continue  # a switch that stands for a word of another option
        if action.dest in said and action.dest not in (*NOT_ARGUMENTS, "threads", "out"):
            begun[action.dest] = _option(action, said[action.dest], path)
    if state_path(options.resume).exists():  # what is later said of one that is not there
        epochs = RunState.read(options.resume).arguments.get("epochs")
        if isinstance(epochs, int):  # those of an earlier --resume, which the file does not say yet
            begun["epochs"] = epochs
    return begun


def _read(path: Path) -> dict[str, Any]:
    import yaml

    text = read_text(path, MOST_BYTES)
    try:
        said = yaml.safe_load(text)
    except Exception as error:  # for numbers and dates that are none PyYAML lets Python's through
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or type(error).__name__
        raise ValueError(f"{path}{where}: no YAML that can be read ({reason:.200})") from None
    if not isinstance(said, dict) or not all(isinstance(name, str) for name in said):
        raise ValueError(f"{path}: a {type(said).__name__} found, expected options by name")
    return said


def _option(action: argparse.Action, value: Any, path: Path) -> Any:
    """A value as the command line would have made it of a word: the option's own type checks it."""
    if value is None:
        return None
    what = f"{path}: {action.dest} is {_shown.repr(value):.100}"
    if action.nargs == 0:  # a switch
        if not isinstance(value, bool):
            raise ValueError(f"{what}, expected true or false")
        return value
    if action.nargs == "*":
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise ValueError(f"{what}, expected a list of texts")
        return value
    if action.nargs == "+":
        if not isinstance(value, list) or not value:
            raise ValueError(f"{what}, expected a list")
        return [_plain_option(action, word, what) for word in value]
    return _plain_option(action, value, what)


def _plain_option(action: argparse.Action, value: Any, what: str) -> Any:
    plain = str | int | float
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, plain) and not isinstance(word, bool) for word in words):
        raise ValueError(f"{what}, expected a word or a number")
    word = ",".join(map(str, words))
    try:
        found = action.type(word) if callable(action.type) else word
    except (argparse.ArgumentTypeError, ValueError, TypeError) as error:
        raise ValueError(f"{what}: {brief(error)}") from None
    if action.choices is not None and found not in action.choices:
        raise ValueError(f"{what}, expected one of {', '.join(map(str, action.choices))}")
    return found


def check_network(options: argparse.Namespace, begun: dict[str, Any]) -> None:
    """ValueError where a resumed run is given another network than it was begun with; `train` sees
    to the other options."""
    for name in ("arch", "bypass", "final_relu", *SHAPES, "pretrained"):
        found, expected = getattr(options, name), begun.get(name)
        if found != expected:
            raise ValueError(
                f"--{name.replace('_', '-')} is {found!r}, expected {expected!r}, with which the "
                f"run in {options.resume} was begun"
            )
