"""Operations that move numbers and do not change them. They come in adjoint pairs, each the other's derivative:

    sum_to / broadcast_to      index / scatter_add      pad / crop      take_along_axis / put_along_axis

reshape, transpose and flip are undone by their own kind; concatenate hands each part its slice of the cotangent, and
split is a row of slices.

Checked by: tests/autograd/test_primitives.py
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from itertools import accumulate, pairwise
from operator import getitem
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..kernels.reductions import sum_rows
from .backward import IndexVJP
from .tensor import VJP, Array, Tensor, TensorLike, array_of, attempt, is_grad_enabled, node, primitive, value_of

Shape: TypeAlias = tuple[int, ...]


@primitive
def reshape(x: TensorLike, shape: int | Sequence[int]) -> Tensor:
    """y = x's numbers in the same order under another shape; one −1 is worked out"""
    v = array_of(x)
    return node("reshape", attempt("reshape", np.reshape, [v], shape), (x, lambda g, y: reshape(g, v.shape)))


@primitive
def transpose(x: TensorLike, axes: Sequence[int] | None = None) -> Tensor:
    """y[…] with axis i of y being axis axes[i] of x; without axes, all of them reversed"""
    v = array_of(x)
    if axes is None:
        return node("transpose", v.T, (x, lambda g, y: transpose(g)))
    y = attempt("transpose", np.transpose, [v], tuple(axes))
    back = np.argsort([axis % v.ndim for axis in axes]).tolist()
    return node("transpose", y, (x, lambda g, y: transpose(g, back)))


@primitive
def flip(x: TensorLike, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """y = x with the order along an axis reversed"""
    return node("flip", attempt("flip", np.flip, [array_of(x)], axis), (x, lambda g, y: flip(g, axis)))


@primitive
def broadcast_to(x: TensorLike, shape: Shape) -> Tensor:
    """y = x repeated to a shape by NumPy's rules"""
    v = array_of(x)
    y = attempt("broadcast_to", np.broadcast_to, [v], shape)
    return node("broadcast_to", y, (x, lambda g, y: sum_to(g, v.shape)))


@primitive
def sum_to(x: TensorLike, shape: Shape) -> Tensor:
    """y = x summed over the axes along which `shape` would be broadcast to x's shape: the adjoint of broadcast_to"""
    v = array_of(x)
    lead = v.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, v.shape[lead:], strict=True)):
        raise ValueError(f"sum_to: shape {tuple(shape)} does not broadcast to {v.shape}, the shape of x")
    stretched = tuple(i + lead for i, n in enumerate(shape) if n == 1 and v.shape[i + lead] != 1)
    if v.dtype == np.float32 and len(shape) == 1 and not stretched:  # the gradient of every bias
        y = sum_rows(v)
    else:
        y = v.sum(tuple(range(lead)) + stretched).reshape(shape)
    return node("sum_to", y, (x, lambda g, y: broadcast_to(g, v.shape)))


@primitive
def index(x: TensorLike, key: Any) -> Tensor:
    """y = x[key], with slices, integers, None, …, and integer or boolean arrays as in NumPy"""
    v = array_of(x)
    if any(isinstance(part, Tensor) for part in (key if isinstance(key, tuple) else (key,))):
        raise TypeError("index: a Tensor is no index, positions have no derivative; index with its .value")
    once = _names_each_place_once(key)
    if is_grad_enabled() and not once:
        key = deepcopy(key)  # an array of positions may be changed by its owner before the derivative is taken
    y = attempt("index", getitem, [v], key)

    rule: VJP = lambda g, y: scatter_add(g, key, v.shape)
    if once:
        rule = IndexVJP(key, rule)
    return node("index", y, (x, rule))


@primitive
def scatter_add(x: TensorLike, key: Any, shape: Shape) -> Tensor:
    """y = 0; y[key] += x, where a place that the key names twice gets both: the adjoint of index"""
    v = array_of(x)
    y = np.zeros(shape, v.dtype)
    if (needed := attempt("scatter_add", getitem, [y], key).shape) != v.shape:
        raise ValueError(f"scatter_add: x has shape {v.shape}, its place in shape {shape} at {key} has {needed}")
    if _names_each_place_once(key):
        y[key] += v
    else:
        key = deepcopy(key) if is_grad_enabled() else key
        np.add.at(y, key, v)
    return node("scatter_add", y, (x, lambda g, y: index(g, key)))


def _names_each_place_once(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is Ellipsis or isinstance(part, slice | int) for part in parts)


@primitive
def take_along_axis(x: TensorLike, positions: Array, axis: int) -> Tensor:
    """y[…, i, …] = x[…, positions[…, i, …], …]"""
    v, positions = array_of(x), positions.copy() if is_grad_enabled() else positions
    _check_along("take_along_axis", v.shape, positions, axis)
    y = attempt("take_along_axis", np.take_along_axis, [v, positions], axis)
    return node("take_along_axis", y, (x, lambda g, y: put_along_axis(g, positions, axis, v.shape)))


@primitive
def put_along_axis(x: TensorLike, positions: Array, axis: int, shape: Shape) -> Tensor:
    """y = 0; y[…, positions[…, i, …], …] += x[…, i, …]: the adjoint of take_along_axis"""
    v, positions = array_of(x), positions.copy() if is_grad_enabled() else positions
    _check_along("put_along_axis", shape, positions, axis)
    if v.shape != positions.shape:
        raise ValueError(f"put_along_axis: x of shape {v.shape} and positions of shape {positions.shape} must be equal")
    y = np.zeros(shape, v.dtype)
    if positions.shape[axis] == 1:
        np.put_along_axis(y, positions, v, axis)  # one position a row: nothing can meet, and it is much faster
    else:
        places: list[Array] = list(np.indices(positions.shape, sparse=True))
        places[axis] = positions
        np.add.at(y, tuple(places), v)
    return node("put_along_axis", y, (x, lambda g, y: take_along_axis(g, positions, axis)))


def _check_along(op: str, shape: Shape, positions: Array, axis: int) -> None:
    """NumPy would broadcast outside the axis; then a rule would not know which places share a cotangent."""
    at = normalize_axis_index(axis, len(shape), op)
    outside = [(*s[:at], *s[at + 1 :]) for s in (shape, positions.shape)]
    if len(shape) != positions.ndim or outside[0] != outside[1]:
        raise ValueError(f"{op}: positions {positions.shape} and shape {shape} must be equal outside axis {axis}")


@primitive
def pad(x: TensorLike, widths: Sequence[tuple[int, int]]) -> Tensor:
    """y = x with (before, after) zeros along each axis"""
    return node("pad", attempt("pad", np.pad, [array_of(x)], widths), (x, lambda g, y: crop(g, widths)))


@primitive
def crop(x: TensorLike, widths: Sequence[tuple[int, int]]) -> Tensor:
    """y = x without (before, after) numbers along each axis: the adjoint of pad"""
    v = array_of(x)
    if len(widths) != v.ndim or any(min(a, b, n - a - b) < 0 for n, (a, b) in zip(v.shape, widths, strict=True)):
        raise ValueError(f"crop: shape {v.shape} with {widths}: needs two widths ≥ 0 an axis, within its length")
    inside = tuple(slice(before, size - after) for size, (before, after) in zip(v.shape, widths, strict=True))
    return node("crop", v[inside], (x, lambda g, y: pad(g, widths)))


@primitive
def concatenate(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """y = the tensors one after another along an axis they already have"""
    values = [array_of(x) for x in tensors]
    y = attempt("concatenate", lambda *parts: np.concatenate(parts, axis), values)
    if not is_grad_enabled():
        return node("concatenate", y)
    ends = list(accumulate(v.shape[axis] for v in values))

    def part(i: int) -> Any:
        start, stop = ends[i] - values[i].shape[axis], ends[i]
        return lambda g, y: index(g, _along(axis, start, stop, y.ndim))

    return node("concatenate", y, *((x, part(i)) for i, x in enumerate(tensors)))


def split(x: TensorLike, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cut x along an axis into so many equal parts, or at these positions: the parts that concatenate puts together."""
    shape = array_of(x).shape
    size = shape[axis]
    if isinstance(sections, int):
        if sections < 1 or size % sections:
            raise ValueError(f"split: axis {axis} of shape {shape} has {size} entries, not a multiple of {sections}")
        cuts = list(range(0, size + 1, max(size // sections, 1))) if size else [0] * (sections + 1)
    else:
        cuts = [0, *sections, size]
        if cuts != sorted(cuts):
            raise ValueError(f"split: positions {list(sections)} do not ascend within 0…{size}")
    return [index(x, _along(axis, start, stop, len(shape))) for start, stop in pairwise(cuts)]


def _along(axis: int, start: int, stop: int, ndim: int) -> tuple[slice, ...]:
    key = [slice(None)] * ndim
    key[axis] = slice(start, stop)
    return tuple(key)


def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """y = the tensors, all of one shape, one after another along a new axis"""
    shapes = {np.shape(value_of(x)) for x in tensors}
    if len(shapes) != 1:
        raise ValueError(f"stack: needs one or more tensors of one shape, got shapes {sorted(shapes)}")
    shape = shapes.pop()
    at = normalize_axis_index(axis, len(shape) + 1)
    return concatenate([reshape(x, (*shape[:at], 1, *shape[at:])) for x in tensors], at)
