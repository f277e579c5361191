"""Actnorm: a scale and a shift of every channel, which start by normalising a first batch.

Checked by: tests/bijections/test_actnorm.py
"""

from __future__ import annotations

import math

import numpy as np

from ..autograd import Parameter, Tensor, TensorLike, broadcast_to, exp, subtract
from ..autograd.tensor import array_of
from ..checks import at_least
from .bijection import Bijection


class ActNorm(Bijection):
    """z = (x − m) ⊙ exp s, with m and s of each channel,   ln|det ∂z/∂x| = (positions) · Σ s

    It starts as the identity. `initialise(x)` sets m and s so that every channel of the batch x comes out with mean 0
    and variance 1; from then on they are parameters like others, saved and restored with them. A channel that is
    constant in the batch is only shifted.

    Shapes: x, z (N, …, C), m and s (C,), log_det (N,).
    Raises ValueError if x has another number of channels, or, to be initialised by, fewer than two numbers in each.
    Source: Kingma & Dhariwal, "Glow: generative flow with invertible 1×1 convolutions", 2018, section 3.1.
    Checked by: tests/bijections/test_actnorm.py
    """

    def __init__(self, channels: int) -> None:
        at_least(1, channels=channels)
        self.m, self.s = Parameter(np.zeros(channels)), Parameter(np.zeros(channels))

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return subtract(x, self.m) * exp(self.s), self._log_det(x)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return self.to_data(z), -self._log_det(z)

    def to_data(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        self._positions(z)
        return exp(-self.s) * z + self.m

    def initialise(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        v = array_of(x).reshape(-1, array_of(x).shape[-1]).astype(np.float64)
        if len(v) < 2:
            raise ValueError(f"x: expected two or more numbers in every channel, got shape {array_of(x).shape}")
        deviation = v.std(0)
        varies = deviation > 1e-12 * np.abs(v).max(0)  # below that it is what rounding leaves of equal numbers
        self.m.assign(v.mean(0))
        self.s.assign(-np.log(np.where(varies, deviation, 1)))
        return self.forward(x)[0]

    def _log_det(self, x: TensorLike) -> Tensor:
        return broadcast_to(self.s.sum() * self._positions(x), array_of(x).shape[:1])

    def _positions(self, x: TensorLike) -> int:
        _, *positions, channels = array_of(x).shape
        if channels != self.s.size:
            raise ValueError(f"x: expected (N, …, {self.s.size}) by ActNorm, got {array_of(x).shape}")
        return math.prod(positions)
