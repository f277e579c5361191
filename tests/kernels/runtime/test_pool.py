"""The thread pool: every part runs once, errors surface, nothing deadlocks, forks survive."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import types
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels.convolution import conv
from tinygen.kernels.runtime import pool as pool_module
from tinygen.kernels.runtime.arrays import Array
from tinygen.kernels.runtime.native import look, put
from tinygen.kernels.runtime.pool import parallel, parts, set_threads, share, threads
from tinygen.kernels.runtime.tile import compiled


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = threads()
    set_threads(3)
    yield
    set_threads(before)


def test_the_package_does_not_hide_its_module() -> None:
    assert isinstance(pool_module, types.ModuleType)


@given(st.integers(0, 50), st.integers(0, 20))
def test_every_index_runs_exactly_once(size: int, grain: int) -> None:
    ran: list[tuple[int, int]] = []
    parallel(lambda start, stop: ran.append((start, stop)), size, grain)
    assert sorted(ran) == parts(size, grain)
    assert sorted(i for part in ran for i in range(*part)) == list(range(size))
    assert len(ran) == min(size, max(1, min(3, size // max(grain, 1))))


def test_the_first_part_runs_in_the_calling_thread_and_the_others_elsewhere() -> None:
    names: dict[int, str] = {}
    parallel(lambda start, stop: names.update({start: threading.current_thread().name}), 3)
    assert names.pop(0) == threading.current_thread().name
    assert all(name.startswith("tinygen") for name in names.values())
    assert len(names) == 2


def test_parts_run_at_the_same_time() -> None:
    """A barrier of three opens only if three parts wait at it together."""
    barrier = threading.Barrier(3, timeout=20)
    parallel(lambda start, stop: barrier.wait(), 3)


@pytest.mark.parametrize("failing", [0, 2])
def test_an_exception_reaches_the_caller_after_all_parts_are_done(failing: int) -> None:
    done: list[int] = []

    def task(start: int, stop: int) -> None:
        if start == failing:
            raise KeyError(f"part {start}")
        time.sleep(0.02)
        done.append(start)

    with pytest.raises(KeyError, match=f"part {failing}"):
        parallel(task, 3)
    assert sorted(done) == [start for start in range(3) if start != failing]
    names: set[str] = set()
    parallel(lambda start, stop: names.add(threading.current_thread().name), 3)
    assert threading.current_thread().name in names  # the pool is none the worse


def test_a_call_within_a_task_runs_there() -> None:
    inner: list[tuple[str, str]] = []

    def task(start: int, stop: int) -> None:
        here = threading.current_thread().name
        parallel(lambda i, j: inner.append((here, threading.current_thread().name)), 10)

    parallel(task, 3)
    assert len(inner) == 3  # one part each: serial
    assert all(outside == inside for outside, inside in inner)


def test_many_callers_at_once() -> None:
    def total(seed: int) -> int:
        found: list[int] = []
        parallel(lambda start, stop: found.extend(range(start, stop)), 100 + seed)
        return sum(found)

    with ThreadPoolExecutor(8) as users:
        assert list(users.map(total, range(200))) == [n * (n - 1) // 2 for n in range(100, 300)]


@compiled
def _count(counts: Array, wait: int, start: int, stop: int) -> None:
    """counts[i] += 1 in start … stop, the later the later the part."""
    for _ in range(wait * start):
        look(counts, 0)
    for i in range(start, stop):
        counts[i] += 1


@compiled
def _meet(here: Array, looks: int, number: int) -> None:
    """Say that this part has begun, and look whether all have."""
    put(here, number, 1)
    for _ in range(looks):
        if look(here, 0) + look(here, 1) + look(here, 2) == 3:
            put(here, 3 + number, 1)
            return


@pytest.fixture(params=[0, 1, 1000, 1_000_000], ids=lambda looks: f"{looks} looks")
def spinning(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait awake, however few CPUs there are: not at all, in vain, sometimes, and nearly always."""
    monkeypatch.setattr(pool_module, "_CPUS", 3)
    monkeypatch.setattr(pool_module, "_LOOKS", request.param)


@pytest.mark.usefixtures("spinning")
def test_every_part_is_done_once_whether_a_worker_is_awake_asleep_or_late() -> None:
    for pause in [0] * 100 + [0.0005, 0.003] * 10:
        for wait in 0, 10, 10_000:
            counts = np.zeros(30, np.int64)
            share(_count, (counts, wait), parts(30))
            assert (counts == 1).all()
        time.sleep(pause)
    test_an_exception_reaches_the_caller_after_all_parts_are_done(2)
    test_many_callers_at_once()


@pytest.mark.usefixtures("spinning")
def test_kernels_and_errands_in_turns() -> None:
    """A worker that waits for a kernel finds the errand, and one that comes back from an errand the kernel."""
    for turn in range(100):
        counts, ran = np.zeros(30, np.int64), list[int]()
        share(_count, (counts, 10), parts(30))
        parallel(lambda start, stop, ran=ran: ran.extend(range(start, stop)), 30)  # type: ignore[misc]
        assert (counts == 1).all()
        assert sorted(ran) == list(range(30))
        time.sleep(0.001 * (turn % 3))


def test_kernels_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three parts that wait for each other all see each other, once the workers are awake."""
    monkeypatch.setattr(pool_module, "_CPUS", 3)
    for _ in range(100):
        here = np.zeros(6, np.int64)
        share(_meet, (here, 10_000_000), [(0,), (1,), (2,)])
        if here.all():
            return
    pytest.fail("in none of a hundred tries did three parts run at once")


def test_many_callers_share_kernels_at_once() -> None:
    def total(seed: int) -> int:
        counts = np.zeros(100 + seed, np.int64)
        share(_count, (counts, seed % 7), parts(len(counts)))
        return int(counts.sum() + (counts != 1).sum())

    with ThreadPoolExecutor(8) as users:
        assert list(users.map(total, range(400))) == list(range(100, 500))


def test_a_kernel_within_a_task_runs_there() -> None:
    counts = np.zeros((3, 30), np.int64)
    parallel(lambda start, stop: share(_count, (counts[start], 0), parts(30)), 3)
    assert (counts == 1).all()


def test_no_worker_stays_asleep_for_good() -> None:
    """A caller that rouses a worker just when it goes to sleep again must not take it for awake ever after."""
    for turn in range(300):
        here = np.zeros(6, np.int64)
        share(_meet, (here, 1), [(0,), (1,), (2,)])
        time.sleep(0.0005 + 0.00001 * (turn % 100))
    test_kernels_run_at_the_same_time(pytest.MonkeyPatch())


@pytest.mark.parametrize(("wanted", "cpus", "expected"), [(2, 2, [1]), (3, 2, []), (3, 4, [1, 2]), (1, 4, [])])
def test_who_waits_awake(monkeypatch: pytest.MonkeyPatch, wanted: int, cpus: int, expected: list[int]) -> None:
    """As many as are wanted, of a pool that may be larger, and nobody where there are more threads than CPUs."""
    awake: list[int] = []
    monkeypatch.setattr(pool_module, "_CPUS", cpus)
    monkeypatch.setattr(
        pool_module, "_serve", lambda slots, at, looks, errands: awake.append(at // 8) if looks > 1 else None
    )
    set_threads(wanted)
    pool, done = pool_module._Pool(), threading.Event()
    pool.grow(3)
    for number in 1, 2, 3:
        pool.send(number, done.set)
        assert done.wait(20)
        done.clear()
    time.sleep(0.05)  # each looks once more after its errand
    assert sorted(set(awake)) == expected


@pytest.mark.parametrize("environment", [{}, {"NUMBA_DISABLE_JIT": "1"}])
def test_a_process_ends_at_once_while_its_workers_wait_awake(environment: dict[str, str]) -> None:
    program = """
import time
from tinygen.kernels.runtime import pool as threads
from tinygen.kernels.runtime.pool import parallel
threads._CPUS, threads._LOOKS, parts = 3, 20_000_000, []
for _ in range(3):
    parallel(lambda start, stop: parts.append(start), 3)
assert sorted(parts) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
print(time.time())
"""
    run = [sys.executable, "-c", program]
    environment = os.environ | {"TINYGEN_THREADS": "3"} | environment
    for _ in range(3):
        result = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (result.returncode, result.stderr) == (0, "")
        assert time.time() - float(result.stdout) < 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("cpus", [1, 3])
def test_a_forked_child_can_convolve(monkeypatch: pytest.MonkeyPatch, cpus: int) -> None:
    """Whether the parent's workers sleep or wait awake at that moment."""
    monkeypatch.setattr(pool_module, "_CPUS", cpus)
    x, w = np.ones((64, 8, 8, 32), np.float32), np.ones((1, 32, 32), np.float32)
    expected = conv(x, w, ((0, 0),), 1, (8, 8))
    parallel(lambda start, stop: None, 3)
    child = os.fork()
    if child == 0:
        parts: list[int] = []
        parallel(lambda start, stop: parts.append(start), 3)
        same = np.array_equal(conv(x, w, ((0, 0),), 1, (8, 8)), expected)
        os._exit(0 if same and len(parts) == 3 else 1)
    end = time.monotonic() + 30
    while (status := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
    if status == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status[1] == 0


@pytest.mark.parametrize("value", ["0", "-1", "257", "two", "1.5", ""])
def test_a_bad_number_of_threads_is_named(value: str) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        set_threads(value)  # type: ignore[arg-type]
    run = [sys.executable, "-c", "import tinygen.kernels.runtime.pool"]
    result = subprocess.run(
        run, env=os.environ | {"TINYGEN_THREADS": value}, capture_output=True, text=True, check=False
    )
    expected = f"TINYGEN_THREADS must be a whole number of at least 1 and at most 256, got {value!r}"
    assert f"ValueError: {expected}" in result.stderr


def test_the_number_of_threads_comes_from_the_environment() -> None:
    run = [sys.executable, "-c", "from tinygen.kernels.runtime.pool import threads; print(threads())"]
    environment = os.environ | {"TINYGEN_THREADS": "5"}
    assert subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout == "5\n"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer signals on this platform")
def test_an_interrupt_waits_for_the_other_parts() -> None:
    written = []

    def task(start: int, stop: int) -> None:
        if start > 0:
            time.sleep(0.4)
            written.append(start)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    set_threads(2)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            parallel(task, 2)
        assert written == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_inside_a_task_says_so_in_the_child() -> None:
    parent, children = os.getpid(), []

    def task(start: int, stop: int) -> None:
        if start == 0:
            children.append(os.fork())

    set_threads(2)
    try:
        parallel(task, 2)
    except RuntimeError as error:
        os._exit(0 if "forked inside a task" in str(error) else 1)
    finally:
        if os.getpid() != parent:
            os._exit(2)
    for _ in range(100):
        if os.waitpid(children[0], os.WNOHANG) != (0, 0):
            break
        time.sleep(0.05)
    else:
        os.kill(children[0], signal.SIGKILL)
        pytest.fail("the child hangs")


def test_what_failed_is_released_at_once() -> None:
    class Held:
        pass

    def fail(held: Held) -> None:
        def task(start: int, stop: int) -> None:
            raise ArithmeticError(held)

        parallel(task, 2)

    held = Held()
    reference = weakref.ref(held)
    set_threads(2)
    gc.disable()
    try:
        with pytest.raises(ArithmeticError):
            fail(held)
        del held
        assert reference() is None
    finally:
        gc.enable()
