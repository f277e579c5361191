"""Activations where NumPy makes too many passes over memory: the gate and relu, and the tanh that kernels call.

float32 runs in Numba over the thread pool; float64, which is for checking gradients, is plain NumPy at full precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .runtime.arrays import Array, as_contiguous, fast, rows_of
from .runtime.pool import parts, share
from .runtime.tile import compiled

# A thread is worth calling for this many numbers (about 20 µs on one core).
_GRAIN = 1 << 15
# Fewer numbers than this are done by NumPy before the kernel has been reached.
_FEW = 1 << 12
f32 = np.float32

# tanh x ≈ x P(x²)/Q(x²) on |x| ≤ 7.9, ±1 beyond (1 - tanh 7.9 is 4 units in the last place): a rational function
# vectorises, while math.tanh is a call per number, 50 times slower.
_P = tuple(
    f32(c)
    for c in (
        -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
        1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
    )
)  # fmt: skip
_Q = tuple(f32(c) for c in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03))
_LIMIT = f32(7.90531110763549805)
HALF, ONE = f32(0.5), f32(1)
_ZERO = np.zeros((), f32)


@compiled
def fast_tanh(x: Any) -> Any:
    """tanh x within 5 units in the last place; the comparisons let NaN through, and ±inf reach ±1."""
    inside = _LIMIT if x > _LIMIT else x
    inside = -_LIMIT if inside < -_LIMIT else inside
    s = inside * inside
    p = (((((_P[0] * s + _P[1]) * s + _P[2]) * s + _P[3]) * s + _P[4]) * s + _P[5]) * s + _P[6]
    q = ((_Q[0] * s + _Q[1]) * s + _Q[2]) * s + _Q[3]
    y = inside * p / q
    y = ONE if x > _LIMIT else y
    return -ONE if x < -_LIMIT else y


@compiled
def _gate(x: Array, y: Array, start: int, stop: int) -> None:
    """y[i, j] = tanh(x[i, j]) · σ(x[i, channels + j]) for rows start … stop."""
    channels = y.shape[1]
    for i in range(start, stop):
        a, b, row = x[i, :channels], x[i, channels:], y[i]
        for j in range(channels):
            row[j] = fast_tanh(a[j]) * (HALF + HALF * fast_tanh(HALF * b[j]))


@compiled
def _gate_vjp(x: Array, g: Array, dx: Array, start: int, stop: int) -> None:
    """With t = tanh a and σ = σ(b): da = g σ (1 - t²), db = g t σ (1 - σ)."""
    channels = g.shape[1]
    for i in range(start, stop):
        a, b, cotangent = x[i, :channels], x[i, channels:], g[i]
        da, db = dx[i, :channels], dx[i, channels:]
        for j in range(channels):
            t, s = fast_tanh(a[j]), HALF + HALF * fast_tanh(HALF * b[j])
            da[j] = cotangent[j] * s * (ONE - t * t)
            db[j] = cotangent[j] * t * s * (ONE - s)


@compiled
def _tanh_vjp(y: Array, g: Array, dx: Array, start: int, stop: int) -> None:
    part, cotangent, out = y[start:stop], g[start:stop], dx[start:stop]
    for i in range(part.size):
        out[i] = cotangent[i] * (ONE - part[i] * part[i])


@compiled
def _relu(x: Array, y: Array, start: int, stop: int) -> None:
    part, out = x[start:stop], y[start:stop]  # indices from 0, which Numba knows not to be negative, vectorise
    for i in range(part.size):
        v = part[i]
        out[i] = f32(0) if v <= 0 else v  # NaN passes


@compiled
def _relu_vjp(y: Array, g: Array, dx: Array, start: int, stop: int) -> None:
    part, cotangent, out = y[start:stop], g[start:stop], dx[start:stop]
    for i in range(part.size):
        out[i] = cotangent[i] if part[i] > 0 else f32(0)


@compiled
def _relu_vjp_residual(y: Array, g: Array, residual: Array, dx: Array, start: int, stop: int) -> None:
    part, cotangent, before, out = y[start:stop], g[start:stop], residual[start:stop], dx[start:stop]
    for i in range(part.size):
        out[i] = before[i] + (cotangent[i] if part[i] > 0 else f32(0))


@compiled
def _leaky_relu(x: Array, slope: Array, y: Array, start: int, stop: int) -> None:
    part, out, below = x[start:stop], y[start:stop], slope[0]
    for i in range(part.size):
        v = part[i]
        out[i] = v if v > 0 else below * v


@compiled
def _leaky_relu_vjp(x: Array, g: Array, slope: Array, dx: Array, start: int, stop: int) -> None:
    part, cotangent, out, below = x[start:stop], g[start:stop], dx[start:stop], slope[0]
    for i in range(part.size):
        out[i] = cotangent[i] if part[i] > 0 else below * cotangent[i]


def plain_sigmoid(x: Array) -> Array:
    """σ(x), also where it is tiny: ½ + ½ tanh ½x would cancel to 0, 1/(1 + exp(-x)) overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1) / (1 + e))


def _halves(x: Array) -> tuple[Array, Array]:
    if x.ndim == 0 or x.shape[-1] % 2:
        raise ValueError(f"a gate needs an even number of channels, got shape {x.shape}")
    channels = x.shape[-1] // 2
    return x[..., :channels], x[..., channels:]


def gated_activation(x: Array) -> Array:
    """Gated activation of the two halves of the last axis.

        y = tanh(a) · σ(b),   x = [a, b]

    Shapes: x (…, 2C); y (…, C).  float32: absolute error below 3e-7; other dtypes as NumPy computes them.
    Raises ValueError if the last axis is odd.
    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016.
    Checked by: tests/kernels/test_activation.py
    """
    a, b = _halves(x)
    if not fast(x):
        return np.tanh(a) * plain_sigmoid(b)
    y = np.empty(a.shape, x.dtype)
    rows, flat = rows_of(x), y.reshape(-1, a.shape[-1])
    share(_gate, (rows, flat), parts(len(rows), _GRAIN // rows.shape[1] + 1))
    return y


def gated_activation_vjp(x: Array, g: Array) -> Array:
    """VJP of `gate`, which computes tanh and σ anew instead of keeping them.

        da = g σ(b) (1 - tanh² a),   db = g tanh(a) σ(b) (1 - σ(b)),   dx = [da, db]

    Shapes: x, dx (…, 2C); g (…, C).  Raises ValueError if the last axis of x is odd or g does not fit.
    Checked by: tests/kernels/test_activation.py
    """
    a, b = _halves(x)
    if g.shape != a.shape:
        raise ValueError(f"the cotangent of a gate of {x.shape} has shape {a.shape}, got {g.shape}")
    if not (fast(x) and g.dtype == x.dtype):
        s = g * plain_sigmoid(b)
        slope = 4 * plain_sigmoid(2 * a) * plain_sigmoid(-2 * a)  # 1 - tanh² a = 4 σ(2a) σ(-2a), which does not cancel
        return np.concatenate([s * slope, s * np.tanh(a) * plain_sigmoid(-b)], axis=-1)  # 1 - σ(b) = σ(-b)
    dx = np.empty(x.shape, x.dtype)
    rows, cotangents, flat = rows_of(x), rows_of(g), dx.reshape(-1, x.shape[-1])
    share(_gate_vjp, (rows, cotangents, flat), parts(len(rows), _GRAIN // rows.shape[1] + 1))
    return dx


def tanh_vjp(y: Array, g: Array) -> Array:
    """VJP of tanh by its value y: g (1 − y²). Shapes: y, g and the result (…)."""
    if not (fast(y) and g.dtype == y.dtype) or y.size < _FEW:
        return np.asarray(g * (1 - y * y))
    flat, cotangent, dx = as_contiguous(y).reshape(-1), as_contiguous(g).reshape(-1), np.empty(y.shape, y.dtype)
    out = dx.reshape(-1)
    share(_tanh_vjp, (flat, cotangent, out), parts(y.size, _GRAIN))
    return dx


def relu(x: Array) -> Array:
    """y = max(x, 0), for many numbers three times faster than NumPy's maximum with one number. Shapes: x, y (…)."""
    if not fast(x):
        return np.maximum(x, 0)
    if x.size < _FEW:
        return np.maximum(x, _ZERO)  # of a few numbers, half the time goes into making an array of a 0
    flat, y = as_contiguous(x).reshape(-1), np.empty(x.shape, x.dtype)
    out = y.reshape(-1)
    share(_relu, (flat, out), parts(x.size, _GRAIN))
    return y


def relu_vjp(y: Array, g: Array, residual: Array | None = None) -> Array:
    """VJP of `relu` by its value y: g where that is positive, else 0, added to `residual`. Shapes: all (…)."""
    if not (fast(y) and g.dtype == y.dtype and (residual is None or residual.dtype == y.dtype)):
        masked = np.asarray(g * (y > 0))
        return masked if residual is None else masked + residual
    flat, cotangent, dx = as_contiguous(y).reshape(-1), as_contiguous(g).reshape(-1), np.empty(y.shape, y.dtype)
    out, cuts = dx.reshape(-1), parts(y.size, _GRAIN)
    if residual is None:
        share(_relu_vjp, (flat, cotangent, out), cuts)
    else:
        share(_relu_vjp_residual, (flat, cotangent, as_contiguous(residual).reshape(-1), out), cuts)
    return dx


def leaky_relu(x: Array, slope: float) -> Array:
    """y = x where x > 0, slope · x elsewhere. Shapes: x, y (…)."""
    if not fast(x):
        return np.asarray(np.where(x > 0, x, slope * x))
    flat, y = as_contiguous(x).reshape(-1), np.empty(x.shape, x.dtype)
    out = y.reshape(-1)
    share(_leaky_relu, (flat, np.array([slope], f32), out), parts(x.size, _GRAIN))
    return y


def leaky_relu_vjp(x: Array, g: Array, slope: float) -> Array:
    """VJP of `leaky_relu`: g where x > 0, slope · g elsewhere. Shapes: x, g and the result (…)."""
    if not (fast(x) and g.dtype == x.dtype):
        return np.asarray(np.where(x > 0, g, slope * g))
    flat, cotangent, dx = as_contiguous(x).reshape(-1), as_contiguous(g).reshape(-1), np.empty(x.shape, x.dtype)
    out = dx.reshape(-1)
    share(_leaky_relu_vjp, (flat, cotangent, np.array([slope], f32), out), parts(x.size, _GRAIN))
    return dx
