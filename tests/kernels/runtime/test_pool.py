"""The worker pool: every part runs once, errors and interrupts reach the caller, forks and nested calls work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels.convolution import conv
from tinygen.kernels.runtime import pool
from tinygen.kernels.runtime.pool import get_num_threads, inside_part, parallel_for, set_num_threads, split

TAPS = ((-1, 0), (0, -1), (0, 0))


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = get_num_threads()
    pool._forget_executor()
    set_num_threads(3)
    yield
    set_num_threads(before)


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=120, check=False)


@given(st.integers(0, 50), st.integers(0, 20))
def test_split_covers_the_range_with_parts_of_at_least_the_grain(size: int, grain: int) -> None:
    parts = split(size, grain)
    assert [i for part in parts for i in range(*part)] == list(range(size))
    assert len(parts) <= get_num_threads()
    if len(parts) > 1:
        assert min(stop - start for start, stop in parts) >= grain


@given(st.integers(0, 10))
def test_every_part_runs_once(n: int) -> None:
    seen: list[tuple[int, str]] = []
    parallel_for(lambda i, name: seen.append((i, name)), [(i, "part") for i in range(n)])
    assert sorted(seen) == [(i, "part") for i in range(n)]


def test_parts_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=20)
    parallel_for(lambda _: barrier.wait(), [(0,), (1,), (2,)])  # a BrokenBarrierError unless all three wait at once


def test_no_more_threads_run_than_were_set() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def part(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    parallel_for(part, [(i,) for i in range(12)])
    assert 1 < most <= get_num_threads()


def test_caller_runs_parts_that_no_worker_has_started() -> None:
    """All workers are busy until the caller's parts have run, so a caller that waited for a worker would time out."""
    release, both_busy = threading.Event(), threading.Event()
    busy, callers = threading.Semaphore(0), set()

    def block(part: int) -> None:
        if part:
            busy.release()
            release.wait(20)
        else:
            both_busy.wait(20)  # so that the workers run the other parts

    blocker = threading.Thread(target=parallel_for, args=(block, [(0,), (1,), (2,)]))
    blocker.start()
    assert busy.acquire(timeout=20)
    assert busy.acquire(timeout=20)
    both_busy.set()
    parallel_for(lambda _: callers.add(threading.current_thread()), [(0,), (1,), (2,)])
    release.set()
    blocker.join()
    assert callers == {threading.current_thread()}


def test_nested_calls_are_serial() -> None:
    threads: list[set[threading.Thread]] = []

    def outer(_: int) -> None:
        assert inside_part()
        used: set[threading.Thread] = set()
        parallel_for(lambda _: used.add(threading.current_thread()), [(0,), (1,), (2,)])
        threads.append(used)

    parallel_for(outer, [(0,), (1,), (2,)])
    assert [len(used) for used in threads] == [1, 1, 1]
    assert not inside_part()


def test_exception_of_the_first_failing_part_is_raised_after_the_others_have_ended() -> None:
    ended = []

    def part(i: int) -> None:
        time.sleep(0.02 * i)
        if i:
            ended.append(i)
            raise KeyError(i)

    with pytest.raises(KeyError, match="1"):
        parallel_for(part, [(0,), (1,), (2,)])
    assert sorted(ended) in ([1], [1, 2])  # the last one may have been dropped before it started
    time.sleep(0.1)
    assert sorted(ended) in ([1], [1, 2])
    parallel_for(lambda i: ended.append(i), [(5,), (6,)])
    assert {5, 6} <= set(ended)  # the pool still works


def test_failed_allocation_in_a_kernel_reaches_the_caller() -> None:
    @numba.njit(nogil=True)  # type: ignore[untyped-decorator]
    def allocate(start: int, stop: int) -> float:
        return float(np.zeros(stop)[0])

    with pytest.raises(MemoryError):
        parallel_for(allocate, [(0, 1), (0, 1 << 45), (0, 1)])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer signal")
def test_keyboard_interrupt_waits_for_running_parts() -> None:
    ended, before = [], signal.signal(signal.SIGALRM, signal.default_int_handler)
    started = threading.Barrier(3, timeout=20)

    def part(i: int) -> None:
        started.wait()
        if i == 0:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            time.sleep(0.01)
        ended.append(i)

    try:
        with pytest.raises(KeyboardInterrupt):
            parallel_for(part, [(0,), (1,), (2,)])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert sorted(ended) == [1, 2]  # part 0, in this thread, was interrupted


def test_many_callers_at_once() -> None:
    x = np.random.default_rng(0).normal(size=(64, 8, 8, 32)).astype(np.float32)
    w = np.ones((3, 32, 32), np.float32)
    expected = conv(x, w, TAPS, 1, (8, 8))
    with ThreadPoolExecutor(4) as callers:
        for y in callers.map(lambda _: conv(x, w, TAPS, 1, (8, 8)), range(20)):
            np.testing.assert_array_equal(y, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_forked_child_has_its_own_workers() -> None:
    x, w = np.ones((256, 8, 8, 32), np.float32), np.ones((3, 32, 32), np.float32)
    expected = conv(x, w, TAPS, 1, (8, 8))
    parallel_for(lambda _: None, [(0,), (1,), (2,)])
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # kills the child if it hangs
        parts: list[int] = []
        parallel_for(parts.append, [(0,), (1,), (2,)])
        same = np.array_equal(conv(x, w, TAPS, 1, (8, 8)), expected)
        os._exit(0 if sorted(parts) == [0, 1, 2] and same else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_fork_inside_a_part_is_an_error_in_the_child() -> None:
    program = """
import os, signal, threading
from tinygen.kernels.runtime.pool import parallel_for, set_num_threads
set_num_threads(2)
started, forked = threading.Event(), threading.Event()

def part(i):
    if i:
        started.set()
        forked.wait()
    else:
        started.wait()
        if child := os.fork():
            forked.set()
            print(os.waitpid(child, 0)[1] >> 8)
        else:
            signal.alarm(20)

try:
    parallel_for(part, [(0,), (1,)])
except RuntimeError as error:
    os._exit(7 if "forked inside a part" in str(error) else 1)
"""
    result = run(program)
    assert (result.stdout.strip(), result.returncode) == ("7", 0), result.stderr


def test_works_while_the_interpreter_shuts_down() -> None:
    program = """
import atexit
from tinygen.kernels.runtime.pool import parallel_for, set_num_threads
set_num_threads(3)
parallel_for(lambda i: None, [(0,), (1,), (2,)])
atexit.register(lambda: parallel_for(print, [(0,), (1,), (2,)]))
"""
    result = run(program)
    assert (result.stdout.split(), result.stderr) == (["0", "1", "2"], "")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TINYGEN_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"}, "3"),
        ({"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}, "1"),
        ({"OMP_NUM_THREADS": "2,1"}, "2"),
        ({"NUMBA_NUM_THREADS": "1"}, "1"),
        ({"TINYGEN_NUM_THREADS": ""}, str(min(pool._default_num_threads(), 256))),
    ],
)
def test_number_of_threads_from_the_environment(environment: dict[str, str], expected: str) -> None:
    result = run("import tinygen; print(tinygen.get_num_threads())", **environment)
    assert result.stdout.strip() == expected, result.stderr


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "257"])
def test_rejects_an_invalid_number_of_threads(value: str) -> None:
    message = f"TINYGEN_NUM_THREADS: expected an integer from 1 to 256, got {value!r}"
    assert message in run("import tinygen", TINYGEN_NUM_THREADS=value).stderr
    with pytest.raises(ValueError, match="n: expected an integer from 1 to 256"):
        set_num_threads(value)  # type: ignore[arg-type]


def test_nothing_starts_at_import() -> None:
    program = "import threading, tinygen, tinygen.nn; print(threading.active_count())"
    assert run(program).stdout.strip() == "1"
