"""Numba kernels on arrays: the convolution family and the gate, and the one thread pool they share."""

from tinygen.autograd.kernels.activation import gate, gate_vjp, sum_rows
from tinygen.autograd.kernels.convolution import Taps, conv, conv_transpose, conv_weight
from tinygen.autograd.kernels.threads import parallel, product, set_threads, threads

__all__ = [
    "Taps",
    "conv",
    "conv_transpose",
    "conv_weight",
    "gate",
    "gate_vjp",
    "parallel",
    "product",
    "set_threads",
    "sum_rows",
    "threads",
]
