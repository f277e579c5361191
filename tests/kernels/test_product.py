"""The product on the pool: NumPy's numbers, and BLAS left with as many threads as it had, in forked children too."""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinygen.kernels.convolution import conv
from tinygen.kernels.product import _blas, product
from tinygen.kernels.runtime.pool import set_threads, threads


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = threads()
    set_threads(3)
    yield
    set_threads(before)


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (4, 5)), ((300, 200), (200, 250)), ((20, 900), (900, 800)), ((2, 150, 160), (160, 170)),
                 ((3, 90, 80), (3, 80, 70)), ((5,), (5, 4)), ((4, 5), (5,)), ((0, 5), (5, 3)), ((700, 0), (0, 700))],
)  # fmt: skip
def test_product_is_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal(a), rng.standard_normal(b)
    expected = np.matmul(left, right)
    np.testing.assert_allclose(product(left, right), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(os.name != "posix", reason="finds getpid in the process itself")
def test_what_lies_on_the_stack_is_no_alarm() -> None:
    """A call with many arguments leaves signalling NaN on the stack, at depths which one of these sizes must hit."""
    a, b = np.ones((2, 5), np.float32), np.ones((5, 1), np.float32)
    getpid = ctypes.CDLL(None).getpid

    def leave(count: int) -> None:
        getpid(*[ctypes.c_uint64(0x7FA000017FA00001)] * count)

    deep = np.frompyfunc(np.frompyfunc(leave, 1, 1), 1, 1)
    for count in range(0, 700, 20):
        deep(count)
        np.testing.assert_array_equal(product(a, b), 5)  # a warning is an error in these tests


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "k", "n"), [(300, 200, 90), (90, 200, 300), (200, 1, 9000), (2, 900, 800)])
def test_parts_of_any_layout_are_those_of_matmul(dtype: type, m: int, k: int, n: int) -> None:
    """Rows or columns shared out, of matrices that BLAS reads as they lie, transposed, cut from wider ones, or not."""
    rng = np.random.default_rng(0)
    a: np.ndarray = rng.standard_normal((m, k)).astype(dtype)
    b: np.ndarray = rng.standard_normal((k, n)).astype(dtype)
    expected, bound = a.astype(np.float64) @ b.astype(np.float64), 10 * k * float(np.finfo(dtype).eps)

    def layouts(x: np.ndarray) -> list[np.ndarray]:
        wider = np.repeat(np.repeat(x, 2, 0), 2, 1)
        return [x, np.asfortranarray(x), np.hstack([x, x])[:, : x.shape[1]], wider[::2, ::2], x[::-1, ::-1][::-1, ::-1]]

    for left in layouts(a):
        for right in layouts(b):
            np.testing.assert_allclose(product(left, right), expected, atol=bound)
    np.testing.assert_allclose(
        product(np.broadcast_to(a[:1], a.shape), b), np.broadcast_to(expected[:1], expected.shape), atol=bound
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "k", "n"), [(300, 200, 90), (90, 200, 300), (2, 900, 800), (3, 4, 5), (4, 1, 3)])
@pytest.mark.parametrize("rectified", [False, True])
def test_a_bias_and_relu_in_the_parts_are_those_after_them(
    dtype: type, m: int, k: int, n: int, rectified: bool
) -> None:
    rng = np.random.default_rng(0)
    a: np.ndarray = rng.standard_normal((m, k)).astype(dtype)
    b: np.ndarray = rng.standard_normal((k, n)).astype(dtype)
    bias: np.ndarray = (20 * rng.standard_normal(2 * n)).astype(dtype)
    for c in (None, bias[:n], bias[::2], bias[:n].astype(np.float64)):
        plain = product(a, b) if c is None else product(a, b) + c
        y = product(a, b, c, rectified)
        assert y.dtype == plain.dtype
        np.testing.assert_array_equal(y, np.maximum(plain, 0) if rectified else plain)
    bias[0] = np.nan
    assert np.isnan(product(a, b, bias[:n], rectified)[:, 0]).all()  # what has diverged is not hidden


def test_product_takes_transposes_and_mixed_dtypes_as_matmul_does() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200, 300)), rng.standard_normal((150, 200)).astype(np.float32)
    np.testing.assert_allclose(product(a.T, b.T), a.T @ b.T, rtol=1e-12)
    assert product(a.T, b.T).dtype == np.float64
    with pytest.raises(ValueError):
        product(a, b)


def test_concurrent_products_leave_blas_as_it_was() -> None:
    before = _blas.get()
    a = np.ones((300, 300))
    with ThreadPoolExecutor(4) as users:
        assert all(np.array_equal(result, 300 * a) for result in users.map(lambda _: product(a, a), range(40)))
    assert _blas.get() == before
    assert _blas.holders == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("locked", [False, True])
def test_a_child_forked_while_a_thread_is_inside_a_product(locked: bool) -> None:
    """That thread does not exist in the child, so it will neither release the lock nor restore the threads of BLAS."""
    was, a = _blas.get(), np.ones((300, 300))
    _blas.set(2)  # something to be restored, also on one core
    entered, leave = threading.Event(), threading.Event()

    def somebody() -> None:
        with _blas:
            if locked:
                _blas.lock.acquire()
            entered.set()
            leave.wait()
            if locked:
                _blas.lock.release()

    other = threading.Thread(target=somebody)
    other.start()
    assert entered.wait(20)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a hang ends here
        right = _blas.get() == 2 and np.array_equal(product(a, a), 300 * a)
        os._exit(0 if right and _blas.get() == 2 and _blas.holders == 0 else 1)
    status = os.waitpid(child, 0)[1]
    inside = _blas.get(), _blas.holders
    leave.set()
    other.join()
    after = _blas.get()
    _blas.set(was)
    assert status == 0
    assert inside == (1, 1)  # the parent does not notice
    assert after == 2


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
