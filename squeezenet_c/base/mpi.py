"""Ranks over an MPI communicator, by mpi4py.

Sums are made here and not by MPI's all-reduce, whose order is its own: the ranks' parts of a batch
are subtrees of one binary tree of additions (csrc/sqz.h), and what is left of that tree is added
here, so that R ranks have the bits of one process.

Waiting is a loop over MPI's tests for completion: signals are seen, and where ranks share a CPU
they leave it to each other.
"""

import os
import pickle
import platform
import socket
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from .._native import core
from .._version import __version__
from .ranks import Ranks, Result
from .read import sentence

VALUES, ROWS = 1, 2  # tags
MEETING = 2.0  # seconds for all ranks to fail, if they do so together


class MpiRanks(Ranks):
    """The ranks of an mpi4py communicator, of which copies are used: the caller's messages are not
    met."""

    def __init__(self, comm: MPI.Intracomm):
        self.rank, self.size = comm.rank, comm.size
        self._comm = comm.Dup()
        self._meeting = comm.Dup()  # on which ranks that fail meet, whatever they were about
        self._depth = 0
        self._silence: Any = None
        self._scratch = np.empty(0, np.float32)

    def __enter__(self) -> "MpiRanks":
        self._depth += 1
        if self._depth == 1 and not self.leads:
            self._silence = warnings.catch_warnings()
            self._silence.__enter__()
            warnings.simplefilter("ignore")
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._depth -= 1
        if self._depth:
            return
        if self._silence is not None:
            self._silence.__exit__(None, None, None)
        if error is not None:
            self.meet(error)
        self._comm.Free()
        self._meeting.Free()

    # -- Who does what -----------------------------------------------------------------------------

    def check_training(self) -> None:
        if self.size > core.LANES or self.size & (self.size - 1):
            counts = ", ".join(str(1 << i) for i in range(core.LANES.bit_length() - 1))
            raise ValueError(
                f"{self.size} ranks, expected {counts} or {core.LANES}: a batch is summed in "
                f"{core.LANES} lanes, of which each rank has as many"
            )

    def _owners(self, count: int) -> NDArray[np.int64]:
        """The rank that has each place of a batch."""
        return np.arange(count) % core.LANES * self.size // core.LANES

    def of_batch(self, count: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._owners(count) == self.rank)

    def of_set(self, count: int) -> slice:
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def fair_threads(self) -> int | None:
        host = self._comm.Split_type(MPI.COMM_TYPE_SHARED)
        cpus = os.sched_getaffinity(0)
        sharing = sum(bool(cpus & others) for others in host.allgather(cpus))
        host.Free()
        return max(1, core.get_num_threads() // sharing)

    # -- What the others did -----------------------------------------------------------------------

    def add(
        self, gradients: NDArray[np.float32], learning: Sequence[slice], rows: NDArray[np.float64]
    ) -> None:
        """Recursive halving, then doubling: at each level of the tree partners add half each of
        what they have in common, and on the way back tell each other their half. Each float is
        added in the tree's order, and fewer are sent than were all added by everybody (with 16
        ranks less than half)."""
        one = len(learning) == 1
        values = gradients[learning[0]] if one else np.concatenate([gradients[s] for s in learning])
        if len(self._scratch) < len(values):
            self._scratch = np.empty(len(values), np.float32)
        owners = self._owners(len(rows))
        mine, levels, width = slice(0, len(values)), [], 1
        while width < self.size:
            levels.append(mine)
            mine = self._fold(values, mine, rows, owners, width)
            width *= 2
        for whole in reversed(levels):
            width //= 2
            partner = self.rank ^ width
            first = self.rank < partner
            other = slice(mine.stop, whole.stop) if first else slice(whole.start, mine.start)
            self._wait(
                self._comm.Isend(values[mine], partner, VALUES),
                self._comm.Irecv(values[other], partner, VALUES),
            )
            mine = whole
        if not one:
            start = 0
            for stretch in learning:
                gradients[stretch] = values[start : start + stretch.stop - stretch.start]
                start += stretch.stop - stretch.start

    def _fold(
        self,
        values: NDArray[np.float32],
        mine: slice,
        rows: NDArray[np.float64],
        owners: NDArray[np.int64],
        width: int,
    ) -> slice:
        """One level: add our half of `mine`, which the partner's group of `width` ranks has too.
        The half. A group without pictures has no sum (it is not 0)."""
        partner = self.rank ^ width
        first = self.rank < partner
        middle = (mine.start + mine.stop) // 2
        lower, upper = slice(mine.start, middle), slice(middle, mine.stop)
        keep, give = (lower, upper) if first else (upper, lower)
        groups = owners // width
        ours = bool((groups == self.rank // width).any())
        of_partner = groups == partner // width
        theirs = bool(of_partner.any())
        sum_received, rows_received = self._scratch[keep], np.empty_like(rows)
        requests = [
            self._comm.Isend(rows, partner, ROWS),
            self._comm.Irecv(rows_received, partner, ROWS),
        ]
        if ours:
            requests.append(self._comm.Isend(values[give], partner, VALUES))
        if theirs:
            requests.append(self._comm.Irecv(sum_received, partner, VALUES))
        self._wait(*requests)
        rows[of_partner] = rows_received[of_partner]
        if ours and theirs:
            left, right = values[keep], sum_received
            np.add(*((left, right) if first else (right, left)), out=values[keep])
        elif theirs:
            values[keep] = sum_received
        return keep

    def every(self, value: Any) -> list[Any]:
        sent = np.frombuffer(pickle.dumps(value, pickle.HIGHEST_PROTOCOL), np.uint8)
        sizes = np.empty(self.size, np.int64)
        self._wait(self._comm.Iallgather(np.array([len(sent)], np.int64), sizes))
        received = np.empty(sizes.sum(), np.uint8)
        self._wait(self._comm.Iallgatherv(sent, (received, sizes)))
        ends = np.cumsum(sizes)
        parts = zip((ends - sizes).tolist(), ends.tolist(), strict=True)
        return [pickle.loads(received[start:end].data) for start, end in parts]

    def joined(self, rows: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate(self.every(rows))

    def from_leader(self, make: Callable[[], Result]) -> Result:
        outcome: tuple[Any, Exception | None] | None = None
        if self.leads:
            try:
                outcome = make(), None
            except Exception as error:
                outcome = None, error
        value, failure = self.every(outcome)[0]
        if failure is not None:
            raise failure
        return value

    def _wait(self, *requests: MPI.Request) -> None:
        waiting = list(requests)
        while not MPI.Request.Testall(waiting):
            os.sched_yield()

    # -- Whether all is well -----------------------------------------------------------------------

    def refuse_differences(self, said: Callable[[], Mapping[str, Any]]) -> None:
        all_said = self.every((socket.gethostname(), {**_machine(), **said()}))
        leader, expected = all_said[0]
        for rank, (host, found) in enumerate(all_said):
            for name, value in expected.items():
                if found.get(name) != value:
                    raise ValueError(
                        f"{name} is {found.get(name)!r} on rank {rank} ({host}), expected "
                        f"{value!r}, as on rank 0 ({leader})"
                    )

    def meet(self, why: BaseException) -> None:
        request = self._meeting.Ibarrier()
        late = time.monotonic() + MEETING
        while not request.Test():
            if time.monotonic() > late:
                self._abort(why)
            time.sleep(0.01)

    def _abort(self, why: BaseException) -> None:
        what = "stopped by Ctrl-C" if isinstance(why, KeyboardInterrupt) else sentence(why)
        where = f"rank {self.rank} of {self.size}, on {socket.gethostname()}"
        print(f"squeezenet-c: {what} ({where})", file=sys.stderr, flush=True)
        self._comm.Abort(1)


def _machine() -> dict[str, Any]:
    """What bits depend on besides what is asked for."""
    info = core.build_info()
    libc = " ".join(platform.libc_ver())
    return {
        "the version": __version__,
        **{f"the {name}": info[name] for name in ("backend", "isa", "onednn_version")},
        "the C library": libc,
    }
