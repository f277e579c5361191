"""A flow is a bijection and the distribution that its noise has.

    ln p(x) = ln p_base(f(x)) + ln|det ∂f/∂x|,      x = f⁻¹(z), z ~ p_base

Checked by: tests/bijections/test_flow.py
"""

from __future__ import annotations

import numpy as np

from ..autograd import Array, Tensor, TensorLike, no_grad
from ..autograd.tensor import array_of
from ..checks import at_least, check_condition, finite, with_examples
from ..distributions import Distribution
from ..nn import Module
from .bijection import Bijection


class Flow(Module):
    """The distribution of x = f⁻¹(z) with z from the base.

    Shapes: x (N, *shape) of real numbers, condition (N, C), log_prob (N,) in nats per example. `shape` is that of the
    data; by default that of the noise.
    Raises ValueError if x or the condition is not finite, x has another shape, or the condition is not what the
    bijection is told: one row for each example, none where it takes none.
    """

    def __init__(
        self, bijection: Bijection, base: Distribution[TensorLike], shape: tuple[int, ...] | None = None
    ) -> None:
        self.bijection, self.base, self.condition = bijection, base, bijection.condition
        self.shape = base.shape if shape is None else tuple(shape)

    def log_prob(self, x: TensorLike, condition: TensorLike | None = None) -> Tensor:
        """ln p(x | condition) in nats per example."""
        x, condition = self._checked(x, condition)
        z, log_det = self.bijection.forward(x, condition)
        return self.base.log_prob(z) + log_det

    def loss(
        self, x: TensorLike, condition: TensorLike | None = None, *, rng: np.random.Generator | None = None
    ) -> Tensor:
        """Mean of −ln p in nats per example, to be minimised; nothing in it is random."""
        return -self.log_prob(x, condition).mean()

    def initialise(self, x: TensorLike, condition: TensorLike | None = None) -> None:
        """Let what starts from data, such as an `ActNorm`, do so, by a first batch x (N, *shape); before training."""
        x, condition = self._checked(x, condition)
        with no_grad():
            self.bijection.initialise(x, condition)

    def draw(self, n: int, rng: np.random.Generator, condition: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        """Draw x (n, *shape) as a differentiable function of the parameters, with its ln p(x) (n,)."""
        condition = self._told(n, condition)
        z = self.base.sample(n, rng).astype(self.dtype)
        x, log_det = self.bijection.inverse(z, condition)
        return x, self.base.log_prob(z) - log_det

    def sample(self, n: int, rng: np.random.Generator, condition: TensorLike | None = None) -> Array:
        """Draw n examples (n, *shape)."""
        condition = self._told(n, condition)
        with no_grad():
            return self.bijection.decode(self.base.sample(n, rng).astype(self.dtype), condition).value

    def _checked(self, x: TensorLike, condition: TensorLike | None) -> tuple[TensorLike, TensorLike | None]:
        if array_of(x).dtype.kind != "f":
            raise ValueError(f"x: expected floats {with_examples(self.shape)}, got {array_of(x).dtype}")
        x = finite("x", x, self.shape, self.dtype)
        return x, self._told(len(array_of(x)), condition)

    def _told(self, n: int, condition: TensorLike | None) -> TensorLike | None:
        at_least(0, n=n)
        check_condition(condition, n, self.condition)
        return None if condition is None else finite("condition", condition, np.shape(condition)[1:], self.dtype)
