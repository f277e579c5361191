"""The Bernoulli log-likelihood and its VJP, in one pass over the logits.

The kernels are for float32; other dtypes are computed by reference.py.

Checked by: tests/kernels/test_likelihood.py
"""

import numpy as np

from . import reference
from .activation import HALF, ONE, fast_tanh
from .runtime.arrays import Array, as_contiguous, check_dtype, compiles
from .runtime.compilation import compiled
from .runtime.denormals import flush_denormals, restore
from .runtime.parts import part
from .runtime.team import run_parts

_GRAIN = 1 << 15  # logits in a part of about 50 µs
f32 = np.float32


@compiled
def _bernoulli(x: Array, k: Array, y: Array, team: Array, size: int) -> None:
    """y[i] = Σⱼ ln σ(±x[i, j]) for rows start … stop, where ln σ(v) = min(v, 0) + ln σ(|v|).

    The logarithm of a product of 64 factors replaces 64 logarithms; as σ(|v|) ≥ ½, the product cannot underflow.
    """
    start, stop = part(team, size)
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
def _bernoulli_vjp(x: Array, k: Array, g: Array, dx: Array, team: Array, size: int) -> None:
    """dx[i, j] = g[i] (k[i, j] − σ(x[i, j]))"""
    start, stop = part(team, size)
    state = flush_denormals()
    for i in range(start, stop):
        row, bits, out, cotangent = x[i], k[i], dx[i], g[i]
        for j in range(row.size):
            out[j] = cotangent * (f32(bits[j]) - (HALF + HALF * fast_tanh(HALF * row[j])))
    restore(state)


def bernoulli(x: Array, k: Array) -> Array:
    """Log-likelihood of bits k given logits x, in nats: yᵢ = Σⱼ ln σ(xᵢⱼ) where kᵢⱼ = 1, ln σ(−xᵢⱼ) where kᵢⱼ = 0.

    Shapes: x (N, D); k (N, D), uint8; y (N,).  In float32 the error of each term is below 2e-7 (1 + |term|).
    Raises: ValueError if the shapes do not match, TypeError unless k is uint8.
    """
    check_dtype("k", k, np.uint8)
    if x.ndim != 2 or k.shape != x.shape:
        raise ValueError(f"bernoulli: expected logits (N, D) and bits (N, D), got {x.shape} and {k.shape}")
    if not compiles(x):
        return reference.bernoulli(x, k)
    y = np.empty(len(x), x.dtype)
    run_parts(_bernoulli, len(x), _GRAIN // x.shape[1] + 1, as_contiguous(x), as_contiguous(k), y)
    return y


def bernoulli_vjp(x: Array, k: Array, g: Array) -> Array:
    """VJP of `bernoulli` in the logits, recomputing σ: x̄ᵢⱼ = gᵢ (kᵢⱼ − σ(xᵢⱼ)).

    Shapes: x and the result (N, D); k (N, D), uint8; g (N,).
    Raises: ValueError if the shapes do not match, TypeError unless k is uint8.
    """
    check_dtype("k", k, np.uint8)
    if x.ndim != 2 or k.shape != x.shape or g.shape != x.shape[:1]:
        raise ValueError(f"bernoulli_vjp: expected (N, D), (N, D) and (N,), got {x.shape}, {k.shape} and {g.shape}")
    if not compiles(x, g):
        return reference.bernoulli_vjp(x, k, g)
    dx = np.empty(x.shape, x.dtype)
    arrays = as_contiguous(x), as_contiguous(k), as_contiguous(g), dx
    run_parts(_bernoulli_vjp, len(x), _GRAIN // x.shape[1] + 1, *arrays)
    return dx
