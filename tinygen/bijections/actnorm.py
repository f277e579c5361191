"""Activation normalisation (actnorm): a learned scale and shift per channel."""

import math

import numpy as np

from ..autograd import Parameter, Tensor, TensorLike, broadcast_to, exp, subtract
from ..autograd.tensor import array_of
from ..checks import at_least, require
from .bijection import Bijection, Context


class ActNorm(Bijection):
    """Activation normalisation with a learned mean m and log-scale s per channel.

        z = (x − m) ⊙ exp s,   ln|det ∂z/∂x| = (number of positions) · Σ s

    It starts as the identity. `initialise(x)` sets m and s so that each channel of z has mean 0 and variance 1 over
    the batch x; a channel that is constant in x is only shifted. Afterwards m and s are ordinary parameters.

    Shapes: x, z (N, …, C); m, s (C,), where C is `channels`.
    Raises: ValueError if `initialise` gets fewer than two values per channel.
    Source: Kingma & Dhariwal, "Glow: generative flow with invertible 1×1 convolutions", 2018, section 3.1.
    Checked by: tests/bijections/test_actnorm.py

    Example:
        >>> ActNorm(1).initialise(np.array([[1.0], [3.0]])).value.ravel()
        array([-1.,  1.])
    """

    def __init__(self, channels: int) -> None:
        at_least(1, channels=channels)
        self.m, self.s = Parameter(np.zeros(channels)), Parameter(np.zeros(channels))

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        log_det = self._log_det("x", x)
        return subtract(x, self.m) * exp(self.s), log_det

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        return self.to_data(z), -self._log_det("z", z)

    def to_data(self, z: TensorLike, context: Context = None) -> Tensor:
        self._positions("z", z)
        return exp(-self.s) * z + self.m

    def initialise(self, x: TensorLike, context: Context = None) -> Tensor:
        self._positions("x", x)
        v = array_of(x).reshape(-1, array_of(x).shape[-1]).astype(np.float64)
        require(len(v) >= 2, "x", "at least two values per channel", f"shape {array_of(x).shape}")
        deviation = v.std(0)
        varies = deviation > 1e-12 * np.abs(v).max(0)  # a smaller deviation is the rounding error of a constant
        self.m.assign(v.mean(0))
        self.s.assign(-np.log(np.where(varies, deviation, 1)))
        return self.forward(x)[0]

    def _log_det(self, name: str, x: TensorLike) -> Tensor:
        return broadcast_to(self.s.sum() * self._positions(name, x), array_of(x).shape[:1])

    def _positions(self, name: str, x: TensorLike) -> int:
        shape = array_of(x).shape
        fits = len(shape) >= 2 and shape[-1] == self.s.size
        require(fits, name, f"shape (N, …, {self.s.size}) in ActNorm", shape)
        return math.prod(shape[1:-1])
