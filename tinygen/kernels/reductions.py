"""Sums over any axes, in one pass over memory, whose rounding error does not grow with the number of elements.

NumPy adds pairwise along the axis that is contiguous in memory, and one element after another along the others: a
float32 sum of 2·10⁷ ones over a leading axis stops at 2²⁴ ≈ 1.7·10⁷.

Checked by: tests/kernels/test_reductions.py
"""

import math

import numpy as np

from .runtime.arrays import Array, as_contiguous, compiles
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.team import run_parts

_BLOCK = 64  # terms that are added in float32, one after another
_LONG_BLOCK = 512  # terms of a row that are added in float32, in the lanes of a register
_SHORT = 1 << 9  # terms along other axes that NumPy may add in float32, one after another: a kernel takes as long
_CHUNK = 1 << 12  # rows per row of partial sums; fixed, so that the result does not depend on the number of threads
_GRAIN = 1 << 18  # elements in a part of about 50 µs


@compiled
def _sum_each_row(x: Array, sums: Array, team: Array, size: int) -> None:
    """sums[i] = Σⱼ x[i, j]: blocks in the dtype of x, their sums in float64."""
    start, stop = part(team, size)
    for i in range(start, stop):
        sums[i] = 0
        for first in range(0, x.shape[1], _LONG_BLOCK):
            block = x[i, first : first + _LONG_BLOCK]
            total = x.dtype.type(0)
            for j in range(block.size):
                total += block[j]
            sums[i] += total


@compiled
def _sum_chunks(x: Array, sums: Array, team: Array, size: int) -> None:
    """sums[b, chunk, j] = Σ x[b, i, j] over the rows of each chunk: blocks in the dtype of x, their sums in float64."""
    start, stop = part(team, size)
    block = np.zeros(x.shape[2], x.dtype)
    for index in range(start, stop):
        b, chunk = index // sums.shape[1], index % sums.shape[1]
        for first in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, x.shape[1]), _BLOCK):
            block[:] = 0
            for i in range(first, min(first + _BLOCK, x.shape[1])):
                row = x[b, i]
                for j in range(row.size):
                    block[j] += row[j]
            for j in range(block.size):
                sums[b, chunk, j] += block[j]


def total(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """Σ x over the axes, in the dtype of NumPy's sum or in float64, which the caller rounds after scaling.

    float16 is summed in float64. float32 is summed in blocks whose sums are added in float64, or by NumPy if there are
    at most 512 terms along axes other than the last. Other dtypes are summed by NumPy. The sum of a row depends neither
    on the other rows nor on the number of threads.

    Shapes: x (…).
    Raises: ValueError unless the axes are different numbers in 0 … ndim − 1.
    """
    first, last = (min(axes), max(axes)) if axes else (0, -1)
    if len({*axes}) < len(axes) or first < 0 or last >= x.ndim:
        raise ValueError(f"axes: expected different numbers in 0…{x.ndim - 1}, got {axes}")
    if not compiles(x):
        return np.asarray(x.sum(axes, np.float64 if x.dtype.char in "ef" else None, keepdims=keepdims))
    count = math.prod([x.shape[axis] for axis in axes])
    if count <= _SHORT and last < x.ndim - 1:
        return np.asarray(x.sum(axes, keepdims=keepdims))
    if not x.flags.c_contiguous or last - first >= len(axes):
        y = _sum_groups(x, axes)
    elif last == x.ndim - 1:
        y = _sum_columns(x.reshape(-1, count))
    else:
        y = _sum_rows(x.reshape(math.prod(x.shape[:first]), count, -1))
    return y.reshape([1 if axis in axes else n for axis, n in enumerate(x.shape) if keepdims or axis not in axes])


def _sum_groups(x: Array, axes: tuple[int, ...]) -> Array:
    """Sum over any axes, for any memory layout: merge axes that are neighbours in memory, and sum over each group."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    sizes: list[int] = []
    reduced: list[bool] = []
    for axis in order:
        if reduced and reduced[-1] == (axis in axes):
            sizes[-1] *= x.shape[axis]
        else:
            sizes.append(x.shape[axis])
            reduced.append(axis in axes)
    y = as_contiguous(x.transpose(order)).reshape(sizes)
    if reduced[-1]:
        y = _sum_columns(y.reshape(-1, sizes[-1])).reshape(sizes[:-1])
    for group in range(len(sizes) - 2, -1, -1):
        if reduced[group]:
            y = _sum_rows(y.reshape(math.prod(sizes[:group]), sizes[group], -1))
    kept = [axis for axis in order if axis not in axes]
    return y.reshape([x.shape[axis] for axis in kept]).transpose(np.argsort(kept))


def _sum_columns(x: Array) -> Array:
    """y[i] = Σⱼ x[i, j], in float64."""
    sums, x = np.empty(len(x)), as_contiguous(x)
    run_parts(_sum_each_row, len(x), 1 + _GRAIN // x.shape[1], x, sums)
    return sums


def _sum_rows(x: Array) -> Array:
    """y[b, j] = Σᵢ x[b, i, j], in float64."""
    batch, rows, columns = x.shape
    x = np.asarray(x, np.float32)  # the result of another call is float64
    sums = np.zeros((batch, -(-rows // _CHUNK), columns))
    work = min(rows, _CHUNK) * columns
    run_parts(_sum_chunks, batch * sums.shape[1], 1 + _GRAIN // work, x, sums)
    return sums.sum(1) if sums.shape[1] > 1 else sums[:, 0]
