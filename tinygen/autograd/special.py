"""The error function, and the normal distribution in log and logit space, precise in both tails.

φ is the standard normal density and Φ its distribution function. The derivative of ln Φ is m = φ/Φ (the inverse Mills
ratio), and m′(x) = −m (x + m).

Checked by: tests/autograd/test_primitives.py, tests/autograd/test_special.py
"""

import math

from ..kernels import special
from ..kernels.special import LOG_ROOT_2PI
from .elementwise import abs, exp, multiply, sigmoid
from .operands import floating
from .tensor import Tensor, TensorLike, array_of, node, primitive


@primitive
def erf(x: TensorLike) -> Tensor:
    """y = 2/√π ∫ exp(−t²) dt from 0 to x, with an error below 1 ulp in float64"""
    vjp = lambda g, y: g * exp(-multiply(x, x)) * (2 / math.sqrt(math.pi))
    return node("erf", special.erf(floating("erf", x)), (x, vjp))


@primitive
def log_normal(x: TensorLike) -> Tensor:
    """y = ln φ(x) = −½ x² − ½ ln 2π"""
    v = floating("log_normal", x)
    return node("log_normal", -0.5 * v * v - LOG_ROOT_2PI, (x, lambda g, y: -g * x))


@primitive
def log_ndtr(x: TensorLike) -> Tensor:
    """y = ln Φ(x), with a relative error below 3·10⁻¹³ in float64, in both tails"""
    return node("log_ndtr", special.log_ndtr(floating("log_ndtr", x)), (x, lambda g, y: g * _mills_ratio(x)))


@primitive
def ndtri_sigmoid(x: TensorLike) -> Tensor:
    """y = Φ⁻¹(σ(x)): the normal quantile of a probability given as a logit, with an error below 10⁻¹⁵ max(1, |y|)"""
    # dy/dx = σ(x) σ(−x) / φ(y), and σ(−|x|) = Φ(−|y|)
    vjp = lambda g, y: g * sigmoid(abs(x)) / _mills_ratio(-abs(y))
    return node("ndtri_sigmoid", special.ndtri_sigmoid(floating("ndtri_sigmoid", x)), (x, vjp))


def _mills_ratio(x: TensorLike) -> Tensor:
    """m = φ(x) / Φ(x)"""
    return node("mills_ratio", special.ndtr_slope(array_of(x)), (x, lambda g, y: -g * y * _excess(x)))


def _excess(x: TensorLike) -> Tensor:
    """x + m;   its derivative is 1 + m′ = 1 − m (x + m)"""
    return node("excess", special.ndtr_excess(array_of(x)), (x, lambda g, y: g * (1 - _mills_ratio(x) * y)))
