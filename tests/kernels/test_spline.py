"""The spline kernels: VJPs, rows of knots, memory layouts, dtypes and invalid arguments.

tests/bijections/test_rational_quadratic.py compares them with a composition of tensor operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygen.kernels.spline import spline, spline_vjp
from tinygen.testing import check_vjp

Array = np.ndarray[Any, Any]
BOTH = pytest.mark.parametrize("inverse", [False, True])


def random_knots(rng: np.random.Generator, *shape: int, bins: int = 3, bound: float = 6.0) -> Array:
    """Return knots (*shape, 3, bins + 1) with bins that are at least half as wide and high as the mean."""
    sizes = rng.uniform(1, 2, (*shape, 2, bins))
    ends = np.cumsum(sizes, -1) / sizes.sum(-1, keepdims=True)
    at = bound * (2 * np.concatenate([np.zeros((*shape, 2, 1)), ends], -1) - 1)
    return np.concatenate([at, rng.uniform(0.5, 2, (*shape, 1, bins + 1))], -2)


@BOTH
def test_vjp_matches_finite_differences(inverse: bool, rng: np.random.Generator) -> None:
    """For a point within each bin and one in each tail."""
    knots = random_knots(rng, 5)
    row = knots[:, int(inverse)]
    x = np.array([*(0.6 * row[[0, 1, 2], [0, 1, 2]] + 0.4 * row[[0, 1, 2], [1, 2, 3]]), -7, 8])

    def vjp(g: Array, x: Array, knots: Array) -> tuple[Array, Array]:
        cotangents = spline_vjp(x, knots, inverse, g)
        return cotangents[:, 0], cotangents[:, 1:].reshape(knots.shape)

    check_vjp(lambda x, knots: spline(x, knots, inverse), vjp, x, knots, rng=rng)


@BOTH
def test_rows_are_independent_and_broadcast(inverse: bool, rng: np.random.Generator) -> None:
    x, knots, g = rng.normal(size=(4, 3)) * 3, random_knots(rng, 3), rng.normal(size=(2, 4, 3))
    y, cotangents = spline(x, knots, inverse), spline_vjp(x, knots, inverse, g)
    assert cotangents.shape == (4, 3, 13)
    for i, j in np.ndindex(4, 3):
        np.testing.assert_array_equal(spline(x[i, j], knots[j], inverse), y[:, i, j])
        np.testing.assert_array_equal(spline_vjp(x[i, j], knots[j], inverse, g[:, i, j]), cotangents[i, j])
    np.testing.assert_array_equal(spline(np.asfortranarray(x), knots, inverse), y)


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
def test_other_dtypes(dtype: Any, inverse: bool, rng: np.random.Generator) -> None:
    """float32 differs from float64 by rounding of the arguments and the result only."""
    x, knots = (rng.normal(size=50) * 3).astype(dtype), random_knots(rng, 50).astype(np.float32)
    expected = spline(x.astype(np.float64), knots.astype(np.float64), inverse)
    y = spline(x, knots, inverse)
    assert y.dtype == np.result_type(x, knots)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@BOTH
def test_many_elements_in_parts(inverse: bool, rng: np.random.Generator) -> None:
    x, knots = rng.normal(size=20_000), random_knots(rng)
    y = spline(x, knots, inverse)
    np.testing.assert_array_equal(np.concatenate([spline(part, knots, inverse) for part in np.split(x, 20)], 1), y)


def test_rejects_invalid_arguments() -> None:
    knots = random_knots(np.random.default_rng(0), 4)
    for wrong in (knots[:, :2], knots[..., :1], knots[:3], knots[0, 0]):
        with pytest.raises(ValueError, match="knots: expected"):
            spline(np.zeros(4), wrong, False)
    with pytest.raises(ValueError, match="g: expected shape"):
        spline_vjp(np.zeros(4), knots, False, np.zeros((2, 3)))
    with pytest.raises(TypeError, match="real numbers"):
        spline(np.zeros(4, complex), knots, False)
