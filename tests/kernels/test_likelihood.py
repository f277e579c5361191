"""The Bernoulli and categorical log-likelihoods and their VJPs: accuracy, limits and memory layouts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import get_num_threads, set_num_threads
from tinygen.kernels.likelihood import bernoulli, bernoulli_vjp, categorical, categorical_vjp


def exact_bernoulli(x: Any, k: Any) -> Any:
    """Σ ln σ(±x) in float64, by a different formula from the kernel's."""
    return -np.logaddexp(0, np.where(k, -x.astype(np.float64), x)).sum(1)


@given(shape=st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 7, 64, 65, 200])), seed=st.integers(0, 2**32))
def test_bernoulli_in_both_dtypes(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, k = rng.normal(size=shape) * 5, rng.integers(0, 2, shape).astype(np.uint8)
    g = rng.normal(size=shape[0])
    slope = g[:, None] * (k - 1 / (1 + np.exp(-x)))
    for dtype, tolerance in (np.float64, 1e-13), (np.float32, 4e-7):
        single = x.astype(dtype)
        y, expected = bernoulli(single, k), exact_bernoulli(single, k)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance * shape[1])
        dx = bernoulli_vjp(single, k, g.astype(dtype))
        assert dx.dtype == dtype
        np.testing.assert_allclose(dx, slope, rtol=0, atol=3 * tolerance * (1 + np.abs(slope).max(initial=0)))


def test_float32_accuracy_on_a_fine_grid() -> None:
    x = np.concatenate([np.linspace(-30, 30, 200_001), np.logspace(-30, 1, 10_001)]).astype(np.float32)[:, None]
    for bit in (0, 1):
        k = np.full(x.shape, bit, np.uint8)
        expected = exact_bernoulli(x, k)
        assert (np.abs(bernoulli(x, k) - expected) / (1 + np.abs(expected))).max() < 2e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_infinite_and_nan_logits(dtype: Any) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[1e4, 1e4], [-1e4, -1e4], [inf, 1], [nan, 1], [-inf, 1]], dtype)
    k = np.array([[1, 0], [1, 0], [1, 1], [1, 1], [1, 1]], np.uint8)
    last = -np.log1p(np.exp(-1))
    np.testing.assert_allclose(bernoulli(x, k), [-1e4, -1e4, last, nan, -inf], rtol=3e-7)
    dx = bernoulli_vjp(x, k, np.ones(5, dtype))
    np.testing.assert_allclose(dx[:, 0], [0, 1, 0, nan, 1])


def test_result_does_not_depend_on_memory_layout() -> None:
    rng = np.random.default_rng(0)
    x, k = rng.normal(size=(700, 90)).astype(np.float32), rng.integers(0, 2, (700, 90)).astype(np.uint8)
    y, g = bernoulli(x, k), np.broadcast_to(np.float32(1), 700)
    np.testing.assert_array_equal(bernoulli(np.asfortranarray(x), np.asfortranarray(k)), y)
    np.testing.assert_array_equal(
        bernoulli_vjp(np.asfortranarray(x), k, g), bernoulli_vjp(x, k, np.ones(700, np.float32))
    )


@given(n=st.integers(0, 5), levels=st.sampled_from([1, 2, 3, 16, 17, 256]), seed=st.integers(0, 2**32))
def test_categorical_in_both_dtypes(n: int, levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, k, g = rng.normal(size=(n, levels)) * 5, rng.integers(0, levels, n), rng.normal(size=n)
    for dtype, tolerance in (np.float64, 1e-13), (np.float32, 2e-6):
        single = x.astype(dtype)
        expected = single.astype(float) - np.logaddexp.reduce(single.astype(float), 1, keepdims=True)
        y, tops, logs = categorical(single, k)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected[np.arange(n), k], rtol=tolerance, atol=tolerance)
        dx = categorical_vjp(single, k, tops, logs, g.astype(dtype))
        assert dx.dtype == dtype
        slope = g[:, None] * (np.eye(levels)[k] - np.exp(expected))
        np.testing.assert_allclose(dx, slope, rtol=0, atol=3 * tolerance * (1 + np.abs(slope).max(initial=0)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_categorical_of_large_infinite_and_nan_logits(dtype: Any) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[1e4, 1e4, 0], [-1e4, -9e3, -1e4], [-inf, 1, -inf], [-inf, 1, -inf], [nan, 1, 2], [0, inf, 1]], dtype)
    k = np.array([0, 0, 1, 0, 1, 2])
    y, tops, logs = categorical(x, k)
    np.testing.assert_allclose(y, np.array([-np.log(2), -1e3, 0, -inf, nan, -inf]), rtol=3e-7)
    dx = categorical_vjp(x, k, tops, logs, np.ones(6, dtype))
    np.testing.assert_allclose(dx[:4], np.array([[0.5, -0.5, 0], [1, -1, 0], [0, 0, 0], [1, -1, 0]]), atol=1e-7)
    assert np.isnan(dx[4]).all()
    with np.errstate(invalid="ignore"):  # −∞ + ∞
        y, *_ = categorical(np.full((1, 3), -inf, dtype), np.zeros(1, np.int64))
    assert np.isnan(y).all()


def test_categorical_does_not_depend_on_memory_layout_or_threads() -> None:
    rng = np.random.default_rng(0)
    x, k, before = rng.normal(size=(3000, 90)).astype(np.float32), rng.integers(0, 90, 3000), get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            for layout in (np.ascontiguousarray, np.asfortranarray):
                y, tops, logs = categorical(layout(x), k)
                dx = categorical_vjp(layout(x), k, tops, logs, np.broadcast_to(np.float32(1), 3000))
                results.append((y, tops, logs, dx))  # kept, so that a new array is not in the memory of an equal one
    finally:
        set_num_threads(before)
    for others in results[1:]:
        for other, array in zip(others, results[0], strict=True):
            np.testing.assert_array_equal(other, array)


def test_float32_exponential_to_two_units_in_the_last_place() -> None:
    """With no maximum and no sum subtracted, the VJP of a class that is not observed is −eˣ."""
    v = np.concatenate(
        [np.linspace(-87.3, 88.3, 200_001), np.linspace(-1, 1, 20_001), [-100, -np.inf, 89, np.inf, np.nan]]
    )
    x = np.stack([np.zeros_like(v), v], 1).astype(np.float32)
    zeros, ones = np.zeros(len(x), np.float32), np.ones(len(x), np.float32)
    y = -categorical_vjp(x, np.zeros(len(x), np.int64), zeros, zeros, ones)[:, 1]
    expected = np.exp(x[:-5, 1].astype(np.float64))
    assert (np.abs(y[:-5] - expected) / np.spacing(expected.astype(np.float32))).max() < 2
    np.testing.assert_array_equal(y[-5:], [0, 0, np.inf, np.inf, np.nan])
