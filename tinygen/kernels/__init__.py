"""Numba kernels: convolutions, matrix products, activations, likelihoods. reference.py defines them in NumPy."""

from .activation import gated_activation, gated_activation_vjp
from .convolution import conv, conv_transpose, conv_weight
from .gated_unit import GatedUnit
from .position import AtPosition
from .product import product

__all__ = [
    "AtPosition", "GatedUnit", "conv", "conv_transpose", "conv_weight", "gated_activation", "gated_activation_vjp",
    "product",
]  # fmt: skip
