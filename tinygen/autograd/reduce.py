"""Reductions, norms, and the numerically stable log-sum-exp and softmax.

`axis` is None (all axes), an integer or a tuple; `keepdims` keeps reduced axes with length 1. The functions of the
softmax family subtract the maximum before exponentiating, so they do not overflow.

Checked by: tests/autograd/test_primitives.py, tests/autograd/test_reduce.py
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..kernels.reductions import total
from .along_axis import accumulated, cumprod, earlier, reverse
from .elementwise import abs, astype, exp, power, where
from .operands import apply_numpy, as_axes, check_constant, floating, real
from .shape import broadcast_to, reshape, transpose
from .tensor import Array, Axis, Tensor, TensorLike, array_of, node, primitive


@primitive
def sum(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = Σ x over the axes"""
    v = array_of(x)
    axes = as_axes("sum", axis, v.ndim)
    y = total(v, axes, keepdims)
    y = y.astype(v.dtype, copy=False) if v.dtype.kind == "f" else y
    return node("sum", y, (x, lambda g, y: broadcast_to(reshape(g, _kept(v.shape, axes)), v.shape)))


@primitive
def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = Σ x / n over the axes, where n is the number of elements summed. Raises ValueError if n = 0."""
    v = floating("mean", x)
    axes = as_axes("mean", axis, v.ndim)
    n = math.prod(v.shape[i] for i in axes)
    if n == 0:
        raise ValueError(f"mean: expected at least one element along axis {axis}, got shape {v.shape}")
    y = np.asarray(total(v, axes, keepdims) / n, v.dtype)
    # g / n would be 0 where n overflows in float16
    return node("mean", y, (x, lambda g, y: broadcast_to(reshape(g * (1 / n), _kept(v.shape, axes)), v.shape)))


@primitive
def prod(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = Π x over the axes; zeros have exact derivatives: ∂y/∂xₖ is the product of all other elements

    Example:
        >>> prod(Tensor([[2.0, 3.0], [4.0, 5.0]]), axis=1).value
        array([ 6., 20.])
    """
    v = real("prod", x)
    axes = as_axes("prod", axis, v.ndim)
    others = [i for i in range(v.ndim) if i not in axes]
    kept = [v.shape[i] for i in others]
    rows = reshape(transpose(x, (*others, *axes)), (*kept, math.prod(v.shape[i] for i in axes)))

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        wide = astype(rows, np.float64)  # products of some elements may overflow in float32, where that of all does not
        before = earlier(cumprod(wide, -1), 1)
        after = reverse(earlier(cumprod(reverse(wide), -1), 1))
        return reshape(g, (*kept, 1)) * astype(before * after, g.dtype)

    y = node("prod", accumulated("prod", np.prod, rows), (rows, vjp))
    return reshape(y, _kept(v.shape, axes)) if keepdims else y


@primitive
def var(x: TensorLike, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    """y = Σ (x − mean x)² / (n − ddof) over the axes, where n is the number of elements summed.

    Raises: ValueError unless n > ddof.
    """
    axes, n = _axes_and_count("var", x, axis, ddof)
    centred = _centre(x, axes)
    return mean(centred * centred, axes, keepdims) * (n / (n - float(ddof)))


@primitive
def std(x: TensorLike, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Tensor:
    """y = √var(x). Where all elements are equal, y = 0 and its derivatives are 0. Raises ValueError unless n > ddof."""
    axes, n = _axes_and_count("std", x, axis, ddof)
    return norm(_centre(x, axes), None, axes, keepdims) / math.sqrt(n - ddof)


def _axes_and_count(op: str, x: TensorLike, axis: Axis, ddof: float) -> tuple[tuple[int, ...], int]:
    check_constant(op, ddof=ddof)
    shape = floating(op, x).shape
    axes = as_axes(op, axis, len(shape))
    n = math.prod(shape[i] for i in axes)
    if n <= ddof:
        raise ValueError(f"{op}: expected more than ddof = {ddof} elements along axis {axis}, got shape {shape}")
    return axes, n


def _centre(x: TensorLike, axes: tuple[int, ...]) -> Tensor:
    """y = x − mean x: a projection, which is its own adjoint."""
    v = floating("centre", x)
    wide = v.astype(np.float64) if v.dtype.char in "ef" else v
    # Subtract one of the elements first: differences of equal numbers are exactly 0, and rounding errors are relative
    # to the differences.
    wide = wide - wide[tuple([slice(1) if i in axes else slice(None) for i in range(v.ndim)])]
    y = np.asarray(wide - np.mean(wide, axes, keepdims=True), v.dtype)
    return node("centre", y, (x, lambda g, y: _centre(g, axes)))


@primitive
def norm(x: TensorLike, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = (Σ |x|ᵖ)^(1/p) over the axes, as np.linalg.norm. Where y = 0, its derivatives are 0.

    Args:
        ord: None or 2 for p = 2, another p > 0, or ±inf for the largest or smallest |x|. Over two axes, None or "fro"
            for p = 2: other norms of matrices are not supported.
        axis: by default, all axes.

    Raises: ValueError if `ord` is not supported, with what to use instead.

    Example:
        >>> norm(Tensor([3.0, 4.0])).item(), norm(Tensor([3.0, -4.0]), 1).item()
        (5.0, 7.0)
    """
    check_constant("norm", ord=ord)
    v = floating("norm", x)
    axes = as_axes("norm", axis, v.ndim)
    if ord is None or (ord == "fro" and len(axes) == 2) or (ord == 2 and len(axes) == 1):
        return _norm2(x, v, axes, keepdims)
    if isinstance(ord, str) or len(axes) != 1 or not (ord > 0 or ord == -math.inf):
        raise ValueError(
            "norm: ord and axis: expected None, 'fro' over two axes, or a number above 0 or −inf over one axis, "
            f"got {ord!r} over {len(axes)} axes; for a norm of all elements, reshape x to one axis"
        )
    if math.isinf(ord):
        return (max if ord > 0 else min)(abs(x), axes, keepdims)
    return sum(abs(x), axes, keepdims) if ord == 1 else _norm_p(x, v, float(ord), axes, keepdims)


def _norm_p(x: TensorLike, v: Array, p: float, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """y = (Σ |x|ᵖ)^(1/p),   ∂y/∂x = sign(x) (|x| / y)^(p − 1), but 0 where x = 0, for any order of derivative"""
    wide = np.abs(v, dtype=np.float64) if v.dtype.char in "ef" else np.abs(v)
    scale = np.max(wide, axes, keepdims=True, initial=0)  # powers of |x| may overflow or underflow
    scale = np.where((scale > 0) & (scale < np.inf), scale, 1)
    y = scale * np.sum((wide / scale) ** p, axes, keepdims=True) ** (1 / p)

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        y, g = reshape(y, _kept(v.shape, axes)), reshape(g, _kept(v.shape, axes))
        ratio = astype(abs(where(v == 0, 1, x)), np.float64) / where(y.value == 0, 1, y)
        return g * astype(where(v == 0, 0, power(ratio, p - 1)) * np.sign(v), g.dtype)

    return node("norm", (y if keepdims else np.squeeze(y, axes)).astype(v.dtype), (x, vjp))


def _norm2(x: TensorLike, v: Array, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """y = √Σ x²,   ∂y/∂x = x / y, but 0 where y = 0, for any order of derivative"""
    wide = v.astype(np.float64) if v.dtype.char in "ef" else v  # squares of float32 may overflow or underflow
    y = np.sqrt(total(wide * wide, axes, keepdims)).astype(v.dtype, copy=False)

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        y, g = reshape(y, _kept(v.shape, axes)), reshape(g, _kept(v.shape, axes))
        is_zero = y.value == 0
        return where(is_zero, 0, x) * (g / where(is_zero, 1, y))

    return node("norm", y, (x, vjp))


@primitive
def max(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = max x over the axes; elements that attain it share its cotangent equally"""
    return _extremum("max", np.max, x, axis, keepdims)


@primitive
def min(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = min x over the axes; elements that attain it share its cotangent equally"""
    return _extremum("min", np.min, x, axis, keepdims)


def _extremum(op: str, function: Callable[..., Any], x: TensorLike, axis: Axis, keepdims: bool) -> Tensor:
    v = array_of(x)
    axes = as_axes(op, axis, v.ndim)
    kept = _kept(v.shape, axes)
    y = apply_numpy(partial(function, axis=axes, keepdims=keepdims), [v], op=op)

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        ties = (v == y.value.reshape(kept)) | np.isnan(v)  # where the result is NaN, the elements that are NaN
        shares: Array = (ties / np.sum(ties, axes, keepdims=True)).astype(v.dtype)
        return reshape(g, kept) * shares

    return node(op, y, (x, vjp))


@primitive
def logsumexp(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = ln Σ eˣ over the axes; where all of x is −∞, y = −∞ with derivative 0.

    Example:
        >>> logsumexp([1000.0, 1000.0]).item()  # 1000 + ln 2
        1000.693147180...
    """
    v = floating("logsumexp", x)
    axes = as_axes("logsumexp", axis, v.ndim)
    kept = _kept(v.shape, axes)
    y = _finite_max(v, axes)
    with np.errstate(divide="ignore"):  # ln 0 = −∞ is correct where all of x is −∞, or x is empty
        y += np.log(total(np.exp(v - y), axes, keepdims=True))
    y = y if keepdims else y.squeeze(axes)
    # softmax(x), not exp(x − y): near 10⁴, float32 has only three decimals left.
    return node("logsumexp", y, (x, lambda g, y: reshape(g, kept) * softmax(x, axes)))


@primitive
def log_softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """y = x − ln Σ eˣ along the axis: log-probabilities from logits"""
    v = floating("log_softmax", x)
    axes = as_axes("log_softmax", axis, v.ndim)
    y = v - _finite_max(v, axes)  # first, because the rounding error of v − ln Σ eᵛ is relative to v
    with np.errstate(divide="ignore"):  # an empty axis
        y -= np.log(total(np.exp(y), axes, keepdims=True)).astype(v.dtype, copy=False)
    return node("log_softmax", y, (x, lambda g, y: g - exp(y) * sum(g, axes, keepdims=True)))


@primitive
def softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """y = eˣ / Σ eˣ along the axis: probabilities from logits. Where all logits are −∞, y is 0 instead of NaN.

    Example:
        >>> softmax(np.log([1.0, 3.0])).value
        array([0.25, 0.75])
    """
    v = floating("softmax", x)
    axes = as_axes("softmax", axis, v.ndim)
    e = np.exp(v - _finite_max(v, axes))
    norm = total(e, axes, keepdims=True)
    norm = np.where(norm == 0, 1, norm).astype(np.result_type(v, np.float32), copy=False)  # may overflow in float16
    y = np.asarray(e / norm, v.dtype)
    return node("softmax", y, (x, lambda g, y: y * (g - sum(g * y, axes, keepdims=True))))


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape with length 1 for every reduced axis."""
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def _finite_max(v: Array, axes: tuple[int, ...]) -> Array:
    """Return the maximum along the axes, with length 1, or 0 where it is infinite, since ∞ − ∞ would be NaN."""
    top = np.max(v, axes, keepdims=True, initial=-np.inf)
    return np.where(np.isinf(top), 0, top).astype(v.dtype, copy=False)
