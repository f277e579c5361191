"""A reverse-mode automatic differentiation engine on NumPy: tensors, operations, convolutions, derivatives."""

# ruff: noqa: I001 (several names per line)
from . import taps
from .backward import grad
from .conv import conv, conv_transpose, conv_weight
from .derivatives import hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .elementwise import (
    abs, add, astype, clip, cos, divide, exp, leaky_relu, log, log_sigmoid, maximum, minimum, multiply, negative,
    one_minus_square, power, relu, sigmoid, sin, softplus, sqrt, subtract, tanh, where,
)  # fmt: skip
from .fused import bernoulli_log_prob, gated_activation, lstm, lstm_cell, mixture_cdf
from .graph import to_dot
from .linalg import inv, linear, logabsdet, matmul, solve
from .special import log_ndtr, log_normal, ndtri_sigmoid
from .parameter import Parameter
from .reduce import log_softmax, logsumexp, max, mean, min, softmax, sum
from .shape import (
    broadcast_to, concatenate, index, pad, put_along_axis, reshape, scatter_add, split, stack, sum_to,
    take_along_axis, transpose,
)  # fmt: skip
from .tensor import PRIMITIVES, Array, Tensor, TensorLike, no_grad, node, primitive


__all__ = [
    "PRIMITIVES", "Array", "Parameter", "Tensor", "TensorLike", "abs", "add", "astype", "bernoulli_log_prob",
    "broadcast_to", "clip", "concatenate", "conv", "conv_transpose", "conv_weight", "cos", "divide", "exp",
    "gated_activation", "grad", "hessian", "hvp", "index", "inv", "jacobian", "jvp", "leaky_relu", "linear",
    "log", "log_ndtr", "log_normal", "log_sigmoid", "log_softmax", "logabsdet", "logsumexp", "lstm", "lstm_cell",
    "matmul", "max", "maximum", "mean", "min", "minimum", "mixture_cdf", "multiply", "ndtri_sigmoid", "negative",
    "no_grad", "node", "one_minus_square", "pad", "power", "primitive", "put_along_axis", "relu", "reshape",
    "scatter_add", "sigmoid", "sin", "softmax", "softplus", "solve", "split", "sqrt", "stack",
    "subtract", "sum", "sum_to", "take_along_axis", "tanh", "taps", "to_dot", "transpose", "value_and_grad", "vjp",
    "where",
]  # fmt: skip
