"""A mixture of logistics over levels that have an order, where a softmax is told nothing of it.

Checked by: tests/distributions/test_logistics.py
"""

from __future__ import annotations

import math

import numpy as np

from ..autograd import (
    Array,
    Tensor,
    TensorLike,
    clip,
    exp,
    log,
    log_sigmoid,
    log_softmax,
    logsumexp,
    softplus,
    split,
    tanh,
    where,
)
from ..autograd.tensor import array_of
from ..checks import at_least, check_integers
from .discrete import sample_categorical


class DiscretizedLogistics:
    """A mixture of logistics, rounded to the levels; the first and the last level have all that lies beyond them.

        p(k) = Σⱼ softmax(π)ⱼ [σ((k⁺ − μⱼ) / sⱼ) − σ((k⁻ − μⱼ) / sⱼ)],   k^± = (2k ± 1) / (L − 1) − 1
        but  k⁻ = −∞ at k = 0  and  k⁺ = ∞ at k = L − 1

    Levels 0…L−1 stand at −1…1, as the means μ do. The parameters are (π, μ, ln s), K of each: width = 3K.
    ln s is kept between that of 2e⁻⁴/(L−1), where all but 10⁻¹¹ of a logistic at a level is in that level, and 7, where
    all but 10⁻³ is in the first and the last.

    Shapes: parameters (…, 3K), k (…) of integers 0…L−1, log_prob (…) in nats, sample (…) of int64.
    Raises ValueError for fewer than 2 levels or no components, other shapes, another k; in `sample`, for NaN.
    Source: Salimans, Karpathy, Chen & Kingma, "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture
    Likelihood and Other Modifications", 2017, section 2.1 (with one range of scales for every number of levels).
    Checked by: tests/distributions/test_logistics.py
    """

    def __init__(self, levels: int, components: int) -> None:
        at_least(2, levels=levels)
        at_least(1, components=components)
        self.levels, self.components, self.width = levels, components, 3 * components

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        """Return ln p(k) in nats, by σ(b) − σ(a) = σ(b) σ(−a) (1 − e^−(b−a)): nothing near 1 is subtracted from 1."""
        weights, means, log_scales = self._split(parameters)
        check_integers("k", k, weights.shape[:-1], self.levels)
        last = self.levels - 1
        level = k[..., None].astype(means.dtype)
        precision = exp(-log_scales)
        below = ((2 * level - 1) / last - 1 - means) * precision
        above = ((2 * level + 1) / last - 1 - means) * precision
        width = 2 / last * precision  # above − below, without the rounding
        left, right = log_sigmoid(above), log_sigmoid(-below)  # ln of the mass below k⁺, and above k⁻
        inside = left + right + log(tanh(width / 2)) + softplus(-width)  # 1 − e^−w = tanh(w/2) (1 + e^−w)
        each = where(level == 0, left, where(level == last, right, inside))
        return logsumexp(log_softmax(weights) + each, -1)

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        """Draw a component, a number from it, and round that to the nearest level."""
        weights, means, log_scales = (part.value for part in self._split(array_of(parameters)))
        component = sample_categorical(weights, rng)[..., None]
        mean, log_scale = (np.take_along_axis(part, component, -1)[..., 0] for part in (means, log_scales))
        x = mean + np.exp(log_scale, dtype=np.float64) * rng.logistic(size=mean.shape)
        if not np.all(np.isfinite(x)):
            raise ValueError("parameters: expected finite means and scales: has the model diverged?")
        levels: Array = np.rint((x + 1) * ((self.levels - 1) / 2))
        return levels.clip(0, self.levels - 1).astype(np.int64)

    def _split(self, parameters: TensorLike) -> list[Tensor]:
        if np.shape(array_of(parameters))[-1:] != (self.width,):
            raise ValueError(f"parameters: expected (…, {self.width}), got {np.shape(array_of(parameters))}")
        weights, means, log_scales = split(parameters, 3, axis=-1)
        return [weights, means, clip(log_scales, math.log(2 / (self.levels - 1)) - 4, 7)]
