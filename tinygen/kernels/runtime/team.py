"""The team: threads that run the parts of kernels without the GIL, and do not sleep between one kernel and the next.

    run_parts(_double, x.size, _GRAIN, x, y)

A worker that has just finished a part spins for half a millisecond, so the next kernel of a training step starts on all
threads within about a microsecond; waking a thread that sleeps takes about 50 µs. The caller runs every part that no
worker has started, so it never waits for a thread that sleeps or is busy elsewhere. Where other processes want the
CPUs, the team notices that its workers cost more time than they save, and lets them sleep (`_Team.note`).

Checked by: tests/kernels/runtime/test_team.py
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from timeit import repeat
from typing import Any

import numba

from .parts import AWAKE, COUNT, FAILED, JOINED, NEXT, OPEN, RUNNING, close, new_team, work
from .pool import available_cpus, count_parts, inside_part

_SPIN = 5e-4  # seconds before a worker sleeps
# In seconds: what workers cost that start no part, if they were asleep, and if they were awake but had lost their CPUs;
# what they may cost after a pause; and how much of what they saved is remembered.
_LATE, _ABSENT, _TRIAL, _CREDIT = 5e-5, 1e-3, 1e-3, 1e-2
# The CPU time of this thread, which stands still while it waits for a CPU; on Windows this clock ticks every 16 ms.
_own_time = time.perf_counter if sys.platform == "win32" else time.thread_time
_one_part = new_team(1)


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
        self.most, self.spins = available_cpus() - 1, 0
        self.saved, self.pause, self.alone_until = _TRIAL, 0.0, 0.0
        self.held: Any = None  # the arguments, while workers may read them

    def serve(self) -> None:
        alarm = threading.Lock()
        alarm.acquire()
        while True:
            work(self.words, self.spins)
            self.asleep.append(alarm)
            alarm.acquire()

    def start(self, count: int) -> None:
        """Start workers until there are `count`."""
        if not self.spins:  # also compiles both functions: a fork must not happen while another thread compiles
            close(self.words, 1)
            self.spins = int(1000 * _SPIN / min(repeat(lambda: work(self.words, 1000), number=1)))
        while len(self.workers) < count:
            worker = threading.Thread(target=self.serve, name="tinygen", daemon=True)
            self.workers.append(worker)
            try:
                worker.start()
            except RuntimeError:  # the interpreter is shutting down, or the system has no more threads
                self.workers.remove(worker)
                self.most = len(self.workers)
                break

    def wake(self, count: int) -> None:
        """Wake workers until `count` of them are awake, or all."""
        count = min(count, self.most)
        if len(self.workers) < count:
            self.start(count)
        awake = len(self.workers) - len(self.asleep)
        for _ in range(min(count - awake, len(self.asleep))):
            alarm = self.asleep[0]
            if alarm.locked():
                alarm.release()
            self.asleep.popleft()

    def run(self, kernel: Any, arguments: tuple[Any, ...], count: int, size: int) -> None:
        words = self.words
        if words[OPEN] or words[RUNNING]:  # an exception in a signal handler has kept the last call from closing
            self.close()
        self.held, compiled = arguments, len(kernel.overloads)
        self.wake(count - 1)
        start, before, own, awake = time.perf_counter(), _own_time(), 0, words[AWAKE]
        words[NEXT], words[COUNT], words[JOINED], words[FAILED] = 0, count, 0, 0
        try:
            while words[NEXT] < count:  # the caller takes its first part here, and those that no worker has started
                kernel(*arguments, words, size)
                own += 1
            busy = _own_time() - before
        finally:
            self.close()
        if words[FAILED]:
            raise MemoryError(f"{kernel.__name__}: a worker thread could not allocate memory")
        if len(kernel.overloads) == compiled:
            # The time that one thread would have taken, less the time that the team took.
            saved = busy * count / own - (time.perf_counter() - start)
            if not words[JOINED]:
                saved -= _ABSENT if 0 < awake <= words[AWAKE] else _LATE
            self.note(saved)

    def close(self) -> None:
        """Drop the parts that have not started, and wait for the others: they write to the caller's arrays."""
        interrupt = None
        while True:
            try:
                while not close(self.words, self.spins):
                    time.sleep(0)
                self.held = None
                break
            except BaseException as error:  # raised by a signal handler
                interrupt = interrupt or error
        if interrupt:
            raise interrupt

    def note(self, saved: float) -> None:
        """Add the seconds that the workers have just saved or, if negative, cost."""
        self.saved = min(self.saved + saved, _CREDIT)
        if self.saved < 0:
            now = time.perf_counter()
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

    The kernel starts with `part(team, size)`. The calling thread runs the whole range as one part inside a
    `parallel_for`, while the team pauses, and while another thread uses the team.

    Raises: MemoryError if an allocation in a part fails.
    """
    team, count = _team, count_parts(size, grain)
    alone = count < 2 or team.most < 1 or numba.config.DISABLE_JIT or inside_part()
    if alone or time.perf_counter() < team.alone_until or team.leader.locked():
        kernel(*arguments, _one_part, size)
        return
    with team.leader:
        team.run(kernel, arguments, count, size)
