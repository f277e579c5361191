"""One small pool of Python threads, shared by everything in this process that runs on several cores.

The kernels run without the GIL, so Python threads are enough; no OpenMP, whose threads die in a fork and spin against
those of BLAS. (Alternating a 0.3 ms OpenMP loop with a 0.3 ms two-thread OpenBLAS product takes 8 ms instead of 0.6.)
For the same reason blas.py holds BLAS to one thread and shares out a large product over this pool.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import numba
import numpy as np

from .arrays import Array
from .intrinsics import compiled, look

Task = Callable[[int, int], object]
Job = tuple[Task, int, int, int, list[tuple[int, BaseException]], Array, "SimpleQueue[None]"]

# How often a waiting thread looks for news before it goes to sleep: 0.5 to 1 ms (measured on one core of an AMD EPYC).
# Waking a sleeper takes 40 µs, twice in every hand-over, and the next job mostly comes within that time.
_LOOKS = 1_000_000
# 11 µs there: the caller still holds the GIL for a while after posting a job. To ask for it now would mean to sleep
# after all.
_LOOKS_AFTER = 20_000


@compiled
def _watch(flags: Any, index: int, value: int, looks: int, looks_after: int) -> None:
    """Wait, without the GIL, until flags[index] is at least `value` and then for a moment; or for so many looks."""
    for _ in range(looks):
        if look(flags, index) >= value:
            for _ in range(looks_after):
                look(flags, index)
            break


def _spin(flags: Array, index: int, value: int, looks_after: int = 0) -> None:
    """Stay awake until flags[index] reaches `value`, or until that has taken too long. The caller then waits asleep.

    Not where there are more threads than CPUs: who looks there keeps somebody else from working.
    """
    if _threads <= _CPUS and not numba.config.DISABLE_JIT:
        _watch(flags, index, value, _LOOKS, looks_after)


class _Pool:
    """Threads that take (task, start, stop, part, errors, finished, news) from one queue.

    They append an exception to `errors`, set finished[part], and put something into `news` for a caller asleep.
    `posted` counts the jobs, for those who spin; the queue alone decides who does what, so a look that comes too late
    costs time and nothing else.
    """

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        self.posted = np.zeros(1, np.int64)
        self.workers = 0
        self.growing = threading.Lock()
        self.inside = threading.local()  # .task is set in a thread that is running a task: a nested call runs serially

    def grow(self, workers: int) -> None:
        # Compile it here: were a worker to do it, a child forked meanwhile would find Numba's lock held for good.
        _watch(self.posted, 0, 0, 0, 0)
        with self.growing:
            while self.workers < workers:
                number = self.workers + 1
                threading.Thread(target=self.work, args=(number,), name=f"tinygen-{number}", daemon=True).start()
                self.workers = number

    def work(self, number: int) -> None:
        self.inside.task = True
        while True:
            task, start, stop, part, errors, finished, news = self.next_job(number)
            try:
                task(start, stop)
            except BaseException as error:
                errors.append((part, error))
            finished[part] = 1
            news.put(None)
            del task, errors, finished, news  # hold on to nobody's arrays while waiting

    def next_job(self, number: int) -> Job:
        posted = int(self.posted[0])
        try:
            return self.jobs.get_nowait()
        except Empty:
            if number < _threads:  # the pool may be larger than what is wanted now: let the others sleep
                _spin(self.posted, 0, posted + 1, _LOOKS_AFTER)
            return self.jobs.get()


_pool = _Pool()


def _forget_pool() -> None:
    """A forked child has none of its parent's threads: it starts with an empty pool."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _checked(value: object, name: str) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    return number


def _default_threads() -> int:
    wanted = os.environ.get("TINYGEN_THREADS")
    if wanted is not None:
        return _checked(wanted, "TINYGEN_THREADS")
    return _CPUS


_CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_threads = _default_threads()


def threads() -> int:
    """How many threads work together, the calling one included: TINYGEN_THREADS, else the CPUs this process may use.

    Checked by: tests/autograd/kernels/test_threads.py
    """
    return _threads


def set_threads(number: int) -> None:
    """Let `number` threads work together from now on.

    Raises ValueError if number is not a whole number of at least 1.
    Checked by: tests/autograd/kernels/test_threads.py
    """
    global _threads
    _threads = _checked(number, "the number of threads")


def parallel(task: Task, size: int, grain: int = 1) -> None:
    """Run task(start, stop) on consecutive parts of range(size), the first part in the calling thread.

    No part is smaller than `grain` unless it is the only one: then, or within another task, the caller does everything.
    The parts depend only on size, grain and threads(). Returns when all parts are done; an exception from any of them
    reaches the caller (the first part's, if several raise). Safe to call from several threads at once.
    Checked by: tests/autograd/kernels/test_threads.py
    """
    if size <= 0:
        return
    pool = _pool
    parts = min(_threads, size // max(grain, 1))
    if parts <= 1 or getattr(pool.inside, "task", False):
        task(0, size)
        return
    if pool.workers < parts - 1:
        pool.grow(parts - 1)
    bounds = [part * size // parts for part in range(parts + 1)]
    errors: list[tuple[int, BaseException]] = []
    finished = np.zeros(parts, np.int64)
    news: SimpleQueue[None] = SimpleQueue()
    for part in range(1, parts):
        pool.jobs.put((task, bounds[part], bounds[part + 1], part, errors, finished, news))
    pool.posted[0] += 1
    pool.inside.task = True
    try:
        task(0, bounds[1])
    except BaseException as error:
        errors.append((0, error))
    finally:
        pool.inside.task = False
    if pool is not _pool:
        raise RuntimeError("parallel: this process was forked inside a task, whose other parts are its parent's")
    # The others write into the caller's arrays: wait for them also when our own part has failed, and through a Ctrl-C.
    while not finished[1:].all():
        try:
            for part in range(1, parts):
                _spin(finished, part, 1, _LOOKS_AFTER // 2)  # the worker, too, still holds the GIL for some µs
            if not finished[1:].all():
                news.get()
        except KeyboardInterrupt as interrupt:
            errors.append((0, interrupt))
    if errors:
        try:
            raise min(errors, key=lambda error: error[0])[1]
        finally:
            del errors  # the traceback holds this frame, which would hold the exception
