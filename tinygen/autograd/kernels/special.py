"""Functions of one number that NumPy does not have.

Checked by: tests/autograd/kernels/test_special.py
"""

from __future__ import annotations

import math

import numpy as np

from .arrays import Array, behaved
from .intrinsics import compiled
from .threads import parallel

# A thread is worth waking for this many numbers (at about 20 ns each).
_GRAIN = 1 << 12


@compiled
def _erfc(x: Array, y: Array, start: int, stop: int) -> None:
    for i in range(start, stop):
        y[i] = math.erfc(x[i])


def erfc(x: Array) -> Array:
    """y = 1 − erf x = 2/√π ∫ₓ^∞ e^−t² dt, as precise where it is tiny as math.erfc is. Shapes: x, y (…), float64."""
    flat, y = behaved(x).reshape(-1), np.empty(x.size)
    parallel(lambda start, stop: _erfc(flat, y, start, stop), x.size, _GRAIN)
    return y.reshape(x.shape)
