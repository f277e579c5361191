"""Functions that NumPy does not have: erf, and of the normal distribution ln Φ, its derivative φ/Φ, and Φ⁻¹ of a logit.

The result has the dtype of x if that is floating-point, else float64; all arithmetic is float64.

Checked by: tests/kernels/test_special.py, tests/autograd/test_special.py
"""

import math

import numpy as np

from .runtime.arrays import Array, as_contiguous
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.team import run_parts

LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
_FAR = -37.0  # below this, Φ nearly underflows, but five terms of its asymptotic series are exact to rounding
_GRAIN = 1 << 10  # elements in a part of about 50 µs, at about 50 ns each
_LOG_NDTR, _NDTR_SLOPE, _NDTR_EXCESS, _NDTRI_SIGMOID, _ERF = range(5)


@compiled
def _log_ndtr(x: float) -> float:
    """ln Φ(x). It is computed from the smaller tail Φ(−|x|), which has full relative precision."""
    if x < _FAR:
        return -0.5 * x * x - math.log(-x) - LOG_ROOT_2PI + math.log(_series(x))
    tail = 0.5 * math.erfc(abs(x) / math.sqrt(2))
    return math.log1p(-tail) if x > 0 else math.log(tail)


@compiled
def _ndtr_slope(x: float, log_ndtr: float) -> float:
    """φ(x) / Φ(x), given ln Φ(x)."""
    if x < _FAR:
        return -x / _series(x)
    return math.exp(-0.5 * x * x - LOG_ROOT_2PI - log_ndtr)


@compiled
def _ndtr_excess(x: float, slope: float) -> float:
    """x + φ(x) / Φ(x), given the second term. In the left tail it is about −1/x, the difference of large terms."""
    return -_defect(x) / (x * _series(x)) if x < _FAR else x + slope


@compiled
def _series(x: float) -> float:
    """−x Φ(x) / φ(x) = 1 − 1/x² + 3/x⁴ − 15/x⁶ + 105/x⁸ − …, as x → −∞."""
    return 1 - _defect(x) / (x * x)


@compiled
def _defect(x: float) -> float:
    """1 − 3/x² + 15/x⁴ − 105/x⁶ + …, as x → −∞."""
    s = 1 / (x * x)
    return 1 - 3 * s * (1 - 5 * s * (1 - 7 * s))


@compiled
def _ndtri_sigmoid(x: float) -> float:
    """Solve logit Φ(y) = x for y by Halley's method in the smaller tail: ln Φ(−|y|) = ln σ(−|x|).

    Start at −√(−2 ln Φ), which is below the solution since Φ(−t) ≤ ½ exp(−t²/2). With n the Newton step and
    m = (ln Φ)′, m′/m = −(y + m), so Halley's step is n / (1 − n (y + m)/2). Convergence is cubic: after a step below
    10⁻⁵ only rounding error remains.
    """
    if math.isinf(x):
        return x
    tail = -abs(x) - math.log1p(math.exp(-abs(x)))
    y = -math.sqrt(-2 * tail)
    step = math.inf
    while abs(step) > 1e-5 * max(1.0, abs(y)):
        log_ndtr = _log_ndtr(y)
        m = _ndtr_slope(y, log_ndtr)
        newton = (tail - log_ndtr) / m
        step = newton / (1 - 0.5 * newton * (y + m))
        y += step
    return y if x < 0 else -y


@compiled
def _map(function: int, x: Array, y: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    for i in range(start, stop):
        v = x[i]
        if function == _LOG_NDTR:
            y[i] = _log_ndtr(v)
        elif function == _NDTR_SLOPE:
            y[i] = _ndtr_slope(v, _log_ndtr(v))
        elif function == _NDTR_EXCESS:
            y[i] = _ndtr_excess(v, _ndtr_slope(v, _log_ndtr(v)))
        elif function == _ERF:
            y[i] = math.erf(v)
        else:
            y[i] = _ndtri_sigmoid(v)


def _elementwise(function: int, x: Array) -> Array:
    if x.dtype.kind not in "fiub":
        raise TypeError(f"x: expected real numbers, got {x.dtype}")
    flat, y = as_contiguous(x.astype(np.float64)).reshape(-1), np.empty(x.size)
    run_parts(_map, x.size, _GRAIN, function, flat, y)
    return y.reshape(x.shape).astype(x.dtype if x.dtype.kind == "f" else np.float64, copy=False)


def erf(x: Array) -> Array:
    """The error function, with an error below 1 ulp in float64. Shapes: x, y (…)."""
    return _elementwise(_ERF, x)


def log_ndtr(x: Array) -> Array:
    """ln Φ(x), with a relative error below 3·10⁻¹³ in float64, in both tails. Shapes: x, y (…)."""
    return _elementwise(_LOG_NDTR, x)


def ndtr_slope(x: Array) -> Array:
    """φ(x) / Φ(x), the derivative of ln Φ. Shapes: x, y (…)."""
    return _elementwise(_NDTR_SLOPE, x)


def ndtr_excess(x: Array) -> Array:
    """x + φ(x) / Φ(x), minus the slope of ln (φ/Φ), with a relative error below 3·10⁻¹¹. Shapes: x, y (…)."""
    return _elementwise(_NDTR_EXCESS, x)


def ndtri_sigmoid(x: Array) -> Array:
    """y = Φ⁻¹(σ(x)), the inverse of x = ln Φ(y) − ln Φ(−y), with an error below 10⁻¹⁵ max(1, |y|). Shapes: x, y (…)."""
    return _elementwise(_NDTRI_SIGMOID, x)
