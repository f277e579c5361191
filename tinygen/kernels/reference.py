"""Reference implementations in NumPy: convolutions, products, activations, the Bernoulli likelihood.

Each function has the name, arguments and result of its kernel; tests compare the two. It is also the fallback for
dtypes without a kernel and if the JIT is disabled (NUMBA_DISABLE_JIT=1).

    y(p) = residual + bias + Σₜ x(s·p + oₜ) Wₜ        x is zero-padded; s is the stride, oₜ the offset of tap t

Shapes: images x (N, H, W, C_in), y (N, H′, W′, C_out) or sequences (N, T, C); weights (taps, C_in, C_out).
"""

from typing import Any

import numpy as np

from .runtime.arrays import Array, as_floating

Taps = tuple[tuple[int, ...], ...]
Size = tuple[int, ...]
Slices = tuple[slice, ...]
Term = Array | None  # added to the output
SERIAL_BLAS = 1 << 18  # multiply-adds up to which OpenBLAS uses one thread (its GEMM_MULTITHREAD_THRESHOLD is 4)


def overlap(offset: tuple[int, ...], stride: int, size_x: Size, size_y: Size) -> tuple[Slices, Slices]:
    """Return, as slices, the pixels p of y for which s·p + o is inside x, and those pixels s·p + o of x.

    Per axis, ⌈-o/s⌉ ≤ p ≤ ⌊(size_x - 1 - o)/s⌋. The slices are empty where the tap misses the image.
    """
    at, source = [], []
    for o, x, y in zip(offset, size_x, size_y, strict=True):
        start, stop = max(0, -(o // stride)), min(y, (x - 1 - o) // stride + 1)
        if start >= stop:
            start = stop = 0
        at.append(slice(start, stop))
        source.append(slice(stride * start + o, stride * (stop - 1) + o + 1, stride) if stop else slice(0, 0))
    return tuple(at), tuple(source)


def _initial(shape: Size, dtype: Any, residual: Term, bias: Term) -> Array:
    y = np.zeros(shape, dtype)
    for term in (residual, bias):
        if term is not None:
            y += term
    return y


def conv(
    x: Array,
    w: Array,
    taps: Taps,
    stride: int,
    size: Size,
    residual: Term = None,
    bias: Term = None,
    relu: bool = False,
) -> Array:
    """y(p) = residual + bias + Σₜ x(s·p + oₜ) Wₜ; with `relu`, max(y, 0)."""
    y = _initial((len(x), *size, w.shape[2]), x.dtype, residual, bias)
    for offset, matrix in zip(taps, w, strict=True):
        at, source = overlap(offset, stride, x.shape[1:-1], size)
        y[:, *at] += matmul(x[:, *source], matrix)
    return np.maximum(y, 0) if relu else y


def conv_transpose(
    y: Array, w: Array, taps: Taps, stride: int, size: Size, residual: Term = None, bias: Term = None
) -> Array:
    """x(s·p + oₜ) += y(p) Wₜᵀ: the adjoint of `conv` in x."""
    x = _initial((len(y), *size, w.shape[1]), y.dtype, residual, bias)
    for offset, matrix in zip(taps, w, strict=True):
        at, source = overlap(offset, stride, size, y.shape[1:-1])
        x[:, *source] += matmul(y[:, *at], matrix.T)
    return x


def conv_weight(x: Array, y: Array, taps: Taps, stride: int) -> Array:
    """Wₜ = Σₚ x(s·p + oₜ)ᵀ y(p): the adjoint of `conv` in w."""
    w, pixels = np.zeros((len(taps), x.shape[-1], y.shape[-1]), x.dtype), list(range(x.ndim - 1))
    for offset, matrix in zip(taps, w, strict=True):
        at, source = overlap(offset, stride, x.shape[1:-1], y.shape[1:-1])
        matrix += np.tensordot(x[:, *source], y[:, *at], axes=(pixels, pixels))
    return w


def matmul(a: Array, b: Array) -> Array:
    """y = a b. Ignores invalid-value warnings for inner dimension 5, where OpenBLAS on AVX-512 reads unused lanes."""
    if a.shape[-1:] != (5,):
        return np.asarray(a @ b)
    with np.errstate(invalid="ignore"):
        return np.asarray(a @ b)


def product(a: Array, b: Array, bias: Array | None = None, relu: bool = False, residual: Array | None = None) -> Array:
    """y = residual + a b + bias; with `relu`, max(y, 0)."""
    y = matmul(a, b)
    y = y if bias is None else y + bias
    y = y if residual is None else y + residual
    return np.maximum(y, 0) if relu else y


def sigmoid(x: Array) -> Array:
    """σ(x) = 1 / (1 + e^-x), without overflow, and without the cancellation of ½ + ½ tanh ½x where σ is tiny."""
    x = as_floating(x)
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1) / (1 + e))


def gated_activation(x: Array) -> Array:
    """y = tanh(a) · σ(b), where a and b are the halves of the last axis of x."""
    a, b = np.split(as_floating(x), 2, -1)
    return np.asarray(np.tanh(a) * sigmoid(b))


def gated_activation_vjp(x: Array, g: Array) -> Array:
    """ā = g σ(b) (1 − tanh² a),   b̄ = g tanh(a) σ(b) (1 − σ(b))."""
    a, b = np.split(as_floating(x), 2, -1)
    s = as_floating(g) * sigmoid(b)
    slope = 4 * sigmoid(2 * a) * sigmoid(-2 * a)  # 1 − tanh² a = 4 σ(2a) σ(−2a), which does not cancel
    return np.concatenate([s * slope, s * np.tanh(a) * sigmoid(-b)], axis=-1)  # 1 − σ(b) = σ(−b)


def tanh_vjp(y: Array, g: Array) -> Array:
    """x̄ = g (1 − y²), where y = tanh x."""
    return np.asarray(g * (1 - y * y))


def relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return np.asarray(np.maximum(x, 0))


def relu_vjp(y: Array, g: Array) -> Array:
    """x̄ = 0 where y ≤ 0, else g."""
    return np.where(y <= 0, np.zeros((), g.dtype), g)


def bernoulli(x: Array, k: Array) -> Array:
    """yᵢ = Σⱼ ln σ(xᵢⱼ) where kᵢⱼ = 1, ln σ(−xᵢⱼ) where kᵢⱼ = 0."""
    x = as_floating(x)
    v = np.where(k, x, -x)
    return np.asarray(np.sum(np.minimum(v, 0) - np.log1p(np.exp(-np.abs(v))), 1))


def bernoulli_vjp(x: Array, k: Array, g: Array) -> Array:
    """x̄ᵢⱼ = gᵢ (kᵢⱼ − σ(xᵢⱼ))."""
    x = as_floating(x)
    return np.asarray(g[:, None] * np.where(k, sigmoid(-x), -sigmoid(x)))


def categorical(x: Array, k: Array) -> tuple[Array, Array, Array]:
    """Return y, m, l: yᵢ = xᵢₖ − mᵢ − lᵢ with mᵢ = maxⱼ xᵢⱼ, or 0 if it is infinite, and lᵢ = ln Σⱼ exp(xᵢⱼ − mᵢ)."""
    x = as_floating(x)
    tops = x.max(1)
    tops[np.isinf(tops)] = 0
    with np.errstate(divide="ignore"):  # ln 0, where all logits are −∞
        logs = np.log(np.exp(x - tops[:, None]).sum(1, np.result_type(x, np.float32))).astype(x.dtype)
    return x[np.arange(len(x)), k] - tops - logs, tops, logs


def categorical_vjp(x: Array, k: Array, tops: Array, logs: Array, g: Array) -> Array:
    """x̄ᵢⱼ = gᵢ ([j = kᵢ] − exp(xᵢⱼ − mᵢ − lᵢ))."""
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        dx = np.asarray(-g[:, None] * np.exp(as_floating(x) - tops[:, None] - logs[:, None]))
    dx[np.arange(len(x)), k] += g
    return dx
