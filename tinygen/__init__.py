"""Generative models from scratch: autodiff on NumPy, convolutions in Numba, every claim a test that can fail."""

from .autograd import Parameter, Tensor, grad, no_grad, value_and_grad

__version__ = "0.1.0"
__all__ = ["Parameter", "Tensor", "grad", "no_grad", "value_and_grad"]
