"""A reverse-mode automatic differentiation engine on NumPy: tensors, operations, convolutions, derivatives."""

from . import taps
from .conv import conv, conv_transpose, conv_weight
from .derivatives import hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .elementwise import (
    abs,
    add,
    astype,
    clip,
    cos,
    divide,
    exp,
    leaky_relu,
    log,
    log_sigmoid,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    subtract,
    tanh,
    where,
)
from .graph import to_dot
from .linalg import inv, linear, logabsdet, matmul, slogdet, solve
from .reduce import log_softmax, logsumexp, max, mean, softmax, sum
from .shape import (
    broadcast_to,
    concatenate,
    crop,
    flip,
    index,
    pad,
    put_along_axis,
    reshape,
    scatter_add,
    split,
    stack,
    sum_to,
    take_along_axis,
    transpose,
)
from .tensor import PRIMITIVES, Array, Parameter, Tensor, TensorLike, grad, no_grad, taping

__all__ = [name for name in dir() if not name.startswith("_")]
