"""The mixture kernels: VJP, broadcast parameters, quantiles and NaN.

tests/autograd/test_fused.py compares their values and VJPs with a composition.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels.mixture import mixture, mixture_quantile, mixture_vjp
from tinygen.testing import check_vjp
from tinygen.testing.strategies import rngs


@pytest.mark.parametrize("centre", [0.0, -2e3, 2e3])
def test_vjp_matches_finite_differences(centre: float, rng: np.random.Generator) -> None:
    """Also so far in both tails that the probabilities underflow."""
    theta = rng.normal(size=(4, 6))

    def vjp(g: np.ndarray, x: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cotangents = mixture_vjp(x, theta, g)
        return cotangents[:, 0], cotangents[:, 1:]

    check_vjp(mixture, vjp, centre + rng.normal(size=4), theta, rng=rng)


@given(rng=rngs(), components=st.integers(1, 5))
def test_shared_parameters_equal_broadcast_ones(rng: np.random.Generator, components: int) -> None:
    theta, x, g = rng.normal(size=3 * components), rng.normal(size=(30, 20)), rng.normal(size=(2, 30, 20))
    rows = np.broadcast_to(theta, (30, 20, 3 * components))
    np.testing.assert_array_equal(mixture(x, theta), mixture(x, rows))
    np.testing.assert_array_equal(mixture_vjp(x, theta, g), mixture_vjp(x, rows, g))
    np.testing.assert_array_equal(mixture_quantile(x, theta), mixture_quantile(x, rows))
    np.testing.assert_array_equal(mixture(x.T, theta), mixture(x, theta).transpose(0, 2, 1))


def test_rows_of_parameters_are_independent(rng: np.random.Generator) -> None:
    theta, x, g = rng.normal(size=(9, 6)), rng.normal(size=9), rng.normal(size=(2, 9))
    one_by_one = [slice(i, i + 1) for i in range(9)]
    values = [mixture(x[i], theta[i]) for i in one_by_one]
    np.testing.assert_array_equal(mixture(x, theta), np.concatenate(values, 1))
    vjps = [mixture_vjp(x[i], theta[i], g[:, i]) for i in one_by_one]
    np.testing.assert_array_equal(mixture_vjp(x, theta, g), np.concatenate(vjps))
    quantiles = [mixture_quantile(x[i], theta[i]) for i in one_by_one]
    np.testing.assert_array_equal(mixture_quantile(x, theta), np.concatenate(quantiles))


def test_density_whose_scale_overflows() -> None:
    """At the centre of a logistic, ln F′ = −ln s − ln 4, also where 1/s has fewer bits than a normal number."""
    np.testing.assert_allclose(mixture(np.zeros(1), np.array([0.0, 0.0, 730.0]))[1], -730 - np.log(4), rtol=1e-15)


@given(rng=rngs())
def test_quantiles_of_extreme_mixtures(rng: np.random.Generator) -> None:
    """Distant modes, plateaus between them, and very different scales: either x or logit F(x) is exact to rounding."""
    theta = np.concatenate([rng.uniform(-40, 0, 4), rng.uniform(-1e3, 1e3, 4), rng.uniform(-9, 9, 4)])
    logit = np.concatenate([rng.normal(size=40) * 5, [-1e3, 1e3, 0.0]])
    x = mixture_quantile(logit, theta)
    again, _ = mixture(x, theta)
    neighbours, _ = mixture(np.stack([np.nextafter(x, -np.inf), np.nextafter(x, np.inf)]), theta)
    assert np.all(np.diff(x[np.argsort(logit)]) >= 0)
    tolerance = 1e-12 * (1 + np.abs(logit)) + 4 * (neighbours[1] - neighbours[0])
    np.testing.assert_array_less(np.abs(again - logit), tolerance)


def test_nan_and_infinite_inputs_give_nan() -> None:
    assert np.all(np.isnan(mixture_quantile(np.array([np.nan, np.inf]), np.zeros(6))))
    for at in range(6):
        theta = np.zeros(6)
        theta[at] = np.nan
        assert np.isnan(mixture_quantile(np.zeros(1), theta)).all()
        assert np.isnan(mixture(np.zeros(1), theta)).all()


def test_other_real_dtypes_are_computed_in_float64() -> None:
    x, theta = np.array([0, -1, 2]), np.array([0, 1, 0, 0, 1, -1])
    expected = mixture(x.astype(np.float64), theta.astype(np.float64))
    g = np.ones((2, 3))
    for code in ("i8", "i1", ">f8", "g", "f2"):
        y = mixture(x.astype(code), theta.astype(code))
        assert y.dtype == (np.result_type(code) if np.dtype(code).kind == "f" else np.float64)
        np.testing.assert_allclose(y, expected, rtol=1e-3 if code == "f2" else 1e-15)
        slope = mixture_vjp(x.astype(code), theta.astype(code), g.astype(code))
        np.testing.assert_allclose(slope, mixture_vjp(1.0 * x, 1.0 * theta, g), rtol=1e-3 if code == "f2" else 1e-15)
        np.testing.assert_array_equal(mixture_quantile(x.astype(code), theta.astype(code)), mixture_quantile(x, theta))
