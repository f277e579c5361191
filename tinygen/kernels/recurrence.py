"""The linear recurrence y_i = a_i y_{i−1} + b_i, which the derivative of a cumulative product needs.

All arithmetic is float64.

Checked by: tests/kernels/test_recurrence.py
"""

import numpy as np

from .runtime.arrays import Array, as_contiguous, check_shape
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.team import run_parts

_GRAIN = 1 << 14  # elements in a part of about 50 µs: each step waits for the one before, about 3 ns


@compiled
def _recurrence(a: Array, b: Array, y: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    for row in range(start, stop):
        previous = 0.0
        for i in range(a.shape[1]):
            previous = a[row, i] * previous + b[row, i]
            y[row, i] = previous


def linear_recurrence(a: Array, b: Array) -> Array:
    """y_i = a_i y_{i−1} + b_i along the last axis, with y_{−1} = 0. Shapes: a, b, y (…, n).

    Raises: ValueError if the shapes differ.
    """
    check_shape("b", b, a.shape)
    n = a.shape[-1]
    y = np.empty((a.size // max(n, 1), n))
    rows = [as_contiguous(np.ascontiguousarray(x, np.float64)).reshape(y.shape) for x in (a, b)]
    run_parts(_recurrence, len(y), 1 + _GRAIN // max(n, 1), *rows, y)
    return y.reshape(a.shape).astype(np.result_type(a, b), copy=False)
