"""Bijections that only move numbers: their log-determinant is zero.

Checked by: tests/bijections/test_permute.py
"""

from __future__ import annotations

import math

import numpy as np

from ..autograd import Array, Tensor, TensorLike, index, reshape
from ..autograd.tensor import array_of
from ..checks import with_examples
from .bijection import Bijection


class Permute(Bijection):
    """zᵢ = x_order[i] along the last axis, ln|det| = 0

    Shapes: order (D,), a permutation of 0…D−1, else ValueError; x, z (N, …, D).
    """

    def __init__(self, order: Array) -> None:
        order = np.asarray(order)
        if order.ndim != 1 or order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(len(order))):
            raise ValueError(f"order: expected a permutation of 0…D−1, got {order.dtype} {order}")
        self.order = order

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return self._moved(x, self.order)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return self._moved(z, np.argsort(self.order))

    def _moved(self, x: TensorLike, order: Array) -> tuple[Tensor, Tensor]:
        shape = array_of(x).shape
        if len(shape) < 2 or shape[-1:] != order.shape:
            raise ValueError(f"x: expected (N, …, {len(order)}) by {type(self).__name__}, got {shape}")
        return index(x, (..., order)), no_volume(x)


class Reverse(Permute):
    """The last of D comes first: what a stack of autoregressive flows has between its layers."""

    def __init__(self, dim: int) -> None:
        super().__init__(np.arange(dim)[::-1].copy())


class Reshape(Bijection):
    """Examples of one shape as examples of another, in raster order."""

    def __init__(self, data: tuple[int, ...], noise: tuple[int, ...]) -> None:
        if math.prod(data) != math.prod(noise):
            raise ValueError(f"noise: expected as many numbers as in data {data}, got {noise}")
        self.data, self.noise = tuple(data), tuple(noise)

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return self._reshaped(x, self.data, self.noise)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return self._reshaped(z, self.noise, self.data)

    def _reshaped(self, x: TensorLike, here: tuple[int, ...], there: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        n, *event = array_of(x).shape
        if tuple(event) != here:
            raise ValueError(f"x: expected {with_examples(here)} by Reshape, got {(n, *event)}")
        return reshape(x, (n, *there)), no_volume(x)


def no_volume(x: TensorLike) -> Tensor:
    """ln|det| = 0 of each example."""
    v = array_of(x)
    return Tensor(np.zeros(len(v), v.dtype))
