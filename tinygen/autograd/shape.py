"""Shape and indexing operations. Each of these is the adjoint, and therefore the VJP, of its partner:

    sum_to / broadcast_to      index / scatter_add      take_along_axis / put_along_axis

The VJPs of reshape and transpose are operations of the same kind; those of pad and concatenate are slices.

Checked by: tests/autograd/test_primitives.py
"""

from collections.abc import Sequence
from copy import deepcopy
from itertools import accumulate, pairwise
from operator import getitem
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..arguments import explained
from ..kernels.reductions import sum_rows
from .backward import IndexVJP
from .tensor import VJP, Array, Tensor, TensorLike, apply_numpy, array_of, is_grad_enabled, node, primitive, value_of

Shape: TypeAlias = tuple[int, ...]


@primitive
def reshape(x: TensorLike, shape: int | Sequence[int]) -> Tensor:
    """Reshape x, keeping the order of its elements; one length may be −1 and is then inferred."""
    v = array_of(x)
    return node("reshape", apply_numpy(np.reshape, [v], shape), (x, lambda g, y: reshape(g, v.shape)))


@primitive
def transpose(x: TensorLike, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes of x: axis i of y is axis axes[i] of x. By default, reverse them."""
    v = array_of(x)
    if axes is None:
        return node("transpose", v.T, (x, lambda g, y: transpose(g)))
    y = apply_numpy(np.transpose, [v], tuple(axes))
    inverse = np.argsort([axis % v.ndim for axis in axes]).tolist()
    return node("transpose", y, (x, lambda g, y: transpose(g, inverse)))


@primitive
def broadcast_to(x: TensorLike, shape: Shape) -> Tensor:
    """Broadcast x to a shape by NumPy's rules."""
    v = array_of(x)
    y = apply_numpy(np.broadcast_to, [v], shape)
    return node("broadcast_to", y, (x, lambda g, y: sum_to(g, v.shape)))


@primitive
def sum_to(x: TensorLike, shape: Shape) -> Tensor:
    """Sum x over the axes along which `shape` broadcasts to the shape of x: the adjoint of broadcast_to."""
    v = array_of(x)
    lead = v.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, v.shape[lead:], strict=True)):
        raise ValueError(f"sum_to: expected a shape that broadcasts to {v.shape}, the shape of x, got {tuple(shape)}")
    stretched = tuple(i + lead for i, n in enumerate(shape) if n == 1 and v.shape[i + lead] != 1)
    if v.dtype == np.float32 and len(shape) == 1 and not stretched:  # the gradient of every bias
        y = sum_rows(v)
    else:
        y = v.sum(tuple(range(lead)) + stretched).reshape(shape)
    return node("sum_to", y, (x, lambda g, y: broadcast_to(g, v.shape)))


@primitive
def index(x: TensorLike, key: Any) -> Tensor:
    """y = x[key], where the key may contain slices, integers, None, … and integer or boolean arrays, as in NumPy.

    Raises: IndexError if an index is out of bounds; TypeError if the key contains a Tensor.

    Example:
        >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> x[:, 1].value, x[[0, 0], [1, 1]].value
        (array([2., 4.]), array([2., 2.]))
    """
    v = array_of(x)
    if any(isinstance(part, Tensor) for part in (key if isinstance(key, tuple) else (key,))):
        raise TypeError("index: expected integers or arrays, got a Tensor; indices have no derivative, use its .value")
    unique = _selects_no_element_twice(key)
    if is_grad_enabled() and not unique:
        key = deepcopy(key)  # the caller may modify an index array before the backward pass
    y = apply_numpy(getitem, [v], key, op="index")

    vjp: VJP = lambda g, y: scatter_add(g, key, v.shape)
    return node("index", y, (x, IndexVJP(key, vjp) if unique else vjp))


@primitive
def scatter_add(x: TensorLike, key: Any, shape: Shape) -> Tensor:
    """y = 0; y[key] += x, where an element that the key selects twice receives both: the adjoint of index."""
    v = array_of(x)
    y = np.zeros(shape, v.dtype)
    if (selected := apply_numpy(getitem, [y], key, op="scatter_add").shape) != v.shape:
        raise ValueError(f"scatter_add: expected x of shape {selected}, as {key} selects from {shape}, got {v.shape}")
    if _selects_no_element_twice(key):
        y[key] += v
    else:
        key = deepcopy(key) if is_grad_enabled() else key
        np.add.at(y, key, v)
    return node("scatter_add", y, (x, lambda g, y: index(g, key)))


def _selects_no_element_twice(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is Ellipsis or isinstance(part, slice | int) for part in parts)


@primitive
def take_along_axis(x: TensorLike, indices: Array, axis: int) -> Tensor:
    """y[…, i, …] = x[…, indices[…, i, …], …], where i is the index along `axis`.

    Example:
        >>> take_along_axis(Tensor([[1.0, 2.0], [3.0, 4.0]]), np.array([[1], [0]]), axis=1).value
        array([[2.],
               [3.]])
    """
    v, indices = array_of(x), indices.copy() if is_grad_enabled() else indices
    _check_indices("take_along_axis", v.shape, indices, axis)
    y = apply_numpy(np.take_along_axis, [v, indices], axis)
    return node("take_along_axis", y, (x, lambda g, y: put_along_axis(g, indices, axis, v.shape)))


@primitive
def put_along_axis(x: TensorLike, indices: Array, axis: int, shape: Shape) -> Tensor:
    """y = 0; y[…, indices[…, i, …], …] += x[…, i, …]: the adjoint of take_along_axis."""
    v, indices = array_of(x), indices.copy() if is_grad_enabled() else indices
    _check_indices("put_along_axis", shape, indices, axis)
    if v.shape != indices.shape:
        raise ValueError(f"put_along_axis: expected x of the shape of indices, {indices.shape}, got {v.shape}")
    y = np.zeros(shape, v.dtype)
    if indices.shape[axis] == 1:
        np.put_along_axis(y, indices, v, axis)  # much faster, and correct as no element is written twice
    else:
        places: list[Array] = list(np.indices(indices.shape, sparse=True))
        places[axis] = indices
        np.add.at(y, tuple(places), v)
    return node("put_along_axis", y, (x, lambda g, y: take_along_axis(g, indices, axis)))


def _check_indices(op: str, shape: Shape, indices: Array, axis: int) -> None:
    """Reject indices that NumPy would broadcast along other axes, since the VJP does not undo that."""
    at = normalize_axis_index(axis, len(shape), op)
    others = [(*s[:at], *s[at + 1 :]) for s in (shape, indices.shape)]
    if len(shape) != indices.ndim or others[0] != others[1]:
        raise ValueError(f"{op}: expected indices of shape {shape} except along axis {axis}, got {indices.shape}")


@primitive
def pad(x: TensorLike, widths: Sequence[tuple[int, int]]) -> Tensor:
    """Pad x with zeros: widths[i] = (before, after) is the width of the padding along axis i."""
    v = array_of(x)
    y = apply_numpy(np.pad, [v], widths)
    inside = tuple(slice(before, before + n) for n, (before, _) in zip(v.shape, widths, strict=True))
    return node("pad", y, (x, lambda g, y: index(g, inside)))


@primitive
def concatenate(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Join tensors along an existing axis. See the example of `split`."""
    values = [array_of(x) for x in tensors]
    y = apply_numpy(lambda *parts: np.concatenate(parts, axis), values, op="concatenate")
    if not is_grad_enabled():
        return node("concatenate", y)
    stops = list(accumulate(v.shape[axis] for v in values))

    def vjp(start: int, stop: int) -> VJP:
        return lambda g, y: index(g, _slice_along(axis, start, stop, y.ndim))

    return node("concatenate", y, *zip(tensors, map(vjp, [0, *stops], stops), strict=True))


@explained
def split(x: TensorLike, sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Split x along an axis: the inverse of concatenate.

    Args:
        sections: the number of equal parts, or the indices at which to split, in ascending order.

    Raises: ValueError if x cannot be divided into equal parts, or the indices are not ascending or out of range.

    Example:
        >>> a, b = split(Tensor([1.0, 2.0, 3.0]), [2])
        >>> a.value, concatenate([b, a]).value
        (array([1., 2.]), array([3., 1., 2.]))
    """
    shape = array_of(x).shape
    size = shape[axis]
    if isinstance(sections, int):
        if sections < 1 or size % sections:
            raise ValueError(f"split: expected a divisor of {size}, the length of axis {axis}, got {sections}")
        cuts = [i * size // sections for i in range(sections + 1)]
    else:
        cuts = [0, *sections, size]
        if cuts != sorted(cuts):
            raise ValueError(f"split: expected ascending indices from 0 to {size}, got {list(sections)}")
    return [index(x, _slice_along(axis, start, stop, len(shape))) for start, stop in pairwise(cuts)]


def _slice_along(axis: int, start: int, stop: int, ndim: int) -> tuple[slice, ...]:
    key = [slice(None)] * ndim
    key[axis] = slice(start, stop)
    return tuple(key)


@explained
def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Join tensors of equal shape along a new axis.

    Example:
        >>> stack([Tensor([1.0, 2.0]), np.zeros(2)], axis=1).shape
        (2, 2)
    """
    shapes = {np.shape(value_of(x)) for x in tensors}
    if len(shapes) != 1:
        raise ValueError(f"stack: expected one or more tensors of equal shape, got shapes {sorted(shapes)}")
    shape = shapes.pop()
    at = normalize_axis_index(axis, len(shape) + 1)
    return concatenate([reshape(x, (*shape[:at], 1, *shape[at:])) for x in tensors], at)
