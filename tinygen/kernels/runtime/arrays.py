"""Arrays in the memory layout that kernels are compiled for. Checked by: tests/kernels/test_convolution.py"""

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def as_contiguous(x: Array) -> Array:
    """Return x, copied if it is not C-contiguous, aligned and writeable: kernels are compiled for such arrays only."""
    return x if x.flags.carray else x.copy(order="C")


def as_rows(x: Array) -> Array:
    """Return x as a contiguous matrix (rows, channels)."""
    return as_contiguous(x).reshape(-1, x.shape[-1])


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised array that starts on a cache line: loading vectors that straddle two lines is slower."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + 64, np.uint8)
    skip = -buffer.__array_interface__["data"][0] % 64  # .ctypes.data gives the same, four times slower
    return buffer[skip : skip + size].view(dtype).reshape(shape)


def compiles(*arrays: Array) -> bool:
    """Return whether a float32 kernel applies: all arrays are float32, none is empty, and the JIT is enabled."""
    return all(x.dtype == np.float32 and x.size for x in arrays) and not numba.config.DISABLE_JIT
