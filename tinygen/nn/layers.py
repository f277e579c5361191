"""Layers: a few parameters and one formula each.

Checked by: tests/nn/test_nn_layers.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike, conv, conv_transpose, linear, matmul, relu, sqrt
from ..autograd.taps import Taps
from ..autograd.tensor import array_of
from ..checks import at_least, check_rate
from .init import Initialiser, glorot_uniform, normal
from .module import Module

if TYPE_CHECKING:
    from .cache import ActivationCache

Rng = np.random.Generator
Activation: TypeAlias = Callable[[TensorLike], Tensor]


class Linear(Module):
    """y = x w + b, or a(x w + b) where a call is given an activation a: relu is then part of the same pass

    Integers x are computed with in w's dtype; among floating-point numbers the usual promotion holds.

    Shapes: x (…, n_in), w (n_in, n_out), b (n_out,), y (…, n_out).  Raises ValueError if n_in or n_out is below 1.
    """

    def __init__(self, n_in: int, n_out: int, rng: Rng, bias: bool = True, init: Initialiser = glorot_uniform) -> None:
        at_least(1, n_in=n_in, n_out=n_out)
        self.w = Parameter(init((n_in, n_out), (n_in, n_out), rng))
        self.b = Parameter(np.zeros(n_out)) if bias else None

    def __call__(self, x: TensorLike, activation: Activation | None = None) -> Tensor:
        if array_of(x).dtype.kind in "iub":  # NumPy would take int64 and float32 to float64
            x = array_of(x).astype(self.w.dtype)
        if self.b is not None:
            return activated(x, self.w, self.b, activation)
        return matmul(x, self.w) if activation is None else activation(matmul(x, self.w))


class _Convolution(Module):
    """Weights over taps and a bias: a Conv reads them one way round, a ConvTranspose the other."""

    transposed = False

    def __init__(
        self,
        n_in: int,
        n_out: int,
        taps: Taps,
        rng: Rng,
        stride: int = 1,
        bias: bool = True,
        init: Initialiser = glorot_uniform,
    ) -> None:
        at_least(1, n_in=n_in, n_out=n_out, taps=len(taps), stride=stride)
        shape, fan_in, fan_out = (len(taps), n_in, n_out), len(taps) * n_in, len(taps) * n_out
        if self.transposed:
            # Of the taps, one in s (in each axis) meets an output, so that is how many inputs it sums over.
            shape, fan_in = (len(taps), n_out, n_in), max(1, fan_in // stride ** len(taps[0]))
        self.w = Parameter(init(shape, (fan_in, fan_out), rng))
        self.b = Parameter(np.zeros(n_out)) if bias else None
        self.taps, self.stride = taps, stride


class Conv(_Convolution):
    """y(p) = residual + b + Σₜ x(s·p + oₜ) wₜ over the taps o, with stride s

    With a `cache`, x is the activation at one position only and so is y: the layer's other inputs are remembered (see
    `ActivationCache`). Where a call is given an activation, y is that of the sum: relu is part of the same pass.

    Shapes: x (N, H, W, n_in) or (N, T, n_in), w (taps, n_in, n_out), b (n_out,), y (N, ⌈H/s⌉, ⌈W/s⌉, n_out).
    Raises ValueError if n_in, n_out or stride is below 1 or there are no taps.
    """

    relu = False

    def __call__(
        self,
        x: TensorLike | None,
        cache: ActivationCache | None = None,
        residual: TensorLike = 0.0,
        activation: Activation | None = None,
    ) -> Tensor:
        fused = activation is relu and cache is None
        if cache is not None:
            y = cache.conv(self, x, residual)
        elif x is None:
            raise ValueError("Conv: x is None; only with a cache may the input come later")
        else:
            bias = 0.0 if self.b is None else self.b
            y = conv(x, self.w, self.taps, self.stride, residual=residual, bias=bias, relu=fused)
        return y if activation is None or fused else activation(y)

    def weights(self, mask: Array | None = None) -> Tensor:
        """w ⊙ mask, or without a mask w."""
        return self.w if mask is None else self.w * mask


class ConvTranspose(_Convolution):
    """x(q) = b + Σ y(p) wₜᵀ over all p and t with s·p + oₜ = q: the adjoint of a Conv, from small to large

    Shapes: y (N, H, W, n_in), w (taps, n_out, n_in), b (n_out,), x (N, s·H, s·W, n_out), or of the `size` given.
    Raises ValueError as Conv does.
    """

    transposed = True

    def __call__(self, y: TensorLike, size: tuple[int, ...] | None = None) -> Tensor:
        return conv_transpose(y, self.w, self.taps, self.stride, size, bias=0.0 if self.b is None else self.b)


class Sequential(Module):
    """y = fₙ(… f₂(f₁(x))), of modules and of plain functions such as tanh

    A `cache` is handed to every Conv and Sequential; all else must work pointwise then (see `ActivationCache`).
    """

    def __init__(self, *layers: Callable[[Any], Tensor]) -> None:
        self.layers = list(layers)

    def __call__(self, x: TensorLike | None, cache: ActivationCache | None = None) -> Tensor:
        y: Any = x
        for layer in self.layers:
            y = layer(y, cache) if isinstance(layer, Conv | Sequential) else layer(y)
        return y if isinstance(y, Tensor) else Tensor(y)


class Embedding(Module):
    """y = w[k]: one learned vector for each of n symbols

    Shapes: k (…) integers in 0…n−1, w (n, dim), y (…, dim).  Raises ValueError if k is not of integers within 0…n−1.
    """

    def __init__(self, n: int, dim: int, rng: Rng) -> None:
        at_least(1, n=n, dim=dim)
        self.w = Parameter(normal((n, dim), 1.0, rng))

    def __call__(self, k: Array) -> Tensor:
        k = array_of(k)
        n = self.w.shape[0]
        if k.dtype.kind not in "iu" or (k.size and (k.min() < 0 or k.max() >= n)):
            raise ValueError(f"Embedding k: expected integers in 0…{n - 1}, got dtype {k.dtype}, shape {k.shape}")
        return self.w[k]


class LayerNorm(Module):
    """y = w (x − μ) / √(σ² + ε) + b, with mean μ and variance σ² of each vector along the last axis

    Shapes: x, y (…, dim), w and b (dim,).  Raises ValueError if dim is below 1 or x of another.
    Source: Ba, Kiros & Hinton, "Layer normalization", 2016.
    """

    def __init__(self, dim: int, epsilon: float = 1e-5) -> None:
        at_least(1, dim=dim)
        self.w, self.b, self.epsilon = Parameter(np.ones(dim)), Parameter(np.zeros(dim)), epsilon

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != self.w.shape:
            raise ValueError(f"LayerNorm x: expected (…, {self.w.shape[0]}), got {x.shape}")
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        return centred / sqrt(variance + self.epsilon) * self.w + self.b


def activated(x: TensorLike, w: TensorLike, b: TensorLike, activation: Activation | None) -> Tensor:
    """a(x w + b), without an activation x w + b. Shapes: as those of `linear`."""
    if activation is None or activation is relu:
        return linear(x, w, b, relu=activation is relu)
    return activation(linear(x, w, b))


def dropout(x: Tensor, rate: float, rng: Rng | None) -> Tensor:
    """y = x ⊙ m / (1 − rate) with m ~ Bernoulli(1 − rate), so that E y = x; without a generator, y = x

    Shapes: x, y (…).  Raises ValueError if not 0 ≤ rate < 1.
    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """
    check_rate("rate", rate)
    if rng is None or rate == 0:
        return x
    kept = rng.random(x.shape, np.float32) >= rate
    return x * np.where(kept, 1 / (1 - rate), 0).astype(x.dtype)
