"""Shape and indexing operations. Each of these is the adjoint, and therefore the VJP, of its partner:

    sum_to / broadcast_to      index / scatter_add

The VJPs of reshape, squeeze and transpose are operations of the same kind; those of pad and concatenate are slices.

Checked by: tests/autograd/test_primitives.py
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import accumulate, pairwise
from operator import getitem
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..arguments import explained
from ..kernels.reductions import total
from .backward import IndexVJP
from .grad_mode import is_grad_enabled
from .operands import apply_numpy, as_integers, check_constant
from .taps.windows import as_int
from .tensor import VJP, Array, Axis, Tensor, TensorLike, array_of, node, primitive, value_of

Shape: TypeAlias = tuple[int, ...]


@primitive
def reshape(x: TensorLike, shape: int | Sequence[int]) -> Tensor:
    """Reshape x, keeping the order of its elements; one length may be −1 and is then inferred."""
    v, shape = array_of(x), as_integers("reshape", "shape", shape)
    return node("reshape", apply_numpy(np.reshape, [v], shape), (x, lambda g, y: reshape(g, v.shape)))


@primitive
def squeeze(x: TensorLike, axis: Axis = None) -> Tensor:
    """Remove axes of length 1: those in `axis`, by default all. Raises ValueError if one of them is longer."""
    v, axes = array_of(x), None if axis is None else as_integers("squeeze", "axis", axis)
    return node("squeeze", apply_numpy(np.squeeze, [v], axes), (x, lambda g, y: reshape(g, v.shape)))


@primitive
def transpose(x: TensorLike, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes of x: axis i of y is axis axes[i] of x. By default, reverse them."""
    v = array_of(x)
    if axes is None:
        return node("transpose", v.T, (x, lambda g, y: transpose(g)))
    axes = as_integers("transpose", "axes", axes)
    y = apply_numpy(np.transpose, [v], axes)

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        return transpose(g, np.argsort([axis % y.ndim for axis in axes]).tolist())

    return node("transpose", y, (x, vjp))


@primitive
def broadcast_to(x: TensorLike, shape: int | Shape) -> Tensor:
    """Broadcast x to a shape by NumPy's rules."""
    v, shape = array_of(x), as_integers("broadcast_to", "shape", shape)
    y = apply_numpy(np.broadcast_to, [v], shape)
    return node("broadcast_to", y, (x, lambda g, y: sum_to(g, v.shape)))


@primitive
def repeat(x: TensorLike, repeats: int | Sequence[int] | Array, axis: int | None = None) -> Tensor:
    """Repeat each element `repeats` times along the axis; by default, of the flattened x.

    Args:
        repeats: a number, or one for each element along the axis.

    Example:
        >>> repeat(Tensor([1.0, 2.0]), 2).value, repeat(Tensor([1.0, 2.0]), [0, 3]).value
        (array([1., 1., 2., 2.]), array([2., 2., 2.]))
    """
    if axis is None:
        return repeat(reshape(x, -1), repeats, 0)
    check_constant("repeat", repeats=repeats)
    shape = array_of(x).shape
    at = normalize_axis_index(as_int("repeat", "axis", axis), len(shape), "repeat")
    before, n, after = shape[:at], shape[at], shape[at + 1 :]
    counts = as_integers("repeat", "repeats", repeats)
    indices = apply_numpy(np.repeat, [np.arange(n)], repeats, op="repeat")
    if len(counts) != 1:
        return index(x, (*[slice(None)] * at, indices))
    (each,) = counts  # for equal numbers, broadcast_to and its VJP are faster
    y = broadcast_to(reshape(x, (*before, n, 1, *after)), (*before, n, each, *after))
    return reshape(y, (*before, n * each, *after))


@primitive
def sum_to(x: TensorLike, shape: int | Shape) -> Tensor:
    """Sum x over the axes along which `shape` broadcasts to the shape of x: the adjoint of broadcast_to."""
    v, shape = array_of(x), as_integers("sum_to", "shape", shape)
    lead = v.ndim - len(shape)
    stretched = [lead + i for i, (n, m) in enumerate(zip(shape, v.shape[max(lead, 0) :], strict=False)) if n != m]
    if lead < 0 or any(shape[i - lead] != 1 for i in stretched):
        raise ValueError(f"sum_to: shape: expected one that broadcasts to that of x, {v.shape}, got {tuple(shape)}")
    y = total(v, (*range(lead), *stretched)).reshape(shape)
    y = y.astype(v.dtype, copy=False) if v.dtype.kind == "f" else y
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
    unique = _selects_no_element_twice("index", key)
    if is_grad_enabled() and not unique:
        key = deepcopy(key)  # the caller may modify an index array before the backward pass
    y = apply_numpy(getitem, [v], key, op="index: key")

    vjp: VJP = lambda g, y: scatter_add(g, key, v.shape)
    return node("index", y, (x, IndexVJP(key, vjp) if unique else vjp))


@primitive
def scatter_add(x: TensorLike, key: Any, shape: Shape) -> Tensor:
    """y = 0; y[key] += x, where an element that the key selects twice receives both: the adjoint of index."""
    v, shape = array_of(x), as_integers("scatter_add", "shape", shape)
    unique = _selects_no_element_twice("scatter_add", key)
    y = np.zeros(shape, sum_dtype(v))
    if (selected := apply_numpy(getitem, [y], key, op="scatter_add: key").shape) != v.shape:
        got = f"{selected} from {shape} and {v.shape}"
        raise ValueError(f"scatter_add: x and key: expected x of the shape that key selects, got {got}")
    if unique:
        y[key] = v
    else:
        key = deepcopy(key) if is_grad_enabled() else key
        y = add_at(y, key, v)
    return node("scatter_add", y, (x, lambda g, y: index(g, key)))


def sum_dtype(v: Array) -> Any:
    """Return the dtype of sums of elements of v: integers and booleans are added in int64, as in np.sum."""
    return v.dtype if v.dtype.kind == "f" else np.result_type(v, np.int64)


def add_at(y: Array, key: Any, v: Array) -> Array:
    """Return y after y[key] += v, where the key may select an element many times: float32 is summed in float64."""
    if v.dtype.char not in "ef":
        np.add.at(y, key, v)
        return y
    wide = y.astype(np.float64)
    np.add.at(wide, key, v.astype(np.float64))
    return wide.astype(y.dtype)


def _selects_no_element_twice(op: str, key: Any) -> bool:
    """Return whether a key has no arrays, in which an index may be repeated. Raises TypeError if it has a Tensor."""
    unique = True
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, Tensor):
            got = "a Tensor; it has no derivative, use its .value"
            raise TypeError(f"{op}: key: expected integers or arrays, got {got}")
        unique &= part is None or part is Ellipsis or isinstance(part, (slice, int))
    return unique


@primitive
def pad(x: TensorLike, widths: Any) -> Tensor:
    """Pad x with zeros. The widths are those of np.pad: (before, after) for each axis, or one pair or integer for all.

    Example:
        >>> pad(Tensor([1.0, 2.0]), (1, 2)).value
        array([0., 1., 2., 0., 0.])
    """
    v = array_of(x)
    pairs = _pad_widths(widths, v.ndim)
    if not pairs:  # np.pad does not accept an empty list
        return reshape(x, ())
    inside = tuple(slice(before, before + n) for n, (before, _) in zip(v.shape, pairs, strict=True))
    return node("pad", apply_numpy(np.pad, [v], pairs), (x, lambda g, y: index(g, inside)))


def _pad_widths(widths: Any, ndim: int) -> list[tuple[int, int]]:
    """Return (before, after) for each axis, from any of the forms that np.pad accepts; a dict has axes as keys."""
    check_constant("pad", widths=widths)
    if isinstance(widths, dict):
        pairs = [(0, 0)] * ndim
        for axis, width in widths.items():
            pairs[normalize_axis_index(axis, ndim, "pad")] = _pad_widths(width, 1)[0]
        return pairs
    try:
        given = np.asarray(widths)
    except ValueError:  # sequences of different lengths
        given = np.empty(0)
    if given.dtype.kind not in "iu" or np.any(given < 0):
        raise ValueError(f"pad: widths: expected integers of at least 0, got {widths!r}")
    pairs = apply_numpy(np.broadcast_to, [given], (ndim, 2), op="pad: widths")
    return [(int(before), int(after)) for before, after in pairs]


@primitive
def concatenate(tensors: Iterable[TensorLike], axis: int = 0) -> Tensor:
    """Join tensors along an existing axis. See the example of `split`."""
    tensors, axis = list(tensors), as_int("concatenate", "axis", axis)
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
    axis = normalize_axis_index(as_int("split", "axis", axis), len(shape), "split")
    size = shape[axis]
    given = as_integers("split", "sections", sections)
    cuts = [0, *given, size]
    if np.ndim(sections) == 0:
        count = given[0]
        if count < 1 or size % count:
            raise ValueError(f"split: sections: expected a divisor of {size}, the length of axis {axis}, got {count}")
        cuts = [i * size // count for i in range(count + 1)]
    elif cuts != sorted(cuts):
        raise ValueError(f"split: sections: expected ascending indices from 0 to {size}, got {list(given)}")
    return [index(x, _slice_along(axis, start, stop, len(shape))) for start, stop in pairwise(cuts)]


def _slice_along(axis: int, start: int, stop: int, ndim: int) -> tuple[slice, ...]:
    key = [slice(None)] * ndim
    key[axis] = slice(start, stop)
    return tuple(key)


@explained
def stack(tensors: Iterable[TensorLike], axis: int = 0) -> Tensor:
    """Join tensors of equal shape along a new axis.

    Example:
        >>> stack([Tensor([1.0, 2.0]), np.zeros(2)], axis=1).shape
        (2, 2)
    """
    tensors = list(tensors)
    shapes = {np.shape(value_of(x)) for x in tensors}
    if len(shapes) != 1:
        raise ValueError(f"stack: tensors: expected one or more of equal shape, got shapes {sorted(shapes)}")
    shape = shapes.pop()
    at = normalize_axis_index(as_int("stack", "axis", axis), len(shape) + 1, "stack")
    return concatenate([reshape(x, (*shape[:at], 1, *shape[at:])) for x in tensors], at)
