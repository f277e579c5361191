"""A discretised mixture of logistics: a likelihood of ordered levels, such as pixel intensities.

Checked by: tests/distributions/test_logistics.py
"""

import math

import numpy as np

from ..autograd import Array, Tensor, TensorLike, log_softmax, logsumexp, split
from ..autograd.elementwise import clip, exp, log, log_sigmoid, softplus, tanh, where
from ..autograd.tensor import array_of
from ..checks import as_integers, at_least
from ..recorded import Recorded
from .discrete import sample_categorical
from .distribution import check_samples, check_width


class DiscretizedLogistics(Recorded):
    """Mixture of logistic distributions, rounded to the nearest of L levels; the outer levels include the tails.

        p(k) = Σⱼ softmax(π)ⱼ [σ((k⁺ − μⱼ) / sⱼ) − σ((k⁻ − μⱼ) / sⱼ)],   k^± = (2k ± 1) / (L − 1) − 1
        with  k⁻ = −∞ for k = 0  and  k⁺ = ∞ for k = L − 1

    Levels are evenly spaced in −1…1, the units of μ. ln s is clipped to [ln(2e⁻⁴/(L − 1)), 7]: at the lower
    bound, all but 10⁻¹¹ of a logistic centred on a level is in that level; at the upper bound, all but 10⁻³ is in the
    outer two levels.

    Shapes: parameters (π, μ, ln s) (…, 3 · components), k (…) integers 0…L−1, log_prob (…) in nats, samples (…).
    Raises: ValueError if an argument is invalid or has the wrong shape; when sampling, if a parameter is not finite.
    Source: Salimans, Karpathy, Chen & Kingma, "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture
    Likelihood and Other Modifications", 2017, section 2.1 (here the range of scales depends on the number of levels).

    Example:
        >>> parameters = np.zeros((1, 3))  # one component: π = 0, μ = 0, s = 1
        >>> DiscretizedLogistics(2, 1).log_prob(parameters, np.array([1])).value.round(4)  # ln ½
        array([-0.6931])
    """

    def __init__(self, levels: int, components: int) -> None:
        at_least(2, levels=levels)
        at_least(1, components=components)
        self.levels, self.components, self.width = levels, components, 3 * components

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        """Return ln p(k) in nats.

        The difference of two sigmoids is computed as σ(b) − σ(a) = σ(b) σ(−a) (1 − e^−(b−a)), without cancellation.
        """
        weights, means, log_scales = self._split(parameters)
        k = as_integers("k", k, weights.shape[:-1], self.levels)
        last = self.levels - 1
        level = k[..., None].astype(means.dtype)
        precision = exp(-log_scales)
        below = ((2 * level - 1) / last - 1 - means) * precision
        above = ((2 * level + 1) / last - 1 - means) * precision
        width = 2 / last * precision  # above − below, without its rounding error
        left, right = log_sigmoid(above), log_sigmoid(-below)  # ln of the mass below k⁺ and above k⁻
        inside = left + right + log(tanh(width / 2)) + softplus(-width)  # 1 − e^−w = tanh(w/2) (1 + e^−w)
        each = where(level == 0, left, where(level == last, right, inside))
        return logsumexp(log_softmax(weights) + each, -1)

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        """Draw a component, then a number from it, and round to the nearest level."""
        weights, means, log_scales = (part.value for part in self._split(array_of(parameters)))
        check_samples(array_of(parameters)[..., self.components :])  # NaN of another component, too, is an error
        component = sample_categorical(weights, rng)[..., None]
        mean, log_scale = (np.take_along_axis(part, component, -1)[..., 0] for part in (means, log_scales))
        x = mean + np.exp(log_scale, dtype=np.float64) * rng.logistic(size=mean.shape)
        levels: Array = np.rint((check_samples(x) + 1) * ((self.levels - 1) / 2))
        return levels.clip(0, self.levels - 1).astype(np.int64)

    def _split(self, parameters: TensorLike) -> list[Tensor]:
        weights, means, log_scales = split(check_width(self.width, parameters), 3, axis=-1)
        return [weights, means, clip(log_scales, math.log(2 / (self.levels - 1)) - 4, 7)]
