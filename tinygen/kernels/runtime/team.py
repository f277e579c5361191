"""The team: threads that run the parts of kernels without the GIL, and do not sleep between one kernel and the next.

    run_parts(_double, x.size, _GRAIN, x, y)

A worker that has just finished a part spins for about half a millisecond, so the next kernel of a training step starts
on all threads within about a microsecond; waking a thread that sleeps takes about 50 µs. The caller runs every part
that no worker has started, so it never waits for a thread that sleeps or is busy elsewhere. Where other processes want
the CPUs, the team notices that its workers cost more time than they save, and lets them sleep (`_Team.note`).

Checked by: tests/kernels/runtime/test_team.py
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba

from .parts import AWAKE, COUNT, FAILED, NEXT, close, new_team, work
from .pool import available_cpus, count_parts, inside_part

_SPINS = 20_000  # of about 25 ns, before a worker sleeps
# In seconds: what workers cost that start no part, if they were asleep, and if they were awake but had lost their CPUs;
# what they may cost after a pause; and how much of what they saved is remembered.
_LATE, _ABSENT, _TRIAL, _CREDIT = 5e-5, 1e-3, 1e-3, 1e-2
# The CPU time of this thread, if the clock is precise enough: it stands still while the thread waits for a CPU.
_own_time = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-5 else time.monotonic
_alone = new_team(1)


class _Team:
    """The workers, started by the first large kernel, and the array in which they find what to do.

    There are no more threads than CPUs. Where another process wants a CPU, a worker may lose it in the middle of a
    part, and the caller then waits for milliseconds. The team therefore adds up the time that the workers save. When
    they have cost more than they saved, the caller works alone for 50 ms, or if this happens again soon, for twice as
    long as the last time, up to a second.
    """

    def __init__(self) -> None:
        self.words, self.leader = new_team(), threading.Lock()
        self.workers: list[threading.Thread] = []
        self.asleep: deque[threading.Lock] = deque()  # one lock per sleeping worker; releasing it wakes the worker
        self.most, self.saved, self.pause, self.alone_until = available_cpus() - 1, _TRIAL, 0.0, 0.0

    def serve(self) -> None:
        alarm = threading.Lock()
        alarm.acquire()
        while True:
            work(self.words, _SPINS)
            self.asleep.append(alarm)
            alarm.acquire()

    def wake(self, count: int) -> None:
        """Start or wake workers until `count` of them are awake, or all."""
        count = min(count, self.most)
        for _ in range(count - len(self.workers)):
            work(self.words, 0)  # compiled here: a fork must not happen while another thread compiles
            worker = threading.Thread(target=self.serve, name="tinygen", daemon=True)
            with suppress(RuntimeError):  # the interpreter is shutting down: the caller runs all parts
                worker.start()
                self.workers.append(worker)
        for _ in range(min(count, len(self.asleep))):
            self.asleep.pop().release()

    def run(self, kernel: Callable[..., object], arguments: tuple[Any, ...], count: int, size: int) -> None:
        words, own, start, busy = self.words, 0, time.monotonic(), _own_time()
        words[NEXT], words[COUNT], words[FAILED] = 0, count, 0
        awake = words[AWAKE]
        try:
            self.wake(count - 1)
            while words[NEXT] < count:  # the caller takes its first part here, and those that no worker has started
                kernel(*arguments, words, size)
                own += 1
        finally:
            busy = _own_time() - busy
            self.close()
        saved = busy * count / own - (time.monotonic() - start)  # one thread's time for all parts, less the time of all
        if own == count:
            saved -= _ABSENT if 0 < awake <= words[AWAKE] else _LATE
        self.note(saved)
        if words[FAILED]:
            raise MemoryError("a kernel could not allocate memory on a worker thread")

    def close(self) -> None:
        """Drop the parts that have not started, and wait for the others: they write to the caller's arrays."""
        interrupt = None
        while True:
            try:
                if close(self.words, _SPINS):
                    break
                time.sleep(0)
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt:
            raise interrupt

    def note(self, saved: float) -> None:
        """Add the seconds that the workers have just saved or, if negative, cost."""
        self.saved = min(self.saved + saved, _CREDIT)
        if self.saved < 0:
            now = time.monotonic()
            soon = now - self.alone_until < self.pause
            self.pause = min(2 * self.pause, 1.0) if soon else 0.05
            self.saved, self.alone_until = _TRIAL, now + self.pause


_team = _Team()


def _forget_team() -> None:
    """Form a new team after a fork: the child process has none of its parent's threads."""
    global _team
    _team = _Team()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)


def run_parts(kernel: Callable[..., object], size: int, grain: int, *arguments: Any) -> None:
    """Call kernel(*arguments, team, size) for parts of range(size), none smaller than `grain`, on several threads.

    The kernel starts with `part(team, size)`. This thread runs all parts inside a `parallel_for`, after a stall, and if
    another thread uses the team.

    Raises: MemoryError if an allocation in a part fails.
    """
    team, count = _team, count_parts(size, grain)
    alone = count < 2 or numba.config.DISABLE_JIT or inside_part() or time.monotonic() < team.alone_until
    if alone or not team.leader.acquire(blocking=False):
        kernel(*arguments, _alone, size)
        return
    try:
        team.run(kernel, arguments, count, size)
    finally:
        team.leader.release()
