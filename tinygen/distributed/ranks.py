"""Several processes (ranks) under MPI: sums in a fixed order, and what only rank 0 does.

    mpiexec -n 4 python -m mpi4py train.py          # train.py calls fit(…, comm=MPI.COMM_WORLD)

Every rank runs the same program, with the same seed. Floating-point addition is not associative, and the order in which
MPI's Allreduce adds depends on the number of ranks and on the implementation. Therefore gradients are added in the
order of the shards of the batch, in two exchanges that send as many bytes as Allreduce:

    Alltoall    each rank receives one segment of every shard's gradient, and adds them in order
    Allgather   each rank receives the segments of the sum

Under `python -m mpi4py`, an exception in one rank ends all of them. mpi4py is not imported here: the functions call
methods of the communicator that they get.

Source: Thakur, Rabenseifner & Gropp, "Optimization of collective communication operations in MPICH", 2005.
Checked by: tests/distributed/test_ranks.py, tests/distributed/test_mpi.py
"""

import os
import pickle
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from ..autograd import Array
from ..checks import require
from ..kernels.runtime.pool import get_num_threads, set_num_threads

T = TypeVar("T")
ON_ROOT = ContextVar("ON_ROOT", default=False)  # whether this is inside `call_on_root`, where the other ranks wait

# Variables that launchers set: the number of processes, and the index of this one.
LAUNCHERS = {
    "PMI_SIZE": "PMI_RANK",  # MPICH, Intel MPI, and Slurm with PMI-2
    "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK",  # Open MPI
    "MV2_COMM_WORLD_SIZE": "MV2_COMM_WORLD_RANK",  # MVAPICH
    "SLURM_STEP_NUM_TASKS": "SLURM_PROCID",
}


class Ranks:
    """The ranks of a run: here a single one, without MPI. `MPIRanks` does the same for several."""

    rank, size = 0, 1

    def share(self, count: int) -> range:
        """Return which of `count` parts this rank computes."""
        return range(count)

    def add(self, terms: list[list[Array]], count: int) -> list[Array]:
        """Return the sums of `count` lists of arrays, in their order. `terms` has those of this rank's share."""
        total, *others = terms
        for other in others:
            for a, b in zip(total, other, strict=True):
                a += b
        return total

    def call_on_root(self, function: Callable[[], T]) -> T:
        """Call a function on rank 0 alone. Return its result, or raise its exception, on every rank."""
        return function()

    def gather(self, results: list[T]) -> list[T]:
        """Return the results of all ranks, in order."""
        return results

    def check_equal(self, describe: Callable[[], Mapping[str, Any]], when: str) -> None:
        """Raise ValueError on every rank unless all have equal descriptions."""

    def agree_on(self, pressed: Callable[[], bool]) -> Callable[[], bool]:
        """Return a function that tells, after the same step on every rank, whether `pressed()` was true on any."""
        return pressed

    def own_cpus(self) -> AbstractContextManager[None]:
        """Limit the threads of this rank to its share of the CPUs, in a `with` block."""
        return nullcontext()


class MPIRanks(Ranks):
    """The ranks of an MPI communicator of mpi4py."""

    def __init__(self, comm: Any) -> None:
        self.comm, self.rank, self.size = comm, comm.rank, comm.size
        self._pressed: Callable[[], bool] = lambda: False
        self._stop = False

    def share(self, count: int) -> range:
        return shares(count, self.size)[self.rank]

    def add(self, terms: list[list[Array]], count: int) -> list[Array]:
        """Add the flattened arrays in one sum for each dtype, usually one; the request to stop is its last element."""
        terms = [[*term, np.asarray(self._pressed(), term[0].dtype)] for term in terms]
        total: dict[int, Array] = {}
        for dtype in sorted({array.dtype for array in terms[0]}, key=str):
            places = [i for i, array in enumerate(terms[0]) if array.dtype == dtype]
            flat = self._add_flat([[term[i].ravel() for i in places] for term in terms], count)
            ends = np.cumsum([terms[0][i].size for i in places])
            for i, part in zip(places, np.split(flat, ends[:-1]), strict=True):
                total[i] = part.reshape(terms[0][i].shape)
        *sums, stop = (total[i] for i in range(len(total)))
        self._stop |= bool(stop)
        return sums

    def _add_flat(self, vectors: list[list[Array]], count: int) -> Array:
        n, dtype = sum(part.size for part in vectors[0]), vectors[0][0].dtype
        rows, segment = -(-count // self.size), -(-n // self.size)
        send = np.zeros((rows, self.size * segment), dtype)
        for row, parts in zip(send, vectors, strict=False):  # a rank may have one part less than others
            np.concatenate(parts, out=row[:n])
        send = np.ascontiguousarray(send.reshape(rows, self.size, segment).swapaxes(0, 1))  # (receiver, row, segment)
        received = np.empty_like(send)  # (sender, row, segment)
        self.comm.Alltoall(send, received)
        first, *others = (
            row for sender, own in enumerate(shares(count, self.size)) for row in received[sender, : len(own)]
        )
        for other in others:
            first += other
        total = np.empty(self.size * segment, dtype)
        self.comm.Allgather(first, total)
        return total[:n]

    def call_on_root(self, function: Callable[[], T]) -> T:
        outcome: Any = None
        if self.rank == 0:
            token = ON_ROOT.set(True)
            try:
                outcome = function(), None
            except Exception as error:
                outcome = None, _picklable(error)
            finally:
                ON_ROOT.reset(token)
        result, failure = self.comm.bcast(outcome)
        if failure is not None:
            raise failure
        return result  # type: ignore[no-any-return]

    def gather(self, results: list[T]) -> list[T]:
        return [result for results in self.comm.allgather(results) for result in results]

    def check_equal(self, describe: Callable[[], Mapping[str, Any]], when: str) -> None:
        first, *others = self.comm.allgather(dict(describe()))
        for rank, other in enumerate(others, 1):
            for name, value in first.items():
                got = f"{value} on rank 0 and {other.get(name)} on rank {rank}"
                require(other.get(name) == value, name, f"the same on all ranks {when}", got)

    def agree_on(self, pressed: Callable[[], bool]) -> Callable[[], bool]:
        self._pressed = pressed
        return lambda: self._stop

    @contextmanager
    def own_cpus(self) -> Iterator[None]:
        cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        own, before = (socket.gethostname(), list(cpus)), get_num_threads()
        sharing = self.comm.allgather(own).count(own)
        set_num_threads(min(before, max(1, len(cpus) // sharing)))
        try:
            yield
        finally:
            set_num_threads(before)


def ranks_of(comm: Any) -> Ranks:
    """Return the ranks of a communicator of mpi4py, or a single one for None."""
    if comm is None:
        return Ranks()
    fits = all(hasattr(comm, name) for name in ("Alltoall", "Allgather", "allgather", "bcast", "rank", "size"))
    require(fits, "comm", "a communicator of mpi4py, such as MPI.COMM_WORLD, or None", repr(comm))
    hint = "None where only rank 0 runs: `validate` and callbacks of `fit`"
    require(comm.size == 1 or not ON_ROOT.get(), "comm", hint, "a communicator, for which rank 0 would wait forever")
    return Ranks() if comm.size == 1 else MPIRanks(comm)


def warn_if_launched(environment: Mapping[str, str] = os.environ) -> None:
    """Warn, on rank 0, that a launcher of MPI has started several copies of a run that does not use MPI."""
    for size, rank in LAUNCHERS.items():
        count = environment.get(size, "1")
        if count != "1" and environment.get(rank) == "0":
            warnings.warn(
                f"{count} processes were started ({size}={count}), and each trains alone; to train one model, use "
                "fit(…, comm=MPI.COMM_WORLD), after `from mpi4py import MPI`; to train several, comm=MPI.COMM_SELF",
                stacklevel=4,
            )
            return


def shares(count: int, size: int) -> list[range]:
    """Split range(count) into `size` ranges of almost equal lengths."""
    return [range(i * count // size, (i + 1) * count // size) for i in range(size)]


def _picklable(error: Exception) -> Exception:
    """Return the error, or one with the same text if the error cannot be sent to other ranks."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"rank 0 failed with {type(error).__name__}: {error}")
