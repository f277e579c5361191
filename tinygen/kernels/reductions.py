"""Sums over rows in one pass over memory: the cotangent of a bias.

Checked by: tests/kernels/test_reductions.py
"""

from functools import partial

import numpy as np

from . import reference
from .runtime.arrays import Array, as_rows, compiles
from .runtime.compilation import compiled
from .runtime.pool import parallel_for, split

_CHUNK = 1 << 12  # rows per row of partial sums; fixed, so that the result does not depend on the number of threads
_GRAIN = 1 << 20  # elements in a part of about 200 µs


@compiled
def _sum_chunks(x: Array, sums: Array, start: int, stop: int) -> None:
    """sums[chunk, j] = Σ x[i, j] over the rows of each chunk: 64 rows in the dtype of x, their sums in float64."""
    block = np.zeros(x.shape[1], x.dtype)
    for chunk in range(start, stop):
        for first in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(x)), 64):
            block[:] = 0
            for i in range(first, min(first + 64, len(x))):
                row = x[i]
                for j in range(row.size):
                    block[j] += row[j]
            for j in range(block.size):
                sums[chunk, j] += block[j]


def sum_rows(x: Array) -> Array:
    """Sum over all axes but the last: y(c) = Σₚ x(p, c).

    float32 is summed in blocks of 64 rows whose sums are added in float64, so the error does not grow with the number
    of rows. Other dtypes are summed by NumPy.

    Shapes: x (…, C); y (C,), in the dtype of x.
    Raises: ValueError if x has no axis.
    """
    if x.ndim == 0:
        raise ValueError("x: expected at least one axis, got a scalar")
    if not compiles(x):
        return reference.sum_rows(x)
    rows = as_rows(x)
    sums = np.zeros((-(-len(rows) // _CHUNK), rows.shape[1]))
    parallel_for(partial(_sum_chunks, rows, sums), split(len(sums), 1 + _GRAIN // (_CHUNK * rows.shape[1])))
    return np.asarray(sums.sum(0), x.dtype)
