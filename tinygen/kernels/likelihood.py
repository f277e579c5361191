"""The Bernoulli and categorical log-likelihoods and their VJPs, without intermediate arrays.

The kernels are for float32; other dtypes are computed by reference.py.

Checked by: tests/kernels/test_likelihood.py
"""

from functools import partial
from typing import Any

import numpy as np

from . import reference
from .activation import HALF, ONE, ZERO, fast_exp, fast_tanh
from .runtime.arrays import Array, as_contiguous, check_dtype, check_shape, compiles
from .runtime.compilation import compiled, inlined
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
            linear, product = ZERO, ONE
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


@partial(compiled, fastmath=frozenset())  # with "reassoc", top + log may come first, and log is rounded away
def _log_softmax(x: Any, top: Any, log: Any) -> Any:
    return x - top - log


@inlined
def _greatest(row: Array) -> Any:
    """The maximum of a row, with four independent accumulators. A NaN may be skipped or returned."""
    a = b = c = d = row[0]
    for j in range(0, row.size - 3, 4):
        a = row[j] if row[j] > a else a
        b = row[j + 1] if row[j + 1] > b else b
        c = row[j + 2] if row[j + 2] > c else c
        d = row[j + 3] if row[j + 3] > d else d
    for j in range(row.size - row.size % 4, row.size):
        a = row[j] if row[j] > a else a
    return max(a, b, c, d)


@compiled
def _categorical(x: Array, k: Array, y: Array, tops: Array, logs: Array, team: Array, size: int) -> None:
    """y[i] = x[i, k[i]] − top − ln Σⱼ exp(x[i, j] − top) for some rows; top is a row's maximum, or 0 if infinite."""
    start, stop = part(team, size)
    for i in range(start, stop):
        row, total = x[i], ZERO
        top = _greatest(row)
        top = top if abs(top) < np.inf else ZERO  # also for NaN, which the sum propagates
        for j in range(row.size):
            total += fast_exp(row[j] - top)
        tops[i], logs[i] = top, np.log(total)
        y[i] = _log_softmax(row[k[i]], top, logs[i])


@compiled
def _categorical_vjp(x: Array, k: Array, tops: Array, logs: Array, g: Array, dx: Array, team: Array, size: int) -> None:
    """dx[i, j] = g[i] ([j = k[i]] − softmax(x[i])[j])"""
    start, stop = part(team, size)
    state = flush_denormals()
    for i in range(start, stop):
        row, out, top, log, cotangent = x[i], dx[i], tops[i], logs[i], g[i]
        for j in range(row.size):
            out[j] = -cotangent * fast_exp(_log_softmax(row[j], top, log))
        out[k[i]] += cotangent
    restore(state)


def categorical(x: Array, k: Array) -> tuple[Array, Array, Array]:
    """Log-probabilities yᵢ = ln softmax(xᵢ)ₖ of classes k given logits x; also mᵢ and ln Σⱼ exp(xᵢⱼ − mᵢ), for the VJP.

    mᵢ is the greatest logit, or 0 if it is infinite.

    Shapes: x (N, K); k (N,), int64, in 0…K−1; results (N,).  In float32 the error is below 2e-6 (1 + |y|).
    Raises: ValueError if the shapes do not match or a class is out of range, TypeError unless k is int64.
    """
    _check_classes(x, k)
    if not compiles(x):
        return reference.categorical(x, k)
    y, tops, logs = np.empty((3, len(x)), x.dtype)
    run_parts(_categorical, len(x), _GRAIN // x.shape[1] + 1, as_contiguous(x), as_contiguous(k), y, tops, logs)
    return y, tops, logs


def categorical_vjp(x: Array, k: Array, tops: Array, logs: Array, g: Array) -> Array:
    """VJP of `categorical` with respect to the logits, given its other results: x̄ᵢⱼ = gᵢ ([j = kᵢ] − softmax(xᵢ)ⱼ).

    Shapes: x and the result (N, K); k (N,), int64; tops, logs and g (N,).
    Raises: as for `categorical`.
    """
    _check_classes(x, k)
    for name, array in ("tops", tops), ("logs", logs), ("g", g):
        check_shape(name, array, x.shape[:1])
    if not compiles(x, tops, logs, g):
        return reference.categorical_vjp(x, k, tops, logs, g)
    dx = np.empty(x.shape, x.dtype)
    arrays = [as_contiguous(array) for array in (x, k, tops, logs, g)]
    run_parts(_categorical_vjp, len(x), _GRAIN // x.shape[1] + 1, *arrays, dx)
    return dx


def _check_classes(x: Array, k: Array) -> None:
    check_dtype("k", k, np.int64)
    if x.ndim != 2 or k.shape != x.shape[:1]:
        raise ValueError(f"x and k: expected logits (N, K) and classes (N,), got {x.shape} and {k.shape}")
    if k.size and not 0 <= k.min() <= k.max() < x.shape[1]:
        raise ValueError(f"k: expected classes 0…{x.shape[1] - 1}, got some from {k.min()} to {k.max()}")
