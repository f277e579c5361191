"""Operations that sum up an axis, and the stable forms of log-sum-exp.

`axis` is None (all), an int or a tuple; `keepdims` leaves a 1 in its place. Stable at ±10⁴: the largest entry is taken
out before anything is exponentiated.

Checked by: tests/autograd/test_primitives.py
"""

from __future__ import annotations

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
    """y = Σ x over the axis"""
    v = array_of(x)
    kept = _kept(v.shape, axis)
    y = np.sum(v, axis, keepdims=keepdims)
    return node("sum", y, (x, lambda g, y: broadcast_to(reshape(g, kept), v.shape)))


@primitive
def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = Σ x / n over the axis"""
    v = array_of(x)
    kept = _kept(v.shape, axis)
    n = math.prod(v.shape[i] for i in _axes(axis, v.ndim))
    if n == 0:
        raise ValueError(f"mean: nothing to take the mean of along axis {axis} of shape {v.shape}")
    y = np.mean(v, axis, keepdims=keepdims)
    return node("mean", y, (x, lambda g, y: broadcast_to(reshape(g / n, kept), v.shape)))


@primitive
def max(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = max x over the axis; entries that tie for it share its cotangent equally"""
    return _extremum("max", np.max, x, axis, keepdims)


@primitive
def min(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = min x over the axis; entries that tie for it share its cotangent equally"""
    return _extremum("min", np.min, x, axis, keepdims)


def _extremum(op: str, function: Callable[..., Any], x: TensorLike, axis: Axis, keepdims: bool) -> Tensor:
    v = array_of(x)
    kept = _kept(v.shape, axis)
    y = function(v, axis, keepdims=keepdims)

    def share(g: Tensor, y: Tensor) -> Tensor:
        ties = v == y.value.reshape(kept)
        shares: Array = (ties / np.sum(ties, axis, keepdims=True)).astype(v.dtype)
        return reshape(g, kept) * shares

    return node(op, y, (x, share))


@primitive
def logsumexp(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """y = ln Σ eˣ over the axis, −inf with derivative 0 where all of x is −inf"""
    v = _floating(x)
    kept = _kept(v.shape, axis)
    y = _finite_max(v, axis)
    with np.errstate(divide="ignore"):  # ln 0 = −inf is the right answer for a row of −inf, or an empty one
        y += np.log(np.sum(np.exp(v - y), axis, keepdims=True))
    y = y if keepdims else y.squeeze(axis)
    # Not exp(x − y): beside 10⁴, y has three digits left after the point in float32.
    return node("logsumexp", y, (x, lambda g, y: reshape(g, kept) * softmax(x, axis)))


@primitive
def log_softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """y = x − ln Σ eˣ along the axis: log-probabilities from logits"""
    v = _floating(x)
    y = v - _finite_max(v, axis)  # first: v − ln Σ eᵛ would round to the size of v
    with np.errstate(divide="ignore"):  # an empty axis
        y -= np.log(np.sum(np.exp(y), axis, keepdims=True))
    return node("log_softmax", y, (x, lambda g, y: g - exp(y) * sum(g, axis, keepdims=True)))


@primitive
def softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """y = eˣ / Σ eˣ along the axis: probabilities from logits; 0 where all of x is −inf, since nothing is possible"""
    v = _floating(x)
    e = np.exp(v - _finite_max(v, axis))
    total = np.sum(e, axis, keepdims=True)
    y = e / np.where(total == 0, 1, total)
    return node("softmax", y, (x, lambda g, y: y * (g - sum(g * y, axis, keepdims=True))))


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    return tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim)


def _kept(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """Give the shape with a 1 in place of every axis that is summed up."""
    gone = _axes(axis, len(shape))
    return tuple(1 if i in gone else n for i, n in enumerate(shape))


def _floating(x: TensorLike) -> Array:
    v = array_of(x)
    return v if v.dtype.kind == "f" else v.astype(np.float64)


def _finite_max(v: Array, axis: Axis) -> Array:
    """Take the maximum along an axis, or 0 where that is infinite, since inf − inf is no number."""
    top = np.max(v, axis, keepdims=True, initial=-np.inf)
    return np.where(np.isinf(top), 0, top).astype(v.dtype, copy=False)
