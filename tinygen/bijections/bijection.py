"""Invertible maps that know how they change volumes, and the three ways to make one of others.

    z, log_det = bijection.forward(x)      data to noise,   log_det = ln|det ∂z/∂x|
    x, log_det = bijection.inverse(z)      noise to data,   log_det = ln|det ∂x/∂z|

Each log_det is that of the map just applied, so of one point and back the two are opposite.

Checked by: tests/bijections/test_bijection.py
"""

from __future__ import annotations

from ..autograd import Tensor, TensorLike
from ..nn import Module


class Bijection(Module):
    """An invertible map of examples.

    Shapes: x, z (N, …), log_det (N,), always; context (N, C), what the map is told besides, such as a one-hot label.
    """

    @property
    def context(self) -> int | None:
        """How many numbers C it is told, 0 if it takes no context; None if only what it is made of knows."""
        return 0

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        """Map data to noise: x to z, with ln|det ∂z/∂x|."""
        raise NotImplementedError

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        """Map noise to data: z to x, with ln|det ∂x/∂z|."""
        raise NotImplementedError

    def to_noise(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        """Return the z of `forward` alone, for who does not ask for the volume."""
        return self.forward(x, context)[0]

    def to_data(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        """Return the x of `inverse` alone, for samplers, which do not ask for the volume."""
        return self.inverse(z, context)[0]

    def initialise(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        """Set the parameters that start from data, as those of `ActNorm`, by a first batch x; return what x maps to."""
        return self.forward(x, context)[0]


class Chain(Bijection):
    """f = fₙ ∘ … ∘ f₂ ∘ f₁: data passes the first one first, and log-determinants add up."""

    def __init__(self, *bijections: Bijection) -> None:
        if not bijections:
            raise ValueError("bijections: expected at least one, got none")
        self.bijections = list(bijections)

    @property
    def context(self) -> int | None:
        sizes = {bijection.context for bijection in self.bijections} - {0}
        return 0 if not sizes else sizes.pop() if len(sizes) == 1 else None

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, total = self.bijections[0].forward(x, context)
        for bijection in self.bijections[1:]:
            z, log_det = bijection.forward(z, context)
            total = total + log_det
        return z, total

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        x, total = self.bijections[-1].inverse(z, context)
        for bijection in reversed(self.bijections[:-1]):
            x, log_det = bijection.inverse(x, context)
            total = total + log_det
        return x, total

    def to_noise(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        z: TensorLike = x
        for bijection in self.bijections:
            z = bijection.to_noise(z, context)
        return z if isinstance(z, Tensor) else Tensor(z)

    def to_data(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        x: TensorLike = z
        for bijection in reversed(self.bijections):
            x = bijection.to_data(x, context)
        return x if isinstance(x, Tensor) else Tensor(x)

    def initialise(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        z = self.bijections[0].initialise(x, context)
        for bijection in self.bijections[1:]:
            z = bijection.initialise(z, context)
        return z


class Inverse(Bijection):
    """f⁻¹: the same map, read the other way.

    An inverse autoregressive flow is the Inverse of a masked autoregressive one: what was fast is slow, and the other
    way round. `initialise` leaves it as it is: what is inside would have to be initialised by noise, not by data.
    """

    def __init__(self, bijection: Bijection) -> None:
        self.bijection = bijection

    @property
    def context(self) -> int | None:
        return self.bijection.context

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(x, context)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.forward(z, context)

    def to_noise(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        return self.bijection.to_data(x, context)

    def to_data(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        return self.bijection.to_noise(z, context)


def sum_event(x: Tensor) -> Tensor:
    """Sum over all but the first axis: (N, …) to (N,)."""
    return x.sum(tuple(range(1, x.ndim)))
