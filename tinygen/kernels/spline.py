"""Rational-quadratic splines through given knots with the logarithm of the slope, knots from parameters, and VJPs.

bijections/rational_quadratic.py has the equations, and defines the same function in tensor operations. In a bin with
the lower knot (x₀, y₀), width w, height h, s = h/w, ξ = (x − x₀)/w, ν = 1 − ξ, e = ξν and the slopes d₀ and d₁,

    z = y₀ + h n/r,   dz/dx = s² m/r²,   n = s ξ² + d₀ e,   m = d₁ ξ² + 2s e + d₀ ν²,   r = s + (d₀ + d₁ − 2s) e

All arithmetic of the splines is float64.

Checked by: tests/kernels/test_spline.py, tests/bijections/test_rational_quadratic.py
"""

import math

import numpy as np

from .reference import sigmoid
from .runtime.arrays import Array, as_contiguous, as_floating, check_shape
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.team import run_parts

_GRAIN = 1 << 10  # elements in a part of about 50 µs, at about 50 ns each


@compiled
def _place(x: float, knots: Array, inverse: bool) -> tuple[int, float, float, float, float, float, float]:
    """Return the bin of x (of z, for the inverse), and ξ, ν, w, h, d₀ and d₁. NaN is in bin 0."""
    k, row = 0, knots[1 if inverse else 0]
    while k < row.size - 2 and x >= row[k + 1]:
        k += 1
    w, h = np.float64(knots[0, k + 1]) - knots[0, k], np.float64(knots[1, k + 1]) - knots[1, k]
    d0, d1 = np.float64(knots[2, k]), np.float64(knots[2, k + 1])
    if not inverse:
        return k, (x - knots[0, k]) / w, (knots[0, k + 1] - x) / w, w, h, d0, d1
    s, eta = h / w, (x - knots[1, k]) / h
    q = eta * d1 - (1 - eta) * d0
    p = abs(q) + math.sqrt(q * q + 4 * s * s * eta * (1 - eta))
    part = 2 * s * (eta if q < 0 else 1 - eta)
    xi, nu = (part, p) if q < 0 else (p, part)
    return k, xi / (part + p), nu / (part + p), w, h, d0, d1


@compiled
def _values(x: Array, knots: Array, inverse: bool, y: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    for i in range(start, stop):
        v = np.float64(x[i])
        if abs(v) >= knots[i, 0, -1]:
            y[0, i], y[1, i] = v, 0
            continue
        k, xi, nu, w, h, d0, d1 = _place(v, knots[i], inverse)
        s, e = h / w, xi * nu
        r, m = s + (d0 + d1 - 2 * s) * e, d1 * xi * xi + 2 * s * e + d0 * nu * nu
        log_slope = math.log(m * (s / r) * (s / r))
        if inverse:
            y[0, i], y[1, i] = knots[i, 0, k] + w * xi, -log_slope
        else:
            y[0, i], y[1, i] = knots[i, 1, k] + h * (s * xi * xi + d0 * e) / r, log_slope


@compiled
def _vjps(x: Array, knots: Array, inverse: bool, g: Array, cotangents: Array, team: Array, count: int) -> None:
    """Write the cotangents of x and of the knots, which are flat.

    The inverse (x(z, θ), −l(x(z, θ), θ)) of the map (z, l)(x, θ) has the cotangents of that map for g_l ← −g_l and
    g_z ← −z̄, where z̄ = (g_x − g_l ∂l/∂x) / (∂z/∂x), by the implicit function theorem.
    """
    start, stop = part(team, count)
    size = knots.shape[2]
    for i in range(start, stop):
        v, by_z, by_log = np.float64(x[i]), np.float64(g[0, i]), np.float64(g[1, i])
        cotangents[i] = 0
        if abs(v) >= knots[i, 0, -1]:
            cotangents[i, 0] = by_z
            continue
        k, xi, nu, w, h, d0, d1 = _place(v, knots[i], inverse)
        s, e, tilt = h / w, xi * nu, nu - xi
        n, r = s * xi * xi + d0 * e, s + (d0 + d1 - 2 * s) * e
        m = d1 * xi * xi + 2 * s * e + d0 * nu * nu
        slope = s * s * m / (r * r)
        log_by_xi = 2 * (d1 * xi + s * tilt - d0 * nu) / m - 2 * (d0 + d1 - 2 * s) * tilt / r
        if inverse:
            by_x = (by_z - by_log * log_by_xi / w) / slope
            by_z, by_log = -by_x, -by_log
        else:
            by_x = by_z * slope + by_log * log_by_xi / w
        cotangents[i, 0] = by_x
        by_xi = by_z * w * slope + by_log * log_by_xi
        by_s = by_z * h * (xi * xi * r - n * (1 - 2 * e)) / (r * r)
        by_s += 2 * by_log * (1 / s + e / m - (1 - 2 * e) / r)
        by_h, by_w = by_z * n / r + by_s / w, -(by_xi * xi + by_s * s) / w
        at = 1 + k
        cotangents[i, at], cotangents[i, at + 1] = -by_xi / w - by_w, by_w
        at += size
        cotangents[i, at], cotangents[i, at + 1] = by_z - by_h, by_h
        at += size
        both = by_log * 2 * e / r
        cotangents[i, at] = by_z * h * e * (r - n) / (r * r) + by_log * nu * nu / m - both
        cotangents[i, at + 1] = -by_z * h * e * n / (r * r) + by_log * xi * xi / m - both


def spline_knots(parameters: Array, bound: float, least: float) -> Array:
    """The x, y and slopes of K + 1 knots from unconstrained parameters.

    Shapes: parameters (…, 3K − 1); result (…, 3, K + 1).
    """
    size = (parameters.shape[-1] + 1) // 3
    y = np.empty((*parameters.shape[:-1], 3, size + 1), parameters.dtype)
    y[..., 0], y[..., -1] = (-bound, -bound, 1), (bound, bound, 1)
    fractions = least + (1 - size * least) * _shares(parameters, size)[..., :-1]
    y[..., :2, 1:-1] = 2 * bound * np.cumsum(fractions, -1) - bound
    a = parameters[..., 2 * size :] + offset_of_slopes(least)
    y[..., 2, 1:-1] = least + np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))  # logaddexp warns of NaN
    return y


def spline_knots_vjp(parameters: Array, bound: float, least: float, g: Array) -> Array:
    """VJP of `spline_knots`, with the shape of the parameters."""
    size = (parameters.shape[-1] + 1) // 3
    shares, by_shares = _shares(parameters, size), np.zeros((*parameters.shape[:-1], 2, size), g.dtype)
    # The share of a bin moves all inner knots above it.
    by_shares[..., :-1] = 2 * bound * (1 - size * least) * np.cumsum(g[..., :2, -2:0:-1], -1)[..., ::-1]
    by_logits = shares * (by_shares - (shares * by_shares).sum(-1, keepdims=True))
    a = parameters[..., 2 * size :] + offset_of_slopes(least)
    by_slopes = g[..., 2, 1:-1] * sigmoid(a)
    return np.concatenate([by_logits.reshape(*parameters.shape[:-1], 2 * size), by_slopes], -1)


def offset_of_slopes(least: float) -> float:
    """Return the a with least + softplus(a) = 1."""
    return math.log(math.expm1(1 - least))


def _shares(parameters: Array, size: int) -> Array:
    """Return the softmax of the logits of the widths, and of those of the heights, (…, 2, K)."""
    logits = parameters[..., : 2 * size].reshape(*parameters.shape[:-1], 2, size)
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _operands(x: Array, knots: Array) -> tuple[Array, Array, np.dtype[np.floating]]:
    """Return x, flat, the knots (3, K + 1) of each x, both float32 or float64, and the dtype of the result."""
    x, knots = as_floating(x), as_floating(knots)
    if knots.ndim < 2 or knots.shape[-2] != 3 or knots.shape[-1] < 2:
        raise ValueError(f"knots: expected shape (…, 3, K + 1), got {knots.shape}")
    try:
        rows = np.broadcast_to(knots, (*x.shape, *knots.shape[-2:]))
    except ValueError:
        raise ValueError(f"knots: expected {knots.shape} to broadcast to x, {x.shape}") from None
    dtype = np.result_type(x, knots)
    wide = np.float32 if dtype.itemsize <= 4 else np.float64
    flat = as_contiguous(x.astype(wide, copy=False)).reshape(-1)
    return flat, as_contiguous(rows.astype(wide, copy=False)).reshape(-1, *knots.shape[-2:]), dtype


def spline(x: Array, knots: Array, inverse: bool) -> Array:
    """y = (z, ln dz/dx), or for the inverse, where x is an image, y = (its preimage, the logarithm of its slope).

    Outside of ±B, the last knot, the map is the identity. At a knot, the bin is the one above it.

    Shapes: x (…); knots (…, 3, K + 1), which broadcast to x: x, y and the slopes of K + 1 knots, where the first two
        increase from −B to B; y (2, …), in the common dtype.
    Raises: ValueError if the shapes do not match, TypeError unless both are real numbers.
    """
    flat, rows, dtype = _operands(x, knots)
    y = np.empty((2, flat.size), flat.dtype)
    run_parts(_values, flat.size, _GRAIN, flat, rows, inverse, y)
    return y.reshape(2, *x.shape).astype(dtype, copy=False)


def spline_vjp(x: Array, knots: Array, inverse: bool, g: Array) -> Array:
    """VJP of `spline`: per x, its cotangent and those of its knots.

    Shapes: x (…); knots (…, 3, K + 1); g (2, …); result (…, 1 + 3 (K + 1)), in the dtype of g.
    Raises: as `spline`.
    """
    flat, rows, _ = _operands(x, knots)
    g = as_floating(g)
    check_shape("g", g, (2, *x.shape))
    cotangents = np.empty((flat.size, 1 + 3 * rows.shape[2]), flat.dtype)
    given = as_contiguous(g.astype(flat.dtype, copy=False)).reshape(2, -1)
    run_parts(_vjps, flat.size, _GRAIN, flat, rows, inverse, given, cotangents)
    return cotangents.reshape(*x.shape, cotangents.shape[1]).astype(g.dtype, copy=False)
