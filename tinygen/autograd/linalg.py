"""Matrix products, inverses, linear systems, determinants and Cholesky factors.

Checked by: tests/autograd/test_primitives.py
"""

import math

import numpy as np

from ..kernels.product import product
from .elementwise import relu_vjp
from .operands import apply_numpy, floating, real
from .shape import reshape, transpose
from .tensor import Tensor, TensorLike, array_of, node, primitive, value_of


@primitive
def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """y = a b, as np.matmul: leading axes broadcast; a vector is a row on the left and a column on the right."""
    u, v = array_of(a), array_of(b)
    if not u.ndim or not v.ndim or u.shape[-1] != v.shape[-2 if v.ndim > 1 else 0]:
        raise ValueError(f"matmul: expected shapes (…, n, k) and (…, k, m), got {u.shape} and {v.shape}")
    if v.ndim == 1:
        y = matmul(a, reshape(b, (-1, 1)))
        return reshape(y, y.shape[:-1])
    if u.ndim == 1:
        y = matmul(reshape(a, (1, -1)), b)
        return reshape(y, (*y.shape[:-2], y.shape[-1]))
    if u.ndim > 2 and v.ndim == 2:  # one tall product instead of many, forward and backward
        return reshape(matmul(_as_rows(a), b), (*u.shape[:-1], v.shape[-1]))
    return node(
        "matmul",
        apply_numpy(product, [u, v], op="matmul"),
        (a, lambda g, y: matmul(g, _swap(b))),
        (b, lambda g, y: matmul(_swap(a), g)),
    )


@primitive
def linear(
    x: TensorLike, w: TensorLike, b: TensorLike, relu: bool = False, residual: TensorLike | None = None
) -> Tensor:
    """Affine map y = residual + x w + b; with `relu`, max(y, 0). One pass over memory, if the residual has y's shape.

    Shapes: x (…, n), w (n, m), b (m,), y (…, m); residual broadcasts to y.

    Example:
        >>> linear(np.ones((4, 2)), Tensor([[1.0], [2.0]]), Tensor([3.0])).value.ravel()
        array([6., 6., 6., 6.])
    """
    u, v, c = array_of(x), array_of(w), array_of(b)
    if v.ndim != 2 or u.shape[-1:] != v.shape[:1] or c.shape != v.shape[1:]:
        wrong = "w" if v.ndim != 2 else "b" if c.shape != v.shape[1:] else "x"
        got = f"{u.shape}, {v.shape} and {c.shape}"
        raise ValueError(f"linear: {wrong}: expected shapes (…, n), (n, m) and (m,) of x, w and b, got {got}")
    rows, n, m = math.prod(u.shape[:-1]), *v.shape
    shape = (*u.shape[:-1], m)
    added = None
    if residual is not None:
        r = real("linear: residual", residual)
        # A Python number does not take part in promotion (NEP 50).
        r = r.astype(np.result_type(u, v, c, residual)) if type(residual) in (float, int) else r
        added = apply_numpy(np.broadcast_to, [r], shape, op="linear: residual").reshape(rows, m)
    y = node(
        "linear",
        product(u.reshape(rows, n), v, c, relu, added).reshape(shape),
        (x, lambda g, y: matmul(g, transpose(w))),
        (w, lambda g, y: matmul(transpose(_as_rows(x)), _as_rows(g))),
        (b, lambda g, y: g),
        (residual, lambda g, y: g),
    )
    # None of these VJPs reads its output, so this node may store relu(x w + b) instead of x w + b.
    return node("relu", y.value, (y, relu_vjp)) if relu else y


def _as_rows(x: TensorLike) -> TensorLike:
    """Reshape x to a matrix by flattening all axes but the last."""
    *axes, last = array_of(x).shape
    return x if len(axes) == 1 else reshape(x, (math.prod(axes), last))


@primitive
def inv(x: TensorLike) -> Tensor:
    """y = x⁻¹. Shapes: x, y (…, n, n). Raises ValueError if a matrix is singular."""
    y = apply_numpy(np.linalg.inv, [floating("inv", x)])
    return node("inv", y, (x, lambda g, y: -matmul(matmul(_swap(y), g), _swap(y))))


@primitive
def solve(a: TensorLike, b: TensorLike) -> Tensor:
    """Solve a y = b for y. Shapes: a (…, n, n); b, y (…, n, m). Raises ValueError if a matrix is singular."""
    u, v = floating("solve", a), floating("solve", b)
    if u.ndim < 2 or v.ndim < 2 or u.shape[-1] != v.shape[-2]:
        raise ValueError(f"solve: expected shapes (…, n, n) and (…, n, m), got {u.shape} and {v.shape}")
    y = apply_numpy(np.linalg.solve, [u, v])
    return node(
        "solve", y, (a, lambda g, y: -matmul(solve(_swap(a), g), _swap(y))), (b, lambda g, y: solve(_swap(a), g))
    )


@primitive
def logabsdet(x: TensorLike) -> Tensor:
    """y = ln|det x|. Shapes: x (…, n, n), y (…). Raises ValueError if a matrix is singular."""
    sign, y = apply_numpy(np.linalg.slogdet, [floating("logabsdet", x)], op="logabsdet")
    if np.any(sign == 0):
        raise ValueError(f"logabsdet: expected invertible matrices, got a singular one in x {np.shape(value_of(x))}")
    return node("logabsdet", y, (x, lambda g, y: reshape(g, (*g.shape, 1, 1)) * _swap(inv(x))))


@primitive
def cholesky(x: TensorLike, upper: bool = False) -> Tensor:
    """The lower triangular y with x = y yᵀ; with `upper`, its transpose. Shapes: x, y (…, n, n).

    x is replaced by ½ (x + xᵀ), so its cotangent is symmetric. Raises ValueError if x is not positive definite.

    Source: Murray, "Differentiation of the Cholesky decomposition", 2016, eq. 10.
    """
    v = floating("cholesky", x)
    if v.ndim < 2 or v.shape[-1] != v.shape[-2]:
        raise ValueError(f"cholesky: expected shape (…, n, n), got {v.shape}")
    y = apply_numpy(np.linalg.cholesky, [v + (v.swapaxes(-1, -2) - v) / 2])  # v + vᵀ may overflow
    lower_half = np.tril(np.ones(v.shape[-2:], y.dtype)) - np.eye(v.shape[-1], dtype=y.dtype) / 2

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        transposed = _swap(y)
        p = solve(transposed, lower_half * matmul(transposed, g))
        p = solve(transposed, _swap(p))  # (y⁻ᵀ Φ(yᵀ g) y⁻¹)ᵀ, where Φ halves the diagonal and drops what is above
        return (p + _swap(p)) / 2

    lower = node("cholesky", y, (x, vjp))
    return _swap(lower) if upper else lower


def _swap(x: TensorLike) -> Tensor:
    """Transpose the last two axes."""
    ndim = np.ndim(value_of(x))
    return transpose(x, (*range(ndim - 2), ndim - 1, ndim - 2))
