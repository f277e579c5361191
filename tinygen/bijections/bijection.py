"""The interface of a bijection, and its two combinators: composition (`Chain`) and inversion (`Inverse`).

    z, log_det = bijection.forward(x)      data to noise,   log_det = ln|det ∂z/∂x|
    x, log_det = bijection.inverse(z)      noise to data,   log_det = ln|det ∂x/∂z|

Each log_det is that of the map just applied, so the two log_dets of a round trip have opposite signs.

Checked by: tests/bijections/test_bijection.py
"""

from typing import TypeAlias

import numpy as np

from ..autograd import Tensor, TensorLike
from ..autograd.tensor import array_of
from ..checks import require
from ..nn import Module

Context: TypeAlias = "TensorLike | None"  # context vectors (N, C), or None if there are none


class Bijection(Module):
    """Base class of invertible maps. Subclasses implement `forward` and `inverse`.

    A conditional bijection depends on a context vector of C numbers per example, such as a one-hot label. As an
    attribute and in constructors, `context` is the size C (0 if the map is unconditional, None if C is unknown). In
    calls, `context` is the array of context vectors, (N, C).

    Shapes: x, z (N, …); context (N, C); log_det (N,), in nats.
    Raises: ValueError if an argument has the wrong shape; this holds for every subclass.
    """

    context: int | None = 0

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        """Map data x to noise z. Return z and ln|det ∂z/∂x|."""
        raise NotImplementedError

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        """Map noise z to data x. Return x and ln|det ∂x/∂z|."""
        raise NotImplementedError

    def to_noise(self, x: TensorLike, context: Context = None) -> Tensor:
        """Return z without the log-determinant. Subclasses override this and `to_data` where that is cheaper."""
        return self.forward(x, context)[0]

    def to_data(self, z: TensorLike, context: Context = None) -> Tensor:
        """Return x without the log-determinant."""
        return self.inverse(z, context)[0]

    def initialise(self, x: TensorLike, context: Context = None) -> Tensor:
        """Set data-dependent parameters, such as those of `ActNorm`, from a first batch x. Return z.

        In derivatives of z, the parameters are constants.
        """
        return self.forward(x, context)[0]


class Chain(Bijection):
    """Composition f = fₙ ∘ … ∘ f₁: `forward` applies f₁ first, and the log-determinants add up.

    Example:
        >>> from tinygen.bijections import Affine
        >>> Chain(Affine(2.0), Affine(1.0, shift=3.0)).forward(np.ones((1, 1)))[0].item()
        5.0
    """

    def __init__(self, *bijections: Bijection) -> None:
        require(len(bijections) > 0, "bijections", "at least one", "none")
        self.bijections = list(bijections)
        sizes = {bijection.context for bijection in bijections} - {0}
        self.context = 0 if not sizes else sizes.pop() if len(sizes) == 1 else None

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        z, total = self.bijections[0].forward(x, context)
        for bijection in self.bijections[1:]:
            z, log_det = bijection.forward(z, context)
            total = total + log_det
        return z, total

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        x, total = self.bijections[-1].inverse(z, context)
        for bijection in reversed(self.bijections[:-1]):
            x, log_det = bijection.inverse(x, context)
            total = total + log_det
        return x, total

    def to_noise(self, x: TensorLike, context: Context = None) -> Tensor:
        z = self.bijections[0].to_noise(x, context)
        for bijection in self.bijections[1:]:
            z = bijection.to_noise(z, context)
        return z

    def to_data(self, z: TensorLike, context: Context = None) -> Tensor:
        x = self.bijections[-1].to_data(z, context)
        for bijection in reversed(self.bijections[:-1]):
            x = bijection.to_data(x, context)
        return x

    def initialise(self, x: TensorLike, context: Context = None) -> Tensor:
        z = self.bijections[0].initialise(x, context)
        for bijection in self.bijections[1:]:
            z = bijection.initialise(z, context)
        return z


class Inverse(Bijection):
    """The inverse f⁻¹ of a bijection f: `forward` and `inverse` are exchanged.

    `initialise` leaves the parameters of f unchanged, because they would have to be set from noise.

    Example:
        >>> from tinygen.bijections import Affine
        >>> Inverse(Affine(2.0)).forward(np.ones((1, 1)))[0].item()
        0.5
    """

    def __init__(self, bijection: Bijection) -> None:
        self.bijection, self.context = bijection, bijection.context

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(x, context)

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        return self.bijection.forward(z, context)

    def to_noise(self, x: TensorLike, context: Context = None) -> Tensor:
        return self.bijection.to_data(x, context)

    def to_data(self, z: TensorLike, context: Context = None) -> Tensor:
        return self.bijection.to_noise(z, context)


def sum_event(x: Tensor) -> Tensor:
    """Sum over all axes but the first: (N, …) to (N,)."""
    return x.sum(tuple(range(1, x.ndim)))


def zero_log_det(x: TensorLike) -> Tensor:
    """Return ln|det| = 0 for each example, (N,), in the dtype of x."""
    v = array_of(x)
    return Tensor(np.zeros(len(v), v.dtype))
