"""Reductions, and the numerically stable log-sum-exp and softmax.

`axis` is None (all axes), an integer or a tuple; `keepdims` keeps reduced axes with length 1. The functions of the
softmax family subtract the maximum before exponentiating, so they do not overflow.

Checked by: tests/autograd/test_primitives.py
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .elementwise import exp
from .shape import broadcast_to, reshape
from .tensor import Array, Tensor, TensorLike, array_of, node, primitive

Axis: TypeAlias = int | tuple[int, ...] | None


@primitive
def sum(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = Σ x over the axes"""
    v = array_of(x)
    kept = _kept(v.shape, axis)
    y = np.sum(v, axis, keepdims=keepdims)
    return node("sum", y, (x, lambda g, y: broadcast_to(reshape(g, kept), v.shape)))


@primitive
def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = Σ x / n over the axes, where n is the number of elements summed. Raises ValueError if n = 0."""
    v = array_of(x)
    kept = _kept(v.shape, axis)
    n = math.prod(v.shape[i] for i in _axes(axis, v.ndim))
    if n == 0:
        raise ValueError(f"mean: expected at least one element along axis {axis}, got shape {v.shape}")
    y = np.mean(v, axis, keepdims=keepdims)
    return node("mean", y, (x, lambda g, y: broadcast_to(reshape(g / n, kept), v.shape)))


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
    kept = _kept(v.shape, axis)
    y = function(v, axis, keepdims=keepdims)

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        ties = v == y.value.reshape(kept)
        shares: Array = (ties / np.sum(ties, axis, keepdims=True)).astype(v.dtype)
        return reshape(g, kept) * shares

    return node(op, y, (x, vjp))


@primitive
def logsumexp(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = ln Σ eˣ over the axes; where all of x is −∞, y = −∞ with derivative 0.

    Example:
        >>> logsumexp([1000.0, 1000.0]).item()  # 1000 + ln 2
        1000.693147180...
    """
    v = _floating(x)
    kept = _kept(v.shape, axis)
    y = _finite_max(v, axis)
    with np.errstate(divide="ignore"):  # ln 0 = −∞ is correct where all of x is −∞, or x is empty
        y += np.log(np.sum(np.exp(v - y), axis, keepdims=True))
    y = y if keepdims else y.squeeze(axis)
    # softmax(x), not exp(x − y): near 10⁴, float32 has only three decimals left.
    return node("logsumexp", y, (x, lambda g, y: reshape(g, kept) * softmax(x, axis)))


@primitive
def log_softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """y = x − ln Σ eˣ along the axis: log-probabilities from logits"""
    v = _floating(x)
    y = v - _finite_max(v, axis)  # not v − ln Σ eᵛ, whose rounding error is relative to v
    with np.errstate(divide="ignore"):  # ln 0 if the axis is empty
        y -= np.log(np.sum(np.exp(y), axis, keepdims=True))
    return node("log_softmax", y, (x, lambda g, y: g - exp(y) * sum(g, axis, keepdims=True)))


@primitive
def softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """y = eˣ / Σ eˣ along the axis: probabilities from logits. Where all logits are −∞, y is 0 instead of NaN.

    Example:
        >>> softmax(np.log([1.0, 3.0])).value
        array([0.25, 0.75])
    """
    v = _floating(x)
    e = np.exp(v - _finite_max(v, axis))
    total = np.sum(e, axis, keepdims=True)
    y = e / np.where(total == 0, 1, total)
    return node("softmax", y, (x, lambda g, y: y * (g - sum(g * y, axis, keepdims=True))))


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    return tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim)


def _kept(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """Return the shape with length 1 for every reduced axis."""
    reduced = _axes(axis, len(shape))
    return tuple(1 if i in reduced else n for i, n in enumerate(shape))


def _floating(x: TensorLike) -> Array:
    v = array_of(x)
    return v if v.dtype.kind == "f" else v.astype(np.float64)


def _finite_max(v: Array, axis: Axis) -> Array:
    """Return the maximum along the axes, with length 1, or 0 where it is infinite, since ∞ − ∞ would be NaN."""
    top = np.max(v, axis, keepdims=True, initial=-np.inf)
    return np.where(np.isinf(top), 0, top).astype(v.dtype, copy=False)
