"""A mixture of logistic distributions: the logit of its CDF F, its log-density, their VJPs, and quantiles.

    F(x) = Σₖ wₖ σ(aₖ),   aₖ = (x − μₖ) / sₖ,   w = softmax(π)        one row of parameters: π, μ and ln s, K of each

All arithmetic is float64. The responsibilities of the components are their shares of three sums: ρᵘ of F, ρʳ of 1 − F
and ρᵈ of the density F′.

Checked by: tests/kernels/test_mixture.py
"""

import math
from typing import Any

import numpy as np

from .runtime.arrays import Array, as_contiguous, check_shape
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.team import run_parts

_TINY = 1e-290  # terms of a smaller sum may have underflowed
_GRAIN = 1 << 10  # components in a part of about 50 µs, at about 40 ns each
# Rows of the workspace t (8, K): w, 1/s, a, h = (ln σ′)′(a) = σ(−a) − σ(a), the responsibilities ρᵘ, ρʳ and ρᵈ, and
# pₖ = wₖ σ′(aₖ)/sₖ (1/F + 1/(1 − F)), whose sum is the derivative of logit F
_W, _RATE, _A, _H, _U, _R, _D, _P = range(8)


@compiled
def _tails(a: float) -> tuple[float, float]:
    """Return σ(a) and σ(−a)."""
    e = math.exp(-abs(a))
    large = 1 / (1 + e)
    return (large, e * large) if a > 0 else (e * large, large)


@compiled
def _weigh(row: Array, t: Array) -> None:
    """Compute the rows w and 1/s of the workspace."""
    size = t.shape[1]
    top, total = row[:size].max(), 0.0
    for k in range(size):
        t[_W, k] = math.exp(np.float64(row[k]) - top)
        total += t[_W, k]
        t[_RATE, k] = np.exp(-np.float64(row[2 * size + k]))
    for k in range(size):
        t[_W, k] /= total


@compiled
def _evaluate(x: float, row: Array, t: Array) -> tuple[float, float, float]:
    """Return ln F(x), ln(1 − F(x)) and ln F′(x), and compute the other rows of the workspace."""
    size = t.shape[1]
    u, r, d = 0.0, 0.0, 0.0
    for k in range(size):
        w, a = t[_W, k], (x - row[size + k]) * t[_RATE, k]
        below, above = _tails(a)
        t[_A, k], t[_H, k] = a, above - below
        t[_U, k], t[_R, k], t[_D, k] = w * below, w * above, w * below * above * t[_RATE, k]
        u, r, d = u + t[_U, k], r + t[_R, k], d + t[_D, k]
    if u > _TINY and r > _TINY and d > _TINY:
        for k in range(size):
            t[_P, k] = t[_D, k] / u + t[_D, k] / r
            t[_U, k], t[_R, k], t[_D, k] = t[_U, k] / u, t[_R, k] / r, t[_D, k] / d
        return math.log(u), math.log(r), math.log(d)
    top, total = row[:size].max(), 0.0  # in the far tails, compute logarithms; ln w = π − top − ln total
    for k in range(size):
        total += math.exp(np.float64(row[k]) - top)
    for k in range(size):
        a, log_w = t[_A, k], np.float64(row[k]) - top - math.log(total)
        rest = math.log1p(math.exp(-abs(a)))
        t[_U, k], t[_R, k] = log_w + min(a, 0.0) - rest, log_w + min(-a, 0.0) - rest
        t[_D, k] = log_w - abs(a) - 2 * rest - row[2 * size + k]
    logs = _softmax_in_place(t[_U]), _softmax_in_place(t[_R]), _softmax_in_place(t[_D])
    for k in range(size):  # (ln σ)′ = σ(−a); a difference of logarithms as large as a would lose it
        below, above = _tails(t[_A, k])
        t[_P, k] = (t[_U, k] * above + t[_R, k] * below) * t[_RATE, k]
    return logs


@compiled
def _softmax_in_place(logits: Array) -> float:
    """Replace logits by their softmax, and return their log-sum-exp."""
    top, total = logits.max(), 0.0
    for k in range(logits.size):
        logits[k] -= top
        total += math.exp(logits[k])
    for k in range(logits.size):
        logits[k] = math.exp(logits[k]) / total
    return top + math.log(total)  # type: ignore[no-any-return]


@compiled
def _forward(x: Array, rows: Array, y: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    t = np.empty((8, rows.shape[1] // 3))
    for i in range(start, stop):
        row = rows[i % len(rows)]
        if i == start or len(rows) > 1:
            _weigh(row, t)
        log_u, log_r, log_d = _evaluate(x[i], row, t)
        y[0, i], y[1, i] = log_u - log_r, log_d


@compiled
def _vjp(x: Array, rows: Array, g: Array, cotangent: Array, team: Array, count: int) -> None:
    """x̄ = −Σ μ̄,   π̄ = g₀ (ρᵘ − ρʳ) + g₁ (ρᵈ − w),   μ̄ = −g₀ p − g₁ ρᵈ h/s,   (ln s)¯ = −g₀ p a s − g₁ ρᵈ (1 + a h)"""
    start, stop = part(team, count)
    size = rows.shape[1] // 3
    t = np.empty((8, size))
    for i in range(start, stop):
        row = rows[i % len(rows)]
        if i == start or len(rows) > 1:
            _weigh(row, t)
        _evaluate(x[i], row, t)
        out, dx = cotangent[i, 1:], 0.0
        for k in range(size):
            a, h, by_logit, by_log = t[_A, k], t[_H, k], g[0, i] * t[_P, k], g[1, i] * t[_D, k]
            minus_dmean = by_logit + by_log * h * t[_RATE, k]
            dx += minus_dmean
            out[k] = g[0, i] * (t[_U, k] - t[_R, k]) + g[1, i] * (t[_D, k] - t[_W, k])
            out[size + k] = -minus_dmean
            out[2 * size + k] = -by_logit * a / t[_RATE, k] - by_log * (1 + a * h)
        cotangent[i, 0] = dx


@compiled
def _quantiles(logit: Array, rows: Array, x: Array, team: Array, count: int) -> None:
    start, stop = part(team, count)
    t = np.empty((8, rows.shape[1] // 3))
    for i in range(start, stop):
        row = rows[i % len(rows)]
        if i == start or len(rows) > 1:
            _weigh(row, t)
        x[i] = _quantile(logit[i], row, t)


@compiled
def _quantile(logit: float, row: Array, t: Array) -> float:
    """Solve logit F(x) = logit for x by Newton's method in a bracket, with bisection as the fallback.

    The quantile is between the least and the greatest quantile of the components, μₖ + sₖ · logit. A Newton step is
    accepted if it stays in the bracket and is at most half the step before the last.
    """
    size = t.shape[1]
    low, high, x, min_scale = math.inf, -math.inf, 0.0, math.inf
    for k in range(size):
        component = row[size + k] + logit / t[_RATE, k]
        low, high, x = min(low, component), max(high, component), x + t[_W, k] * component
        min_scale = min(min_scale, 1 / t[_RATE, k])
    if not (math.isfinite(x) and min_scale > 0):
        return math.nan
    step = before = high - low
    while True:
        log_u, log_r, _ = _evaluate(x, row, t)
        error, slope = log_u - log_r - logit, t[_P].sum()
        low, high = (x, high) if error < 0 else (low, x)
        newton = error / slope if slope > 0 else math.inf
        if low <= x - newton <= high and abs(newton) <= 0.5 * abs(before):
            new, tolerance = newton, 1e-9 * min_scale  # the remaining error, about step²/s, is below rounding
        else:
            new, tolerance = x - 0.5 * (low + high), 2.0**-52 * min_scale
        before, step = step, new
        x -= step
        if abs(step) <= max(tolerance, 2.0**-52 * abs(x)):
            return x


def _operands(x: Array, parameters: Array) -> tuple[Array, Array, np.dtype[Any]]:
    """Return x, flat, one row of parameters per x or a single row that all x share, and the dtype of the result."""
    width = parameters.shape[-1] if parameters.ndim else 0
    shared = math.prod(parameters.shape[:-1]) == 1
    try:
        if not width or width % 3:
            raise ValueError
        rows = parameters if shared else np.broadcast_to(parameters, (*x.shape, width))
    except ValueError:
        got = f"{parameters.shape} and {x.shape}"
        raise ValueError(f"parameters: expected shape (…, 3K), broadcastable to that of x, got {got}") from None
    return _real("x", x).reshape(-1), _real("parameters", rows).reshape(-1, width), _result_dtype(x, parameters)


def _real(name: str, x: Array) -> Array:
    """Return x as a contiguous array of float32 or float64."""
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected real numbers, got {x.dtype}")
    return as_contiguous(x if x.dtype == np.float32 else x.astype(np.float64, copy=False))


def _result_dtype(*arrays: Array) -> np.dtype[Any]:
    dtype = np.result_type(*arrays)
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


def _grain(rows: Array) -> int:
    return 1 + 3 * _GRAIN // int(rows.shape[1])


def mixture(x: Array, parameters: Array) -> Array:
    """y = (logit F(x), ln F′(x)).

    Shapes: x (…); parameters (…, 3K), broadcastable to x; y (2, …), in the common dtype of x and the parameters, or
    float64 if both are integers.
    Raises: ValueError if the shapes do not match, TypeError unless all are real numbers.
    """
    flat, rows, dtype = _operands(x, parameters)
    y = np.empty((2, x.size), dtype if dtype == np.float32 else np.float64)
    run_parts(_forward, x.size, _grain(rows), flat, rows, y)
    return y.reshape(2, *x.shape).astype(dtype, copy=False)


def mixture_vjp(x: Array, parameters: Array, g: Array) -> Array:
    """VJP of `mixture`, evaluating the mixture again: per x, the cotangents of x and of its row of parameters.

    Shapes: x (…); parameters (…, 3K); g (2, …); result (…, 1 + 3K), in the dtype of g.
    Raises: ValueError if the shapes do not match, TypeError unless all are real numbers.
    """
    flat, rows, _ = _operands(x, parameters)
    check_shape("g", g, (2, *x.shape))
    cotangents, dtype = _real("g", g).reshape(2, -1), _result_dtype(g)
    result = np.empty((x.size, 1 + rows.shape[1]), cotangents.dtype)
    run_parts(_vjp, x.size, _grain(rows), flat, rows, cotangents, result)
    return result.reshape(*x.shape, 1 + rows.shape[1]).astype(dtype, copy=False)


def mixture_quantile(logit: Array, parameters: Array) -> Array:
    """The x for which logit F(x) = logit, to rounding error; NaN if a parameter or the logit is not finite.

    Shapes: logit, x (…); parameters (…, 3K), broadcastable to them; x is float64.
    Raises: ValueError if the shapes do not match, TypeError unless both are real numbers.
    """
    flat, rows, _ = _operands(logit, parameters)
    x = np.empty(logit.size)
    grain = 1 + _grain(rows) // 8  # about eight evaluations each
    run_parts(_quantiles, x.size, grain, flat, rows, x)
    return x.reshape(logit.shape)
