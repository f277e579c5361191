"""A flow in one dimension: a learned cumulative distribution function (CDF) maps data to uniform or normal noise.

    z = F(x) or Φ⁻¹(F(x)),   F(x) = Σₖ softmax(π)ₖ σ((x − μₖ) / sₖ),   ln p(x) = ln p(z) + ln dz/dx

The CDF of any one-dimensional density is such a map to uniform noise; sampling is then inverse transform sampling.
Here F is the CDF of a mixture of logistics, fitted by maximum likelihood. For either noise, p is the mixture's density.

Checked by: tests/models/flows/test_flow_1d.py
"""

import math

import numpy as np

from ...autograd import Parameter, Tensor, TensorLike, concatenate
from ...bijections import Bijection, Flow, MixtureCDF
from ...bijections.bijection import Context, sum_event
from ...checks import require
from ...distributions import StandardNormal, StandardUniform


class LearnedCDF(Bijection):
    """A `MixtureCDF` whose parameters are learned directly: every element of x has the same mixture.

    Args:
        transformer: the map, which defines the number K of components and the noise.
        low, high: range over which the initial components are spread.

    Shapes: x, z (N, …); logits, means, log_scales (K,).
    """

    def __init__(self, transformer: MixtureCDF, low: float, high: float) -> None:
        self.transformer = transformer
        self.logits, self.means, self.log_scales = map(Parameter, np.split(transformer.start(low, high), 3))

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.transformer.forward(x, self._mixture())
        return z, sum_event(log_slope)

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.transformer.inverse(z, self._mixture())
        return x, sum_event(log_slope)

    def to_data(self, z: TensorLike, context: Context = None) -> Tensor:
        return self.transformer.quantile(z, self._mixture())

    def _mixture(self) -> Tensor:
        return concatenate([self.logits, self.means, self.log_scales])


class Flow1D(Flow):
    """A flow over real numbers that maps x to uniform or normal noise by the CDF of a mixture of logistics.

    Args:
        components: number of logistics.
        noise: "uniform" or "normal".
        data_range: the least and greatest value of the data. The initial means are spread evenly over this range, with
            scales for which neighbouring components overlap.

    Shapes: x (N, 1); log_prob (N,), in nats per example.

    Example:
        >>> flow = Flow1D(5, data_range=(0.0, 10.0))
        >>> flow.sample(3, np.random.default_rng(0)).shape
        (3, 1)
    """

    bijection: LearnedCDF

    def __init__(
        self, components: int, *, noise: str = "normal", data_range: tuple[float, float] = (-3.0, 3.0)
    ) -> None:
        low, high = data_range
        require(-math.inf < low < high < math.inf, "data_range", "two finite numbers in ascending order", data_range)
        bijection = LearnedCDF(MixtureCDF(components, noise, bound=None), low, high)
        super().__init__(bijection, StandardUniform((1,)) if noise == "uniform" else StandardNormal((1,)))
