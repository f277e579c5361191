"""A monotone map of one variable: the distribution function of a mixture, and on to any noise.

    u = F(x) = Σₖ softmax(π)ₖ C((x − μₖ) / sₖ),   z = u, logit u or Φ⁻¹(u),   ln dz/dx = ln F′(x) − ln du/dz

C is the logistic or the normal distribution function. Both tails, ln u and ln(1 − u), are computed by themselves, so z
stays finite and precise however far out x is; only u itself cannot tell x apart where it rounds to 1.

Source: Ho, Chen, Srinivas, Duan & Abbeel, "Flow++", 2019, for the mixture of logistics and its logit in a coupling.
Checked by: tests/bijections/test_mixture_cdf.py
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..autograd import (
    Array,
    Tensor,
    TensorLike,
    exp,
    grad,
    log_ndtr,
    log_sigmoid,
    log_softmax,
    logsumexp,
    ndtri_exp,
    no_grad,
    node,
    reshape,
    split,
    where,
)
from ..autograd.tensor import array_of, set_taping, taping
from ..checks import at_least, broadcasts

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)

# ln C(a), and ln C′(a)
KINDS: dict[str, tuple[Callable[[TensorLike], Tensor], Callable[[Tensor], Tensor]]] = {
    "logistic": (log_sigmoid, lambda a: log_sigmoid(a) + log_sigmoid(-a)),
    "normal": (log_ndtr, lambda a: -0.5 * a * a - _LOG_ROOT_2PI),
}
NOISES = ("uniform", "logit", "normal")


class MixtureCDF:
    """z = F(x), logit F(x) or Φ⁻¹(F(x)) for noise "uniform", "logit" or "normal"; a `Transformer` with width 3K.

    The inverse is found by bisection, to rounding. No component's u-quantile is below the least of them or above the
    greatest, so the mixture's is between these two; each step halves that bracket, so their number is known beforehand.
    Its derivatives, of any order, are those of the implicit function F(x; θ) = u and not of the bisection.
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
        log_weights, means, log_scales = self._split(x, parameters)
        log_cdf, log_density = KINDS[self.kind]
        a = (reshape(x, (*array_of(x).shape, 1)) - means) * exp(-log_scales)  # (…, K)
        log_slope = logsumexp(log_weights + log_density(a) - log_scales, -1)
        log_u = logsumexp(log_weights + log_cdf(a), -1)
        log_rest = logsumexp(log_weights + log_cdf(-a), -1)
        if self.noise == "uniform":  # by the smaller tail: the weights may sum to a little more than 1, u must not
            return where(log_u.value <= log_rest.value, exp(log_u), 1 - exp(log_rest)), log_slope
        if self.noise == "logit":
            return log_u - log_rest, log_slope - log_u - log_rest
        z = _quantile("normal", log_u, log_rest)
        return z, log_slope + 0.5 * z * z + _LOG_ROOT_2PI

    def inverse(self, z: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        with no_grad():
            solved = self._bisect(array_of(z), array_of(parameters))

        def by_parameters(g: Tensor, x: Tensor) -> Tensor:
            """∂x/∂θ = −∂z/∂θ / (dz/dx) at fixed x: of θ's stand-in, for x, too, depends on θ itself."""
            with set_taping(True):
                stand_in = node("same", array_of(parameters), (parameters, lambda g, y: g))
                again, log_slope = self.forward(x, stand_in)
            return grad(again, [stand_in], -g * exp(-log_slope), create_graph=taping())[0]

        def by_z(g: Tensor, x: Tensor) -> Tensor:
            return g * exp(-self.forward(x, parameters)[1])

        x = node("mixture_cdf_inverse", solved, (z, by_z), (parameters, by_parameters))
        return x, -self.forward(x, parameters)[1]

    def _bisect(self, z: Array, parameters: Array) -> Array:
        dtype = np.result_type(z, parameters)
        log_weights, means, log_scales = self._split(z, parameters.astype(np.float64))
        log_u, log_rest = self._tails(z)
        ends = (means + exp(log_scales) * _quantile(self.kind, log_u, log_rest).value[..., None]).value
        low, high = ends.min(-1), ends.max(-1)
        precision = 2.0**-52 * np.exp(log_scales.value).min(-1)
        if not np.all(np.isfinite(low) & np.isfinite(high) & (precision > 0)):
            raise FloatingPointError("MixtureCDF: means, scales or noise are not finite: has the model diverged?")
        # Of the tail that is smaller, mirrored where that is the upper one, ln C alone is needed.
        lower = log_u.value <= log_rest.value
        sign, target = np.where(lower, 1.0, -1.0), np.where(lower, log_u.value, log_rest.value)
        for _ in range(math.ceil(math.log2(max(1.0, np.max((high - low) / precision, initial=1.0))))):
            x = (low + high) / 2
            a = (x[..., None] - means) * exp(-log_scales) * sign[..., None]
            too_low = (logsumexp(log_weights + KINDS[self.kind][0](a), -1).value < target) == lower
            low, high = np.where(too_low, x, low), np.where(too_low, high, x)
        return np.asarray((low + high) / 2, dtype)

    def _tails(self, z: Array) -> tuple[Tensor, Tensor]:
        """ln u and ln(1 − u), in float64."""
        least, most = (0, 1) if self.noise == "uniform" else (-np.finfo(z.dtype).max, np.finfo(z.dtype).max)
        if not np.all((z >= least) & (z <= most)):
            raise ValueError(f"z: expected numbers {least:.3g} … {most:.3g}, got {z.min():.3g} … {z.max():.3g}")
        v = z.astype(np.float64)
        if self.noise == "uniform":
            eps = np.finfo(z.dtype).eps
            v = np.where(v == 0, eps / 4, np.where(v == 1, 1 - eps / 2, v))
            return Tensor(np.log(v)), Tensor(np.log1p(-v))
        log_cdf = log_sigmoid if self.noise == "logit" else log_ndtr
        return log_cdf(v), log_cdf(-v)

    def _split(self, x: TensorLike, parameters: TensorLike) -> tuple[Tensor, Tensor, Tensor]:
        shape, given = array_of(x).shape, array_of(parameters).shape
        if given[-1:] != (self.width,) or not broadcasts(given[:-1], shape):
            raise ValueError(f"parameters: expected (…, {self.width}) that broadcast to x {shape}, got {given}")
        logits, means, log_scales = split(parameters, 3, axis=-1)
        return log_softmax(logits), means, log_scales


def _quantile(kind: str, log_u: Tensor, log_rest: Tensor) -> Tensor:
    """C⁻¹(u) of the logistic or the normal distribution."""
    if kind == "logistic":
        return log_u - log_rest
    lower = log_u.value <= log_rest.value
    tail = ndtri_exp(where(lower, log_u, log_rest))
    return tail * np.where(lower, 1, -1).astype(tail.dtype)
