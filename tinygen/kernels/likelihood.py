"""A Bernoulli's log-likelihood of bits in one pass over their logits, where NumPy makes many passes over memory.

float32 runs in Numba over the thread pool; float64, which is for checking gradients, is plain NumPy at full precision.
"""

from __future__ import annotations

import numpy as np

from .activation import HALF, ONE, fast_tanh, plain_sigmoid
from .runtime.arrays import Array, as_contiguous, fast
from .runtime.pool import parts, share
from .runtime.tile import compiled

# A thread is worth calling for this many numbers (about 20 µs on one core).
_GRAIN = 1 << 15
f32 = np.float32


@compiled
def _bernoulli(x: Array, k: Array, y: Array, start: int, stop: int) -> None:
    """y[i] = Σⱼ ln σ(±x[i, j]) for rows start … stop, with ln σ(v) = min(v, 0) + ln σ(|v|).

    A sum of logarithms is the logarithm of a product: σ(|v|) ≥ ½, so that of 64 is at least 2⁻⁶⁴, and one call is left.
    """
    for i in range(start, stop):
        row, bits = x[i], k[i]
        total = 0.0
        for first in range(0, row.size, 64):
            linear, product = f32(0), ONE
            for j in range(first, min(first + 64, row.size)):
                v = row[j] if bits[j] else -row[j]
                linear += v if v < 0 else f32(0)
                product *= HALF + HALF * fast_tanh(HALF * (v if v > 0 else -v))
            total += linear + np.log(product)
        y[i] = total


@compiled
def _bernoulli_vjp(x: Array, k: Array, g: Array, dx: Array, start: int, stop: int) -> None:
    """dx[i, j] = g[i] (k[i, j] − σ(x[i, j]))"""
    for i in range(start, stop):
        row, bits, out, cotangent = x[i], k[i], dx[i], g[i]
        for j in range(row.size):
            out[j] = cotangent * (f32(bits[j]) - (HALF + HALF * fast_tanh(HALF * row[j])))


def bernoulli(x: Array, k: Array) -> Array:
    """Log-likelihood in nats of bits k under logits x, summed over each row.

        yᵢ = Σⱼ ln σ(xᵢⱼ) where kᵢⱼ is 1, ln σ(−xᵢⱼ) where it is 0

    Shapes: x (N, D) and k (N, D) of uint8 0 and 1; y (N,).  float32: error below 2e-7 (1 + |y|) of a single number, and
    what sums round; other dtypes as NumPy computes them.
    Checked by: tests/kernels/test_likelihood.py
    """
    x, k = as_contiguous(x), as_contiguous(k)
    if not fast(x):
        v = np.where(k, x, -x)
        return np.asarray(np.sum(np.minimum(v, 0) - np.log1p(np.exp(-np.abs(v))), 1))
    y = np.empty(len(x), x.dtype)
    share(_bernoulli, (x, k, y), parts(len(x), _GRAIN // x.shape[1] + 1))
    return y


def bernoulli_vjp(x: Array, k: Array, g: Array) -> Array:
    """VJP of `bernoulli` by the logits, which computes σ anew instead of keeping it.

        dxᵢⱼ = gᵢ (kᵢⱼ − σ(xᵢⱼ))

    Shapes: x, dx (N, D); k (N, D) of uint8; g (N,).
    Checked by: tests/kernels/test_likelihood.py
    """
    if not (fast(x) and g.dtype == x.dtype):
        return np.asarray(g[:, None] * np.where(k, plain_sigmoid(-x), -plain_sigmoid(x)))
    dx, rows, bits, cotangents = np.empty(x.shape, x.dtype), as_contiguous(x), as_contiguous(k), as_contiguous(g)
    share(_bernoulli_vjp, (rows, bits, cotangents, dx), parts(len(x), _GRAIN // x.shape[1] + 1))
    return dx
