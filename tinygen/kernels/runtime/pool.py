"""The number of threads, and the worker pool: it runs Python functions that spend their time without the GIL.

Such functions are the shards of a batch (training/shards.py) and pieces of NumPy's products (product.py). Kernels run
their parts on the team (team.py).
`parallel_for` submits every part but the first to a `ThreadPoolExecutor`, runs the first in the calling thread, and
then every part that no worker has started. So the caller never waits for a worker that is asleep or busy.

The number of threads is set by `set_num_threads`. By default it is the first of the environment variables
TINYGEN_NUM_THREADS, OMP_NUM_THREADS and NUMBA_NUM_THREADS that is set, or the number of CPUs available to the process.

Checked by: tests/kernels/runtime/test_pool.py
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

_MAX_THREADS = 256


def _thread_count(name: str, value: object) -> int:
    text = str(value)
    if not (text.isdecimal() and 1 <= int(text) <= _MAX_THREADS):
        raise ValueError(f"{name}: expected an integer from 1 to {_MAX_THREADS}, got {value!r}")
    return int(text)


def _default_num_threads() -> int:
    for name in ("TINYGEN_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        if value := os.environ.get(name, "").split(",")[0].strip():  # OpenMP allows a list, one entry per nesting level
            return _thread_count(name, value)
    return min(available_cpus(), _MAX_THREADS)


def available_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_num_threads = _default_num_threads()
_executor: ThreadPoolExecutor | None = None  # created by the first parallel `parallel_for`
_workers = 0  # of _executor
_local = threading.local()  # _local.inside: this thread is running a part, so a nested parallel_for is serial


def get_num_threads() -> int:
    """Return the number of threads that run one operation, including the calling thread."""
    return _num_threads


def set_num_threads(n: int) -> None:
    """Set the number of threads that run one operation, including the calling thread.

    Kernels use at most one thread per CPU that is available to the process.

    Raises: ValueError unless n is an integer from 1 to 256.
    """
    global _num_threads
    _num_threads = _thread_count("n", n)


def _forget_executor() -> None:
    """Reset the pool after a fork: the child process has none of its parent's threads.

    Numba's compiler lock cannot be reset: a fork while another thread compiles a kernel leaves it locked in the child.
    """
    global _executor, _workers
    _executor, _workers = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_executor)


def count_parts(size: int, grain: int) -> int:
    """Return the number of parts of range(size): at most one per thread, at least one, none smaller than `grain`."""
    return max(1, min(_num_threads, size // max(grain, 1)))


def split(size: int, grain: int = 1) -> list[tuple[int, int]]:
    """Split range(size) into contiguous parts (start, stop), at most one per thread and none smaller than `grain`."""
    count = count_parts(size, grain)
    return [(i * size // count, (i + 1) * size // count) for i in range(count)] if size > 0 else []


def inside_part() -> bool:
    """Return whether this thread is running a part of a `parallel_for`."""
    return getattr(_local, "inside", False)


def parallel_for(function: Callable[..., object], parts: Sequence[tuple[Any, ...]]) -> None:
    """Call function(*part) for every part, on several threads; return when all calls have returned.

    A `parallel_for` within a part is serial. An exception in a part, or a KeyboardInterrupt, is raised here once no
    part is running any more; parts that have not started by then are dropped.
    """
    if len(parts) <= 1 or _num_threads == 1 or inside_part():
        for part in parts:
            _run(function, part)
        return
    futures, pid = _submit(function, parts[1:]), os.getpid()
    try:
        for i, part in enumerate(parts):
            if i == 0 or i > len(futures) or futures[i - 1].cancel():  # no worker has started this part
                _run(function, part)
        if os.getpid() != pid:
            raise RuntimeError("parallel_for: the process was forked inside a part; its other parts are lost")
        for future in futures:
            if not future.cancelled():
                future.result()
    except BaseException:
        if os.getpid() == pid:
            _cancel(futures)
        raise


def _submit(function: Callable[..., object], parts: Sequence[tuple[Any, ...]]) -> list[Future[None]]:
    global _executor, _workers
    if _executor is None or _workers != _num_threads - 1:
        _workers = _num_threads - 1
        _executor = ThreadPoolExecutor(_workers, thread_name_prefix="tinygen")
    executor, futures = _executor, list[Future[None]]()
    with suppress(RuntimeError):  # the interpreter is shutting down: the caller runs the other parts
        futures.extend(executor.submit(_run, function, part) for part in parts)
    return futures


def _run(function: Callable[..., object], part: tuple[Any, ...]) -> None:
    outer, _local.inside = inside_part(), True
    try:
        function(*part)
    finally:
        _local.inside = outer


def _cancel(futures: list[Future[None]]) -> None:
    """Drop the parts that have not started, and wait for the others: they write to the caller's arrays."""
    while running := [future for future in futures if not future.cancel() and not future.done()]:
        try:
            wait(running)
        except KeyboardInterrupt:
            continue  # the first exception is raised afterwards
