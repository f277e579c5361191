"""Fast functions of arrays, in Numba: convolutions, products, activations, likelihoods. reference.py defines them."""

from .activation import gated_activation, gated_activation_vjp
from .convolution import conv, conv_transpose, conv_weight
from .likelihood import bernoulli, bernoulli_vjp
from .position import AtPosition
from .product import product
from .reductions import sum_rows

__all__ = [
    "AtPosition",
    "bernoulli",
    "bernoulli_vjp",
    "conv",
    "conv_transpose",
    "conv_weight",
    "gated_activation",
    "gated_activation_vjp",
    "product",
    "sum_rows",
]
