"""A reverse-mode automatic differentiation engine on NumPy: tensors, operations, convolutions, derivatives."""

# ruff: noqa: I001 (several names per line)
from . import taps
from .backward import grad
from .conv import conv, conv_transpose, conv_weight
from .derivatives import hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .along_axis import cumprod, cumsum, put_along_axis, sort, take_along_axis
from .einsum import einsum
from .elementwise import (
    abs, add, astype, clip, cos, divide, exp, expm1, leaky_relu, log, log1p, log_sigmoid, maximum, minimum, multiply,
    negative, one_minus_square, power, relu, sigmoid, sin, softplus, sqrt, subtract, tanh, where,
)  # fmt: skip
from .fused import bernoulli_log_prob, categorical_log_prob, gated_activation, lstm, lstm_cell, mixture_cdf
from .graph import to_dot
from .linalg import cholesky, inv, linear, logabsdet, matmul, solve
from .mlp import mlp
from .special import erf, log_ndtr, log_normal, ndtri_sigmoid
from .parameter import Parameter
from .reduce import log_softmax, logsumexp, max, mean, min, norm, prod, softmax, std, sum, var
from .shape import (
    broadcast_to, concatenate, index, pad, repeat, reshape, scatter_add, split, squeeze, stack, sum_to, transpose,
)  # fmt: skip
from .grad_mode import no_grad
from .tensor import PRIMITIVES, Array, Tensor, TensorLike, node, primitive


__all__ = [
    "PRIMITIVES", "Array", "Parameter", "Tensor", "TensorLike", "abs", "add", "astype", "bernoulli_log_prob",
    "broadcast_to", "categorical_log_prob", "cholesky", "clip", "concatenate", "conv", "conv_transpose",
    "conv_weight", "cos", "cumprod", "cumsum", "divide", "einsum", "erf", "exp", "expm1", "gated_activation", "grad",
    "hessian", "hvp", "index", "inv", "jacobian", "jvp", "leaky_relu", "linear", "log", "log1p", "log_ndtr",
    "log_normal", "log_sigmoid", "log_softmax", "logabsdet", "logsumexp", "lstm", "lstm_cell", "matmul", "max",
    "maximum", "mean", "min", "minimum", "mixture_cdf", "mlp", "multiply", "ndtri_sigmoid", "negative", "no_grad",
    "node", "norm", "one_minus_square", "pad", "power", "primitive", "prod", "put_along_axis", "relu", "repeat",
    "reshape", "scatter_add", "sigmoid", "sin", "softmax", "softplus", "solve", "sort", "split", "sqrt", "squeeze",
    "stack", "std", "subtract", "sum", "sum_to", "take_along_axis", "tanh", "taps", "to_dot", "transpose",
    "value_and_grad", "var", "vjp", "where",
]  # fmt: skip
