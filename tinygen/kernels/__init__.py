"""Numba kernels on arrays: the convolution family, the gate and a likelihood, and the one thread pool they share."""

from .activation import gated_activation, gated_activation_vjp
from .convolution import Taps, conv, conv_transpose, conv_weight
from .likelihood import bernoulli, bernoulli_vjp
from .position import AtPosition
from .product import product
from .reductions import sum_rows
from .runtime.pool import parallel, set_threads

# Not the function `threads`: it would hide the submodule of that name.
__all__ = [
    "AtPosition",
    "Taps",
    "bernoulli",
    "bernoulli_vjp",
    "conv",
    "conv_transpose",
    "conv_weight",
    "gated_activation",
    "gated_activation_vjp",
    "parallel",
    "product",
    "set_threads",
    "sum_rows",
]
