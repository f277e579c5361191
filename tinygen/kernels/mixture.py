"""A mixture of logistic or normal distributions: both tails and the density at once, derivatives, and quantiles.

    F(x) = Σₖ wₖ C(aₖ),   aₖ = (x − μₖ) / sₖ,   w = softmax(π);   each row of parameters is π, μ and ln s, K of each

Everything is computed in float64, whatever the parameters are in. Responsibilities are the shares of the components in
a sum: ρᵘₖ of F, ρʳₖ of 1 − F and ρᵈₖ of F′.

Checked by: tests/kernels/test_mixture.py
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from .runtime.arrays import Array, as_contiguous
from .runtime.pool import parallel_for, split
from .runtime.tile import compiled
from .special import LOG_ROOT_2PI, log_ndtr_of, ndtr_slope_of, ndtri_sigmoid_of

_TINY = 1e-290  # of a sum below it, terms have lost digits or are lost
# A thread is worth calling for so many components (at about 40 ns each).
_GRAIN = 1 << 12
# The rows of a mixture's workspace, (8, K): w, 1/s, a, h = (ln C′)′(a), the responsibilities,
# and the shares p of the slope of logit F, pₖ = wₖ C′(aₖ)/sₖ (1/F + 1/(1 − F))
_W, _RATE, _A, _H, _U, _R, _D, _P = range(8)


@compiled
def _weigh(row: Array, t: Array) -> None:
    """Fill in w and 1/s."""
    size = t.shape[1]
    top, total = row[:size].max(), 0.0
    for k in range(size):
        t[_W, k] = math.exp(np.float64(row[k]) - top)
        total += t[_W, k]
        t[_RATE, k] = np.exp(-np.float64(row[2 * size + k]))
    for k in range(size):
        t[_W, k] /= total


@compiled
def _evaluate(x: float, row: Array, normal: bool, t: Array) -> tuple[float, float, float]:
    """Return ln F(x), ln(1 − F(x)) and ln F′(x), and fill in a, h and the responsibilities."""
    size = t.shape[1]
    u, r, d = 0.0, 0.0, 0.0
    for k in range(size):
        w, a = t[_W, k], (x - row[size + k]) * t[_RATE, k]
        if normal:
            below, above = 0.5 * math.erfc(-a / math.sqrt(2)), 0.5 * math.erfc(a / math.sqrt(2))
            density, t[_H, k] = math.exp(-0.5 * a * a - LOG_ROOT_2PI), -a
        else:
            e = math.exp(-abs(a))
            large = 1 / (1 + e)
            below, above = (large, e * large) if a > 0 else (e * large, large)
            density, t[_H, k] = e * large * large, above - below
        t[_A, k], t[_U, k], t[_R, k], t[_D, k] = a, w * below, w * above, w * density * t[_RATE, k]
        u, r, d = u + t[_U, k], r + t[_R, k], d + t[_D, k]
    if u > _TINY and r > _TINY and d > _TINY:
        for k in range(size):
            t[_P, k] = t[_D, k] / u + t[_D, k] / r
            t[_U, k], t[_R, k], t[_D, k] = t[_U, k] / u, t[_R, k] / r, t[_D, k] / d
        return math.log(u), math.log(r), math.log(d)
    top = row[:size].max()  # far out, by logarithms; those of the weights are these logits but for their sum
    total = 0.0
    for k in range(size):
        total += math.exp(np.float64(row[k]) - top)
    for k in range(size):
        a, log_w = t[_A, k], np.float64(row[k]) - top - math.log(total)
        if normal:
            below, above, density = log_ndtr_of(a), log_ndtr_of(-a), -0.5 * a * a - LOG_ROOT_2PI
        else:
            rest = math.log1p(math.exp(-abs(a)))
            below, above, density = min(a, 0.0) - rest, min(-a, 0.0) - rest, -abs(a) - 2 * rest
        t[_U, k], t[_R, k], t[_D, k] = log_w + below, log_w + above, log_w + density - row[2 * size + k]
    logs = _shares(t[_U]), _shares(t[_R]), _shares(t[_D])
    for k in range(size):  # with m = (ln C)′; a difference of logarithms as large as a² would lose the slope
        a = t[_A, k]
        if normal:
            below, above = ndtr_slope_of(a, log_ndtr_of(a)), ndtr_slope_of(-a, log_ndtr_of(-a))
        else:
            e = math.exp(-abs(a))
            below, above = (e / (1 + e), 1 / (1 + e)) if a > 0 else (1 / (1 + e), e / (1 + e))
        t[_P, k] = (t[_U, k] * below + t[_R, k] * above) * t[_RATE, k]
    return logs


@compiled
def _shares(logs: Array) -> Any:
    """Return ln Σ eˡ, and turn the logarithms l into shares of the sum."""
    top, total = logs.max(), 0.0
    for k in range(logs.size):
        logs[k] -= top
        total += math.exp(logs[k])
    for k in range(logs.size):
        logs[k] = math.exp(logs[k]) / total
    return top + math.log(total)


@compiled
def _forward(x: Array, rows: Array, normal: bool, y: Array, start: int, stop: int) -> None:
    t = np.empty((8, rows.shape[1] // 3))
    for i in range(start, stop):
        row = rows[i % len(rows)]
        if i == start or len(rows) > 1:
            _weigh(row, t)
        log_u, log_r, log_d = _evaluate(x[i], row, normal, t)
        y[0, i], y[1, i] = log_u - log_r, log_d


@compiled
def _vjp(x: Array, rows: Array, normal: bool, g: Array, cotangent: Array, start: int, stop: int) -> None:
    """x̄ = −Σ μ̄,   π̄ = g₀ (ρᵘ − ρʳ) + g₁ (ρᵈ − w),   μ̄ = −g₀ p − g₁ ρᵈ h/s,   (ln s)¯ = −g₀ p a s − g₁ ρᵈ (1 + a h)"""
    size = rows.shape[1] // 3
    t = np.empty((8, size))
    for i in range(start, stop):
        row = rows[i % len(rows)]
        if i == start or len(rows) > 1:
            _weigh(row, t)
        _evaluate(x[i], row, normal, t)
        out, by_x = cotangent[i, 1:], 0.0
        for k in range(size):
            a, h, by_logit, by_log = t[_A, k], t[_H, k], g[0, i] * t[_P, k], g[1, i] * t[_D, k]
            moved = by_logit + by_log * h * t[_RATE, k]
            by_x += moved
            out[k] = g[0, i] * (t[_U, k] - t[_R, k]) + g[1, i] * (t[_D, k] - t[_W, k])
            out[size + k] = -moved
            out[2 * size + k] = -by_logit * a / t[_RATE, k] - by_log * (1 + a * h)
        cotangent[i, 0] = by_x


@compiled
def _quantile(logit: Array, rows: Array, normal: bool, x: Array, start: int, stop: int) -> None:
    t = np.empty((8, rows.shape[1] // 3))
    for i in range(start, stop):
        row = rows[i % len(rows)]
        if i == start or len(rows) > 1:
            _weigh(row, t)
        x[i] = _quantile_of(logit[i], row, normal, t)


@compiled
def _quantile_of(logit: float, row: Array, normal: bool, t: Array) -> float:
    """Newton's method for logit F(x), which is nearly straight, within a bracket, which is halved where that fails.

    No component's quantile is below the least of them or above the greatest, so the mixture's is between. A step of
    Newton's is taken if it stays in the bracket and is at most half of the last but one, so steps shrink to rounding.
    """
    size = t.shape[1]
    standard = ndtri_sigmoid_of(logit) if normal else logit
    low, high, x, least = math.inf, -math.inf, 0.0, math.inf
    for k in range(size):
        own = row[size + k] + standard / t[_RATE, k]
        low, high, x, least = min(low, own), max(high, own), x + t[_W, k] * own, min(least, 1 / t[_RATE, k])
    if not (math.isfinite(x) and least > 0):
        return math.nan
    step = before = high - low
    while True:
        log_u, log_r, _ = _evaluate(x, row, normal, t)
        error, slope = log_u - log_r - logit, t[_P].sum()
        low, high = (x, high) if error < 0 else (low, x)
        newton = error / slope if slope > 0 else math.inf
        if low <= x - newton <= high and abs(newton) <= 0.5 * abs(before):
            new, enough = newton, 1e-9 * least  # its error is about step²/s, which is rounding
        else:
            new, enough = x - 0.5 * (low + high), 2.0**-52 * least
        before, step = step, new
        x -= step
        if abs(step) <= max(enough, 2.0**-52 * abs(x)):
            return x


def _rows(parameters: Array, shape: tuple[int, ...]) -> Array:
    """One row for each x, or a single one for all of them."""
    width = parameters.shape[-1]
    shared = math.prod(parameters.shape[:-1]) == 1
    return as_contiguous(parameters if shared else np.broadcast_to(parameters, (*shape, width))).reshape(-1, width)


def _grain(rows: Array) -> int:
    return 1 + 3 * _GRAIN // int(rows.shape[1])


def mixture(x: Array, parameters: Array, normal: bool) -> Array:
    """y = (logit F(x), ln F′(x))

    Shapes: x (…), parameters (…, 3K), which broadcast to x; y (2, …).  In the dtype of both together.
    """
    rows, y = _rows(parameters, x.shape), np.empty((2, x.size), np.result_type(x, parameters))
    flat = as_contiguous(x).reshape(-1)
    parallel_for(partial(_forward, flat, rows, normal, y), split(x.size, _grain(rows)))
    return y.reshape(2, *x.shape)


def mixture_vjp(x: Array, parameters: Array, normal: bool, g: Array) -> Array:
    """VJP of `mixture`, which computes everything anew: x̄ and, beside it, what each x gives to the parameters'.

    Shapes: x (…), parameters (…, 3K), g (2, …); the result (…, 1 + 3K).
    """
    rows, flat, both = _rows(parameters, x.shape), as_contiguous(x).reshape(-1), as_contiguous(g).reshape(2, -1)
    cotangent = np.empty((x.size, 1 + rows.shape[1]), g.dtype)
    parallel_for(partial(_vjp, flat, rows, normal, both, cotangent), split(x.size, _grain(rows)))
    return cotangent.reshape(*x.shape, 1 + rows.shape[1])


def mixture_quantile(logit: Array, parameters: Array, normal: bool) -> Array:
    """x with logit F(x) = logit, to rounding; NaN where parameters or the logit are not finite.

    Shapes: logit and x (…), parameters (…, 3K), which broadcast to them; all of float64.
    """
    rows, flat, x = _rows(parameters, logit.shape), as_contiguous(logit).reshape(-1), np.empty(logit.size)
    # some eight evaluations of each
    parallel_for(partial(_quantile, flat, rows, normal, x), split(x.size, 1 + _grain(rows) // 8))
    return x.reshape(logit.shape)
