"""A step of Adam in one pass over memory, where NumPy would make ten.

Checked by: tests/optim/test_optimizers.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from .runtime.arrays import Array, as_contiguous
from .runtime.pool import parts, share

_GRAIN = 1 << 15  # a part smaller than this is done before it has been handed over


# No fastmath, as `compiled` has: entries are independent, so there is nothing to gain, and the same bits come out
# compiled or not, on any number of threads.
@numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _adam(numbers: Any, value: Any, g: Any, m: Any, v: Any, new: Any, start: int, stop: int) -> None:
    a, b, scale, root, eps, keep = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
    value, g, m, v, new = value[start:stop], g[start:stop], m[start:stop], v[start:stop], new[start:stop]
    for i in range(value.size):
        m[i] += a * (g[i] - m[i])
        v[i] += b * (g[i] * g[i] - v[i])
        new[i] = keep * value[i] - scale * m[i] / (root * np.sqrt(v[i]) + eps)


def adam(value: Array, g: Array, m: Array, v: Array, numbers: Sequence[float]) -> Array:
    """Move the means m and v, in place, and return the new value; the numbers are a, b, scale, root, ε and keep.

        m ← m + a (g − m),   v ← v + b (g² − v),   θ ← keep · θ − scale · m / (root √v + ε)

    Shapes: value θ, gradient g, m and v as the parameter, all of its dtype; m and v in C order.
    """
    new, rounded = np.empty(value.shape, value.dtype), np.array(numbers, value.dtype)
    flat = [array.reshape(-1) for array in (as_contiguous(value), as_contiguous(g), m, v, new)]
    share(_adam, (rounded, *flat), parts(value.size, _GRAIN))
    return new
