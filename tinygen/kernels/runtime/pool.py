"""One small pool of threads, shared by everything in this process that runs on several cores.

No OpenMP, whose threads die in a fork and spin against those of BLAS. (Alternating a 0.3 ms OpenMP loop with a 0.3 ms
two-thread OpenBLAS product takes 8 ms instead of 0.6.) For the same reason blas.py holds BLAS to one thread and shares
out a large product over this pool.

`share` hands a kernel over in about 1 µs, for it needs no GIL: a worker waits awake, for a while, in compiled code,
where it finds the address of the kernel and of its arguments in a slot of its own. Nobody waits for a worker that is
asleep or busy: who posted a part, and finds it still there when his own is done, takes it back. `parallel` runs
functions of Python on the same threads.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import numba
import numpy as np

from .arrays import Array, aligned
from .native import call, described, entry, look, put, swap, write
from .tile import compiled

Task = Callable[[int, int], object]
Errand = Callable[[], None]

# A worker's slot is a cache line: its state, the address of an entry and of a letter (native.py), and how many errands
# in Python have been left for it.
_SLOT, _ENTRY, _LETTER, _ERRANDS = 8, 1, 2, 3
# The states: the worker needs to be roused; it looks here, or will; a caller is writing; a part has been posted; the
# worker runs it; it has run it, and the caller has not looked yet.
_ASLEEP, _AWAKE, _FILLING, _POSTED, _TAKEN, _DONE = range(6)
_MOST = 256  # threads

# How often a worker looks for news before it goes to sleep: 2.5 to 5 ms (measured on one core of an AMD EPYC). To wake
# it takes 50 µs or more, and the next part mostly comes within that time: of a flow on images, in less than 1 ms.
_LOOKS = 5_000_000


@compiled
def _serve(slots: Array, at: int, looks: int, errands: int) -> None:
    """Run what is posted in the slot at `at`; go to sleep after so many looks in vain, or when there is an errand."""
    swap(slots, at, _ASLEEP, _AWAKE)
    left = looks
    while True:
        if look(slots, at) != _POSTED:
            left -= 1
            leaving = left <= 0 or look(slots, at + _ERRANDS) != errands
            if leaving and swap(slots, at, _AWAKE, _ASLEEP):
                return
        elif swap(slots, at, _POSTED, _TAKEN):
            call(slots[at + _ENTRY], slots[at + _LETTER])
            put(slots, at, _DONE)
            left = looks


@compiled
def hand_over(slots: Array, function: int, letters: int, step: int, parts: int) -> None:
    """Call function(letter) for so many letters, `step` bytes apart, with whoever is awake; until all are done."""
    for part in range(1, parts):
        at = part * _SLOT
        if swap(slots, at, _AWAKE, _FILLING):
            slots[at + _ENTRY], slots[at + _LETTER] = function, letters + part * step
            put(slots, at, _POSTED)
    call(function, letters)
    for part in range(1, parts):
        at, letter = part * _SLOT, letters + part * step
        posted = look(slots, at + _LETTER) == letter
        if posted and not swap(slots, at, _POSTED, _FILLING):
            while look(slots, at) != _DONE:
                pass
        else:
            call(function, letter)  # nobody was awake, or nobody came
        if posted:
            put(slots, at + _LETTER, 0)  # before the slot is free for another caller, who might get this very address
            put(slots, at, _AWAKE)


class _Pool:
    """Daemon threads, each with a slot for kernels and a queue for errands; None in the queue only rouses it."""

    def __init__(self) -> None:
        self.slots = aligned((_MOST * _SLOT,), np.dtype(np.int64))  # worker 0 is whoever calls
        self.errands: list[SimpleQueue[Errand | None]] = [SimpleQueue()]
        self.growing = threading.Lock()
        self.inside = threading.local()  # .task is set in a thread that runs a task: a call within it runs serially

    def grow(self, workers: int) -> None:
        # Compile it here: were a worker to do it, a child forked meanwhile would find Numba's lock held for good.
        if not numba.config.DISABLE_JIT:
            _serve(np.array([_AWAKE]), 0, 0, 0)
        with self.growing:
            while len(self.errands) <= workers:
                number = len(self.errands)
                self.errands.append(SimpleQueue())
                threading.Thread(target=self.work, args=(number,), name=f"tinygen-{number}", daemon=True).start()

    def work(self, number: int) -> None:
        self.inside.task = True
        slots, at, queue = self.slots, number * _SLOT, self.errands[number]
        while True:
            left = int(slots[at + _ERRANDS])
            try:
                errand = queue.get_nowait()
            except Empty:
                if not numba.config.DISABLE_JIT:
                    # Nobody looks twice where there are more threads than CPUs: it would keep somebody from working.
                    _serve(slots, at, _LOOKS if number < _threads <= _CPUS else 1, left)
                errand = queue.get()
            if errand is None:
                continue
            errand()
            del errand  # hold on to nobody's arrays while waiting

    def rouse(self, number: int) -> None:
        """See to it that this worker looks into its slot soon."""
        if self.slots[number * _SLOT] == _ASLEEP and _swap(self.slots, number * _SLOT, _ASLEEP, _AWAKE):
            self.errands[number].put(None)  # after the swap: it could go to sleep again before that

    def send(self, number: int, errand: Errand) -> None:
        self.errands[number].put(errand)
        self.slots[number * _SLOT + _ERRANDS] += 1


@compiled
def _swap(slots: Array, at: int, old: int, new: int) -> bool:
    return bool(swap(slots, at, old, new))


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
    if not 1 <= number <= _MOST:
        raise ValueError(f"{name} must be a whole number of at least 1 and at most {_MOST}, got {value!r}")
    return number


def _default_threads() -> int:
    wanted = os.environ.get("TINYGEN_THREADS")
    if wanted is not None:
        return _checked(wanted, "TINYGEN_THREADS")
    return min(_CPUS, _MOST)


_CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_threads = _default_threads()


def threads() -> int:
    """How many threads work together, the calling one included: TINYGEN_THREADS, else the CPUs this process may use.

    Checked by: tests/kernels/runtime/test_pool.py
    """
    return _threads


def set_threads(number: int) -> None:
    """Let `number` threads work together from now on.

    Raises ValueError if number is not a whole number from 1 to 256.
    Checked by: tests/kernels/runtime/test_pool.py
    """
    global _threads
    _threads = _checked(number, "the number of threads")


def parts(size: int, grain: int = 1) -> list[tuple[int, int]]:
    """Cut range(size) into parts (start, stop), one for each thread, or fewer, so that none is smaller than `grain`.

    They depend only on size, grain and threads().
    Checked by: tests/kernels/runtime/test_pool.py
    """
    count = min(_threads, size // max(grain, 1))
    if count <= 1:
        return [(0, size)] if size > 0 else []
    return [(part * size // count, (part + 1) * size // count) for part in range(count)]


def share(kernel: Any, arguments: tuple[Any, ...], tails: Sequence[tuple[Any, ...]]) -> None:
    """Call kernel(*arguments, *tail) for each tail, the first one in the calling thread; return when all are done.

    With one tail, or within a task, the caller does everything. Arrays must be C-contiguous, aligned and writable.
    The kernel raises nothing and returns nothing. Safe to call from several threads at once.
    Checked by: tests/kernels/runtime/test_pool.py
    """
    if len(tails) <= 1 or alone():
        for tail in tails:
            kernel(*arguments, *tail)
    else:
        function, count, told = entry(kernel, (*arguments, *tails[0])), len(tails), described(arguments)
        shared = len(told)
        for tail in tails:
            told += described(tail)
        # An array is described in 3 words and written in 5 to 24.
        kept, letters = array("q", told), array("q", [0]) * (8 * count * len(told))
        at, size = kept.buffer_info()
        _write_and_hand_over(roused(count), function, at, 8 * shared, 8 * size, letters.buffer_info()[0], count)


@compiled
def _write_and_hand_over(
    slots: Array, function: int, told: int, shared: int, size: int, letters: int, count: int
) -> None:
    """Write so many letters, of arguments that were described at an address: what they share, then each one's tail."""
    tail = (size - shared) // count
    step = 8 * (shared + tail)
    for part in range(count):
        first = told + shared + part * tail
        write(write(letters + part * step, told, told + shared), first, first + tail)
    hand_over(slots, function, letters, step, count)


def alone() -> bool:
    """Whether the caller does everything himself: within a task, or without the JIT."""
    return getattr(_pool.inside, "task", False) or numba.config.DISABLE_JIT


def roused(count: int) -> Array:
    """The workers' slots, for `hand_over`; of the workers, count − 1 are there and will look into theirs."""
    pool = _pool
    if len(pool.errands) < count:
        pool.grow(count - 1)
    for number in range(1, count):
        pool.rouse(number)
    return pool.slots


def parallel(task: Task, size: int, grain: int = 1) -> None:
    """Run task(start, stop), a function of Python, on parts(size, grain), the first part in the calling thread.

    Within another task the caller does everything. Returns when all parts are done; an exception from any of them
    reaches the caller (the first part's, if several raise). Safe to call from several threads at once.
    Checked by: tests/kernels/runtime/test_pool.py
    """
    pool, bounds = _pool, parts(size, grain)
    if len(bounds) <= 1 or getattr(pool.inside, "task", False):
        if size > 0:
            task(0, size)
        return
    if len(pool.errands) < len(bounds):
        pool.grow(len(bounds) - 1)
    errors: list[tuple[int, BaseException]] = []
    done: list[int] = []
    news: SimpleQueue[None] = SimpleQueue()

    def errand(part: int) -> None:
        try:
            task(*bounds[part])
        except BaseException as error:
            errors.append((part, error))
        done.append(part)
        news.put(None)

    for part in range(1, len(bounds)):
        pool.send(part, partial(errand, part))
    pool.inside.task = True
    try:
        task(*bounds[0])
    except BaseException as error:
        errors.append((0, error))
    finally:
        pool.inside.task = False
    if pool is not _pool:
        raise RuntimeError("parallel: this process was forked inside a task, whose other parts are its parent's")
    # The others write into the caller's arrays: wait for them also when our own part has failed, and through a Ctrl-C.
    while len(done) < len(bounds) - 1:
        try:
            news.get()
        except KeyboardInterrupt as interrupt:
            errors.append((0, interrupt))
    if errors:
        try:
            raise min(errors, key=lambda error: error[0])[1]
        finally:
            del errors  # the traceback holds this frame, which would hold the exception
