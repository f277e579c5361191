"""Elementwise bijections. The Jacobian is diagonal, so ln|det| is the sum of ln|dz/dx|.

Checked by: tests/bijections/test_elementwise.py
"""

import math

import numpy as np

from ..autograd import Tensor, TensorLike, add, broadcast_to, divide, log, log_sigmoid, multiply, sigmoid, subtract
from ..autograd import abs as absolute
from ..autograd.tensor import array_of
from ..checks import broadcasts, check_rate, require
from .bijection import Bijection, Context, sum_event


class Affine(Bijection):
    """z = scale ⊙ x + shift,   ln|dz/dx| = ln|scale|

    Shapes: scale and shift broadcast to an event. Arrays are cast to the dtype of x; a Parameter is learned.
    Raises: ValueError if scale contains zero, or if scale or shift is not finite.
    """

    def __init__(self, scale: TensorLike, shift: TensorLike = 0.0) -> None:
        for name, value in {"scale": array_of(scale), "shift": array_of(shift)}.items():
            require(np.all(np.isfinite(value)), name, "finite numbers", value)
        require(np.all(array_of(scale)), "scale", "nonzero numbers", array_of(scale))
        self.scale, self.shift = (v if isinstance(v, Tensor) else np.array(v, np.float64) for v in (scale, shift))

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        scale, shift = self._scale_and_shift("x", x)
        return add(multiply(x, scale), shift), self._log_det(x, scale)

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        scale, shift = self._scale_and_shift("z", z)
        return divide(subtract(z, shift), scale), -self._log_det(z, scale)

    def _scale_and_shift(self, name: str, x: TensorLike) -> list[TensorLike]:
        v, both = array_of(x), (self.scale, self.shift)
        if v.ndim < 1 or not all(broadcasts(p.shape, v.shape[1:]) for p in both):
            shapes = " and ".join(str(p.shape) for p in both)
            wanted = f"events that scale and shift of shapes {shapes} broadcast to"
            raise ValueError(f"{name}: expected {wanted}, got {v.shape}")
        return [p if isinstance(p, Tensor) or v.dtype.kind != "f" else p.astype(v.dtype) for p in both]

    def _log_det(self, x: TensorLike, scale: TensorLike) -> Tensor:
        # A learned scale can reach zero, and a constant can be rounded to zero in the dtype of x.
        require(np.all(array_of(scale)), "scale", "nonzero numbers", array_of(scale))
        return sum_event(broadcast_to(log(absolute(scale)), array_of(x).shape))


class Logit(Bijection):
    """z = logit u = ln u − ln(1 − u),   u = margin + (1 − 2·margin) x,   from [0, 1] to the real numbers

        ln dz/dx = ln(1 − 2·margin) − ln u − ln(1 − u)

    Data that contains 0 or 1 needs a margin > 0, as the logit is infinite there. With a margin, the inverse maps large
    |z| to x slightly outside [0, 1], and `forward` accepts these values.

    Raises: ValueError if u is not in (0, 1), or if margin is not in [0, ½).
    Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017, section 4.1.
    """

    def __init__(self, margin: float = 0.0) -> None:
        check_rate("margin", margin, below=0.5)
        self.margin = float(margin)

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        u = add(multiply(x, 1 - 2 * self.margin), self.margin)
        if not np.all((u.value > 0) & (u.value < 1)):
            v, hint = array_of(x), "" if self.margin else "; set a margin for data that contains 0 or 1"
            raise ValueError(f"x: expected values with 0 < u < 1 in Logit, got {v.min()}…{v.max()}{hint}")
        log_u, log_rest = log(u), log(1 - u)
        return log_u - log_rest, sum_event(math.log(1 - 2 * self.margin) - log_u - log_rest)

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        x = divide(subtract(sigmoid(z), self.margin), 1 - 2 * self.margin)
        # ln u + ln(1 − u) = ln σ(z) + ln σ(−z), which is finite even if σ(z) rounds to 0 or 1
        return x, sum_event(log_sigmoid(z) + log_sigmoid(multiply(z, -1.0)) - math.log(1 - 2 * self.margin))
