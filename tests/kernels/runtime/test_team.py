"""The team: every part runs once, with the caller's arguments, on all threads at once; errors reach the caller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels.activation import relu
from tinygen.kernels.runtime import team
from tinygen.kernels.runtime.compilation import compiled
from tinygen.kernels.runtime.parts import AWAKE, OPEN, RUNNING, add, close, load, part
from tinygen.kernels.runtime.pool import available_cpus, get_num_threads, parallel_for, set_num_threads
from tinygen.kernels.runtime.team import run_parts

Array = np.ndarray[Any, Any]


def never_pauses() -> team._Team:
    """Return a team of three, also on a machine with fewer CPUs, where it costs time."""
    three = team._Team()
    three.most, three.note = 2, lambda saved: None  # type: ignore[method-assign]
    return three


_three = never_pauses()
pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="without the JIT, kernels run on one thread")


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before, of_the_session = get_num_threads(), team._team
    team._team = _three
    set_num_threads(3)
    yield
    set_num_threads(before)
    team._team = of_the_session


@compiled
def _count(visits: Array, parts: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    for i in range(start, stop):
        visits[i] += 1
        parts[i] = start


@given(st.integers(0, 60), st.integers(0, 20), st.integers(1, 9))
def test_every_index_is_in_one_part_of_at_least_the_grain(size: int, grain: int, threads: int) -> None:
    set_num_threads(threads)
    visits, parts = np.zeros(size, np.int64), np.zeros(size, np.int64)
    run_parts(_count, size, grain, visits, parts)
    assert visits.tolist() == [1] * size
    sizes = np.unique(parts, return_counts=True)[1]
    assert len(sizes) <= threads
    assert len(sizes) < 2 or min(sizes) >= grain


@compiled
def _meet(here: Array, spins: int, team: Array, size: int) -> None:
    """Return when all parts have started, or after a number of spins."""
    start, stop = part(team, size)
    if start < stop:
        add(here, 0, 1)
        for _ in range(spins):
            if load(here, 0) == size:
                add(here, 8, 1)
                break


def meet() -> bool:
    """Return whether three parts have waited for one another, for at most about a tenth of a second."""
    here = np.zeros(16, np.int64)
    run_parts(_meet, 3, 1, here, 1 << 22)
    return bool(here[8] == 3)


def test_parts_run_at_the_same_time() -> None:
    assert any(meet() for _ in range(100))  # a worker may be late, as there may be fewer CPUs than threads


@compiled
def _check_arguments(
    flag: Any, number: Any, small: Any, lengths: Any, a: Array, b: Array, bits: Array, equal: Array,
    team: Array, size: int,
) -> None:  # fmt: skip
    start, stop = part(team, size)
    for i in range(start, stop):
        same = flag and number == 2.5 and small == 7 and len(lengths) == 3 and lengths[2] == 30
        for j in range(a.shape[1]):
            for k in range(a.shape[2]):
                same = same and a[i, j, k] == i * 100 + j * 10 + k
        equal[i] = same and b[i] == -i and bits[i] == i % 2


def test_workers_get_the_arguments_of_the_caller() -> None:
    n = 9
    a = np.arange(n)[:, None, None] * 100 + np.arange(4)[:, None] * 10 + np.arange(2)
    for dtype in np.float32, np.float64, np.int64:
        arrays = a.astype(dtype), (-np.arange(n)).astype(dtype), (np.arange(n) % 2).astype(np.uint8)
        for _ in range(100):
            equal = np.zeros(n, np.bool_)
            run_parts(_check_arguments, n, 1, True, 2.5, 7, (10, 20, 30), *arrays, equal)
            assert equal.all()


OWNERSHIP = """
import numpy as np
from tinygen import set_num_threads
from tinygen.kernels.runtime.compilation import compiled
from tinygen.kernels.runtime import team
from tinygen.kernels.runtime.parts import part
from tinygen.kernels.runtime.team import run_parts

@compiled
def fill(y, team, size):  # the caller's part is the shortest: it returns, and frees its references, before the others
    start, stop = part(team, size)
    for i in range(start, stop):
        row = y.reshape(-1)[i * y.shape[1] : (i + 1) * y.shape[1]]
        for _ in range(1 + 50 * i):
            for j in range(row.size):
                row[j] += 1

set_num_threads(3)
team._team.most, team._team.note = 2, lambda saved: None
for _ in range(3000):
    y = np.zeros((3, 40))
    run_parts(fill, 3, 1, y)
    assert (y == [[1], [51], [101]]).all()
"""


def test_workers_do_not_own_what_the_caller_frees() -> None:
    """A reference count that was freed and then decreased would corrupt the heap, so this runs in another process."""
    result = run(OWNERSHIP)
    assert result.returncode == 0, result.stderr


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a new process."""
    command = [sys.executable, "-c", f"exec(compile({program!r}, '<test>', 'exec'))"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_more_threads_than_cpus() -> None:
    set_num_threads(4 * available_cpus())
    x = np.random.default_rng(0).standard_normal(1 << 21).astype(np.float32)
    for _ in range(20):
        np.testing.assert_array_equal(relu(x), np.maximum(x, 0))


def test_caller_works_alone_after_the_parts_have_cost_more_than_they_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    own, pauses, note, now = never_pauses(), list[float](), team._Team.note, 100.0
    own.start(2)
    monkeypatch.setattr(team, "time", SimpleNamespace(perf_counter=lambda: now, sleep=time.sleep))
    monkeypatch.setattr(team, "_team", own)

    def parts() -> int:
        starts = np.zeros(30, np.int64)
        run_parts(_count, 30, 1, np.zeros(30, np.int64), starts)
        return len(np.unique(starts))

    for _ in range(7):
        assert parts() == 3
        note(own, 5.0)  # what was saved long ago does not count
        note(own, -0.02)
        assert parts() == 1
        pauses.append(own.alone_until - now)
        now = own.alone_until + 1e-6  # the next loss follows soon
    np.testing.assert_allclose(pauses, [0.05, 0.1, 0.2, 0.4, 0.8, 1, 1])
    now += 5
    note(own, -0.02)
    assert own.alone_until - now == pytest.approx(0.05)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot choose the CPU of a process")
def test_caller_does_not_wait_for_workers_that_have_no_cpu() -> None:
    """On one CPU, three threads cost more than they save, which the team must notice, also when it tries again."""
    program = """
import os, time
import numpy as np
from tinygen import set_num_threads
from tinygen.kernels.activation import relu
from tinygen.kernels.runtime import team
team._team.most = 2
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
x = np.ones(1 << 19, np.float32)
set_num_threads(3)
end = time.monotonic() + 10
while team._team.pause < 0.2 and time.monotonic() < end:  # the third pause in succession
    relu(x)
print(team._team.pause)
"""
    result = run(program)
    assert result.stdout.strip() in ("0.2", "0.4"), result.stderr


def test_many_callers_at_once() -> None:
    x = np.random.default_rng(0).standard_normal((8, 1 << 19)).astype(np.float32)
    with ThreadPoolExecutor(4) as callers:
        for _ in range(10):
            for row, y in zip(x, callers.map(relu, x), strict=True):
                np.testing.assert_array_equal(y, np.maximum(row, 0))


def test_kernels_inside_a_part_are_serial() -> None:
    used = []

    def outer(_: int) -> None:
        parts = np.zeros(30, np.int64)
        run_parts(_count, 30, 1, np.zeros(30, np.int64), parts)
        used.append(len(np.unique(parts)))

    parallel_for(outer, [(0,), (1,)])
    assert used == [1, 1]


@compiled
def _allocate(here: Array, sizes: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    add(here, 0, 1)
    for _ in range(1 << 16):  # let the workers come
        if load(here, 0) >= size:
            break
    for i in range(start, stop):
        sizes[i] = np.zeros(sizes[i]).size


@pytest.mark.parametrize("failing", range(3))
def test_failed_allocation_reaches_the_caller(failing: int) -> None:
    on_workers = 0
    for calls in range(3000):
        if calls >= 100 and (on_workers or not failing):  # where other processes are busy, workers come seldom
            break
        sizes = np.full(3, 1)
        sizes[failing] = 1 << 45
        with pytest.raises(MemoryError) as error:
            run_parts(_allocate, 3, 1, np.zeros(1, np.int64), sizes)
        on_workers += "worker thread" in str(error.value)
    assert (on_workers > 0) == (failing > 0)  # the caller runs the first part
    run_parts(_allocate, 3, 1, np.zeros(1, np.int64), np.full(3, 1))  # the team still works


@compiled
def _pass_time(ended: Array, rounds: int, team: Array, size: int) -> None:
    start, stop = part(team, size)
    for i in range(start, stop):
        for _ in range(rounds):
            load(ended, 0)
        ended[8 + i] = 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer signal")
def test_keyboard_interrupt_waits_for_running_parts() -> None:
    ended, before = np.zeros(11, np.int64), signal.signal(signal.SIGALRM, signal.default_int_handler)
    run_parts(_pass_time, 3, 1, ended.copy(), 1)  # compile
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it is not known which call the signal interrupts
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            for _ in range(1000):
                ended[:] = 0
                run_parts(_pass_time, 3, 1, ended, 1 << 20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    after = ended.copy()
    time.sleep(0.2)
    np.testing.assert_array_equal(ended, after)
    run_parts(_pass_time, 3, 1, ended, 1)
    assert ended[8:].all()


def test_next_call_closes_what_an_interrupt_left_open() -> None:
    """An exception of a signal handler can end a call just before it closes the team."""
    for _ in range(20):
        run_parts(_count, 3, 1, np.zeros(3, np.int64), np.zeros(3, np.int64))
        team._team.words[OPEN] = 1
        visits = np.zeros(30, np.int64)
        run_parts(_count, 30, 1, visits, visits.copy())
        assert visits.tolist() == [1] * 30
        assert team._team.words[OPEN] == 0


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_close_waits_for_the_workers_whatever_a_signal_handler_raises(
    exception: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupted(words: Array, spins: int) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise exception
        return close(words, spins)

    run_parts(_count, 3, 1, np.zeros(3, np.int64), np.zeros(3, np.int64))  # starts the workers, which also calls it
    monkeypatch.setattr(team, "close", interrupted)
    visits = np.zeros(3, np.int64)
    with pytest.raises(exception):
        run_parts(_count, 3, 1, visits, visits.copy())
    assert calls > 1
    assert team._team.words[OPEN] == team._team.words[RUNNING] == 0
    assert visits.tolist() == [1] * 3


def test_workers_that_start_no_part_are_a_loss() -> None:
    own, seconds = never_pauses(), list[float]()
    run_parts(_count, 1, 1, np.zeros(3, np.int64), np.zeros(3, np.int64))  # compiles it: such a call is not counted
    own.start(0)  # no workers
    own.wake = lambda count: None  # type: ignore[method-assign]
    own.note = lambda saved: seconds.append(saved)  # type: ignore[method-assign]
    for awake in 0, 1:
        own.words[AWAKE] = awake
        own.run(_count, (np.zeros(3, np.int64), np.zeros(3, np.int64)), 3, 3)
    assert seconds[0] < -0.9 * team._LATE
    assert seconds[1] < -0.9 * team._ABSENT


def test_caller_works_alone_if_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    own = never_pauses()
    monkeypatch.setattr(team, "_team", own)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(2):
        visits = np.zeros(30, np.int64)
        run_parts(_count, 30, 1, visits, visits.copy())
        assert visits.tolist() == [1] * 30
    assert (own.most, own.workers) == (0, [])


def test_workers_sleep_when_there_is_nothing_to_do() -> None:
    run_parts(_count, 3, 1, np.zeros(3, np.int64), np.zeros(3, np.int64))
    time.sleep(0.3)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.2
    assert len(team._team.asleep) == len(team._team.workers)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_forked_child_has_its_own_team() -> None:
    meet()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # kills the child if it hangs
        try:
            ok = team._team is not _three
            team._team = never_pauses()
            ok = ok and any(meet() for _ in range(100))
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_works_while_the_interpreter_shuts_down() -> None:
    program = """
import atexit
import numpy as np
from tinygen import set_num_threads
from tinygen.kernels.activation import relu
set_num_threads(3)
x = np.ones(1 << 21, np.float32)
relu(x[:9])  # compiled, on one thread
atexit.register(lambda: print(relu(-x).sum()))
"""
    result = run(program)
    assert (result.stdout.split(), result.returncode) == (["0.0"], 0), result.stderr


def test_nothing_starts_before_the_first_large_kernel() -> None:
    program = """
import threading
import numpy as np
from tinygen import set_num_threads
from tinygen.kernels.activation import relu
set_num_threads(3)
relu(np.ones(1 << 13, np.float32))
print(threading.active_count())
relu(np.ones(1 << 21, np.float32))
print(threading.active_count())
"""
    assert run(program).stdout.split() == ["1", str(min(3, available_cpus()))]
    assert threading.main_thread().is_alive()
