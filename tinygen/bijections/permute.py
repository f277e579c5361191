"""Permutations and reshapes: their log-determinant is zero.

Checked by: tests/bijections/test_permute.py
"""

import math
from collections.abc import Sequence

import numpy as np

from ..autograd import Array, Tensor, TensorLike, index, reshape
from ..autograd.tensor import array_of
from ..checks import check_event
from .bijection import Bijection, Context, zero_log_det


class Permute(Bijection):
    """Permutation of the last axis: zᵢ = x_order[i]. With `order=np.arange(D)[::-1]` it reverses the axis.

    Shapes: x, z (N, …, D); order (D,).
    Raises: ValueError if order is not a permutation of 0…D−1.
    """

    def __init__(self, order: Array | Sequence[int]) -> None:
        order = np.array(order)
        if order.ndim != 1 or order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(len(order))):
            raise ValueError(f"order: expected a permutation of 0…D−1, got {order.dtype} {order}")
        self.order = order

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        return self._permuted("x", x, self.order)

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        return self._permuted("z", z, np.argsort(self.order))

    def _permuted(self, name: str, x: TensorLike, order: Array) -> tuple[Tensor, Tensor]:
        shape = array_of(x).shape
        if len(shape) < 2 or shape[-1:] != order.shape:
            raise ValueError(f"{name}: expected shape (N, …, {len(order)}) in Permute, got {shape}")
        return index(x, (..., order)), zero_log_det(x)


class Reshape(Bijection):
    """Reshape of events, in row-major order. Shapes: x (N, *data); z (N, *noise)."""

    def __init__(self, data: tuple[int, ...], noise: tuple[int, ...]) -> None:
        if math.prod(data) != math.prod(noise):
            raise ValueError(f"noise: expected the size of data, {math.prod(data)} elements, got shape {noise}")
        self.data, self.noise = tuple(data), tuple(noise)

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        check_event("x", x, self.data)
        return reshape(x, (len(array_of(x)), *self.noise)), zero_log_det(x)

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        check_event("z", z, self.noise)
        return reshape(z, (len(array_of(z)), *self.data)), zero_log_det(z)
