"""Operations that a kernel computes in one pass, where a chain of NumPy calls would go through memory many times.

Each has its plain form beside it. The kernel serves the value and the first derivative; a derivative that is itself to
be differentiated is that of the plain form.

Checked by: tests/autograd/test_fused.py
"""

from __future__ import annotations

from .elementwise import sigmoid, tanh
from .kernels import activation as kernels
from .shape import split
from .tensor import Tensor, TensorLike, array_of, grad, node, primitive, taping


@primitive
def gate(x: TensorLike) -> Tensor:
    """y = tanh(a) σ(b), where a and b are the halves of x's last axis: the gated unit of PixelCNN and WaveNet

    Shapes: x (…, 2C), y (…, C).  Raises ValueError if the last axis is odd.
    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, equation 2.
    """
    v = array_of(x)
    if not v.ndim or v.shape[-1] % 2:
        raise ValueError(f"gate: the last axis of shape {v.shape} must be even: one half is gated by the other")

    def rule(g: Tensor, y: Tensor) -> Tensor:
        if taping():
            return grad(_plain_gate(x), [x], g, create_graph=True)[0]  # type: ignore[list-item]  # an edge has a tensor
        return node("gate_vjp", kernels.gate_vjp(v, g.value))

    return node("gate", kernels.gate(v), (x, rule))


def _plain_gate(x: TensorLike) -> Tensor:
    a, b = split(x, 2, axis=-1)
    return tanh(a) * sigmoid(b)
