"""One small pool of Python threads, shared by everything in this process that runs on several cores.

The kernels run without the GIL, so Python threads are enough; no OpenMP, whose threads die in a fork and spin against
those of BLAS. (Alternating a 0.3 ms OpenMP loop with a 0.3 ms two-thread OpenBLAS product takes 8 ms instead of 0.6.)
For the same reason `product` holds BLAS to one thread and shares out a large product over this pool.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

Task = Callable[[int, int], object]
Array = npt.NDArray[Any]

# OpenBLAS itself uses one thread up to m·n·k = 2¹⁸ (its GEMM_MULTITHREAD_THRESHOLD is 4).
_SMALL_PRODUCT = 1 << 18
# Multiply-adds in a part of a product that is worth waking a thread for: about 80 µs, three times a hand-off.
_WORTH_A_THREAD = 1 << 22


# How often a waiting thread looks for news (some 0.3 ms) before it goes to sleep: waking a sleeper takes 40 µs, twice
# in every hand-over, and the next job mostly comes within that time.
_LOOKS = 1_000_000
# The caller still holds the GIL for some µs after posting a job. To ask for it now would mean to sleep after all.
_LOOKS_AFTER = 20_000


@intrinsic  # type: ignore[untyped-decorator]
def _look(typing: Any, flags: Any, index: Any) -> Any:
    """Read flags[index] from memory at each call, where a compiler would read it once: another thread writes it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(flags)(context, builder, arguments[0]).data
        return builder.load_atomic(builder.gep(data, [arguments[1]]), "acquire", 8)

    return types.int64(flags, types.intp), generate


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _watch(flags: Any, index: int, value: int, looks: int, looks_after: int) -> None:
    """Wait, without the GIL, until flags[index] is at least `value` and then for a moment; or for so many looks."""
    for _ in range(looks):
        if _look(flags, index) >= value:
            for _ in range(looks_after):
                _look(flags, index)
            break


def _spin(flags: Array, index: int, value: int, looks_after: int = 0) -> None:
    """Stay awake until flags[index] reaches `value`, or until that has taken too long. The caller then waits asleep."""
    if not numba.config.DISABLE_JIT:
        _watch(flags, index, value, _LOOKS, looks_after)


class _Pool:
    """Threads that take (task, start, stop, part, done, finished) from one queue.

    They put None or an exception into `done` and set finished[part]. `posted` counts the jobs, for those who spin; the
    queues alone decide who does what, so a look that comes too late costs time and nothing else.
    """

    def __init__(self) -> None:
        self.jobs: SimpleQueue[tuple[Task, int, int, int, SimpleQueue[BaseException | None], Array]] = SimpleQueue()
        self.posted = np.zeros(1, np.int64)
        self.workers = 0
        self.growing = threading.Lock()
        self.inside = threading.local()  # .task is set in a thread that is running a task: a nested call runs serially

    def grow(self, workers: int) -> None:
        with self.growing:
            while self.workers < workers:
                threading.Thread(target=self.work, name=f"tinygen-{self.workers + 1}", daemon=True).start()
                self.workers += 1

    def work(self) -> None:
        self.inside.task = True
        while True:
            task, start, stop, part, done, finished = self.next_job()
            try:
                task(start, stop)
            except BaseException as error:
                done.put(error)
            else:
                done.put(None)
            finished[part] = 1
            del task, done, finished  # hold on to nobody's arrays while waiting

    def next_job(self) -> tuple[Task, int, int, int, SimpleQueue[BaseException | None], Array]:
        posted = int(self.posted[0])
        try:
            return self.jobs.get_nowait()
        except Empty:
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
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    done: SimpleQueue[BaseException | None] = SimpleQueue()
    finished = np.zeros(parts, np.int64)
    for part in range(1, parts):
        pool.jobs.put((task, bounds[part], bounds[part + 1], part, done, finished))
    pool.posted[0] += 1
    errors: list[BaseException | None] = []
    pool.inside.task = True
    try:
        task(0, bounds[1])
    except BaseException as error:
        errors.append(error)
    finally:
        pool.inside.task = False
        # The others write into the caller's arrays: wait for them also when our own part has failed.
        for part in range(1, parts):
            _spin(finished, part, 1)
        errors += [done.get() for _ in range(parts - 1)]
    for raised in errors:
        if raised is not None:
            raise raised


class _Blas:
    """The thread count of the OpenBLAS that NumPy has loaded; does nothing where NumPy uses another BLAS."""

    def __init__(self) -> None:
        self.get, self.set = self.find()
        self.lock = threading.Lock()
        self.holders = 0
        self.before = 1

    @staticmethod
    def find() -> tuple[Callable[[], int], Callable[[int], object]]:
        package = Path(np.__file__).parent
        libraries = [*(package.parent / "numpy.libs").glob("*openblas*"), *(package / ".dylibs").glob("*openblas*")]
        for path in libraries:
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for pattern in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"):
                get = getattr(library, pattern.format("get_num_threads"), None)
                set_ = getattr(library, pattern.format("set_num_threads"), None)
                if get is not None and set_ is not None:
                    set_.argtypes, set_.restype, get.restype = [ctypes.c_int], None, ctypes.c_int
                    return get, set_
        return (lambda: 1), (lambda number: None)

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Hold BLAS to one thread; the last of several concurrent holders restores what was there before the first."""
        with self.lock:
            if self.holders == 0:
                self.before = self.get()
                if self.before != 1:
                    self.set(1)
            self.holders += 1
        try:
            yield
        finally:
            with self.lock:
                self.holders -= 1
                if self.holders == 0 and self.before != 1:
                    self.set(self.before)


_blas = _Blas()


def product(a: Array, b: Array, out: Array | None = None) -> Array:
    """Matrix product a @ b as np.matmul computes it, a large one shared out over this pool instead of BLAS's own.

    Shapes: as np.matmul; the rows of a (or, if there are few, the columns of b) are shared out when a is (…, M, K) and
    b is (K, N).  Raises ValueError if the shapes do not fit.
    Checked by: tests/autograd/kernels/test_threads.py
    """
    if a.ndim < 2 or b.ndim < 2 or a.shape[-2] * a.shape[-1] * b.shape[-1] <= _SMALL_PRODUCT:
        return np.matmul(a, b, out=out)
    with _blas.one_thread():
        if a.ndim > 2 or b.ndim > 2 or a.dtype != b.dtype or a.shape[1] != b.shape[0]:
            return np.matmul(a, b, out=out)
        result = np.empty((len(a), b.shape[1]), a.dtype) if out is None else out
        grain = 1 + _WORTH_A_THREAD * max(result.shape) // (result.size * a.shape[1])
        if len(a) >= b.shape[1]:
            parallel(lambda i, j: np.matmul(a[i:j], b, out=result[i:j]), len(a), grain)
        else:
            parallel(lambda i, j: np.matmul(a, b[:, i:j], out=result[:, i:j]), b.shape[1], grain)
    return result
