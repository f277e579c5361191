"""The convolution family: the three partial derivatives of one trilinear form.

    ⟨x, W, y⟩ = Σₚ Σₜ ⟨y(p), x(s·p + oₜ) Wₜ⟩          x is zero outside itself

    conv(x, W)(p)           = Σₜ x(s·p + oₜ) Wₜ                    ∂/∂y
    conv_transpose(y, W)(q) = Σ_{p, t : s·p + oₜ = q} y(p) Wₜᵀ     ∂/∂x
    conv_weight(x, y)ₜ      = Σₚ x(s·p + oₜ)ᵀ y(p)                 ∂/∂W

The form is linear in each argument, so the derivative of each of the three is the other two, and the family is closed
under differentiation to any order. Taps are offsets oₜ (see `taps`), s is the stride.

Shapes: images x (N, H, W, C_in), y (N, H′, W′, C_out); sequences x (N, T, C_in), y (N, T′, C_out); weights
(taps, C_in, C_out). The result, never below float32, has the type to which NumPy promotes the floating-point operands,
`residual` among them; integers and booleans follow these.
Raises ValueError, naming the shapes, where they do not fit.
Checked by: tests/autograd/test_conv.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import convolution as kernels
from .elementwise import relu_vjp
from .taps import Taps
from .tensor import Array, Tensor, TensorLike, array_of, attempt, node, primitive

Size = tuple[int, ...]

_FITTING = "do not fit; images (N, H, W, C) take offsets (dy, dx), sequences (N, T, C) take (dt,)"


@primitive
def conv(
    x: TensorLike,
    w: TensorLike,
    taps: Taps,
    stride: int = 1,
    size: Size | None = None,
    residual: TensorLike = 0.0,
    bias: TensorLike = 0.0,
    relu: bool = False,
) -> Tensor:
    """y(p) = residual + bias + Σₜ x(s·p + oₜ) Wₜ; if `relu`, relu of that

    `size` is the spatial size of y, by default ⌈size of x / s⌉. `residual` is anything that broadcasts to y, `bias`
    is (C_out,): added before the sum leaves the registers, at no cost.
    """
    u, v, p, b = _operands("conv", x, w, residual, bias, taps, stride, weight_axis=1)
    out = _size("conv", taps, size, tuple(-(-n // stride) for n in u.shape[1:-1]))
    start = _start("conv", p, b, (u.shape[0], *out, v.shape[2]))
    within = u.shape[1:-1]
    y = node(
        "conv",
        kernels.conv(u, v, taps, stride, out, *start, relu),
        (x, lambda g, y: conv_transpose(g, w, taps, stride, within)),
        (w, lambda g, y: conv_weight(x, g, taps, stride)),
        (residual, lambda g, y: g),
        (bias, lambda g, y: g),
    )
    # No rule above reads its output, so the node of the sum may hold the value of the one that follows it.
    return node("relu", y.value, (y, relu_vjp)) if relu else y


@primitive
def conv_transpose(
    y: TensorLike,
    w: TensorLike,
    taps: Taps,
    stride: int = 1,
    size: Size | None = None,
    residual: TensorLike = 0.0,
    bias: TensorLike = 0.0,
) -> Tensor:
    """x(q) = residual + bias + Σ y(p) Wₜᵀ over all p and t with s·p + oₜ = q: the adjoint of conv in x

    `size` is the spatial size of x, by default s · size of y. The weight's shape is still (taps, channels of x,
    channels of y), that of the bias (channels of x,).
    """
    u, v, p, b = _operands("conv_transpose", y, w, residual, bias, taps, stride, weight_axis=2)
    out = _size("conv_transpose", taps, size, tuple(n * stride for n in u.shape[1:-1]))
    start = _start("conv_transpose", p, b, (u.shape[0], *out, v.shape[1]))
    within = u.shape[1:-1]
    return node(
        "conv_transpose",
        kernels.conv_transpose(u, v, taps, stride, out, *start),
        (y, lambda g, x: conv(g, w, taps, stride, within)),
        (w, lambda g, x: conv_weight(g, y, taps, stride)),
        (residual, lambda g, x: g),
        (bias, lambda g, x: g),
    )


@primitive
def conv_weight(x: TensorLike, y: TensorLike, taps: Taps, stride: int = 1) -> Tensor:
    """Wₜ = Σₚ x(s·p + oₜ)ᵀ y(p): the adjoint of conv in the weights"""
    u, v = _promoted(x, y)
    if stride < 1:
        raise ValueError(f"conv_weight: stride = {stride}, it must be at least 1")
    if set(map(len, taps)) != {u.ndim - 2} or v.ndim != u.ndim or u.shape[0] != v.shape[0]:
        raise ValueError(f"conv_weight: x {u.shape}, y {v.shape} and {len(taps)} taps {taps[:1]}… {_FITTING}")
    x_size, y_size = u.shape[1:-1], v.shape[1:-1]
    return node(
        "conv_weight",
        kernels.conv_weight(u, v, taps, stride),
        (x, lambda g, w: conv_transpose(y, g, taps, stride, x_size)),
        (y, lambda g, w: conv(x, g, taps, stride, y_size)),
    )


def _promoted(*operands: TensorLike) -> list[Array]:
    values = [array_of(operand) for operand in operands]
    # A Python number, such as the default of `residual`, has no type of its own (NEP 50).
    typed = [v.dtype for v, x in zip(values, operands, strict=True) if v.dtype.kind == "f" and type(x) is not float]
    dtype = np.result_type(np.float32, *typed)
    return [v.astype(dtype, copy=False) for v in values]


def _operands(
    name: str, x: Any, w: Any, residual: Any, bias: Any, taps: Taps, stride: int, weight_axis: int
) -> list[Array]:
    u, v, p, b = _promoted(x, w, residual, bias)
    if stride < 1:
        raise ValueError(f"{name}: stride = {stride}, it must be at least 1")
    if set(map(len, taps)) != {u.ndim - 2}:
        raise ValueError(f"{name}: input of shape {u.shape} and {len(taps)} taps {taps[:1]}… {_FITTING}")
    if v.ndim != 3 or v.shape[0] != len(taps) or v.shape[weight_axis] != u.shape[-1]:
        shape = ["taps", "C_in", "C_out"]
        shape[0], shape[weight_axis] = str(len(taps)), str(u.shape[-1])
        raise ValueError(f"{name}: weight has shape {v.shape}, needed is ({', '.join(shape)}) for input {u.shape}")
    return [u, v, p, b]


def _size(name: str, taps: Taps, size: Size | None, default: Size) -> Size:
    if size is None:
        return default
    if len(size) != len(taps[0]) or min(size, default=0) < 0:
        raise ValueError(f"{name}: size = {size}, needed is a length for each of {len(taps[0])} axes")
    return tuple(size)


def _start(name: str, p: Array, b: Array, shape: tuple[int, ...]) -> tuple[Array | None, Array | None]:
    """What the kernel adds to its sums: nothing or an array of y's shape, and nothing or a bias."""
    if b.ndim and b.shape != shape[-1:]:
        raise ValueError(f"{name}: bias has shape {b.shape}, needed is {shape[-1:]}")
    if b.ndim == 0 and b != 0:
        raise ValueError(f"{name}: bias is the number {b}, needed is an array of shape {shape[-1:]}")
    bias = b if b.ndim else None
    if p.ndim == 0 and p == 0:
        return None, bias
    if bias is None and p.shape == shape[-1:]:
        return None, p
    return (p if p.shape == shape else attempt(f"{name}, residual", np.broadcast_to, [p], shape)), bias
