"""Matrix products equal np.matmul, whichever of NumPy and the kernels computes them."""

from __future__ import annotations

import ctypes
import importlib
import os
from typing import Any

import numba
import numpy as np
import pytest

from tinygen.kernels import convolution, gemm, reference
from tinygen.kernels.product import product
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the kernels split products of the size of these tests over three threads."""
    monkeypatch.setattr(convolution, "GRAIN", 1 << 16)
    monkeypatch.setattr(gemm, "GRAIN", 1 << 16)
    before = get_num_threads()
    set_num_threads(3)
    yield
    set_num_threads(before)


def layouts(x: Array) -> list[Array]:
    """Return equal matrices: C and Fortran order, slices of wider matrices, negative strides."""
    wider = np.repeat(np.repeat(x, 2, 0), 2, 1)
    return [x, np.asfortranarray(x), np.hstack([x, x])[:, : x.shape[1]], wider[::2, ::2], x[::-1, ::-1][::-1, ::-1]]


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (4, 5)), ((300, 200), (200, 250)), ((20, 900), (900, 800)), ((2, 150, 160), (160, 170)),
                 ((3, 90, 80), (3, 80, 70)), ((5,), (5, 4)), ((4, 5), (5,)), ((0, 5), (5, 3)), ((700, 0), (0, 700)),
                 ((40, 3000), (3000, 50)), ((3000, 100), (100, 1)), ((1, 3000), (3000, 100)), ((3000, 1), (1, 100))],
)  # fmt: skip
def test_equals_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal(a), rng.standard_normal(b)
    np.testing.assert_allclose(product(left, right), np.matmul(left, right), rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("m", "k", "n"), [(300, 200, 90), (90, 200, 300), (40, 3000, 50), (200, 1, 9000), (2, 900, 800)]
)
def test_equals_matmul_for_any_memory_layout(dtype: Any, m: int, k: int, n: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    expected, bound = a.astype(np.float64) @ b.astype(np.float64), 10 * k * float(np.finfo(dtype).eps)
    for left in layouts(a):
        for right in layouts(b):
            y = product(left, right)
            assert y.dtype == dtype
            np.testing.assert_allclose(y, expected, atol=bound)
    repeated = np.broadcast_to(a[:1], a.shape)
    np.testing.assert_allclose(product(repeated, b), np.broadcast_to(expected[:1], expected.shape), atol=bound)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "k", "n"), [(300, 200, 90), (90, 200, 300), (2, 900, 800), (3, 4, 5), (4, 1, 3)])
@pytest.mark.parametrize("relu", [False, True])
def test_bias_relu_and_residual_equal_the_reference(dtype: Any, m: int, k: int, n: int, relu: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    bias: Array = (20 * rng.standard_normal(2 * n)).astype(dtype)
    bound = 20 * k * float(np.finfo(dtype).eps)  # sums of k products in another order
    for left in (a, np.asfortranarray(a)):
        for c in (None, bias[:n], bias[::2], bias[:n].astype(np.float64)):
            y, expected = product(left, b, c, relu), reference.product(left, b, c, relu)
            assert y.dtype == expected.dtype
            np.testing.assert_allclose(y, expected, rtol=0, atol=bound)
    residual: Array = (20 * rng.standard_normal((m, n))).astype(dtype)
    for c in (None, bias[:n]):
        for r in (residual, residual[::-1], np.broadcast_to(bias[:n], (m, n)), residual.astype(np.float64)):
            y, expected = product(a, b, c, relu, r), reference.product(a, b, c, relu, r)
            assert y.dtype == expected.dtype
            np.testing.assert_allclose(y, expected, rtol=0, atol=bound)
    bias[0] = np.nan
    assert np.isnan(product(a, b, bias[:n], relu)[:, 0]).all()  # relu does not hide NaN


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="NumPy computes all products")
def test_a_large_transposed_matrix_is_correlated(monkeypatch: pytest.MonkeyPatch) -> None:
    called, correlate_into = [], convolution.correlate_into

    def recorded(*arguments: Any) -> None:
        called.append(arguments[1].shape[-1])
        correlate_into(*arguments)

    monkeypatch.setattr(importlib.import_module("tinygen.kernels.product"), "correlate_into", recorded)
    rng = np.random.default_rng(0)
    for m, k, n in ((600, 500, 40), (20, 3000, 40), (600, 100, 40), (1, 3000, 100)):  # the last is no transpose
        a, b = np.asfortranarray(rng.standard_normal((m, k))), rng.standard_normal((k, n))
        np.testing.assert_allclose(product(a, b), a @ b, rtol=0, atol=1e-10)
    assert called == [600, 20]


def test_mixed_dtypes_promote_as_in_matmul() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200, 300)), rng.standard_normal((150, 200)).astype(np.float32)
    np.testing.assert_allclose(product(a.T, b.T), a.T @ b.T, rtol=1e-12)
    assert product(a.T, b.T).dtype == np.float64


@pytest.mark.parametrize(
    ("a", "b"), [((9000, 100), (100, 1)), ((100, 9000), (9000, 3)), ((5, 160, 150), (150, 170)),
                 ((2, 1, 90, 80), (3, 80, 70)), ((70, 80), (2, 80, 70))],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_openblas_only_gets_products_for_one_thread(
    a: tuple[int, ...], b: tuple[int, ...], dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a product on several threads, those of OpenBLAS spin for milliseconds, which slows down other kernels."""
    sizes, matmul = [], reference.matmul

    def recorded(x: Array, y: Array) -> Array:
        sizes.append(x.size * y.shape[-1])
        return matmul(x, y)

    monkeypatch.setattr(reference, "matmul", recorded)
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal(a).astype(np.float32), rng.standard_normal(b).astype(dtype)
    np.testing.assert_allclose(product(left, right), np.matmul(left, right, dtype=np.float64), rtol=1e-3, atol=1e-3)
    assert max(sizes, default=0) <= 1 << 18  # the size from which OpenBLAS uses more threads


@pytest.mark.parametrize(("a", "b"), [((3, 4), (5, 4)), ((200, 300), (200, 300)), ((3,), (4, 5))])
def test_rejects_shapes_that_do_not_match(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^product: a and b: expected"):
        product(np.ones(a), np.ones(b))


def test_rejects_a_residual_of_another_shape() -> None:
    for n in (4, 300):
        a = np.ones((n, n), np.float32)
        for shape in ((n,), (1, n), (n, n + 1), (1, n, n)):
            with pytest.raises(ValueError, match="residual: expected shape"):
                product(a, a, residual=np.ones(shape, np.float32))
    with pytest.raises(ValueError, match="residual: expected shape"):  # for matrices only; (4, 3) would broadcast
        product(np.ones((4, 4, 3)), np.ones((4, 3, 3)), residual=np.ones((4, 3)))


@pytest.mark.parametrize("n", [4, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rejects_a_bias_of_another_length(n: int, dtype: Any) -> None:
    for length in (1, n - 1, n + 1):
        with pytest.raises(ValueError, match=f"bias: expected shape \\({n},\\), got \\({length},\\)"):
            product(np.ones((n, n), np.float32), np.ones((n, n), np.float32), np.ones(length, dtype))


@pytest.mark.skipif(os.name != "posix", reason="finds getpid in the process itself")
def test_matmul_gives_no_false_warning() -> None:
    """OpenBLAS may read uninitialised stack memory: fill the stack with signalling NaN to various depths."""
    a, b = np.ones((2, 5), np.float32), np.ones((5, 1), np.float32)
    getpid = ctypes.CDLL(None).getpid

    def fill(count: int) -> None:
        getpid(*[ctypes.c_uint64(0x7FA000017FA00001)] * count)

    deep = np.frompyfunc(np.frompyfunc(fill, 1, 1), 1, 1)
    for count in range(0, 700, 20):
        deep(count)
        np.testing.assert_array_equal(product(a, b), 5)  # a warning is an error in these tests
