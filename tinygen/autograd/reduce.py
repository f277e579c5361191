"""Reductions, and the numerically stable log-sum-exp and softmax.

`axis` is None (all axes), an integer or a tuple; `keepdims` keeps reduced axes with length 1. The functions of the
softmax family subtract the maximum before exponentiating, so they do not overflow.

Checked by: tests/autograd/test_primitives.py
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..kernels.reductions import total
from .elementwise import exp
from .operands import apply_numpy, as_axes, floating
from .shape import broadcast_to, reshape
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
