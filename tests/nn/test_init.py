"""Initialisers: shapes, dtypes, and moments within five standard errors (false alarms: about one seed in 10⁶)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array
from tinygen.nn import init

SHAPE, FANS = (40, 50, 60), (70, 30)
N = math.prod(SHAPE)


def check_moments(sample: Array, variance: float, kurtosis: float) -> None:
    """Check that mean and variance are within five standard errors; kurtosis sets the variance's standard error."""
    assert sample.dtype == np.float32
    assert abs(sample.mean(dtype=np.float64)) < 5 * math.sqrt(variance / sample.size)
    assert abs(sample.var(dtype=np.float64) / variance - 1) < 5 * math.sqrt((kurtosis - 1) / sample.size)


def test_glorot_uniform_has_the_right_range_and_variance() -> None:
    w = init.glorot_uniform(SHAPE, FANS, np.random.default_rng(0))
    assert w.shape == SHAPE
    check_moments(w, 2 / sum(FANS), kurtosis=1.8)
    bound = math.sqrt(6 / sum(FANS))
    assert 0.999 * bound < np.abs(w).max() <= np.float32(bound)


def test_he_normal_and_normal_have_the_right_variance() -> None:
    w = init.he_normal(SHAPE, FANS, np.random.default_rng(0))
    assert w.shape == SHAPE
    check_moments(w, 2 / FANS[0], kurtosis=3)
    check_moments(init.normal((N,), 0.1, np.random.default_rng(1)), 0.01, kurtosis=3)


def test_zeros() -> None:
    w = init.zeros((2, 3), FANS, np.random.default_rng(0))
    assert w.dtype == np.float32
    assert w.shape == (2, 3)
    assert not w.any()


@given(st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_orthogonal_matrix_times_its_transpose_is_the_identity(n: int, seed: int) -> None:
    q = init.orthogonal(n, np.random.default_rng(seed))
    assert q.dtype == np.float32
    assert np.allclose(q @ q.T, np.eye(n), atol=1e-6)  # entries below 1, rounded to float32


def test_orthogonal_is_haar_distributed() -> None:
    """The trace of a Haar matrix has mean 0 and variance 1 (Diaconis & Shahshahani, 1994); uncorrected signs fail."""
    rng = np.random.default_rng(0)
    traces = np.array([np.trace(init.orthogonal(4, rng)) for _ in range(4000)])
    assert abs(traces.mean()) < 5 / math.sqrt(4000)
    assert abs(traces.var() - 1) < 5 * math.sqrt(2 / 4000)


@pytest.mark.parametrize("name", ["glorot_uniform", "he_normal"])
def test_same_seed_gives_same_bits_without_using_global_state(name: str) -> None:
    before = np.random.get_state()[1]  # type: ignore[index]  # noqa: NPY002
    draws = [getattr(init, name)((5,), (2, 3), np.random.default_rng(3)) for _ in range(2)]
    assert np.array_equal(*draws)
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002


@pytest.mark.parametrize("n_in", [1, 3])
def test_hyperplane_bias_has_the_variance_of_a_random_projection(n_in: int) -> None:
    """The bias of a unit is normal with variance |w|²; for n_in = 1, its kink −b / w is therefore N(0, 1)."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(n_in, N)).astype(np.float32)
    check_moments(init.hyperplane_bias(w, rng) / np.sqrt((w * w).sum(0)), 1, kurtosis=3)
