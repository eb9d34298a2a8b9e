"""The command line. Exit status: 0 done, 1 the work failed (one sentence on stderr), 2 wrong usage.

A run that Ctrl-C ended is work that failed; what it had done is written all the same. SIGTERM, by
which schedulers end a process, does the same with status 143.

Of the processes that an MPI launcher has started, all do a command together, and the first alone
says things.
"""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .. import __version__, set_backend, set_num_threads
from ..base.language import LANGUAGES, set_language
from ..base.ranks import ALONE, Ranks, launched_ranks
from ..base.read import sentence
from .arguments import NOT_ARGUMENTS, begun_with, check_network
from .calibrate import add_calibrate
from .compress import add_compress
from .info import add_export, add_info, add_summary
from .options import fail, positive
from .predict import add_explain, add_predict
from .quantize import add_quantize
from .report import add_check, add_evaluate
from .stopping import handling_sigterm, stopped
from .threshold import add_threshold
from .train import add_demo, add_train

# Each by what adds its options (and `run`, the function that carries it out), and its help.
COMMANDS = {
    "train": (add_train, "train a model and keep the best one"),
    "evaluate": (add_evaluate, "measure a model on a labelled set"),
    "threshold": (add_threshold, "choose from which probability on a picture is called positive"),
    "calibrate": (add_calibrate, "make a model as sure of its answers as they are right"),
    "check": (add_check, "look for duplicates and unreadable files in data"),
    "predict": (add_predict, "say what is in pictures"),
    "explain": (add_explain, "write what pictures' answers are based on, as colours"),
    "quantize": (add_quantize, "make an int8 model of one, and say what it costs"),
    "compress": (add_compress, "make a model's file as small as is wanted, by training it further"),
    "export": (add_export, "write a model for PyTorch or ONNX runtimes, as a C file or a web page"),
    "summary": (add_summary, "print a model's layers"),
    "info": (add_info, "print what is installed and in use, or what is in a model's file"),
    "demo": (add_demo, "try everything out on synthetic pictures, in under a minute"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    options = _parser().parse_args(arguments)
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
        except BrokenPipeError:  # the reader of our output has gone; so has stdout's flush at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (OSError, ValueError, TypeError, RuntimeError, MemoryError, ImportError) as error:
            return fail(sentence(error), ranks)


def _run(options: argparse.Namespace, arguments: Sequence[str] | None, ranks: Ranks) -> int:
    if ranks.size > 1 and not getattr(options, "shared", False):
        raise ValueError(
            f"this command is for one process, and an MPI launcher has started {ranks.size}; "
            "train, evaluate and predict share their work"
        )
    if getattr(options, "resume", None):
        begun = ranks.from_leader(lambda: begun_with(options))
        options = _parser(begun).parse_args(arguments)
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
    options.ranks = ranks
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


def _parser(train_defaults: dict[str, Any] | None = None) -> argparse.ArgumentParser:
    """train_defaults: what `train` takes for options that are not given, in place of its own."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=positive, help="default: all that the process may use")
    common.add_argument(
        "--backend", choices=("mixed", "onednn", "openmp"), help="default: the faster one"
    )
    common.add_argument(
        "--lang", choices=LANGUAGES, help="of predictions, plots and reports (default: zh where "
        "the locale is Chinese, else en)"
    )  # fmt: skip
    parser = argparse.ArgumentParser(
        prog="squeezenet-c", description="Train and run SqueezeNet on a CPU."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    for name, (add, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, parents=[common])
        add(command)
        if name == "train":
            command.set_defaults(**(train_defaults or {}))
    return parser
