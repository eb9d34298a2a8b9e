"""The command line. Exit status: 0 done, 1 the work failed (one sentence on stderr), 2 wrong usage.

A run that Ctrl-C ended is work that failed; what it had done is written all the same. SIGTERM, by
which schedulers end a process, does the same with status 143.

Of the processes that an MPI launcher has started, all do a command together, and the first alone
says things.
"""

import argparse
import contextlib
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .. import __version__, set_backend, set_num_threads
from ..base.language import LANGUAGES, set_language
from ..base.ranks import ALONE, Ranks, launched_ranks
from ..base.read import sentence
from .arguments import NOT_ARGUMENTS, begun_with, check_network
from .augment import add_augment_sheet
from .calibrate import add_calibrate
from .compare import add_compare
from .completion import add_completion, complete
from .compress import add_compress
from .cross_validate import add_cross_validate
from .groups import CommandsFormatter, HelpFormatter, add_commands_help, add_groups, group
from .info import add_export, add_info, add_summary
from .lr_find import add_lr_find
from .options import fail, positive
from .predict import add_explain, add_predict
from .quantize import add_quantize
from .report import add_check, add_evaluate
from .stopping import handling_sigterm, stopped
from .sweep import add_sweep
from .threshold import add_threshold
from .train import add_demo, add_train

# By what they are for: each by what adds its options (and `run`, the function that carries it out),
# and its help.
COMMANDS = {
    "train a model, and judge it": {
        "train": (add_train, "train a model and keep the best one"),
        "lr-find": (add_lr_find, "find at which learning rates a network learns, before training"),
        "sweep": (add_sweep, "train networks of the paper's design space, and compare them"),
        "cross-validate": (add_cross_validate, "train and judge a model for each fold of a set"),
        "evaluate": (add_evaluate, "measure a model on a labelled set"),
        "compare": (add_compare, "say whether one of two models is better on the same pictures"),
        "threshold": (add_threshold, "choose from which probability on a picture is positive"),
        "calibrate": (add_calibrate, "make a model as sure of its answers as they are right"),
    },
    "look at pictures": {
        "predict": (add_predict, "say what is in pictures"),
        "explain": (add_explain, "write what pictures' answers are based on, as colours"),
        "augment": (add_augment_sheet, "draw what training makes of pictures by chance"),
        "check": (add_check, "look for duplicates and unreadable files in data"),
    },
    "make a model smaller, and take it elsewhere": {
        "quantize": (add_quantize, "make an int8 model of one, and say what it costs"),
        "compress": (add_compress, "make a model's file as small as wanted, by more training"),
        "export": (add_export, "write a model for PyTorch or ONNX, as a C file or a web page"),
    },
    "about models and this installation": {
        "summary": (add_summary, "print a model's layers"),
        "info": (add_info, "print what is installed, or what is in a model's file"),
        "completion": (add_completion, "have a shell complete command lines at TAB"),
        "demo": (add_demo, "try everything out on synthetic pictures, in under a minute"),
    },
}


DEBUG_HELP = "where something fails, show Python's traceback in place of the one sentence"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = _parser()
    complete(parser)
    options = parser.parse_args(arguments)
    if options.lang is not None:
        set_language(options.lang)
    for stream in (sys.stdout, sys.stderr):  # Chinese, whatever the locale says
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    ranks = ALONE
    with warnings.catch_warnings(), handling_sigterm():
        warnings.showwarning = _show_warning
        try:
            ranks = launched_ranks()
            with ranks, _stdout_of(ranks):
                status = _run(options, arguments, ranks)
                sys.stdout.flush()  # now, where it can still be said that it failed
                return status
        except KeyboardInterrupt:
            return stopped(ranks=ranks)
        except BrokenPipeError:  # the reader of our output has gone
            return 1
        except (OSError, ValueError, TypeError, RuntimeError, MemoryError, ImportError) as error:
            if not options.debug:
                return fail(sentence(error), ranks)
            if ranks.leads:
                traceback.print_exc()
            return 1
        finally:
            _end_output()


def _end_output() -> None:
    """What stdout still holds is written; or forgotten where that fails, for at exit Python would
    try it again, and end with a status of its own."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace, arguments: Sequence[str] | None, ranks: Ranks) -> int:
    if ranks.size > 1 and not getattr(options, "shared", False):
        raise ValueError(
            f"this command is for one process, and an MPI launcher has started {ranks.size}; "
            "train, cross-validate, evaluate and predict share their work"
        )
    if getattr(options, "resume", None):
        begun = ranks.from_leader(lambda: begun_with(options))
        options = _parser({options.command: begun}).parse_args(arguments)
        if options.command == "train":
            check_network(options, begun)
    threads = options.threads or ranks.fair_threads()
    if threads is not None:
        set_num_threads(threads)
    if options.backend is not None:
        set_backend(options.backend)
    ranks.refuse_differences(
        lambda: {
            name: value
            for name, value in vars(options).items()
            if name not in (*NOT_ARGUMENTS, "threads")
        }
    )
    words = sys.argv[1:] if arguments is None else arguments
    options.ranks, options.command_line = ranks, shlex.join(["squeezenet-c", *words])
    return options.run(options)


@contextlib.contextmanager
def _stdout_of(ranks: Ranks) -> Iterator[None]:
    """In it, what ranks but the first print goes nowhere."""
    if ranks.leads:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"squeezenet-c: warning: {message}", file=sys.stderr)


# -- Options ---------------------------------------------------------------------------------------


def _parser(defaults: dict[str, dict[str, Any]] | None = None) -> argparse.ArgumentParser:
    """defaults: by a command's name, what it takes for options that are not given, in place of its
    own."""
    parser = argparse.ArgumentParser(
        prog="squeezenet-c",
        description="Train and run SqueezeNet on a CPU.",
        epilog="`squeezenet-c COMMAND --help` has a command's options. To begin: squeezenet-c demo",
        formatter_class=CommandsFormatter,
        add_help=False,
    )
    add_commands_help(
        parser,
        {
            title: {name: text for name, (_, text) in commands.items()}
            for title, commands in COMMANDS.items()
        },
    )
    options = parser.add_argument_group("options")
    options.add_argument("-h", "--help", action="help", help="show this")
    options.add_argument("--version", action="version", version=__version__, help="show ours")
    options.add_argument("--debug", action="store_true", help=DEBUG_HELP)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for commands in COMMANDS.values():
        for name, (add, text) in commands.items():
            command = subparsers.add_parser(
                name, help=text, description=text, formatter_class=HelpFormatter, add_help=False
            )
            add_groups(command)
            add(command)
            _add_common(command)
            command.set_defaults(**(defaults or {}).get(name, {}))
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """The options of every command."""
    computing, general = group(parser, "computing"), group(parser, "general")
    computing.add_argument(
        "--threads", type=positive, help="how many at most (default: all that the process may use)"
    )
    computing.add_argument(
        "--backend", choices=("mixed", "onednn", "openmp"), help="whose kernels compute (default: "
        "the faster)"
    )  # fmt: skip
    general.add_argument(
        "--lang", choices=LANGUAGES, help="of predictions, plots and reports (default: zh where "
        "the locale is Chinese, else en)"
    )  # fmt: skip
    # Not False, which would undo what stands before the command's name.
    general.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=DEBUG_HELP)
    general.add_argument("-h", "--help", action="help", help="show this")
