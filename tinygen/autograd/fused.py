"""Operations that a kernel computes in one pass, where a chain of NumPy calls would go through memory many times.

Each has its plain form beside it. The kernel serves the value and the first derivative; a derivative that is itself to
be differentiated is written in tensor operations, as everywhere else.

Checked by: tests/autograd/test_fused.py
"""

from __future__ import annotations

from .elementwise import sigmoid, tanh
from .kernels import activation as kernels
from .shape import concatenate, split
from .tensor import Tensor, TensorLike, array_of, node, primitive, taping


@primitive
def gate(x: TensorLike) -> Tensor:
    """y = tanh(a) σ(b), where a and b are the halves of x's last axis: the gated unit of PixelCNN and WaveNet

    Shapes: x (…, 2C), y (…, C).  Raises ValueError if the last axis is odd.
    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, equation 2.
    """
    v = array_of(x)
    if not v.ndim or v.shape[-1] % 2:
        raise ValueError(f"gate: the last axis of shape {v.shape} must be even: one half is gated by the other")
    return node("gate", kernels.gate(v), (x, lambda g, y: _gate_vjp(g, x)))


def plain_gate(x: TensorLike) -> Tensor:
    """Compute what `gate` computes, in tensor operations."""
    a, b = split(x, 2, axis=-1)
    return tanh(a) * sigmoid(b)


def _gate_vjp(g: Tensor, x: TensorLike) -> Tensor:
    if not taping():
        return node("gate_vjp", kernels.gate_vjp(array_of(x), g.value))
    a, b = split(x, 2, axis=-1)
    t, s = tanh(a), sigmoid(b)
    return concatenate([g * s * (1 - t * t), g * t * s * (1 - s)], axis=-1)
