"""Products and solutions of linear systems.

Checked by: tests/autograd/test_primitives.py
"""

from __future__ import annotations

import math

import numpy as np

from ..kernels.product import product
from .elementwise import relu_vjp
from .shape import reshape, transpose
from .tensor import Array, Tensor, TensorLike, array_of, attempt, node, primitive, value_of


@primitive
def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """y = a b, with NumPy's rules: leading axes broadcast, a vector is a row on the left and a column on the right"""
    u, v = array_of(a), array_of(b)
    if not u.ndim or not v.ndim or u.shape[-1] != v.shape[-2 if v.ndim > 1 else 0]:
        raise ValueError(f"matmul: shapes {u.shape} and {v.shape} do not fit; (…, n, k) @ (…, k, m) needs one k")
    if v.ndim == 1:
        y = matmul(a, reshape(b, (-1, 1)))
        return reshape(y, y.shape[:-1])
    if u.ndim == 1:
        y = matmul(reshape(a, (1, -1)), b)
        return reshape(y, (*y.shape[:-2], y.shape[-1]))
    if u.ndim > 2 and v.ndim == 2:  # one tall product instead of many, forward and backward
        tall = math.prod(u.shape[:-1]), u.shape[-1]
        return reshape(matmul(reshape(a, tall), b), (*u.shape[:-1], v.shape[-1]))
    return node(
        "matmul",
        attempt("matmul", product, [u, v]),
        (a, lambda g, y: matmul(g, _swap(b))),
        (b, lambda g, y: matmul(_swap(a), g)),
    )


@primitive
def linear(x: TensorLike, w: TensorLike, b: TensorLike, relu: bool = False) -> Tensor:
    """y = x w + b in one pass; if `relu`, relu of that. Shapes: x (…, n), w (n, m), b (m,), y (…, m)"""
    u, v, c = array_of(x), array_of(w), array_of(b)
    if v.ndim != 2 or u.shape[-1:] != v.shape[:1] or c.shape != v.shape[1:]:
        raise ValueError(f"linear: x {u.shape}, w {v.shape} and b {c.shape} are not (…, n), (n, m) and (m,)")
    rows, n, m = math.prod(u.shape[:-1]), *v.shape
    y = node(
        "linear",
        product(u.reshape(rows, n), v, c, relu).reshape(*u.shape[:-1], m),
        (x, lambda g, y: matmul(g, transpose(w))),
        (w, lambda g, y: matmul(transpose(_tall(x)), _tall(g))),
        (b, lambda g, y: g),
    )
    # No rule above reads its output, so the node of x w + b may hold the value of the one that follows it.
    return node("relu", y.value, (y, relu_vjp)) if relu else y


def _tall(x: TensorLike) -> TensorLike:
    """x with all axes but the last as one."""
    *axes, last = array_of(x).shape
    return x if len(axes) == 1 else reshape(x, (math.prod(axes), last))


@primitive
def inv(x: TensorLike) -> Tensor:
    """y = x⁻¹. Shapes: x, y (…, n, n). Raises ValueError if a matrix is singular."""
    y = attempt("inv", np.linalg.inv, [x])
    return node("inv", y, (x, lambda g, y: -matmul(matmul(_swap(y), g), _swap(y))))


@primitive
def solve(a: TensorLike, b: TensorLike) -> Tensor:
    """y with a y = b. Shapes: a (…, n, n), b and y (…, n, m). Raises ValueError if a matrix is singular."""
    u, v = array_of(a), array_of(b)
    if u.ndim < 2 or v.ndim < 2 or u.shape[-1] != v.shape[-2]:
        raise ValueError(f"solve: shapes {u.shape} and {v.shape} do not fit; they are (…, n, n) and (…, n, m)")
    y = attempt("solve", np.linalg.solve, [u, v])
    return node(
        "solve", y, (a, lambda g, y: -matmul(solve(_swap(a), g), _swap(y))), (b, lambda g, y: solve(_swap(a), g))
    )


def slogdet(x: TensorLike) -> tuple[Array, Tensor]:
    """Sign (a constant) and ln|det x|. Shapes: x (…, n, n), both results (…). Raises ValueError if singular."""
    return _slogdet("slogdet", x)


@primitive
def logabsdet(x: TensorLike) -> Tensor:
    """y = ln|det x|. Shapes: x (…, n, n), y (…). Raises ValueError if a matrix is singular."""
    return _slogdet("logabsdet", x)[1]


def _slogdet(name: str, x: TensorLike) -> tuple[Array, Tensor]:
    sign, y = attempt(name, np.linalg.slogdet, [x])
    if np.any(sign == 0):
        raise ValueError(f"{name}: a matrix of x, shape {np.shape(value_of(x))}, is singular")
    return sign, node("logabsdet", y, (x, lambda g, y: reshape(g, (*g.shape, 1, 1)) * _swap(inv(x))))


def _swap(x: TensorLike) -> Tensor:
    """Transpose the last two axes."""
    ndim = np.ndim(value_of(x))
    return transpose(x, (*range(ndim - 2), ndim - 1, ndim - 2))
