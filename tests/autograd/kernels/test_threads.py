"""The thread pool: every part runs once, errors surface, nothing deadlocks, forks survive; and the product on it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd.kernels.convolution import conv
from tinygen.autograd.kernels.threads import parallel, product, set_threads, threads


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = threads()
    set_threads(3)
    yield
    set_threads(before)


@given(st.integers(0, 50), st.integers(0, 20))
def test_every_index_runs_exactly_once(size: int, grain: int) -> None:
    parts: list[tuple[int, int]] = []
    parallel(lambda start, stop: parts.append((start, stop)), size, grain)
    assert sorted(i for part in parts for i in range(*part)) == list(range(size))
    assert len(parts) == min(size, max(1, min(3, size // max(grain, 1))))


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_convolve() -> None:
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


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", ""])
def test_a_bad_number_of_threads_is_named(value: str) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        set_threads(value)  # type: ignore[arg-type]
    run = [sys.executable, "-c", "import tinygen.autograd.kernels.threads"]
    result = subprocess.run(
        run, env=os.environ | {"TINYGEN_THREADS": value}, capture_output=True, text=True, check=False
    )
    assert f"ValueError: TINYGEN_THREADS must be a whole number of at least 1, got {value!r}" in result.stderr


def test_the_number_of_threads_comes_from_the_environment() -> None:
    run = [sys.executable, "-c", "from tinygen.autograd.kernels.threads import threads; print(threads())"]
    environment = os.environ | {"TINYGEN_THREADS": "5"}
    assert subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout == "5\n"


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (4, 5)), ((300, 200), (200, 250)), ((20, 900), (900, 800)), ((2, 150, 160), (160, 170)),
                 ((3, 90, 80), (3, 80, 70)), ((5,), (5, 4)), ((4, 5), (5,)), ((0, 5), (5, 3)), ((700, 0), (0, 700))],
)  # fmt: skip
def test_product_is_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal(a), rng.standard_normal(b)
    expected = np.matmul(left, right)
    np.testing.assert_allclose(product(left, right), expected, rtol=1e-12, atol=1e-12)
    out = np.full_like(expected, np.nan)
    assert product(left, right, out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


def test_product_takes_transposes_and_mixed_dtypes_as_matmul_does() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200, 300)), rng.standard_normal((150, 200)).astype(np.float32)
    np.testing.assert_allclose(product(a.T, b.T), a.T @ b.T, rtol=1e-12)
    assert product(a.T, b.T).dtype == np.float64
    with pytest.raises(ValueError):
        product(a, b)


def test_concurrent_products_leave_blas_as_it_was() -> None:
    from tinygen.autograd.kernels.threads import _blas

    before = _blas.get()
    a = np.ones((300, 300))
    with ThreadPoolExecutor(4) as users:
        assert all(np.array_equal(result, 300 * a) for result in users.map(lambda _: product(a, a), range(40)))
    assert _blas.get() == before
    assert _blas.holders == 0


def test_a_product_does_not_stall_a_convolution() -> None:
    """In turns they take at most three times the sum of both alone; two spinning pools take thirteen times."""
    set_threads(2)
    x, w, a = np.ones((32, 14, 14, 32), np.float32), np.ones((4, 32, 32), np.float32), np.ones((256, 256), np.float32)
    taps = ((-1, 0), (0, -1), (0, 0), (0, 1))

    def best(repeat: int, *tasks: object) -> float:
        times = []
        for _ in range(repeat):
            start = time.perf_counter()
            for task in tasks:
                task()  # type: ignore[operator]
            times.append(time.perf_counter() - start)
        return sorted(times)[repeat // 4]

    one, other = lambda: conv(x, w, taps, 1, (14, 14)), lambda: product(a, a)
    best(10, one, other)
    assert best(80, one, other) <= 3 * (best(80, one) + best(80, other))
