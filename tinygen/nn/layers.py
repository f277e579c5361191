"""Layers: linear, convolutional and transposed convolutional layers, embeddings, dropout, and Sequential.

Checked by: tests/nn/test_nn_layers.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..arguments import explained
from ..autograd import Array, Parameter, Tensor, TensorLike, conv, conv_transpose, linear, matmul, multiply, relu
from ..autograd.operands import floating
from ..autograd.parameter import cast
from ..autograd.taps import Taps
from ..autograd.taps.windows import as_taps
from ..autograd.tensor import array_of
from ..checks import at_least, broadcasts, check_rate, require
from .init import Initialiser, glorot_uniform, initialised, normal
from .module import Module

if TYPE_CHECKING:
    from .cache import ActivationCache

Rng = np.random.Generator
Activation: TypeAlias = Callable[[TensorLike], Tensor]


class Linear(Module):
    """Fully connected layer: y = x w + b, followed by the activation passed to the call, if any.

    Integer and boolean x are cast to the dtype of w. A relu is fused with the matrix product.

    Shapes: x (…, n_in), w (n_in, n_out), b (n_out,), y (…, n_out).
    Raises: ValueError if n_in or n_out is below 1.

    Example:
        >>> layer = Linear(3, 2, np.random.default_rng(0))
        >>> layer(np.ones((5, 3))).shape
        (5, 2)
    """

    def __init__(self, n_in: int, n_out: int, rng: Rng, bias: bool = True, init: Initialiser = glorot_uniform) -> None:
        at_least(1, n_in=n_in, n_out=n_out)
        self.w = initialised(init, (n_in, n_out), (n_in, n_out), rng)
        self.b = Parameter(np.zeros(n_out)) if bias else None

    def __call__(self, x: TensorLike, activation: Activation | None = None) -> Tensor:
        x = cast_integers(x, self.w.dtype)
        if self.b is not None:
            return linear_with_activation(x, self.w, self.b, activation)
        return matmul(x, self.w) if activation is None else activation(matmul(x, self.w))


class _Convolution(Module):
    """The parameters of Conv and ConvTranspose: one weight matrix per tap, and a bias."""

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
        taps = as_taps(type(self).__name__, taps)
        at_least(1, n_in=n_in, n_out=n_out, taps=len(taps), stride=stride)
        shape, fan_in, fan_out = (len(taps), n_in, n_out), len(taps) * n_in, len(taps) * n_out
        if self.transposed:
            # An output pixel receives only every stride-th tap along each axis.
            shape, fan_in = (len(taps), n_out, n_in), max(1, fan_in // stride ** len(taps[0]))
        self.w = initialised(init, shape, (fan_in, fan_out), rng)
        self.b = Parameter(np.zeros(n_out)) if bias else None
        self.taps, self.stride = taps, stride


class Conv(_Convolution):
    """Convolution over a set of taps o with stride s: y(p) = residual + b + Σₜ x(s·p + oₜ) wₜ.

    The call takes an optional activation, which is applied to y; relu is fused with the convolution. With a `cache`,
    x and y are the activations at the cache's current position only, and x may be None (see `ActivationCache`).

    Args:
        taps: offsets of the inputs that an output depends on, for example `taps.square(3)` or `taps.causal(3)`.
        stride: step s between neighbouring outputs, in input pixels.

    Shapes: x (N, H, W, n_in) or (N, T, n_in), w (taps, n_in, n_out), b (n_out,), y (N, ⌈H/s⌉, ⌈W/s⌉, n_out).
    Raises: ValueError if n_in, n_out or stride is below 1 or there are no taps.

    Example:
        >>> from tinygen.autograd import taps
        >>> layer = Conv(1, 8, taps.square(3), np.random.default_rng(0), stride=2)
        >>> layer(np.zeros((5, 28, 28, 1))).shape
        (5, 14, 14, 8)
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
            require(hasattr(cache, "evaluate"), "cache", "an ActivationCache", type(cache).__name__)
            y = cache.evaluate(self, x, residual)
        elif x is None:
            raise ValueError("Conv x: expected an array or tensor, got None; only a call with a cache may omit x")
        else:
            bias = 0.0 if self.b is None else self.b
            y = conv(x, self.w, self.taps, self.stride, residual=residual, bias=bias, relu=fused)
        return y if activation is None or fused else activation(y)

    def weights(self, mask: Array | None = None) -> Tensor:
        """Return w ⊙ mask, or w if there is no mask."""
        return masked(self.w, mask)


class ConvTranspose(_Convolution):
    """Transposed convolution, the adjoint of Conv: x(q) = b + Σ y(p) wₜᵀ over all p, t with s·p + oₜ = q.

    Shapes: y (N, H, W, n_in), w (taps, n_out, n_in), b (n_out,), x (N, s·H, s·W, n_out), or (N, *size, n_out) if the
    call is given a size.
    Raises: ValueError as for Conv.
    """

    transposed = True

    def __call__(self, y: TensorLike, size: tuple[int, ...] | None = None) -> Tensor:
        return conv_transpose(y, self.w, self.taps, self.stride, size, bias=0.0 if self.b is None else self.b)


class Sequential(Module):
    """Layers applied one after another: y = fₙ(… f₂(f₁(x))).

    The layers are modules or plain functions such as tanh. A `cache` is passed on to every Conv and Sequential; all
    other layers must then be pointwise.

    Example:
        >>> from tinygen.autograd import tanh
        >>> rng = np.random.default_rng(0)
        >>> net = Sequential(Linear(3, 16, rng), tanh, Linear(16, 2, rng))
        >>> net(np.ones((5, 3))).shape
        (5, 2)
    """

    def __init__(self, *layers: Callable[[Any], Tensor]) -> None:
        self.layers = list(layers)

    def __call__(self, x: TensorLike | None, cache: ActivationCache | None = None) -> Tensor:
        y: Any = x
        for layer in self.layers:
            y = layer(y, cache) if isinstance(layer, Conv | Sequential) else layer(y)
        return y if isinstance(y, Tensor) else Tensor(y)


class Embedding(Module):
    """Table of learned vectors, one for each of n symbols: y = w[k].

    Shapes: k (…) integers in 0…n−1, w (n, dim), y (…, dim).
    Raises: ValueError if k has another dtype or is out of range, or if n or dim is below 1.
    """

    def __init__(self, n: int, dim: int, rng: Rng) -> None:
        at_least(1, n=n, dim=dim)
        self.w = Parameter(normal((n, dim), 1.0, rng))

    def __call__(self, k: Array) -> Tensor:
        k = array_of(k)
        n = self.w.shape[0]
        if k.dtype.kind not in "iu" or (k.size and (k.min() < 0 or k.max() >= n)):
            raise ValueError(f"Embedding k: expected integers 0…{n - 1}, got {k.dtype} of shape {k.shape}")
        return self.w[k]


def cast_integers(x: TensorLike, dtype: np.dtype[Any]) -> TensorLike:
    """Return x; cast to `dtype` if it is integer or boolean, as NumPy would promote int64 and float32 to float64."""
    return array_of(x).astype(dtype) if array_of(x).dtype.kind in "iub" else x


def masked(w: Parameter, mask: Array | None) -> Tensor:
    """Return w ⊙ mask, or w if there is no mask. Raises ValueError unless the mask broadcasts to w."""
    if mask is None:
        return w
    require(broadcasts(np.shape(mask), w.shape), "mask", f"shape {w.shape}", np.shape(mask))
    mask = np.asarray(mask)
    return w * (mask if mask.dtype == w.dtype else cast("mask", mask, w.dtype))


def linear_with_activation(x: TensorLike, w: TensorLike, b: TensorLike, activation: Activation | None) -> Tensor:
    """Return activation(x w + b), or x w + b without an activation; relu is fused. Shapes as for `autograd.linear`."""
    if activation is None or activation is relu:
        return linear(x, w, b, relu=activation is relu)
    return activation(linear(x, w, b))


@explained
def dropout(x: TensorLike, rate: float, rng: Rng | None) -> Tensor:
    """Zero each element with probability `rate`: y = x ⊙ m / (1 − rate), m ~ Bernoulli(1 − rate), so that E y = x.

    Return x unchanged if rng is None (evaluation).

    Raises: ValueError unless 0 ≤ rate < 1.
    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """
    check_rate("rate", rate)
    if rng is None or rate == 0:
        return x if isinstance(x, Tensor) else Tensor(x)
    v = floating("dropout", x)
    kept = rng.random(v.shape, np.float32) >= rate
    return multiply(x, np.where(kept, 1 / (1 - rate), 0).astype(v.dtype))
