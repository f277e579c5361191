"""A monotone map of one variable: the distribution function of a mixture, and on to any noise.

    u = F(x) = Σₖ softmax(π)ₖ C((x − μₖ) / sₖ),   z = u, logit u or Φ⁻¹(u),   ln dz/dx = ln F′(x) − ln du/dz

C is the logistic or the normal distribution function. What is computed is logit u = ln u − ln(1 − u) from both tails,
so z stays finite and precise however far out x is; only u itself cannot tell x apart where it rounds to 1.

Source: Ho, Chen, Srinivas, Duan & Abbeel, "Flow++", 2019, for the mixture of logistics and its logit in a coupling.
Checked by: tests/bijections/test_mixture_cdf.py
"""

from __future__ import annotations

import numpy as np

from ..autograd import (
    Array,
    Tensor,
    TensorLike,
    exp,
    grad,
    log_normal,
    log_sigmoid,
    mixture_cdf,
    ndtri_sigmoid,
    no_grad,
    node,
    sigmoid,
)
from ..autograd.kernels.mixture import mixture_quantile
from ..autograd.kernels.special import logit_ndtr
from ..autograd.tensor import array_of, set_taping, taping
from ..checks import at_least, broadcasts

KINDS = ("logistic", "normal")
NOISES = ("uniform", "logit", "normal")


class MixtureCDF:
    """z = F(x), logit F(x) or Φ⁻¹(F(x)) for noise "uniform", "logit" or "normal"; a `Transformer` with width 3K.

    The inverse is found by Newton's method within a bracket that is halved where that fails, to rounding.
    Its derivatives, of any order, are those of the implicit function F(x; θ) = u and not of the search.
    Where F is flat, as between two far modes, many x have one z to rounding, and no inverse can tell them apart.

    Shapes: x, z and log_slope (…), parameters (…, 3K), which broadcast to x: π, μ and ln s, K of each.
    Uniform z is within [0, 1]; 0 and 1, to which drawn numbers may round, are taken as ε/4 and 1 − ε/2.
    Raises ValueError for other shapes or such z, FloatingPointError if the mixture is not finite: has it diverged?
    """

    def __init__(self, components: int, kind: str = "logistic", noise: str = "logit") -> None:
        at_least(1, components=components)
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        if noise not in NOISES:
            raise ValueError(f"noise: expected one of {', '.join(NOISES)}, got {noise!r}")
        self.width, self.kind, self.noise = 3 * components, kind, noise

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
            with set_taping(True):
                stand_in = node("same", array_of(parameters), (parameters, lambda g, y: g))
                again, log_slope = self.forward(x, stand_in)
            return grad(again, [stand_in], -g * exp(-log_slope), create_graph=taping())[0]

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
        shape, given = array_of(x).shape, array_of(parameters).shape
        if given[-1:] != (self.width,) or not broadcasts(given[:-1], shape):
            raise ValueError(f"parameters: expected (…, {self.width}) that broadcast to x {shape}, got {given}")
        return parameters
