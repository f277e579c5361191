"""Bijections of each number by itself: their Jacobian is diagonal, so ln|det| is the sum of ln|dz/dx|.

Checked by: tests/bijections/test_elementwise.py
"""

from __future__ import annotations

import math

import numpy as np

from ..autograd import Tensor, TensorLike, add, broadcast_to, divide, log, log_sigmoid, multiply, sigmoid, subtract
from ..autograd import abs as absolute
from ..autograd.tensor import array_of
from ..checks import broadcasts
from .bijection import Bijection, sum_event


class Affine(Bijection):
    """z = scale ⊙ x + shift, ln|dz/dx| = ln|scale|

    Shapes: scale and shift broadcast to the event; if they are constants they are taken in x's dtype.
    Raises ValueError if a scale is zero, if either is not finite or does not broadcast to the event.
    """

    def __init__(self, scale: TensorLike, shift: TensorLike = 0.0) -> None:
        for name, value in {"scale": array_of(scale), "shift": array_of(shift)}.items():
            if not np.all(np.isfinite(value)):
                raise ValueError(f"{name}: expected finite numbers, got {value}")
        if np.any(array_of(scale) == 0):
            raise ValueError(f"scale: expected no zero, or the map has no inverse, got {array_of(scale)}")
        self.scale, self.shift = (v if isinstance(v, Tensor) else np.asarray(v, np.float64) for v in (scale, shift))

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        scale, shift = self._scale_and_shift(x)
        return add(multiply(x, scale), shift), self._log_det(x, scale)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        scale, shift = self._scale_and_shift(z)
        return divide(subtract(z, shift), scale), -self._log_det(z, scale)

    def _scale_and_shift(self, x: TensorLike) -> list[TensorLike]:
        v, both = array_of(x), (self.scale, self.shift)
        if v.ndim < 1 or not all(broadcasts(p.shape, v.shape[1:]) for p in both):
            raise ValueError(f"x: expected what scale {both[0].shape} and shift {both[1].shape} fit, got {v.shape}")
        return [p if isinstance(p, Tensor) or v.dtype.kind != "f" else p.astype(v.dtype) for p in both]

    def _log_det(self, x: TensorLike, scale: TensorLike) -> Tensor:
        if not np.all(array_of(scale)):
            raise ValueError("scale: expected no zero, or the map has no inverse; training or rounding has made it one")
        return sum_event(broadcast_to(log(absolute(scale)), array_of(x).shape))


class Logit(Bijection):
    """z = logit(u) = ln u − ln(1 − u) of u = margin + (1 − 2·margin) x, from [0, 1] to the reals

        ln dz/dx = ln(1 − 2·margin) − ln u − ln(1 − u)

    Data that touches 0 or 1 needs a margin, since the logit is infinite there. The inverse then takes noise beyond
    ±logit(margin) somewhat outside of [0, 1], and such x, which have u in (0, 1), are mapped back.
    Raises ValueError if u is not within (0, 1), or if margin is not within [0, ½).
    Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017.
    """

    def __init__(self, margin: float = 0.0) -> None:
        if not 0 <= margin < 0.5:
            raise ValueError(f"margin: expected at least 0 and below 0.5, got {margin}")
        self.margin = margin

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        u = add(multiply(x, 1 - 2 * self.margin), self.margin)
        if not np.all((u.value > 0) & (u.value < 1)):
            v, hint = array_of(x), "" if self.margin else "; data that touches 0 or 1 needs a margin"
            raise ValueError(f"x: expected numbers by Logit such that 0 < u < 1, got {v.min()}…{v.max()}{hint}")
        log_u, log_rest = log(u), log(1 - u)
        return log_u - log_rest, sum_event(math.log(1 - 2 * self.margin) - log_u - log_rest)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        x = divide(subtract(sigmoid(z), self.margin), 1 - 2 * self.margin)
        # ln σ(z) and ln(1 − σ(z)) = ln σ(−z), both without computing a σ that rounds to 0 or 1
        return x, sum_event(log_sigmoid(z) + log_sigmoid(subtract(0, z)) - math.log(1 - 2 * self.margin))
