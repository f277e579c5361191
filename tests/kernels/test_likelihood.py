"""The Bernoulli log-likelihood and its VJP: accuracy, limits and memory layouts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels.likelihood import bernoulli, bernoulli_vjp


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
