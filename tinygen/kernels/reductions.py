"""Sums over rows in one pass over memory, by which the cotangent of a bias is computed."""

from __future__ import annotations

import numpy as np

from .runtime.arrays import Array, fast, rows_of
from .runtime.pool import parts, share
from .runtime.tile import compiled

# A thread is worth calling for this many numbers (about 20 µs on one core).
_GRAIN = 1 << 15


@compiled
def _sum_rows(x: Array, total: Array, start: int, stop: int) -> None:
    """total[j] += Σ x[i, j] for rows start … stop: 64 rows at a time in x's precision, their sums in total's."""
    block = np.zeros(x.shape[1], x.dtype)
    for first in range(start, stop, 64):
        block[:] = 0
        for i in range(first, min(first + 64, stop)):
            row = x[i]
            for j in range(row.size):
                block[j] += row[j]
        for j in range(block.size):
            total[j] += block[j]


def sum_rows(x: Array) -> Array:
    """Sum over all axes but the last: the cotangent of a bias.

        y(c) = Σₚ x(p, c)

    Shapes: x (…, C); y (C,), of x's dtype. float32 is summed in blocks of 64 whose sums are added in float64, so the
    error does not grow with the number of rows; without the JIT, in float64 at once. Other dtypes: as NumPy sums.
    Checked by: tests/kernels/test_reductions.py
    """
    if not fast(x):
        precision = np.float64 if x.dtype == np.float32 else None
        return np.asarray(x.sum(tuple(range(x.ndim - 1)), precision), x.dtype)
    rows = rows_of(x)
    cuts = parts(len(rows), _GRAIN // rows.shape[1] + 1)
    sums = [np.zeros(rows.shape[1]) for _ in cuts]  # one for each thread
    share(_sum_rows, (rows,), [(total, *cut) for total, cut in zip(sums, cuts, strict=True)])
    return np.asarray(sum(sums[1:], sums[0]), x.dtype)
