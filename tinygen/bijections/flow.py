"""A flow is a bijection and the distribution that its noise has.

    ln p(x) = ln p_base(f(x)) + ln|det ∂f/∂x|,      x = f⁻¹(z), z ~ p_base

Checked by: tests/bijections/test_flow.py
"""

from __future__ import annotations

import numpy as np

from ..autograd import Array, Tensor, TensorLike, no_grad
from ..autograd.tensor import array_of
from ..checks import as_finite, at_least, check_context, with_examples
from ..distributions import Distribution
from ..nn import Module
from .bijection import Bijection


class Flow(Module):
    """The distribution of x = f⁻¹(z) with z from the base.

    Shapes: x (N, *shape) of real numbers, context (N, C), log_prob (N,) in nats per example. `shape` is that of the
    data; by default that of the noise.
    Raises ValueError if x or the context is not finite, x has another shape, or the context is not what the
    bijection is told: one row for each example, none where it takes none.
    """

    def __init__(
        self, bijection: Bijection, base: Distribution[TensorLike], shape: tuple[int, ...] | None = None
    ) -> None:
        self.bijection, self.base, self.context = bijection, base, bijection.context
        self.shape = base.shape if shape is None else tuple(shape)

    def log_prob(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        """ln p(x | context) in nats per example."""
        x, context = self._checked(x, context)
        z, log_det = self.bijection.forward(x, context)
        return self.base.log_prob(z) + log_det

    def loss(
        self, x: TensorLike, context: TensorLike | None = None, *, rng: np.random.Generator | None = None
    ) -> Tensor:
        """Mean of −ln p in nats per example, to be minimised; nothing in it is random."""
        return -self.log_prob(x, context).mean()

    def initialise(self, x: TensorLike, context: TensorLike | None = None) -> None:
        """Let what starts from data, such as an `ActNorm`, do so, by a first batch x (N, *shape); before training."""
        x, context = self._checked(x, context)
        with no_grad():
            self.bijection.initialise(x, context)

    def draw(self, n: int, rng: np.random.Generator, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        """Draw x (n, *shape) as a differentiable function of the parameters, with its ln p(x) (n,)."""
        context = self._checked_context(n, context)
        z = self.base.sample(n, rng).astype(self.dtype)
        x, log_det = self.bijection.inverse(z, context)
        return x, self.base.log_prob(z) - log_det

    def sample(self, n: int, rng: np.random.Generator, context: TensorLike | None = None) -> Array:
        """Draw n examples (n, *shape)."""
        context = self._checked_context(n, context)
        with no_grad():
            return self.bijection.to_data(self.base.sample(n, rng).astype(self.dtype), context).value

    def _checked(self, x: TensorLike, context: TensorLike | None) -> tuple[TensorLike, TensorLike | None]:
        if array_of(x).dtype.kind != "f":
            raise ValueError(f"x: expected floats {with_examples(self.shape)}, got {array_of(x).dtype}")
        x = as_finite("x", x, self.shape, self.dtype)
        return x, self._checked_context(len(array_of(x)), context)

    def _checked_context(self, n: int, context: TensorLike | None) -> TensorLike | None:
        at_least(0, n=n)
        check_context(context, n, self.context)
        return None if context is None else as_finite("context", context, np.shape(context)[1:], self.dtype)
