"""The command `completion`, and what completes a command line in a shell: argcomplete, which asks
the parsers themselves. It is imported only where a shell asks."""

import argparse
import os
from collections.abc import Iterable
from typing import Any

from ..models import NAMES

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
ASKS = "_ARGCOMPLETE"  # in the environment, where a shell asks for completions
PATHS = ("DATA", "DIR", "FILE", "IMAGE", "MODEL", "OUT", "PICTURE", "PNG")  # metavars of paths


def add_completion(parser: argparse.ArgumentParser) -> None:
    """The options of `completion`."""
    parser.description = (
        "Print what makes a shell complete commands, options and paths at TAB. For good: "
        'eval "$(squeezenet-c completion bash)" in ~/.bashrc, or the like of another shell.'
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to read it")
    parser.set_defaults(run=_completion)


def _completion(options: argparse.Namespace) -> int:
    try:
        import argcomplete
    except ImportError:
        raise ImportError(
            "completion is by argcomplete, which is not installed: pip install "
            '"squeezenet_c[completion]"'
        ) from None
    print(argcomplete.shellcode(["squeezenet-c"], shell=options.shell))
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Where a shell asks, answer it and leave."""
    if ASKS in os.environ:
        import argcomplete

        values: Any = _values  # a function does, where its types ask for a class
        argcomplete.autocomplete(parser, default_completer=values)


def _values(prefix: str, action: argparse.Action, **_: Any) -> Iterable[str]:
    """What may follow where there are no choices: files where they are meant, packaged models."""
    from argcomplete.completers import FilesCompleter

    metavar = action.metavar
    found = list(FilesCompleter()(prefix)) if metavar in PATHS else []
    return [*found, *NAMES] if metavar == "MODEL" else found
