"""The normal distribution function and what belongs to it, which NumPy does not have.

    ln Φ(x),   m(x) = (ln Φ)′(x) = φ(x) / Φ(x),   logit Φ(x) = ln Φ(x) − ln Φ(−x),   and the inverse of the latter

Checked by: tests/kernels/test_special.py, tests/autograd/test_special.py
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from .runtime.arrays import Array, as_contiguous
from .runtime.pool import parallel_for, split
from .runtime.tile import compiled

LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
_FAR = -37.0  # below it Φ is nearly too small for a float64, and four terms of the asymptotic series are all of it
# A thread is worth calling for this many numbers (at about 50 ns each).
_GRAIN = 1 << 12


@compiled
def log_ndtr_of(x: Any) -> Any:
    """ln Φ(x) of one number; Φ(−|x|) is computed, so that what is small keeps its precision."""
    if x < _FAR:
        return -0.5 * x * x - math.log(-x) - LOG_ROOT_2PI + math.log(_series(x))
    tail = 0.5 * math.erfc(abs(x) / math.sqrt(2))
    return math.log1p(-tail) if x > 0 else math.log(tail)


@compiled
def ndtr_slope_of(x: Any, log_ndtr: Any) -> Any:
    """m(x), given ln Φ(x)"""
    if x < _FAR:
        return -x / _series(x)
    return math.exp(-0.5 * x * x - LOG_ROOT_2PI - log_ndtr)


@compiled
def _series(x: Any) -> Any:
    """Φ(x) = φ(x) / −x · (1 − 1/x² + 3/x⁴ − 15/x⁶ + 105/x⁸ …) for x far below 0"""
    s = 1 / (x * x)
    return 1 - s * (1 - 3 * s * (1 - 5 * s * (1 - 7 * s)))


@compiled
def ndtri_sigmoid_of(x: Any) -> Any:
    """y with logit Φ(y) = x, by Halley's method for the smaller tail: ln Φ(−|y|) = ln σ(−|x|).

    It starts below the solution, at −√(−2 ln Φ), since Φ(−t) ≤ ½ e^−t²/2. With n the step of Newton's method, Halley's
    is n / (1 − n (y + m) / 2), as m′/m = −(y + m). It cubes the error, so that after one below 10⁻⁵ it is rounding.
    """
    if math.isinf(x):
        return x
    tail = -abs(x) - math.log1p(math.exp(-abs(x)))
    y = -math.sqrt(-2 * tail)
    step = math.inf
    while abs(step) > 1e-5 * max(1.0, abs(y)):
        log_ndtr = log_ndtr_of(y)
        m = ndtr_slope_of(y, log_ndtr)
        newton = (tail - log_ndtr) / m
        step = newton / (1 - 0.5 * newton * (y + m))
        y += step
    return y if x < 0 else -y


@compiled
def _of_each(which: int, x: Array, y: Array, start: int, stop: int) -> None:
    for i in range(start, stop):
        v = x[i]
        if which == 0:
            y[i] = log_ndtr_of(v)
        elif which == 1:
            y[i] = ndtr_slope_of(v, log_ndtr_of(v))
        elif which == 2:
            y[i] = log_ndtr_of(v) - log_ndtr_of(-v)
        else:
            y[i] = ndtri_sigmoid_of(v)


def _computed(which: int, x: Array) -> Array:
    flat, y = as_contiguous(x.astype(np.float64)).reshape(-1), np.empty(x.size)
    parallel_for(partial(_of_each, which, flat, y), split(x.size, _GRAIN))
    return y.reshape(x.shape).astype(x.dtype if x.dtype.kind == "f" else np.float64, copy=False)


def log_ndtr(x: Array) -> Array:
    """ln Φ(x), with a relative error below 3·10⁻¹³ in either tail. Shapes: x, y (…), as those below; y in x's dtype."""
    return _computed(0, x)


def ndtr_slope(x: Array) -> Array:
    """m(x) = φ(x) / Φ(x), the slope of ln Φ"""
    return _computed(1, x)


def logit_ndtr(x: Array) -> Array:
    """logit Φ(x) = ln Φ(x) − ln Φ(−x), which tells apart what Φ rounds to 0 or to 1"""
    return _computed(2, x)


def ndtri_sigmoid(x: Array) -> Array:
    """y = Φ⁻¹(σ(x)), the inverse of `logit_ndtr`, with an error below 10⁻¹⁵ max(1, |y|)"""
    return _computed(3, x)
