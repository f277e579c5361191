"""Numba kernels: convolutions, matrix products, activations, likelihoods. reference.py defines them in NumPy."""

from .activation import gated_activation, gated_activation_vjp
from .convolution import conv, conv_transpose, conv_weight
from .position import AtPosition
from .product import product
from .residual_units import BottleneckBlocks, GatedUnits

__all__ = [
    "AtPosition", "BottleneckBlocks", "GatedUnits", "conv", "conv_transpose", "conv_weight", "gated_activation",
    "gated_activation_vjp", "product",
]  # fmt: skip
