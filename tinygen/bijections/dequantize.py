"""Uniform dequantisation: a lower bound on the likelihood of discrete data from a continuous density.

    P(x) = ∫ p((x + u) / levels) levels⁻ᴰ du over [0, 1)ᴰ ≥ exp E_u[ln p((x + u) / levels) − D ln levels]

by Jensen's inequality, with equality if p is constant within each bin. Without the noise u there is no such bound:
the density at the levels, a set of measure zero, is unbounded, and maximum likelihood makes it diverge.

Source: Theis, van den Oord & Bethge, "A note on the evaluation of generative models", 2016.
Checked by: tests/bijections/test_dequantize.py
"""

import math

import numpy as np

from ..autograd import Array, Tensor
from ..checks import as_levels, at_least
from ..distributions.distribution import mean_loss
from ..nn import Module
from .bijection import Context
from .flow import Flow

Rng = np.random.Generator


class Dequantized(Module):
    """Distribution over integers 0…levels−1: the mass that a flow on [0, 1) assigns to the bins [k, k + 1) / levels.

    If the density of the flow extends beyond [0, 1), as with `Logit(margin)`, the bound does not count that mass, and
    samples are clipped to the first and last level.

    Shapes: x (N, *flow.shape), of integers; bounds (N,), in nats per example.
    Raises: ValueError if x has values other than the integers 0…levels−1.

    Example:
        >>> from tinygen.bijections import Logit
        >>> from tinygen.distributions import StandardNormal
        >>> model = Dequantized(Flow(Logit(), StandardNormal((8, 8, 1))), levels=256)
        >>> model.sample(3, np.random.default_rng(0)).shape
        (3, 8, 8, 1)
    """

    def __init__(self, flow: Flow, levels: int) -> None:
        at_least(2, levels=levels)
        self.flow, self.levels, self.shape, self.context = flow, levels, flow.shape, flow.context

    def dequantize(self, x: Array, rng: Rng) -> Array:
        """Return y = (x + u) / levels in [0, 1), u ~ U[0, 1), in the dtype of the flow."""
        x = as_levels(x, self.shape, self.levels)
        dtype = self.flow.dtype
        y = ((x + rng.random(x.shape)) / self.levels).astype(dtype)
        return np.asarray(np.minimum(y, np.nextafter(dtype.type(1), dtype.type(0))))  # y may round to 1

    def log_prob_bound(self, x: Array, rng: Rng, samples: int = 1, context: Context = None) -> Tensor:
        """Return the mean of ln p(y) − D ln levels over `samples` draws of u; its expectation is at most ln P(x)."""
        at_least(1, samples=samples)
        total = self.flow.log_prob(self.dequantize(x, rng), context)
        for _ in range(samples - 1):
            total = total + self.flow.log_prob(self.dequantize(x, rng), context)
        return total / samples - math.prod(self.shape) * math.log(self.levels)

    def loss(self, x: Array, context: Context = None, *, rng: Rng) -> Tensor:
        """Return the mean negative bound in nats per example, with one draw of u."""
        return mean_loss(-self.log_prob_bound(x, rng, context=context))

    def sample(self, n: int, rng: Rng, context: Context = None, *, temperature: float = 1.0) -> Array:
        """Draw n examples ⌊levels · y⌋ from samples y of the flow at this temperature (see `Flow.sample`)."""
        y = self.flow.sample(n, rng, context, temperature=temperature)
        return np.asarray(np.clip(np.floor(y * y.dtype.type(self.levels)), 0, self.levels - 1), np.int64)
