"""The invertible 1×1 convolution: a permutation of channels that is learned.

Checked by: tests/bijections/test_invertible_conv.py
"""

from __future__ import annotations

import math

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike, broadcast_to, exp, inv, matmul, where
from ..autograd.tensor import array_of
from ..checks import at_least
from ..nn.init import orthogonal
from .bijection import Bijection


class InvertibleConv(Bijection):
    """z(p) = x(p) W at every position, ln|det ∂z/∂x| = (positions) · Σ ln|s|

        W = P L (U + diag s),   P a fixed permutation, L unit lower and U strictly upper triangular, s = ± exp(log_s)

    The determinant costs O(C) and not O(C³), and W cannot become singular unless an s underflows. It starts as a random
    rotation, or as the `w` given. Of vectors it is a linear layer.

    Shapes: x, z (N, …, C), W (C, C), log_det (N,).
    Raises ValueError if w is singular or no square matrix, or if an s has become 0 or infinite.
    Source: Kingma & Dhariwal, "Glow: generative flow with invertible 1×1 convolutions", 2018, section 3.2.
    Checked by: tests/bijections/test_invertible_conv.py
    """

    def __init__(self, channels: int, rng: np.random.Generator, w: Array | None = None) -> None:
        at_least(1, channels=channels)
        if w is not None and np.shape(w) != (channels, channels):
            raise ValueError(f"w: expected ({channels}, {channels}), got {np.shape(w)}")
        order, lower, upper = plu(orthogonal(channels, rng) if w is None else np.asarray(w))
        s = np.diag(upper)
        self.order, self.sign = order, np.sign(s).astype(np.float32)
        self.lower, self.upper = Parameter(lower), Parameter(np.triu(upper, 1))
        self.log_s = Parameter(np.log(np.abs(s)))

    @property
    def w(self) -> Tensor:
        """W, put together."""
        below, eye = np.tri(len(self.order), k=-1, dtype=bool), np.eye(len(self.order), dtype=np.float32)
        s = self.sign * exp(self.log_s)
        if not np.all((s.value != 0) & np.isfinite(s.value)):
            raise ValueError(f"InvertibleConv: the matrix has become singular, its diagonal is {s.value}")
        lower, upper = where(below, self.lower, 0) + eye, where(below.T, self.upper, 0) + s * eye
        return matmul(lower[self.order], upper)

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return matmul(x, self.w), self._log_det(x)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return matmul(z, inv(self.w)), -self._log_det(z)

    def _log_det(self, x: TensorLike) -> Tensor:
        n, *positions, _ = array_of(x).shape
        return broadcast_to(self.log_s.sum() * math.prod(positions), (n,))


def plu(w: Array) -> tuple[Array, Array, Array]:
    """Factorise w = L[order] U by elimination with partial pivoting: L unit lower, U upper triangular; in float64.

    Raises ValueError if w is singular, to rounding.
    Source: Golub & Van Loan, "Matrix Computations", 4th edition, section 3.4.
    """
    n = len(w)
    u, lower, rows = w.astype(np.float64), np.eye(n), np.arange(n)
    for k in range(n):
        pivot = k + int(np.argmax(np.abs(u[k:, k])))
        if not abs(u[pivot, k]) > n * np.finfo(np.float64).eps * np.abs(w).max():
            raise ValueError(f"w: expected an invertible matrix, this one is singular: column {k} has no pivot")
        u[[k, pivot]], rows[[k, pivot]] = u[[pivot, k]], rows[[pivot, k]]
        lower[[k, pivot], :k] = lower[[pivot, k], :k]
        lower[k + 1 :, k] = u[k + 1 :, k] / u[k, k]
        u[k + 1 :] -= np.outer(lower[k + 1 :, k], u[k])
    return np.argsort(rows), lower, np.triu(u)
