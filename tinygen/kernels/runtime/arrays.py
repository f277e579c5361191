"""Arrays as the kernels want them.

Checked by: tests/kernels/test_convolution.py, test_activation.py, test_sums.py
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def as_contiguous(x: Array) -> Array:
    """x as the kernels know it (one compiled variant): C-contiguous, aligned, writable; a copy where it is not."""
    return x if x.flags.carray else x.copy(order="C")


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Zeros that start on a cache line: packed weights that straddle two lines cost 25 %."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.zeros(size + 64, np.uint8)
    skip = -buffer.__array_interface__["data"][0] % 64  # .ctypes.data says the same four times slower
    return buffer[skip : skip + size].view(dtype).reshape(shape)


def fast(x: Array) -> bool:
    """Whether x is for a kernel of float32: not of another dtype, not empty, not without the JIT."""
    return bool(x.dtype == np.float32 and x.size and not numba.config.DISABLE_JIT)


def rows_of(x: Array) -> Array:
    """x, behaved, as (rows, channels)"""
    return as_contiguous(x).reshape(-1, x.shape[-1])
