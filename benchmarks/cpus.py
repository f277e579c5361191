"""Waiting until two threads have a CPU each and a cache in common.

On a virtual machine neither is certain. For seconds at a time, two threads may share a CPU, or have CPUs without a
common cache, where it takes several times as long until one thread sees what the other has written.

    python -m benchmarks.cpus               prints the round trip between two threads ten times

Checked by: tests/benchmarks/test_cpus.py
"""

import math
import threading
import time
from typing import Any

import numpy as np

from tinygen.kernels.runtime.compilation import compiled
from tinygen.kernels.runtime.parts import add, load

LIMIT = 200e-9  # seconds of a round trip between two threads with a common cache, at most
PATIENCE = 60.0  # seconds that a process waits, all waits together: some machines have no common cache
_TRIPS, _SPINS = 2000, 100_000

waited = 0.0  # seconds so far
shortest, longest = math.inf, 0.0  # round trips that were measured after a wait


@compiled
def _bounce(words: Any, parity: int, trips: int, spins: int) -> bool:
    """Add 1 to words[0] whenever it has this parity; return False if it does not get it within a number of spins."""
    for _ in range(trips):
        left = spins
        while load(words, 0) % 2 != parity:
            left -= 1
            if left == 0:
                return False
        add(words, 0, 1)
    return True


def round_trip(seconds: float = 0.1) -> float:
    """Return the seconds of a round trip between two threads through memory; infinity if they share a CPU.

    It is measured again for as long as `seconds` while it is above the limit: a new thread may start on the CPU of its
    parent, from which it is moved after some milliseconds.
    """
    best, end, words = math.inf, time.perf_counter() + seconds, np.zeros(8, np.int64)
    _bounce(words, 0, 1, 1)  # compiles it
    while best > LIMIT and time.perf_counter() < end:
        words[0] = 0
        other = threading.Thread(target=_bounce, args=(words, 1, _TRIPS, _SPINS))
        other.start()
        start, answered = time.perf_counter(), _bounce(words, 0, _TRIPS, _SPINS)
        best = min(best, (time.perf_counter() - start) / _TRIPS) if answered else best
        other.join()
    return best


def wait_for_cpus(threads: int) -> None:
    """Return once two threads have CPUs with a common cache, or when this process has waited long enough."""
    global waited, shortest, longest
    if threads < 2:
        return
    start, measured = time.perf_counter(), round_trip()
    while measured > LIMIT and waited + time.perf_counter() - start < PATIENCE:
        time.sleep(0.05)
        measured = round_trip()
    waited += time.perf_counter() - start
    shortest, longest = min(shortest, measured), max(longest, measured)


def changed() -> bool:
    """Return whether measurements began both with and without a common cache, in spite of the waits."""
    return longest > max(LIMIT, 2 * shortest)


if __name__ == "__main__":
    for _ in range(10):
        print(f"{1e9 * round_trip():.0f} ns", flush=True)
        time.sleep(0.5)
