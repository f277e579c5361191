"""The three convolutions: the partial derivatives of one trilinear form.

    ⟨x, W, y⟩ = Σₚ Σₜ ⟨y(p), x(s·p + oₜ) Wₜ⟩          x is zero-padded; s is the stride, oₜ the offset of tap t

    conv(x, W)(p)           = Σₜ x(s·p + oₜ) Wₜ                    ∂/∂y
    conv_transpose(y, W)(q) = Σ_{p, t : s·p + oₜ = q} y(p) Wₜᵀ     ∂/∂x
    conv_weight(x, y)ₜ      = Σₚ x(s·p + oₜ)ᵀ y(p)                 ∂/∂W

The form is linear in each argument, so the derivatives of each of the three are the other two: they are closed under
differentiation. tinygen/kernels/reference.py defines all three in NumPy.

Shapes: images x (N, H, W, C_in), y (N, H′, W′, C_out); sequences x (N, T, C_in), y (N, T′, C_out); weights
(taps, C_in, C_out). The result has the dtype to which NumPy promotes the floating-point operands, at least float32.
Raises: ValueError if shapes do not match.
Checked by: tests/autograd/test_conv.py
"""

import numpy as np

from ..kernels import convolution as kernels
from .backward import AddingVJP
from .elementwise import relu_vjp
from .operands import as_integers, real
from .taps import Taps
from .taps.windows import as_int, as_taps
from .tensor import Array, Tensor, TensorLike, node, primitive

Size = tuple[int, ...]


@primitive
def conv(
    x: TensorLike, w: TensorLike, taps: Taps, stride: int = 1, size: Size | None = None,
    residual: TensorLike = 0.0, bias: TensorLike = 0.0, relu: bool = False,
) -> Tensor:  # fmt: skip
    """Convolution: y(p) = residual + bias + Σₜ x(s·p + oₜ) Wₜ; with `relu`, max(y, 0).

    Args:
        taps: the offsets oₜ; see `taps`.
        stride: s, in pixels of x.
        size: spatial size of y, by default ⌈size of x / s⌉.
        residual: added to y, to which it broadcasts.
        bias: added to y, of shape (C_out,).

    Example:
        >>> x, w = np.ones((1, 4, 1)), np.ones((2, 1, 1))
        >>> conv(x, w, taps=((-1,), (0,))).value.ravel()  # x(t − 1) + x(t)
        array([1., 2., 2., 2.])
    """
    u, v, p, b = _operands("conv", x, w, residual, bias)
    taps, stride = _geometry("conv", taps, stride)
    x_size = u.shape[1:-1]
    y_size = tuple(-(-n // stride) for n in x_size) if size is None else as_integers("conv", "size", size)
    y = node(
        "conv",
        kernels.conv(u, v, taps, stride, y_size, *_terms(p, b), relu),
        (x, AddingVJP(lambda g, y, total=0.0: conv_transpose(g, w, taps, stride, x_size, total))),
        (w, lambda g, y: conv_weight(x, g, taps, stride)),
        (residual, lambda g, y: g),
        (bias, lambda g, y: g),
    )
    # None of these VJPs reads its output, so this node may store the value after relu.
    return node("relu", y.value, (y, relu_vjp)) if relu else y


@primitive
def conv_transpose(
    y: TensorLike, w: TensorLike, taps: Taps, stride: int = 1, size: Size | None = None,
    residual: TensorLike = 0.0, bias: TensorLike = 0.0,
) -> Tensor:  # fmt: skip
    """Transposed convolution: x(q) = residual + bias + Σ y(p) Wₜᵀ over all p, t with s·p + oₜ = q.

    This is the adjoint of `conv` in x, with the same arguments and the same w (taps, C_in, C_out). `size` is the
    spatial size of x, by default s · size of y; the bias has shape (C_in,).
    """
    u, v, p, b = _operands("conv_transpose", y, w, residual, bias)
    taps, stride = _geometry("conv_transpose", taps, stride)
    y_size = u.shape[1:-1]
    x_size = tuple(n * stride for n in y_size) if size is None else as_integers("conv_transpose", "size", size)
    return node(
        "conv_transpose",
        kernels.conv_transpose(u, v, taps, stride, x_size, *_terms(p, b)),
        (y, AddingVJP(lambda g, x, total=0.0: conv(g, w, taps, stride, y_size, total))),
        (w, lambda g, x: conv_weight(g, y, taps, stride)),
        (residual, lambda g, x: g),
        (bias, lambda g, x: g),
    )


@primitive
def conv_weight(x: TensorLike, y: TensorLike, taps: Taps, stride: int = 1) -> Tensor:
    """Correlation of x and y at each tap: Wₜ = Σₚ x(s·p + oₜ)ᵀ y(p), the adjoint of conv in the weights."""
    u, v = _operands("conv_weight", x, y)
    taps, stride = _geometry("conv_weight", taps, stride)
    x_size, y_size = u.shape[1:-1], v.shape[1:-1]
    return node(
        "conv_weight",
        kernels.conv_weight(u, v, taps, stride),
        (x, lambda g, w: conv_transpose(y, g, taps, stride, x_size)),
        (y, lambda g, w: conv(x, g, taps, stride, y_size)),
    )


def _geometry(name: str, taps: Taps, stride: int) -> tuple[Taps, int]:
    """Return the taps as tuples of int, and the stride as an int."""
    stride = as_int(name, "stride", stride)
    if not 1 <= stride <= 1 << 31:
        raise ValueError(f"{name}: stride: expected an integer from 1 to 2**31, got {stride}")
    return as_taps(name, taps), stride


def _operands(name: str, *operands: TensorLike) -> list[Array]:
    """Return the operands as arrays of one floating-point dtype."""
    values = [real(name, operand) for operand in operands]
    # A Python float, such as the default residual, does not take part in promotion (NEP 50).
    typed = [v.dtype for v, x in zip(values, operands, strict=True) if v.dtype.kind == "f" and type(x) is not float]
    dtype = np.result_type(np.float32, *typed)
    return [v.astype(dtype, copy=False) for v in values]


def _terms(residual: Array, bias: Array) -> tuple[Array | None, Array | None]:
    """Replace a term that is the scalar 0 with None."""
    return residual if residual.ndim or residual else None, bias if bias.ndim or bias else None
