"""Transformers: increasing functions τ of one variable, chosen by numbers that a network computes.

    affine     z = x eˢ + t
    mixture    u = F(x) = Σₖ softmax(π)ₖ C((x − μₖ) / sₖ),   z = u, logit u or Φ⁻¹(u),   ln dz/dx = ln F′(x) − ln du/dz

C is the logistic or the normal distribution function. What is computed is logit u = ln u − ln(1 − u) from both tails,
so z stays finite and precise however far out x is; only u itself cannot tell x apart where it rounds to 1.

A `bound` keeps scales within e^±bound, ln s = bound · tanh(θ / bound), whatever the network says far away from its
data: drawn variables are inputs to those after them, and without it a chain of a few would overflow (the tails of a
mixture make far points frequent). Near 0, ln s = θ as if there were none.

Source: Huang, Krueger, Lacoste & Courville, "Neural autoregressive flows", 2018, for the term; Ho, Chen, Srinivas, Duan
& Abbeel, "Flow++", 2019, for the mixture of logistics and its logit in a coupling.
Checked by: tests/bijections/test_transformers.py
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from ..autograd import (
    Array,
    Tensor,
    TensorLike,
    concatenate,
    exp,
    grad,
    index,
    log_normal,
    log_sigmoid,
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
from ..autograd.tensor import array_of, is_grad_enabled, set_grad_enabled
from ..checks import at_least, broadcasts
from ..kernels.mixture import mixture_quantile
from ..kernels.special import logit_ndtr

KINDS = ("logistic", "normal")
NOISES = ("uniform", "logit", "normal")


class Transformer(Protocol):
    """An increasing function of one variable, chosen by `width` numbers that a network computes.

    Shapes: x, z and log_slope (…), parameters (…, width).
    """

    width: int

    def start(self) -> Array:
        """Return parameters (width,) to start learning from, for data of variance 1."""

    def forward(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        """Return z = τ(x; θ) and ln ∂z/∂x."""

    def inverse(self, z: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        """Return x with τ(x; θ) = z and ln ∂x/∂z."""


class AffineTransformer:
    """z = x eˢ + t,   ln ∂z/∂x = s = bound · tanh(θ₀ / bound),   t = θ₁.  It starts as the identity."""

    width = 2

    def __init__(self, bound: float = 5.0) -> None:
        self.bound = _positive(bound)

    def start(self) -> Array:
        return np.zeros(2)

    def forward(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        s, t = self._log_scale_and_shift(parameters)
        return multiply(x, exp(s)) + t, s

    def inverse(self, z: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        s, t = self._log_scale_and_shift(parameters)
        return subtract(z, t) * exp(-s), -s

    def _log_scale_and_shift(self, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        s, t = index(parameters, (..., 0)), index(parameters, (..., 1))
        return _bounded(s, self.bound), t


class MixtureCDF:
    """z = F(x), logit F(x) or Φ⁻¹(F(x)) for noise "uniform", "logit" or "normal", with K `components`.

    The inverse is found by Newton's method within a bracket that is halved where that fails, to rounding.
    Its derivatives, of any order, are those of the implicit function F(x; θ) = u and not of the search.
    Where F is flat, as between two far modes, many x have one z to rounding, and no inverse can tell them apart.

    Shapes: x, z and log_slope (…), parameters (…, 3K), which broadcast to x: π, μ and ln s before the bound, K of each.
    Uniform z is within [0, 1]; 0 and 1, to which drawn numbers may round, are taken as ε/4 and 1 − ε/2.
    Raises ValueError for other shapes or such z, FloatingPointError if the mixture is not finite: has it diverged?
    """

    def __init__(
        self, components: int, kind: str = "logistic", noise: str = "normal", bound: float | None = 5.0
    ) -> None:
        at_least(1, components=components)
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        if noise not in NOISES:
            raise ValueError(f"noise: expected one of {', '.join(NOISES)}, got {noise!r}")
        self.width, self.kind, self.noise = 3 * components, kind, noise
        self.bound = None if bound is None else _positive(bound)

    def start(self, low: float = -3.0, high: float = 3.0) -> Array:
        """Return π, μ and ln s (3K,) of components alike in weight that stand side by side from low to high.

        Alike in all, they would stay alike where a network has nothing to tell them apart by.
        """
        k = self.width // 3
        half = (high - low) / (2 * k)
        return np.concatenate([np.zeros(k), np.linspace(low + half, high - half, k), np.full(k, math.log(half))])

    def forward(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        logit, log_density = mixture_cdf(x, self._checked(x, parameters), self.kind)
        if self.noise == "uniform":
            return sigmoid(logit), log_density
        if self.noise == "logit":
            return logit, log_density - log_sigmoid(logit) - log_sigmoid(-logit)
        z = ndtri_sigmoid(logit)
        return z, log_density - log_normal(z)

    def inverse(self, z: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        x = self.quantile(z, parameters)
        return x, -self.forward(x, parameters)[1]

    def quantile(self, z: TensorLike, parameters: TensorLike) -> Tensor:
        """Return the x of `inverse` alone."""
        with no_grad():
            solved = self._solve(array_of(z), array_of(self._checked(z, parameters)))

        def by_parameters(g: Tensor, x: Tensor) -> Tensor:
            """∂x/∂θ = −∂z/∂θ / (dz/dx) at fixed x: of θ's stand-in, for x, too, depends on θ itself."""
            with set_grad_enabled(True):
                stand_in = node("same", array_of(parameters), (parameters, lambda g, y: g))
                again, log_slope = self.forward(x, stand_in)
            return grad(again, [stand_in], -g * exp(-log_slope), create_graph=is_grad_enabled())[0]

        def by_z(g: Tensor, x: Tensor) -> Tensor:
            return g * exp(-self.forward(x, parameters)[1])

        return node("mixture_cdf_inverse", solved, (z, by_z), (parameters, by_parameters))

    def _solve(self, z: Array, parameters: Array) -> Array:
        x = mixture_quantile(self._logit(z), parameters.astype(np.float64), self.kind == "normal")
        if not np.all(np.isfinite(x)):
            raise FloatingPointError("MixtureCDF: means, scales or noise are not finite: has the model diverged?")
        return x.astype(np.result_type(z, parameters))

    def _logit(self, z: Array) -> Array:
        """Return logit u of the noise, in float64."""
        least, most = (0, 1) if self.noise == "uniform" else (-np.finfo(z.dtype).max, np.finfo(z.dtype).max)
        if not np.all((z >= least) & (z <= most)):
            raise ValueError(f"z: expected numbers {least:.3g} … {most:.3g}, got {z.min():.3g} … {z.max():.3g}")
        v = z.astype(np.float64)
        if self.noise == "uniform":
            eps = np.finfo(z.dtype).eps
            v = np.where(v == 0, eps / 4, np.where(v == 1, 1 - eps / 2, v))
            return np.asarray(np.log(v) - np.log1p(-v))
        return v if self.noise == "logit" else logit_ndtr(v)

    def _checked(self, x: TensorLike, parameters: TensorLike) -> TensorLike:
        """Return the parameters, whose shape fits that of x, with ln s within the bound."""
        shape, given = array_of(x).shape, array_of(parameters).shape
        if given[-1:] != (self.width,) or not broadcasts(given[:-1], shape):
            raise ValueError(f"parameters: expected (…, {self.width}) that broadcast to x {shape}, got {given}")
        if self.bound is None:
            return parameters
        others, log_scales = split(parameters, [2 * self.width // 3], -1)
        return concatenate([others, _bounded(log_scales, self.bound)], -1)


def _positive(bound: float) -> float:
    if not bound > 0:
        raise ValueError(f"bound: expected a positive number, got {bound}")
    return bound


def _bounded(s: Tensor, bound: float) -> Tensor:
    return bound * tanh(s / bound)
