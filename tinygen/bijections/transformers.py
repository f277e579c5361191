"""Transformers: increasing functions z = τ(x; θ) of one variable, whose parameters θ a network computes.

    affine     z = x eˢ + t
    mixture    u = F(x) = Σₖ softmax(π)ₖ σ((x − μₖ) / sₖ),   z = u or Φ⁻¹(u),   ln dz/dx = ln F′(x) − ln du/dz
    spline     a rational-quadratic function in each of K bins, see rational_quadratic.py

A `bound` limits log-scales smoothly to ±bound, ln s = bound · tanh(θ / bound) ≈ θ near 0. Without it, sampling from a
chain of autoregressive layers can overflow, since each sampled variable is an input for the next ones.

Source: Huang, Krueger, Lacoste & Courville, "Neural autoregressive flows", 2018, for the term; Ho, Chen, Srinivas, Duan
& Abbeel, "Flow++", 2019, for the mixture of logistics.
Checked by: tests/bijections/test_transformers.py
"""

import math
from typing import Protocol

import numpy as np

from ..autograd import (
    Array,
    Tensor,
    TensorLike,
    broadcast_to,
    concatenate,
    exp,
    grad,
    index,
    log_normal,
    mixture_cdf,
    multiply,
    ndtri_sigmoid,
    no_grad,
    node,
    sigmoid,
    split,
    subtract,
    tanh,
)
from ..autograd.grad_mode import is_grad_enabled, set_grad_enabled
from ..autograd.operands import floating
from ..autograd.tensor import array_of
from ..checks import at_least, broadcasts, check_positive, require
from ..kernels.mixture import mixture_quantile
from ..kernels.special import log_ndtr
from ..recorded import Recorded


class Transformer(Protocol):
    """An increasing function τ(x; θ) of one variable with `width` parameters.

    Shapes: x, z, log_slope (…); parameters θ (…, width).
    """

    width: int

    def start(self) -> Array:
        """Return initial parameters (width,), for data of variance 1."""

    def forward(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        """Return z = τ(x; θ) and ln ∂z/∂x."""

    def inverse(self, z: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        """Return x with τ(x; θ) = z, and ln ∂x/∂z."""


class AffineTransformer(Recorded):
    """z = x eˢ + t,   ln ∂z/∂x = s,   with s = bound · tanh(θ₀ / bound) and t = θ₁. Starts as the identity."""

    width = 2

    def __init__(self, bound: float = 5.0) -> None:
        check_positive(bound=bound)
        self.bound = float(bound)

    def start(self) -> Array:
        return np.zeros(2)

    def forward(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        s, t = self._log_scale_and_shift(x, parameters)
        return multiply(x, exp(s)) + t, s

    def inverse(self, z: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        s, t = self._log_scale_and_shift(z, parameters)
        return subtract(z, t) * exp(-s), -s

    def _log_scale_and_shift(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        check_parameters(x, parameters, self.width)
        s, t = _bounded(index(parameters, (..., 0)), self.bound), index(parameters, (..., 1))
        shape = array_of(x).shape
        return s if s.shape == shape else broadcast_to(s, shape), t  # parameters may be shared


class MixtureCDF(Recorded):
    """A map to uniform or normal noise by the distribution function F of a mixture of K logistics.

        z = F(x) (noise "uniform")   or   z = Φ⁻¹(F(x)) (noise "normal")

    Both tails are computed via logit F, so normal z is finite and accurate for any x; uniform z rounds to 0 or 1. In
    the tails, log_slope of normal z is a difference of two numbers of about |x|/s, and has their rounding errors. The
    inverse is computed by safeguarded Newton's method, to rounding error; its derivatives, of any order, are those of
    the implicit function. Where F is flat, as between distant modes, the inverse is ill-conditioned.

    Args:
        components: number of logistics K.
        noise: "uniform" or "normal".
        bound: bound on |ln s|, or None.

    Shapes: x, z, log_slope (…); parameters (…, 3K), which broadcast to x: π, μ and ln s (before the bound), K of each.
    Uniform z is in [0, 1]; the ends, to which random numbers may round, are replaced by ε/4 and 1 − ε/2.
    Raises: ValueError for parameters of the wrong shape or z out of range; FloatingPointError if parameters are NaN.

    Example:
        >>> z, log_slope = MixtureCDF(1, noise="uniform").forward(np.zeros(1), np.zeros(3))
        >>> z.item(), round(math.exp(log_slope.item()), 4)  # σ(0) and σ′(0)
        (0.5, 0.25)
    """

    def __init__(self, components: int, noise: str = "normal", bound: float | None = 5.0) -> None:
        at_least(1, components=components)
        require(noise in ("uniform", "normal"), "noise", "'uniform' or 'normal'", repr(noise))
        if bound is not None:
            check_positive(bound=bound)
        self.width, self.noise, self.bound = 3 * components, noise, None if bound is None else float(bound)

    def start(self, low: float = -3.0, high: float = 3.0) -> Array:
        """Return π, μ and ln s (3K,) of equal weights and scales, with means evenly spaced between low and high.

        Identical components would receive identical gradients and remain identical.
        """
        require(-math.inf < low < high < math.inf, "low and high", "finite numbers with low < high", (low, high))
        k = self.width // 3
        half = (high - low) / (2 * k)
        return np.concatenate([np.zeros(k), np.linspace(low + half, high - half, k), np.full(k, math.log(half))])

    def forward(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        logit, log_density = mixture_cdf(x, self._bounded_parameters(x, parameters))
        if self.noise == "uniform":
            return sigmoid(logit), log_density
        z = ndtri_sigmoid(logit)
        return z, log_density - log_normal(z)

    def inverse(self, z: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        x = self.quantile(z, parameters)
        return x, -self.forward(x, parameters)[1]

    def quantile(self, z: TensorLike, parameters: TensorLike) -> Tensor:
        """Return the x of `inverse` without its log-slope."""
        with no_grad():
            theta = array_of(self._bounded_parameters(z, parameters))
        solved = mixture_quantile(self._logit(floating("z", z)), theta.astype(np.float64))
        if not np.all(np.isfinite(solved)):
            raise FloatingPointError("parameters: expected finite mixture parameters; has training diverged?")

        # Implicit function theorem for τ(x; θ) = z:  ∂x/∂z = 1 / τ′(x),   ∂x/∂θ = −(∂τ/∂θ at fixed x) / τ′(x)
        def vjp_z(g: Tensor, x: Tensor) -> Tensor:
            return g * exp(-self.forward(x, parameters)[1])

        def vjp_parameters(g: Tensor, x: Tensor) -> Tensor:
            with set_grad_enabled(True):  # x itself depends on θ; it does not depend on this alias of θ
                alias = node("alias", array_of(parameters), (parameters, lambda g, y: g))
                tau, log_slope = self.forward(x, alias)
            return grad(tau, [alias], -g * exp(-log_slope), create_graph=is_grad_enabled())[0]

        x = solved.astype(np.result_type(array_of(z), array_of(parameters)))
        return node("mixture_cdf_inverse", x, (z, vjp_z), (parameters, vjp_parameters))

    def _logit(self, z: Array) -> Array:
        """Return logit u for the noise z, in float64."""
        low, high = (0.0, 1.0) if self.noise == "uniform" else (-np.finfo(z.dtype).max, np.finfo(z.dtype).max)
        if not np.all((z >= low) & (z <= high)):
            raise ValueError(f"z: expected numbers in [{low:.3g}, {high:.3g}], got {z.min():.3g}…{z.max():.3g}")
        v = z.astype(np.float64)
        if self.noise == "normal":
            return log_ndtr(v) - log_ndtr(-v)
        eps = np.finfo(z.dtype).eps
        v = np.where(v == 0, eps / 4, np.where(v == 1, 1 - eps / 2, v))
        return np.asarray(np.log(v) - np.log1p(-v))

    def _bounded_parameters(self, x: TensorLike, parameters: TensorLike) -> TensorLike:
        """Check the shape of the parameters against x, and bound ln s."""
        check_parameters(x, parameters, self.width)
        if self.bound is None:
            return parameters
        others, log_scales = split(parameters, [2 * self.width // 3], -1)
        return concatenate([others, _bounded(log_scales, self.bound)], -1)


def check_parameters(x: TensorLike, parameters: TensorLike, width: int) -> None:
    """Raise ValueError unless the parameters have shape (…, width) and broadcast to x."""
    shape, got = array_of(x).shape, array_of(parameters).shape
    if got[-1:] != (width,) or not broadcasts(got[:-1], shape):
        raise ValueError(f"parameters: expected (…, {width}), broadcastable to x {shape}, got {got}")


def _bounded(s: Tensor, bound: float) -> Tensor:
    return bound * tanh(s / bound)
