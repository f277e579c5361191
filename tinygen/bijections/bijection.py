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

    Shapes: x, z (N, …), log_det (N,), always; condition (N, C), what the map is told besides, such as a one-hot label.
    """

    @property
    def condition(self) -> int | None:
        """How many numbers C it is told, 0 if it takes no condition; None if only what it is made of knows."""
        return 0

    def forward(self, x: TensorLike, condition: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        """Map data to noise: x to z, with ln|det ∂z/∂x|."""
        raise NotImplementedError

    def inverse(self, z: TensorLike, condition: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        """Map noise to data: z to x, with ln|det ∂x/∂z|."""
        raise NotImplementedError

    def encode(self, x: TensorLike, condition: TensorLike | None = None) -> Tensor:
        """Return the z of `forward` alone, for who does not ask for the volume."""
        return self.forward(x, condition)[0]

    def decode(self, z: TensorLike, condition: TensorLike | None = None) -> Tensor:
        """Return the x of `inverse` alone, for samplers, which do not ask for the volume."""
        return self.inverse(z, condition)[0]

    def initialise(self, x: TensorLike, condition: TensorLike | None = None) -> Tensor:
        """Set the parameters that start from data, as those of `ActNorm`, by a first batch x; return what x maps to."""
        return self.forward(x, condition)[0]


class Chain(Bijection):
    """f = fₙ ∘ … ∘ f₂ ∘ f₁: data passes the first one first, and log-determinants add up."""

    def __init__(self, *bijections: Bijection) -> None:
        if not bijections:
            raise ValueError("bijections: expected at least one, got none")
        self.bijections = list(bijections)

    @property
    def condition(self) -> int | None:
        sizes = {bijection.condition for bijection in self.bijections} - {0}
        return 0 if not sizes else sizes.pop() if len(sizes) == 1 else None

    def forward(self, x: TensorLike, condition: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, total = self.bijections[0].forward(x, condition)
        for bijection in self.bijections[1:]:
            z, log_det = bijection.forward(z, condition)
            total = total + log_det
        return z, total

    def inverse(self, z: TensorLike, condition: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        x, total = self.bijections[-1].inverse(z, condition)
        for bijection in reversed(self.bijections[:-1]):
            x, log_det = bijection.inverse(x, condition)
            total = total + log_det
        return x, total

    def encode(self, x: TensorLike, condition: TensorLike | None = None) -> Tensor:
        z: TensorLike = x
        for bijection in self.bijections:
            z = bijection.encode(z, condition)
        return z if isinstance(z, Tensor) else Tensor(z)

    def decode(self, z: TensorLike, condition: TensorLike | None = None) -> Tensor:
        x: TensorLike = z
        for bijection in reversed(self.bijections):
            x = bijection.decode(x, condition)
        return x if isinstance(x, Tensor) else Tensor(x)

    def initialise(self, x: TensorLike, condition: TensorLike | None = None) -> Tensor:
        z = self.bijections[0].initialise(x, condition)
        for bijection in self.bijections[1:]:
            z = bijection.initialise(z, condition)
        return z


class Inverse(Bijection):
    """f⁻¹: the same map, read the other way.

    An inverse autoregressive flow is the Inverse of a masked autoregressive one: what was fast is slow, and the other
    way round. `initialise` leaves it as it is: what is inside would have to be initialised by noise, not by data.
    """

    def __init__(self, bijection: Bijection) -> None:
        self.bijection = bijection

    @property
    def condition(self) -> int | None:
        return self.bijection.condition

    def forward(self, x: TensorLike, condition: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(x, condition)

    def inverse(self, z: TensorLike, condition: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.forward(z, condition)

    def encode(self, x: TensorLike, condition: TensorLike | None = None) -> Tensor:
        return self.bijection.decode(x, condition)

    def decode(self, z: TensorLike, condition: TensorLike | None = None) -> Tensor:
        return self.bijection.encode(z, condition)


def sum_event(x: Tensor) -> Tensor:
    """Sum over all but the first axis: (N, …) to (N,)."""
    return x.sum(tuple(range(1, x.ndim)))
