"""Activations in one pass over memory: relu and the gated activation with their VJPs, and the VJP of tanh.

The kernels are for float32; other dtypes, such as the float64 of gradient checks, are computed by reference.py.

Checked by: tests/kernels/test_activation.py
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..arguments import explained
from . import reference
from .runtime.arrays import Array, as_contiguous, as_rows, check_shape, compiles
from .runtime.bits import power_of_two
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.team import run_parts

_TANH_GRAIN, _GRAIN = 1 << 16, 1 << 17  # elements in a part of about 50 µs, with and without tanh
_FEW = 1 << 12  # for fewer elements, NumPy is faster than calling a kernel
f32 = np.float32

# tanh x ≈ x P(x²)/Q(x²) for |x| ≤ 7.9, else ±1, with the coefficients of Eigen's generic_fast_tanh_float. A rational
# function vectorises; math.tanh is a call per element, 50 times slower.
_P = tuple(
    f32(c)
    for c in (
        -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
        1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
    )
)  # fmt: skip
_Q = tuple(f32(c) for c in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03))
_LIMIT = f32(7.90531110763549805)
ZERO, HALF, ONE = f32(0), f32(0.5), f32(1)
_ZERO = np.zeros((), f32)


@compiled
def fast_tanh(x: Any) -> Any:
    """tanh x, with an error of at most 5 units in the last place; NaN propagates, and ±inf gives ±1."""
    inside = _LIMIT if x > _LIMIT else x
    inside = -_LIMIT if inside < -_LIMIT else inside
    s = inside * inside
    p = (((((_P[0] * s + _P[1]) * s + _P[2]) * s + _P[3]) * s + _P[4]) * s + _P[5]) * s + _P[6]
    q = ((_Q[0] * s + _Q[1]) * s + _Q[2]) * s + _Q[3]
    y = inside * p / q
    y = ONE if x > _LIMIT else y
    return -ONE if x < -_LIMIT else y


# eˣ = 2ⁿ eʳ with n = round(x / ln 2) and |r| ≤ ½ ln 2, by the polynomial of Cephes's expf. Adding and subtracting
# 1.5 · 2²³ rounds a float32 to an integer, which is then in its last bits. ln 2 is the sum of two numbers, the first of
# which has few bits, so that n times it is exact.
_E = tuple(
    f32(c)
    for c in (
        1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
    )
)  # fmt: skip
_PER_LN2, _LN2, _LN2_REST, _ROUND = f32(1 / math.log(2)), f32(0.693359375), f32(-2.12194440e-4), f32(3 << 22)
_LOW, _HIGH = f32(-88), f32(89)  # n = −127, for 0, and n = 128, for inf


@partial(compiled, fastmath=frozenset(("contract",)))  # with "reassoc", _ROUND would cancel
def fast_exp(x: Any) -> Any:
    """eˣ, with an error of at most 2 units in the last place; 0 below −87.7, inf above 88.37, and NaN propagates."""
    inside = _LOW if x < _LOW else x
    inside = _HIGH if inside > _HIGH else inside
    shifted = inside * _PER_LN2 + _ROUND
    n = shifted - _ROUND
    r = inside - n * _LN2 - n * _LN2_REST
    p = ((((_E[0] * r + _E[1]) * r + _E[2]) * r + _E[3]) * r + _E[4]) * r + _E[5]
    return (p * (r * r) + r + ONE) * power_of_two(shifted)


@compiled
def gate_rows(x: Array, y: Array, start: int, stop: int) -> None:
    """y[i, j] = tanh(x[i, j]) σ(x[i, channels + j]) for rows start … stop."""
    channels = y.shape[1]
    for i in range(start, stop):
        a, b, row = x[i, :channels], x[i, channels:], y[i]
        for j in range(channels):
            row[j] = fast_tanh(a[j]) * (HALF + HALF * fast_tanh(HALF * b[j]))


@compiled
def _gate(x: Array, y: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    gate_rows(x, y, start, stop)


@compiled
def _gate_vjp(x: Array, g: Array, dx: Array, team: Array, size: int) -> None:
    """With t = tanh a and σ = σ(b): da = g σ (1 - t²), db = g t σ (1 - σ)."""
    start, stop = part(team, size)
    channels = g.shape[1]
    for i in range(start, stop):
        a, b, cotangent = x[i, :channels], x[i, channels:], g[i]
        da, db = dx[i, :channels], dx[i, channels:]
        for j in range(channels):
            t, s = fast_tanh(a[j]), HALF + HALF * fast_tanh(HALF * b[j])
            da[j] = cotangent[j] * s * (ONE - t * t)
            db[j] = cotangent[j] * t * s * (ONE - s)


@compiled
def _tanh_vjp(y: Array, g: Array, dx: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    values, cotangent, out = y[start:stop], g[start:stop], dx[start:stop]
    for i in range(values.size):
        out[i] = cotangent[i] * (ONE - values[i] * values[i])


@compiled
def _relu(x: Array, y: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    # A loop from 0 vectorises, as Numba knows that its indices are not negative.
    values, out = x[start:stop], y[start:stop]
    for i in range(values.size):
        v = values[i]
        out[i] = f32(0) if v <= 0 else v  # NaN propagates


@compiled
def _relu_vjp(y: Array, g: Array, dx: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    values, cotangent, out = y[start:stop], g[start:stop], dx[start:stop]
    for i in range(values.size):
        out[i] = f32(0) if values[i] <= 0 else cotangent[i]  # the cotangent of NaN reaches it


@explained
def gated_activation(x: Array) -> Array:
    """y = tanh(a) σ(b), where a and b are the halves of the last axis of x.

    Shapes: x (…, 2C); y (…, C).  In float32 the absolute error is below 3e-7.
    Raises: ValueError if the last axis of x is odd.
    """
    if x.ndim == 0 or x.shape[-1] % 2:
        raise ValueError(f"gated_activation: expected an even last axis, got shape {x.shape}")
    if not compiles(x):
        return reference.gated_activation(x)
    y = np.empty((*x.shape[:-1], x.shape[-1] // 2), x.dtype)
    rows = as_rows(x)
    run_parts(_gate, len(rows), 1 + _TANH_GRAIN // rows.shape[1], rows, as_rows(y))
    return y


@explained
def gated_activation_vjp(x: Array, g: Array) -> Array:
    """VJP of `gated_activation`, recomputing tanh and σ: ā = g σ(b) (1 − tanh² a), b̄ = g tanh(a) σ(b) (1 − σ(b)).

    Shapes: x and the result (…, 2C); g (…, C).
    Raises: ValueError if g does not have the shape of gated_activation(x).
    """
    if x.ndim == 0 or x.shape != (*g.shape[:-1], *(2 * n for n in g.shape[-1:])):
        raise ValueError(f"g: expected half as many channels as x {x.shape}, got shape {g.shape}")
    if not compiles(x, g):
        return reference.gated_activation_vjp(x, g)
    dx = np.empty(x.shape, x.dtype)
    rows = as_rows(x)
    run_parts(_gate_vjp, len(rows), 1 + _TANH_GRAIN // rows.shape[1], rows, as_rows(g), as_rows(dx))
    return dx


def _elementwise(kernel: Callable[..., None], *arrays: Array) -> Array:
    """Run a kernel on the flattened arrays and return its output."""
    y = np.empty(arrays[0].shape, arrays[0].dtype)
    flat = [as_contiguous(array).reshape(-1) for array in arrays]
    run_parts(kernel, y.size, _GRAIN, *flat, y.reshape(-1))
    return y


def tanh_vjp(y: Array, g: Array) -> Array:
    """VJP of tanh in terms of its output y: g (1 − y²). Shapes: all (…)."""
    check_shape("g", g, y.shape)
    return _elementwise(_tanh_vjp, y, g) if compiles(y, g) and y.size >= _FEW else reference.tanh_vjp(y, g)


def relu(x: Array) -> Array:
    """y = max(x, 0), three times as fast as np.maximum(x, 0). Shapes: x, y (…)."""
    if compiles(x):  # np.maximum is faster with a float32 zero than with the integer 0
        return _elementwise(_relu, x) if x.size >= _FEW else np.maximum(x, _ZERO)
    return reference.relu(x)


def relu_vjp(y: Array, g: Array) -> Array:
    """VJP of `relu` in terms of its output y: 0 where y ≤ 0, else g, also where y is NaN. Shapes: all (…)."""
    check_shape("g", g, y.shape)
    return _elementwise(_relu_vjp, y, g) if compiles(y, g) else reference.relu_vjp(y, g)
