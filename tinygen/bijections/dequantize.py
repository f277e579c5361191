"""Levels as real numbers: uniform noise fills the bins between them, so that there is something to be a density of.

    P(x) = ∫ p((x + u) / levels) levels⁻ᴰ du over [0, 1)ᴰ ≥ exp E_u[ln p((x + u) / levels) − D ln levels]

by Jensen's inequality: the expected density of dequantised data is a lower bound on the likelihood of the levels, tight
where p is constant within each bin. Without the noise there is no such bound: a density can be arbitrarily high on the
levels, which are a set of volume zero, and maximum likelihood makes it so.

Source: Theis, van den Oord & Bethge, "A note on the evaluation of generative models", 2016.
Checked by: tests/bijections/test_dequantize.py
"""

from __future__ import annotations

import math

import numpy as np

from ..autograd import Array, Tensor, TensorLike
from ..checks import as_levels, at_least
from ..nn import Module
from .flow import Flow

Rng = np.random.Generator


class Dequantized(Module):
    """The distribution over levels 0…levels−1 that a flow on [0, 1) gives to their bins [k, k + 1) / levels.

    A flow whose density reaches beyond 0 and 1, as with `Logit(margin)`, loses that mass in the bound, and its samples
    there are clipped to the first and last level.

    Shapes: x (N, *shape) of integers, bounds (N,) in nats per example; shape is that of the flow.
    Raises ValueError if levels < 2, samples < 1, or x is not of such levels.
    """

    def __init__(self, flow: Flow, levels: int) -> None:
        at_least(2, levels=levels)
        self.flow, self.levels, self.shape = flow, levels, flow.shape

    def dequantize(self, x: Array, rng: Rng) -> Array:
        """y = (x + u) / levels, u ~ U[0, 1): within [0, 1), in the dtype of the flow's parameters."""
        x = as_levels(x, self.shape, self.levels)
        dtype = self.flow.dtype
        y = ((x + rng.random(x.shape)) / self.levels).astype(dtype)
        below_one = np.nextafter(dtype.type(1), dtype.type(0))
        return np.asarray(np.minimum(y, below_one))  # what rounded to 1 belongs to the last bin

    def log_prob_bound(self, x: Array, rng: Rng, samples: int = 1, context: TensorLike | None = None) -> Tensor:
        """Mean over `samples` draws of u of ln p(y) − D ln levels: it is at most ln P(x) on average."""
        at_least(1, samples=samples)
        total = self.flow.log_prob(self.dequantize(x, rng), context)
        for _ in range(samples - 1):
            total = total + self.flow.log_prob(self.dequantize(x, rng), context)
        return total / samples - math.prod(self.shape) * math.log(self.levels)

    def loss(self, x: Array, context: TensorLike | None = None, *, rng: Rng) -> Tensor:
        """Mean of minus the bound in nats per example, to be minimised, by one draw of u."""
        return -self.log_prob_bound(x, rng, context=context).mean()

    def sample(self, n: int, rng: Rng, context: TensorLike | None = None) -> Array:
        """Draw n examples: the levels ⌊levels · y⌋ of draws y of the flow."""
        y = self.flow.sample(n, rng, context)
        if not np.all(np.isfinite(y)):
            raise ValueError("sample: expected finite draws of the flow: has it diverged?")
        return np.asarray(np.clip(np.floor(y * y.dtype.type(self.levels)), 0, self.levels - 1), np.int64)
