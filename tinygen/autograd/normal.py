"""The normal distribution function and its inverse, both of the logarithm, so that neither tail is lost.

    ln Φ(x),   m(x) = (ln Φ)′ = φ(x) / Φ(x),   m′ = −m (x + m)

Checked by: tests/autograd/test_primitives.py, tests/autograd/test_normal.py
"""

from __future__ import annotations

import math

import numpy as np

from .kernels.special import erfc
from .tensor import Array, Tensor, TensorLike, array_of, node, primitive

_FAR = -37.0  # below it Φ is nearly too small for a float64, and four terms of the asymptotic series are all of it
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


@primitive
def log_ndtr(x: TensorLike) -> Tensor:
    """y = ln Φ(x), with a relative error below 3·10⁻¹³ in float64, in either tail"""
    v = array_of(x)
    return node("log_ndtr", _log_ndtr(v).astype(_floating(v)), (x, lambda g, y: g * _slope(x)))


@primitive
def ndtri_exp(x: TensorLike) -> Tensor:
    """y = Φ⁻¹(eˣ), that is ln Φ(y) = x, with an error below 10⁻¹⁵ max(1, |y|) in float64; NaN for x > 0"""
    v = array_of(x)
    return node("ndtri_exp", _ndtri_exp(v).astype(_floating(v)), (x, lambda g, y: g / _slope(y)))


def _slope(x: TensorLike) -> Tensor:
    """m = φ(x) / Φ(x), whose own derivative it can express"""
    v = array_of(x)
    m = _mills(v.astype(np.float64), _log_ndtr(v)).astype(_floating(v))
    return node("log_ndtr_slope", m, (x, lambda g, y: -g * y * (x + y)))


def _mills(v: Array, log_ndtr: Array) -> Array:
    near = np.exp(np.where(v < _FAR, 0, -0.5 * v * v - _LOG_ROOT_2PI - log_ndtr))
    far = np.minimum(v, _FAR)
    return np.where(v < _FAR, -far / _series(far), near)


def _log_ndtr(v: Array) -> Array:
    v = v.astype(np.float64)
    far, near = np.minimum(v, _FAR), np.maximum(v, _FAR)
    tail = erfc(np.abs(near) / math.sqrt(2)) / 2  # Φ(−|x|): what is small keeps its precision
    log_near = np.where(v > 0, np.log1p(-tail), np.log(np.where(v > 0, 1, tail)))
    return np.where(v < _FAR, -0.5 * far * far - np.log(-far) - _LOG_ROOT_2PI + np.log(_series(far)), log_near)


def _series(far: Array) -> Array:
    """Φ(x) = φ(x) / −x · (1 − 1/x² + 3/x⁴ − 15/x⁶ + 105/x⁸ …) for x far below 0"""
    s = 1 / (far * far)
    return 1 - s * (1 - 3 * s * (1 - 5 * s * (1 - 7 * s)))


def _ndtri_exp(v: Array) -> Array:
    """Newton's method for the tail: ln Φ is concave, so steps from below never go beyond the solution.

    −√(−2x) is below it, since Φ(−t) ≤ ½ e^−t²/2. A step squares the error, so that after one below 10⁻⁸ it is rounding.
    For Φ above ½ the other tail is solved for.
    """
    v = np.where(v <= 0, v.astype(np.float64), np.nan)
    with np.errstate(divide="ignore"):  # ln 0 = −∞ is the right answer for x = 0
        tail = np.where(v < -math.log(2), v, np.log(-np.expm1(v)))
    finite = np.where(np.isfinite(tail), tail, -1.0)
    y = -np.sqrt(-2 * finite)
    step = np.full_like(y, np.inf)
    while np.any(np.abs(step) > 1e-8 * np.maximum(1, np.abs(y))):
        log = _log_ndtr(y)
        step = (finite - log) / _mills(y, log)
        y = y + step
    y = np.where(np.isfinite(tail), y, tail)
    return np.where(v < -math.log(2), y, -y)


def _floating(v: Array) -> np.dtype:
    return v.dtype if v.dtype.kind == "f" else np.dtype(np.float64)
