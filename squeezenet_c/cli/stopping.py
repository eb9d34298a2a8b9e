"""Ctrl-C and SIGTERM. The latter is how schedulers (Slurm, Kubernetes, a shutdown) ask a process to
end, some seconds before they kill it. Both end a command with one sentence, and SIGTERM with the
status that shells give it, 143. While it trains, SIGTERM waits for the step, and what is done is
written."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..base.ranks import ALONE, Ranks
from .options import fail

SIGTERM_STATUS = 128 + signal.SIGTERM


class Terminated(KeyboardInterrupt):
    """SIGTERM came, in work that may be left at any place."""


_came = False  # whether SIGTERM did, since the command began
_waits = False


def _handle(*_: Any) -> None:
    global _came
    _came = True
    if not _waits:
        raise Terminated


@contextmanager
def handling_sigterm() -> Iterator[None]:
    """Around a command; at first SIGTERM raises Terminated."""
    global _came
    _came = False
    sigterm_raises()
    if threading.current_thread() is not threading.main_thread():  # where Python has no handlers
        yield
        return
    former = signal.signal(signal.SIGTERM, _handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def sigterm_waits() -> Callable[[], bool]:
    """From now on SIGTERM is only noted, for work that asks at places where it can be left, by what
    is returned, whether it has come."""
    global _waits
    _waits = True
    return lambda: _came


def sigterm_raises() -> None:
    """Again, from now on."""
    global _waits
    _waits = False


def stopped(how: str = "", ranks: Ranks = ALONE) -> int:
    """Say that a signal ended the work; how: what there is besides. The exit status."""
    name, status = ("SIGTERM", SIGTERM_STATUS) if _came else ("Ctrl-C", 1)
    return fail(f"stopped by {name}{how}", ranks, status)
