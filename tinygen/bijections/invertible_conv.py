"""Invertible 1×1 convolution: a learned linear map of the channels, which generalises a permutation."""

import math

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike, broadcast_to, exp, inv, matmul, where
from ..autograd.tensor import array_of
from ..checks import at_least, require
from ..nn.init import orthogonal
from .bijection import Bijection, Context


class InvertibleConv(Bijection):
    """Invertible 1×1 convolution in PLU parameterisation; for vectors, a linear layer.

        z(p) = x(p) W at every position p,   ln|det ∂z/∂x| = (number of positions) · Σ ln|s|
        W = P L (U + diag s),   P a fixed permutation, L unit lower and U strictly upper triangular, s = ± exp(log_s)

    The determinant costs O(C) instead of O(C³), and W is singular only if an s underflows.

    Args:
        channels: number of channels C.
        rng: generator of the initial W, a random rotation.
        w: initial W (C, C), instead of a random rotation.

    Shapes: x, z (N, …, C).
    Raises: ValueError if w is singular, or if W has become singular or infinite.
    Source: Kingma & Dhariwal, "Glow: generative flow with invertible 1×1 convolutions", 2018, section 3.2.
    Checked by: tests/bijections/test_invertible_conv.py

    Example:
        >>> conv = InvertibleConv(2, np.random.default_rng(0), w=np.array([[0.0, 2.0], [1.0, 0.0]]))
        >>> z, log_det = conv.forward(np.ones((1, 4, 4, 2)))
        >>> round(log_det.item() / math.log(2), 4)  # 16 positions, |det W| = 2
        16.0
    """

    def __init__(self, channels: int, rng: np.random.Generator, w: Array | None = None) -> None:
        at_least(1, channels=channels)
        w = orthogonal(channels, rng) if w is None else np.asarray(w)
        require(w.shape == (channels, channels), "w", f"shape ({channels}, {channels})", w.shape)
        self.order, lower, upper = plu(w)
        s = np.diag(upper)
        self.sign = np.sign(s).astype(np.float32)
        self.lower, self.upper = Parameter(lower), Parameter(np.triu(upper, 1))
        self.log_s = Parameter(np.log(np.abs(s)))

    @property
    def w(self) -> Tensor:
        """The matrix W."""
        below, eye = np.tri(len(self.order), k=-1, dtype=bool), np.eye(len(self.order), dtype=np.float32)
        s = self.sign * exp(self.log_s)
        if not np.all((s.value != 0) & np.isfinite(s.value)):
            raise ValueError(f"w: expected an invertible matrix, got diagonal {s.value}; has training diverged?")
        lower, upper = where(below, self.lower, eye), where(below.T, self.upper, s * eye)
        return matmul(lower[self.order], upper)

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        log_det = self._log_det("x", x)
        return matmul(x, self.w), log_det

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        log_det = self._log_det("z", z)
        return matmul(z, inv(self.w)), -log_det

    def _log_det(self, name: str, x: TensorLike) -> Tensor:
        shape, channels = array_of(x).shape, len(self.order)
        require(len(shape) >= 2 and shape[-1] == channels, name, f"shape (N, …, {channels}) in InvertibleConv", shape)
        return broadcast_to(self.log_s.sum() * math.prod(shape[1:-1]), shape[:1])


def plu(w: Array) -> tuple[Array, Array, Array]:
    """Factorise w = L[order] U by Gaussian elimination with partial pivoting, in float64.

    Returns order, the unit lower triangular L and the upper triangular U.
    Raises: ValueError if w is numerically singular.
    Source: Golub & Van Loan, "Matrix Computations", 4th edition, section 3.4.
    """
    n = len(w)
    u, lower, rows = w.astype(np.float64), np.eye(n), np.arange(n)
    for k in range(n):
        pivot = k + int(np.argmax(np.abs(u[k:, k])))
        if not abs(u[pivot, k]) > n * np.finfo(np.float64).eps * np.abs(w).max():
            raise ValueError(f"w: expected an invertible matrix, got a singular one: column {k} has no pivot")
        u[[k, pivot]], rows[[k, pivot]] = u[[pivot, k]], rows[[pivot, k]]
        lower[[k, pivot], :k] = lower[[pivot, k], :k]
        lower[k + 1 :, k] = u[k + 1 :, k] / u[k, k]
        u[k + 1 :] -= np.outer(lower[k + 1 :, k], u[k])
    return np.argsort(rows), lower, np.triu(u)
