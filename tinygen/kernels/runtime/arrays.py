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


def as_floating(x: Array) -> Array:
    """Return x, converted to float64 if it is not floating-point: −x and 2x overflow in small integers.

    Raises: TypeError if x is not real.
    """
    if x.dtype.kind not in "fiub":
        raise TypeError(f"expected real numbers, got {x.dtype}")
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def as_rows(x: Array) -> Array:
    """Return x as a contiguous matrix (rows, channels)."""
    return as_contiguous(x).reshape(-1, x.shape[-1])


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised array that starts on a cache line: loading vectors that straddle two lines is slower."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + 64, np.uint8)
    skip = -buffer.__array_interface__["data"][0] % 64  # .ctypes.data gives the same, four times slower
    return buffer[skip : skip + size].view(dtype).reshape(shape)


def check_shape(name: str, x: Array, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless x has this shape: kernels do not check indices."""
    if x.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {x.shape}")


def check_dtype(name: str, x: Array, *dtypes: Any) -> None:
    """Raise TypeError unless x has one of these dtypes."""
    if x.dtype not in dtypes:
        raise TypeError(f"{name}: expected {' or '.join(np.dtype(dtype).name for dtype in dtypes)}, got {x.dtype}")


def compiles(*arrays: Array) -> bool:
    """Return whether a float32 kernel applies: all arrays are float32, none is empty, and the JIT is enabled."""
    return all(x.dtype == np.float32 and x.size for x in arrays) and not numba.config.DISABLE_JIT
