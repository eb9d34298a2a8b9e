"""Who shares the work of a call: this process alone, or the ranks of an MPI communicator.

What computes over pictures asks a Ranks which of them are this process's and, afterwards, for what
the others made of theirs. The class here is one process, which has all and waits for nobody; mpi.py
has the other one, of the same interface. Without `comm` and without an MPI launcher mpi4py is never
imported.
"""

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# Where launchers say how many processes they have started: Open MPI's mpirun; MPICH's, Intel's and
# others' (and srun --mpi=pmi2); MVAPICH's; srun whatever its --mpi.
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")

MISSING = (
    "mpi4py cannot be used ({reason}), by which the {count} processes of an MPI launcher share "
    'their work: pip install "squeezenet_c[mpi]", or on a cluster mpi4py for its own MPI'
)


class Ranks:
    """The processes that share the work, numbered from 0; this class is a process of its own.

    As a context, in which the work is done: an exception that all ranks raise is raised; one that
    only some raise ends all of them, with its sentence, for the others would wait for ever. Ranks
    but the first are silent in it: they give no warnings."""

    rank, size = 0, 1

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, the one that writes files and says things."""
        return self.rank == 0

    def __enter__(self) -> "Ranks":
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    # -- Who does what -----------------------------------------------------------------------------

    def check_training(self) -> None:
        """ValueError: so many ranks cannot share a batch."""

    def of_batch(self, count: int) -> NDArray[np.int64]:
        """Which of the places 0 to count - 1 of a training batch are ours: a subtree of its sum
        (csrc/sqz.h)."""
        return np.arange(count)

    def of_set(self, count: int) -> slice:
        """Which of `count` things that depend on nothing are ours: neighbours, the first rank's
        first."""
        return slice(0, count)

    def fair_threads(self) -> int | None:
        """How many threads, at least 1, leave ranks on the same CPUs as many; None: as many as ever
        are right."""
        return None

    # -- What the others did -----------------------------------------------------------------------

    def add(
        self, gradients: NDArray[np.float32], learning: Sequence[slice], rows: NDArray[np.float64]
    ) -> None:
        """The end of a batch, in place: the stretches `learning` of the flat gradients become the
        sum over ranks, by the tree of the lanes; of `rows`, one a picture of the batch, those that
        are not of_batch are the other ranks'."""

    def every(self, value: Any) -> list[Any]:
        """The value of each rank, in their order."""
        return [value]

    def joined(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The rows of all, of_set after of_set."""
        return rows

    def from_leader(self, make: Callable[[], Result]) -> Result:
        """What `make` returns, or raises, on rank 0, where alone it is called."""
        return make()

    # -- Whether all is well -----------------------------------------------------------------------

    def refuse_differences(self, said: Callable[[], Mapping[str, Any]]) -> None:
        """ValueError, on all ranks, where on one of them something is not as on rank 0: what is
        said, by name, or what the bits of a result depend on besides: the version, the backend, the
        instruction set, the C library. `said` is only called where there are others."""

    def meet(self, why: BaseException) -> None:
        """Return if all ranks come here within two seconds; else end all of them, `why` being
        said."""


ALONE = Ranks()


def hash_of(weights: Mapping[str, NDArray[np.float32]]) -> str:
    """Of weights by name, to compare."""
    import hashlib

    digest = hashlib.blake2b(digest_size=8)
    for values in weights.values():
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def ranks_of(comm: Any) -> Ranks:
    """Of a `comm` argument: an mpi4py communicator, None, or the Ranks that a caller has already.
    TypeError: something else."""
    if comm is None:
        return ALONE
    if isinstance(comm, Ranks):
        return comm
    MPI = sys.modules.get("mpi4py.MPI")  # imported by whoever has a communicator
    if MPI is None or not isinstance(comm, MPI.Intracomm):
        raise TypeError(
            f"comm is {comm!r}, expected an mpi4py communicator, such as MPI.COMM_WORLD"
        )
    from .mpi import MpiRanks

    return MpiRanks(comm)


def over_ranks(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """For a function with a `comm` argument: in it, `comm` is the Ranks."""

    @functools.wraps(function)
    def call(*args: Any, comm: Any = None, **options: Any) -> Any:
        with ranks_of(comm) as ranks:
            return function(*args, comm=ranks, **options)  # type: ignore[arg-type]

    return call


def launched_processes() -> int:
    """How many an MPI launcher has started, this one among them; 1 where there is none."""
    said = (os.environ.get(name, "") for name in SIZES)
    return next((int(count) for count in said if count.isdecimal()), 1)


def launched_ranks() -> Ranks:
    """All that an MPI launcher has started; without one, this process. RuntimeError: it has, and
    there is no MPI by which they know each other, so that each would do everything."""
    count = launched_processes()
    if count == 1:
        return ALONE
    try:
        from .mpi import MPI, MpiRanks
    except (ImportError, RuntimeError) as error:
        raise RuntimeError(MISSING.format(reason=error, count=count)) from None
    if count != MPI.COMM_WORLD.size:
        raise RuntimeError(
            f"a launcher has started {count} processes, and the MPI of mpi4py knows of "
            f"{MPI.COMM_WORLD.size}: it is not the launcher's; expected mpi4py for the same MPI, "
            "or the mpirun that belongs to this one"
        )
    return MpiRanks(MPI.COMM_WORLD)
