"""Operations along one axis: take and put by indices, sort, and cumulative sums and products.

take_along_axis and put_along_axis are adjoint, so each is the VJP of the other.

Checked by: tests/autograd/test_primitives.py, tests/autograd/test_along_axis.py
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..kernels.recurrence import linear_recurrence
from .elementwise import astype
from .grad_mode import is_grad_enabled
from .operands import apply_numpy, as_integers, check_constant, real
from .shape import Shape, add_at, concatenate, index, reshape, sum_dtype, transpose
from .taps.windows import as_int
from .tensor import Array, Tensor, TensorLike, array_of, node, primitive


@primitive
def take_along_axis(x: TensorLike, indices: Array, axis: int) -> Tensor:
    """y[…, i, …] = x[…, indices[…, i, …], …], where i is the index along `axis`.

    Example:
        >>> take_along_axis(Tensor([[1.0, 2.0], [3.0, 4.0]]), np.array([[1], [0]]), axis=1).value
        array([[2.],
               [3.]])
    """
    v = array_of(x)
    indices, axis = _check_indices("take_along_axis", v.shape, indices, axis)
    y = apply_numpy(np.take_along_axis, [v, indices], axis)
    return node("take_along_axis", y, (x, lambda g, y: put_along_axis(g, indices, axis, v.shape)))


@primitive
def put_along_axis(x: TensorLike, indices: Array, axis: int, shape: Shape) -> Tensor:
    """y = 0; y[…, indices[…, i, …], …] += x[…, i, …]: the adjoint of take_along_axis."""
    v, shape = array_of(x), as_integers("put_along_axis", "shape", shape)
    indices, axis = _check_indices("put_along_axis", shape, indices, axis)
    if v.shape != indices.shape:
        raise ValueError(f"put_along_axis: x: expected the shape of indices, {indices.shape}, got {v.shape}")
    y = np.zeros(shape, sum_dtype(v))
    if indices.shape[axis] == 1:
        np.put_along_axis(y, indices, v, axis)  # much faster, and correct as no element is written twice
    else:
        places: list[Array] = list(np.indices(indices.shape, sparse=True))
        places[axis] = indices
        y = add_at(y, tuple(places), v)
    return node("put_along_axis", y, (x, lambda g, y: take_along_axis(g, indices, axis)))


def _check_indices(op: str, shape: Shape, indices: Any, axis: int) -> tuple[Array, int]:
    """Return the indices, copied if the backward pass needs them, and the axis counted from the front.

    Reject indices that NumPy would broadcast along other axes, since the VJP does not undo that.
    """
    check_constant(op, indices=indices)
    indices = np.array(indices) if is_grad_enabled() else np.asarray(indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{op}: indices: expected integers, got dtype {indices.dtype}")
    at = normalize_axis_index(as_int(op, "axis", axis), len(shape), op)
    others = [(*s[:at], *s[at + 1 :]) for s in (shape, indices.shape)]
    if len(shape) != indices.ndim or others[0] != others[1]:
        raise ValueError(f"{op}: indices: expected shape {shape} except along axis {axis}, got {indices.shape}")
    if indices.size and not -shape[at] <= indices.min() <= indices.max() < shape[at]:
        got = f"{indices.min()}…{indices.max()}"
        raise IndexError(f"{op}: indices: expected {-shape[at]}…{shape[at] - 1} along axis {axis}, got {got}")
    return indices, at


@primitive
def sort(x: TensorLike, axis: int | None = -1) -> Tensor:
    """Sort x along the axis in ascending order, NaN last; with axis=None, the flattened x.

    The derivative is that of the permutation. Equal elements keep their order (the sort is stable).
    """
    if axis is None:
        return sort(reshape(x, -1))
    v = real("sort", x)
    at = normalize_axis_index(as_int("sort", "axis", axis), v.ndim, "sort")
    order = np.argsort(v, at, kind="stable")
    y = np.take_along_axis(v, order, at)
    return node("sort", y, (x, lambda g, y: take_along_axis(g, np.argsort(order, at), at)))


@primitive
def cumsum(x: TensorLike, axis: int | None = None) -> Tensor:
    """yᵢ = Σⱼ xⱼ over j ≤ i along the axis; by default, of the flattened x.

    Example:
        >>> cumsum(Tensor([1.0, 2.0, 3.0])).value
        array([1., 3., 6.])
    """
    return _along_last("cumsum", _cumsum, x, axis)


def _cumsum(x: TensorLike) -> Tensor:
    return node("cumsum", accumulated("cumsum", np.cumsum, x), (x, lambda g, y: reverse(_cumsum(reverse(g)))))


@primitive
def cumprod(x: TensorLike, axis: int | None = None) -> Tensor:
    """yᵢ = Πⱼ xⱼ over j ≤ i along the axis; by default, of the flattened x. Derivatives are exact where x is 0.

        x̄ₖ = yₖ₋₁ λₖ,   λₖ = ȳₖ + xₖ₊₁ λₖ₊₁

    Example:
        >>> cumprod(Tensor([2.0, 3.0, 0.0])).value
        array([2., 6., 0.])
    """
    return _along_last("cumprod", _cumprod, x, axis)


def _cumprod(x: TensorLike) -> Tensor:
    def vjp(g: Tensor, y: Tensor) -> Tensor:
        wide = astype(
            x, np.float64
        )  # terms of the adjoint may overflow in float32, where their product with y does not
        return astype(earlier(_cumprod(wide), 1) * _adjoint_recurrence(wide, astype(g, np.float64)), g.dtype)

    return node("cumprod", accumulated("cumprod", np.cumprod, x), (x, vjp))


def _along_last(op: str, f: Callable[[TensorLike], Tensor], x: TensorLike, axis: int | None) -> Tensor:
    """Apply f, an operation along the last axis, along another axis; along the flattened x for None."""
    if axis is None:
        return f(reshape(x, -1))
    axes = list(range(array_of(x).ndim))
    at = normalize_axis_index(as_int(op, "axis", axis), len(axes), op)
    if at == len(axes) - 1:
        return f(x)
    axes[at], axes[-1] = axes[-1], axes[at]
    return transpose(f(transpose(x, axes)), axes)  # exchanging two axes twice restores their order


def accumulated(op: str, function: Callable[..., Array], x: TensorLike) -> Array:
    """Accumulate along the last axis: float16 and float32 in float64, as one rounding for each element would add up."""
    v = real(op, x)
    return function(v, -1, np.float64).astype(v.dtype) if v.dtype.char in "ef" else function(v, -1)


def _recurrence(a: TensorLike, b: TensorLike) -> Tensor:
    """yᵢ = aᵢ yᵢ₋₁ + bᵢ along the last axis, with y₋₁ = 0."""
    return node(
        "recurrence",
        linear_recurrence(array_of(a), array_of(b)),
        (a, lambda g, y: earlier(y, 0) * _adjoint_recurrence(a, g)),
        (b, lambda g, y: _adjoint_recurrence(a, g)),
    )


def _adjoint_recurrence(a: TensorLike, g: Tensor) -> Tensor:
    """λₖ = gₖ + aₖ₊₁ λₖ₊₁: the same recurrence, from the last element to the first."""
    return reverse(_recurrence(earlier(reverse(a), 0), reverse(g)))


def earlier(x: TensorLike, first: float) -> Tensor:
    """y₀ = first, yᵢ = xᵢ₋₁ along the last axis."""
    v = array_of(x)
    front = np.full((*v.shape[:-1], 1), first, v.dtype)
    return index(concatenate([front, x], -1), (..., slice(v.shape[-1])))


def reverse(x: TensorLike) -> Tensor:
    """Reverse the last axis."""
    return index(x, (..., slice(None, None, -1)))
