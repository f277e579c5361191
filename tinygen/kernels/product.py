"""NumPy's matrix product on the pool of this package instead of the threads of BLAS, with which it would compete.

Checked by: tests/kernels/test_product.py
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np

from .activation import relu
from .runtime.arrays import Array
from .runtime.native import compiled_for, entry, gemm, numbers_at
from .runtime.pool import alone, hand_over, roused, threads
from .runtime.tile import compiled

# OpenBLAS itself uses one thread up to m·n·k = 2¹⁸ (its GEMM_MULTITHREAD_THRESHOLD is 4).
_SMALL_PRODUCT = 1 << 18
# Multiply-adds in a part of a product that is worth calling a thread for: about 10 µs, which handing it over takes.
_WORTH_A_THREAD = 400_000


class _Blas:
    """The OpenBLAS that NumPy has loaded: its thread count, and the addresses of its gemm by the dtypes' characters.

    Does nothing, and has no gemm, where NumPy uses another BLAS; nor has it one where sizes are not of 64 bits.
    """

    def __init__(self) -> None:
        self.get, self.set, self.gemm = self.find()
        self.before = 1  # the number to be restored; 1 also says that nothing needs to be
        self.renew()

    def renew(self) -> None:
        """Start without holders, as a forked child must: the threads that were holders here do not exist there.

        A fork may come between any two statements of `with`, so this relies on no order but that `before` is set
        before BLAS is held and reset after it is released.
        """
        self.lock = threading.Lock()
        self.holders = 0
        if self.before != 1:
            self.set(self.before)
            self.before = 1

    @staticmethod
    def find() -> tuple[Callable[[], int], Callable[[int], object], dict[str, int]]:
        package = Path(np.__file__).parent
        libraries = [*(package.parent / "numpy.libs").glob("*openblas*"), *(package / ".dylibs").glob("*openblas*")]
        for path in libraries:
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for pattern in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"):
                get = getattr(library, pattern.format("get_num_threads"), None)
                set_ = getattr(library, pattern.format("set_num_threads"), None)
                if get is not None and set_ is not None:
                    set_.argtypes, set_.restype, get.restype = [ctypes.c_int], None, ctypes.c_int
                    gemms = {kind: getattr(library, f"scipy_cblas_{name}gemm64_", None) for kind, name in ("fs", "dd")}
                    at = {k: ctypes.cast(gemm, ctypes.c_void_p).value for k, gemm in gemms.items() if gemm is not None}
                    return get, set_, {kind: address for kind, address in at.items() if address is not None}
        return (lambda: 1), (lambda number: None), {}

    def __enter__(self) -> None:
        """Hold BLAS to one thread; the last of several concurrent holders restores what was there before the first."""
        with self.lock:
            if self.holders == 0:
                self.before = self.get()
                if self.before != 1:
                    self.set(1)
            self.holders += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.holders -= 1
            if self.holders == 0 and self.before != 1:
                self.set(self.before)
                self.before = 1


_blas = _Blas()  # `with _blas:` holds it to one thread
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_blas.renew)


def product(a: Array, b: Array, bias: Array | None = None, rectified: bool = False) -> Array:
    """Matrix product a b, residual a bias if given; if `relu`, relu of that. A large one is shared out over this pool.

    Shapes: a and b as np.matmul takes them; the rows of a (or, if there are fewer, the columns of b) are shared out
    when a is (M, K) and b is (K, N), of one dtype; bias (N,).  Raises ValueError if the shapes do not fit.
    Checked by: tests/kernels/test_product.py
    """
    if a.ndim < 2 or b.ndim < 2 or a.shape[-2] * a.shape[-1] * b.shape[-1] <= _SMALL_PRODUCT:
        return _finished(_small(a, b), bias, rectified)
    with _blas:
        if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0] and a.dtype == b.dtype and a.dtype.char in _blas.gemm:
            count = min(threads(), max(len(a), b.shape[1]), a.size * b.shape[1] // _WORTH_A_THREAD)
            if count > 1 and not alone():
                if bias is None or (bias.dtype == a.dtype and bias.flags.c_contiguous):
                    return _in_parts(a, b, bias, rectified, count)
                return _finished(_in_parts(a, b, None, False, count), bias, rectified)
        return _finished(matmul(a, b), bias, rectified)


def matmul(a: Array, b: Array) -> Array:
    """a b by NumPy, without a false alarm of OpenBLAS.

    Its float32 product of a matrix and a vector of five, on AVX-512, reads lanes of the stack that nobody wrote and
    throws their results away again; of a NaN that happens to lie there NumPy would warn as of an invalid value.
    """
    if a.shape[-1:] != (5,):
        return np.asarray(a @ b)
    with np.errstate(invalid="ignore"):  # takes a microsecond, so only here
        return np.asarray(a @ b)


def _small(a: Array, b: Array) -> Array:
    if a.ndim > 1 and b.ndim > 1 and a.shape[-1] == b.shape[-2] == 1:
        return np.asarray(a * b)  # of a column and a row, which NumPy hands to BLAS at five times the cost
    return matmul(a, b)


def _finished(y: Array, bias: Array | None, rectified: bool) -> Array:
    """y + bias or relu of it, where no part has done that already; in y's own memory if it can be."""
    if bias is not None:
        y = np.add(y, bias, out=y) if y.dtype == np.result_type(y, bias) else y + bias
    return relu(y) if rectified else y


def _in_parts(a: Array, b: Array, bias: Array | None, rectified: bool, count: int) -> Array:
    """What `product` returns, computed in so many parts."""
    out = np.empty((len(a), b.shape[1]), a.dtype)
    share_out, part, none = _compiled_for(a.dtype)
    residual = none if bias is None else bias
    share_out(roused(count), part, _blas.gemm[a.dtype.char], _lying(a), _lying(b), residual, out, rectified, count)
    return out


def _lying(x: Array) -> Array:
    """x if BLAS can read it as it lies, row by row or column by column, else a copy."""
    flags = x.flags
    if flags.c_contiguous or flags.f_contiguous:
        return x
    (rows, columns), (down, right), size = x.shape, x.strides, x.itemsize
    by_row = right == size and down >= columns * size and down % size == 0
    by_column = down == size and right >= rows * size and right % size == 0
    return x if by_row or by_column else np.ascontiguousarray(x)


@compiled
def _how_it_lies(x: Array) -> tuple[int, int]:
    """CBLAS's 111 for row by row or 112 for column by column, and the numbers from one to the next."""
    rows, columns = x.shape
    if x.strides[1] == x.itemsize:
        return 111, max(x.strides[0] // x.itemsize, columns)
    return 112, max(x.strides[1] // x.itemsize, rows)


@compiled
def _share_out(
    slots: Array, part: int, gemm: int, a: Array, b: Array, bias: Array, out: Array, rectified: bool, count: int
) -> None:
    """Cut out's rows or, if there are more of them, its columns into parts, and hand each over to `_part`."""
    (m, n), k, size = out.shape, a.shape[1], out.itemsize
    flip_a, step_a = _how_it_lies(a)
    flip_b, step_b = _how_it_lies(b)
    letters = np.empty((count, 15), np.int64)
    for i in range(count):
        start, stop = i * max(m, n) // count, (i + 1) * max(m, n) // count
        up, left = (start, 0) if m >= n else (0, start)
        rows, columns = (stop - start, n) if m >= n else (m, stop - start)
        letter = letters[i]
        letter[0], letter[1], letter[2], letter[3] = gemm, 0, flip_a, flip_b
        letter[4], letter[5], letter[6], letter[7], letter[8] = k, step_a, step_b, n, rectified
        letter[9], letter[10] = rows, columns
        letter[11] = a.ctypes.data + up * a.strides[0]
        letter[12] = b.ctypes.data + left * b.strides[1]
        letter[13] = bias.ctypes.data + left * size if bias.size else 0
        letter[14] = out.ctypes.data + (up * n + left) * size
    hand_over(slots, part, letters.ctypes.data, letters.strides[0], count)


@compiled
def _part(
    function: int, like: float, flip_a: int, flip_b: int, k: int, step_a: int, step_b: int, step_out: int,
    rectified: int, m: int, n: int, a: int, b: int, bias: int, out: int,
) -> None:  # fmt: skip
    """One part, by CBLAS's gemm for numbers like `like`, at this address; finished while it is in this core's cache."""
    gemm(function, like, flip_a, flip_b, m, n, k, a, step_a, b, step_b, out, step_out)
    if bias or rectified:
        for i in range(m):
            row = numbers_at(out, i * step_out, n, like)
            if bias:
                residual = numbers_at(bias, 0, n, like)
                for j in range(n):
                    row[j] += residual[j]
            if rectified:
                for j in range(n):
                    row[j] = like if row[j] <= 0 else row[j]  # NaN passes


@cache
def _compiled_for(dtype: np.dtype[Any]) -> tuple[Callable[..., None], int, Array]:
    """`_share_out` for numbers of this dtype, the entry of `_part`, and a bias that is none."""
    matrix, number = numba.types.Array(numba.from_dtype(dtype), 2, "A"), numba.int64  # "A": in whatever order
    slots, bias, out = numba.int64[::1], numba.from_dtype(dtype)[::1], numba.from_dtype(dtype)[:, ::1]
    signature = slots, number, number, matrix, matrix, bias, out, numba.boolean, number
    share_out = compiled_for(_share_out, signature)
    return share_out, entry(_part, (0, dtype.type(0), *[0] * 13)), np.empty(0, dtype)
