"""log_ndtr and ndtri_sigmoid against 40-digit reference values and in the far tails."""

import math

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen.autograd import Tensor, grad
from tinygen.testing import check_grads

# x, ln Φ(x), φ(x) / Φ(x), computed with mpmath to 40 digits
VALUES = np.array(
    [
        (-1e4, -50000010.129278915181, 10000.000099999998),
        (-100, -5005.5242086942050886, 100.00999800099926071),
        (-37.5, -707.66898931750719107, 37.526628874883653599),
        (-36.5, -670.64200000031370137, 36.527356284475012415),
        (-5, -15.064998393988725736, 5.1865039671258421156),
        (-0.5, -1.1759117615936186089, 1.1410777703680644809),
        (0, -0.69314718055994530942, 0.79788456080286535588),
        (0.5, -0.36894641528865639307, 0.50916043383703348583),
        (5, -2.8665161296376359338e-7, 1.4867199409049057124e-6),
        (30, -4.9067139271481870595e-198, 1.473646134878547519e-196),
    ]
)
X, LOG, SLOPE = VALUES.T


def test_log_ndtr_matches_reference_values() -> None:
    x = Tensor(X)
    y = ag.log_ndtr(x)
    np.testing.assert_allclose(y.value, LOG, rtol=3e-13, atol=0)
    np.testing.assert_allclose(grad(y.sum(), [x])[0].value, SLOPE, rtol=3e-13, atol=0)


def test_ndtri_sigmoid_inverts_the_logit_of_ndtr() -> None:
    """The logit of Φ(x) determines x in both tails; in float64, Φ(x) itself rounds to 1 for large x."""
    log_rest = ag.log_ndtr(-X).value
    logit = Tensor(LOG - log_rest)
    x = ag.ndtri_sigmoid(logit)
    np.testing.assert_allclose(x.value, X, rtol=1e-15, atol=1e-15)
    slope = 1 / (SLOPE + grad(ag.log_ndtr(t := Tensor(-X)).sum(), [t])[0].value)
    np.testing.assert_allclose(grad(x.sum(), [logit])[0].value, slope, rtol=1e-12)


def test_limits_at_infinity_and_nan() -> None:
    np.testing.assert_array_equal(ag.log_ndtr(np.array([-np.inf, np.inf])).value, [-np.inf, 0])
    np.testing.assert_array_equal(ag.ndtri_sigmoid(np.array([-np.inf, np.inf])).value, [-np.inf, np.inf])
    np.testing.assert_allclose(ag.ndtri_sigmoid(np.array([-5e19, 5e19])).value, [-1e10, 1e10], rtol=1e-15)
    assert math.isnan(ag.ndtri_sigmoid(np.nan).item())
    assert math.isnan(ag.log_ndtr(np.nan).item())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_ndtr_derivative_in_the_far_tail(dtype: type) -> None:
    """The difference of two terms of magnitude x²/2 would be wrong by 10 % in float32."""
    x = Tensor(np.array([-1e3, -1e4], dtype))
    y = ag.log_ndtr(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(grad(y.sum(), [x])[0].value, [1e3, 1e4], rtol=2e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_second_derivatives_in_the_far_tail(dtype: type) -> None:
    """(ln Φ)″ = −m (x + m) = −1 + 1/x² − 6/x⁴ + …; x + m is about −1/x, which rounding of x would hide.

    y = Φ⁻¹(σ(x)) is about −√(−2x), so that y″ is about −1/y³.
    """
    rounding = 8 * float(np.finfo(dtype).eps)
    for x in (-1e2, -1e3, -1e4, -1e8):
        second = ag.hessian(ag.log_ndtr)(Tensor(np.array(x, dtype))).item()
        assert math.isclose(second, -1 + x**-2 - 6 * x**-4, rel_tol=rounding + 100 * x**-6)
        curvature = ag.hessian(ag.ndtri_sigmoid)(Tensor(np.array(-x * x, dtype))).item()
        y = ag.ndtri_sigmoid(np.array(-x * x)).item()
        assert math.isclose(curvature, -1 / y**3, rel_tol=rounding + 20 / y**2)


def test_derivatives_in_each_branch(rng: np.random.Generator) -> None:
    for x in (-40.0, -36.0, -3.0, 3.0):
        check_grads(ag.log_ndtr, np.array([x]), rng=rng, tolerance=1e-7)  # rounding of −x²/2 at x = −40
    for logit in (-1e3, -0.5, 0.5, 40.0):
        check_grads(ag.ndtri_sigmoid, np.array([logit]), rng=rng)
