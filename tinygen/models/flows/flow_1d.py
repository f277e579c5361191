"""A flow in one dimension: a learned distribution function carries data to uniform or to normal noise.

    z = F(x) or Φ⁻¹(F(x)),   F(x) = Σₖ softmax(π)ₖ C((x − μₖ) / sₖ),   ln p(x) = ln p(z) + ln dz/dx

Every density in one dimension is such a flow, with its own distribution function as the map: the uniform noise is what
`rng.random()` gives, and the inverse is how it is turned into a sample. Here the map is that of a mixture, fitted by
maximum likelihood; whichever the noise, the density is the mixture's.

Checked by: tests/models/flows/test_flow_1d.py
"""

from __future__ import annotations

import math

import numpy as np

from ...autograd import Parameter, Tensor, TensorLike, concatenate
from ...bijections import Bijection, Flow, MixtureCDF
from ...bijections.bijection import sum_event
from ...distributions import StandardNormal, StandardUniform


class LearnedCDF(Bijection):
    """A `MixtureCDF` of the same learned mixture for every number, which starts from low to high.

    Shapes: x, z (N, …), log_det (N,); logits, means and log_scales (K,).
    """

    def __init__(self, transformer: MixtureCDF, low: float, high: float) -> None:
        self.transformer = transformer
        self.logits, self.means, self.log_scales = map(Parameter, np.split(transformer.start(low, high), 3))

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.transformer.forward(x, self._mixture())
        return z, sum_event(log_slope)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.transformer.inverse(z, self._mixture())
        return x, sum_event(log_slope)

    def to_data(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        return self.transformer.quantile(z, self._mixture())

    def _mixture(self) -> Tensor:
        return concatenate([self.logits, self.means, self.log_scales])


class Flow1D(Flow):
    """A distribution over single numbers, by a mixture's distribution function to uniform or normal noise.

    `kind` is that of the components, "logistic" or "normal". At first the means are equally spaced within the range of
    the data, and the scales are such that the components overlap.

    Shapes and errors as in `Flow`: x (N, 1), log_prob (N,) in nats per number. Raises ValueError, naming the setting,
    if it is none of these.
    """

    bijection: LearnedCDF

    def __init__(
        self,
        components: int,
        *,
        kind: str = "logistic",
        noise: str = "normal",
        data_range: tuple[float, float] = (-3.0, 3.0),
    ) -> None:
        low, high = data_range
        if noise not in ("uniform", "normal"):
            raise ValueError(f"noise: expected uniform or normal, got {noise!r}")
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"data_range: expected two finite numbers, the lesser one first, got {data_range}")
        bijection = LearnedCDF(MixtureCDF(components, kind, noise, bound=None), low, high)
        super().__init__(bijection, StandardUniform((1,)) if noise == "uniform" else StandardNormal((1,)))
