"""The normal density, and the distribution function and its inverse by logarithm and logit: neither tail is lost.

    ln Φ(x),   m(x) = (ln Φ)′ = φ(x) / Φ(x),   m′ = −m (x + m)

Checked by: tests/autograd/test_primitives.py, tests/autograd/test_special.py
"""

from __future__ import annotations

from ..kernels import special
from ..kernels.special import LOG_ROOT_2PI
from .elementwise import abs, sigmoid
from .tensor import Tensor, TensorLike, array_of, node, primitive


@primitive
def log_normal(x: TensorLike) -> Tensor:
    """y = ln φ(x) = −½ x² − ½ ln 2π, the standard normal log-density"""
    v = array_of(x)
    return node("log_normal", -0.5 * v * v - LOG_ROOT_2PI, (x, lambda g, y: -g * x))


@primitive
def log_ndtr(x: TensorLike) -> Tensor:
    """y = ln Φ(x), with a relative error below 3·10⁻¹³ in float64, in either tail"""
    return node("log_ndtr", special.log_ndtr(array_of(x)), (x, lambda g, y: g * _slope(x)))


@primitive
def ndtri_sigmoid(x: TensorLike) -> Tensor:
    """y = Φ⁻¹(σ(x)): a logistic quantile to the normal one, with an error below 10⁻¹⁵ max(1, |y|) in float64"""
    # dy/dx = σ(x) σ(−x) / φ(y), and σ(−|x|) = Φ(−|y|)
    rule = lambda g, y: g * sigmoid(abs(x)) / _slope(-abs(y))
    return node("ndtri_sigmoid", special.ndtri_sigmoid(array_of(x)), (x, rule))


def _slope(x: TensorLike) -> Tensor:
    """m = φ(x) / Φ(x), whose own derivative it can express"""
    return node("log_ndtr_slope", special.ndtr_slope(array_of(x)), (x, lambda g, y: -g * y * (x + y)))
