"""Elementwise products of large arrays on several threads: one thread does not use the whole memory bandwidth.

Checked by: tests/kernels/test_elementwise.py
"""

from typing import Any

import numpy as np

from .runtime.arrays import Array, compiles
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.team import run_parts

_LARGE, _GRAIN = 1 << 17, 1 << 16  # elements: below the first, NumPy is called; the second is the smallest part


@compiled
def _multiply(a: Array, b: Array, y: Array, team: Array, size: int) -> None:
    start, stop = part(team, size)
    a, b, y = a[start:stop], b[start:stop], y[start:stop]
    for i in range(y.size):
        y[i] = a[i] * b[i]


def multiply(a: Any, b: Any) -> Any:
    """Return a b, as np.multiply does. A kernel computes it for large float32 arrays of one shape, without warnings."""
    arrays = type(a) is type(b) is np.ndarray and a.shape == b.shape and a.size >= _LARGE and compiles(a, b)
    if not (arrays and a.flags.carray and b.flags.carray):
        return np.multiply(a, b)
    y = np.empty(a.shape, a.dtype)
    run_parts(_multiply, y.size, _GRAIN, a.reshape(-1), b.reshape(-1), y.reshape(-1))
    return y
