"""A communicator with the methods of mpi4py that tinygen calls. Its ranks are threads of one process."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from tinygen import get_num_threads, set_num_threads
from tinygen.autograd import Array

T = TypeVar("T")


class ThreadCommunicator:
    def __init__(self, rank: int, barrier: threading.Barrier, slots: list[Any]) -> None:
        self.rank, self.size, self.barrier, self.slots = rank, barrier.parties, barrier, slots

    def allgather(self, value: Any) -> list[Any]:
        self.slots[self.rank] = copy.deepcopy(value)
        self.barrier.wait(60)
        values = list(self.slots)
        self.barrier.wait(60)  # before a rank writes its next value
        return values

    def bcast(self, value: Any) -> Any:
        return self.allgather(value)[0]

    def Alltoall(self, send: Array, receive: Array) -> None:
        for sender, value in enumerate(self.allgather(send)):
            receive[sender] = value[self.rank]

    def Allgather(self, send: Array, receive: Array) -> None:
        receive[...] = np.concatenate(self.allgather(send))


def run_ranks(size: int, function: Callable[[ThreadCommunicator], T]) -> list[T]:
    """Return function(communicator) of each rank. An exception in a rank ends the others, as in `python -m mpi4py`."""
    barrier, slots, threads = threading.Barrier(size), [None] * size, get_num_threads()

    def run(rank: int) -> T:
        try:
            return function(ThreadCommunicator(rank, barrier, slots))
        except BaseException:
            barrier.abort()
            raise

    try:
        with ThreadPoolExecutor(size) as executor:
            futures = [executor.submit(run, rank) for rank in range(size)]
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error
        return [future.result() for future in futures]
    finally:
        set_num_threads(threads)  # the ranks limit the threads of their processes
