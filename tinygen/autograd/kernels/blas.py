"""NumPy's matrix product on the pool of this package instead of the threads of BLAS, with which it would compete.

Checked by: tests/autograd/kernels/test_blas.py
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .intrinsics import compiled
from .native import entry, gemm
from .threads import alone, parts, together

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


def product(a: Array, b: Array) -> Array:
    """Matrix product a @ b as np.matmul computes it, a large one shared out over this pool instead of BLAS's own.

    Shapes: as np.matmul; the rows of a (or, if there are fewer, the columns of b) are shared out when a is (M, K) and b
    is (K, N), of one dtype.  Raises ValueError if the shapes do not fit.
    Checked by: tests/autograd/kernels/test_blas.py
    """
    if a.ndim >= 2 and b.ndim >= 2 and a.shape[-1] == b.shape[-2] == 1:
        return np.asarray(a * b)  # of a column and a row, which NumPy hands to BLAS at five times the cost
    if a.ndim < 2 or b.ndim < 2 or a.shape[-2] * a.shape[-1] * b.shape[-1] <= _SMALL_PRODUCT:
        return np.asarray(a @ b)
    with _blas:
        if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0] and a.dtype == b.dtype and a.dtype.char in _blas.gemm:
            size = max(len(a), b.shape[1])
            cut = parts(size, 1 + _WORTH_A_THREAD * size // (a.size * b.shape[1]))
            if len(cut) > 1 and not alone():
                return _in_parts(a, b, cut)
        return np.asarray(a @ b)


def _in_parts(a: Array, b: Array, cut: list[tuple[int, int]]) -> Array:
    """a b, its rows or, if there are more of them, its columns cut into these parts."""
    (m, k), n, size = a.shape, b.shape[1], a.itemsize
    out = np.empty((m, n), a.dtype)
    (a, flip_a, step_a), (b, flip_b, step_b) = _stored(a), _stored(b)
    at_a, at_b, at_out = (x.__array_interface__["data"][0] for x in (a, b, out))
    if m >= n:
        down = size * (step_a if flip_a == 111 else 1)
        tails = [[j - i, n, at_a + i * down, at_b, at_out + i * n * size] for i, j in cut]
    else:
        right = size * (1 if flip_b == 111 else step_b)
        tails = [[m, j - i, at_a, at_b + i * right, at_out + i * size] for i, j in cut]
    function, head = _entry(a.dtype)
    shared = [*head, flip_a, flip_b, k, step_a, step_b, n]
    together(function, [shared + tail for tail in tails])
    return out


def _stored(x: Array) -> tuple[Array, int, int]:
    """x as BLAS reads it, or else a copy; whether as it lies (111) or transposed (112); numbers from row to row."""
    (rows, columns), (down, right), size = x.shape, x.strides, x.itemsize
    if right == size and down >= columns * size and down % size == 0:
        return x, 111, down // size
    if down == size and right >= rows * size and right % size == 0:
        return x, 112, right // size
    return np.ascontiguousarray(x), 111, columns


@compiled
def _gemm(
    function: int, like: float, flip_a: int, flip_b: int, k: int, step_a: int, step_b: int, step_out: int,
    m: int, n: int, a: int, b: int, out: int,
) -> None:  # fmt: skip
    """One part, by CBLAS's gemm for numbers like `like`, at this address."""
    gemm(function, like, flip_a, flip_b, m, n, k, a, step_a, b, step_b, out, step_out)


@cache
def _entry(dtype: np.dtype[Any]) -> tuple[int, list[int]]:
    """The entry of `_gemm`, and the words of its first two arguments."""
    return entry(_gemm, (0, dtype.type(0), *[0] * 11)), [_blas.gemm[dtype.char], 0]
