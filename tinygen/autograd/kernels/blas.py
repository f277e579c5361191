"""NumPy's matrix product on the pool of this package instead of the threads of BLAS, with which it would compete.

Checked by: tests/autograd/kernels/test_blas.py
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .arrays import Array
from .threads import parallel

# OpenBLAS itself uses one thread up to m·n·k = 2¹⁸ (its GEMM_MULTITHREAD_THRESHOLD is 4).
_SMALL_PRODUCT = 1 << 18
# Multiply-adds in a part of a product that is worth waking a thread for: about 80 µs, three times a hand-off.
_WORTH_A_THREAD = 1 << 22


class _Blas:
    """The thread count of the OpenBLAS that NumPy has loaded; does nothing where NumPy uses another BLAS."""

    def __init__(self) -> None:
        self.get, self.set = self.find()
        self.before = 1  # the number to be restored; 1 also says that nothing needs to be
        self.renew()

    def renew(self) -> None:
        """Start without holders, as a forked child must: the threads that were holders here do not exist there.

        A fork may come between any two statements of `one_thread`, so this relies on no order but that `before` is set
        before BLAS is held and reset after it is released.
        """
        self.lock = threading.Lock()
        self.holders = 0
        if self.before != 1:
            self.set(self.before)
            self.before = 1

    @staticmethod
    def find() -> tuple[Callable[[], int], Callable[[int], object]]:
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
                    return get, set_
        return (lambda: 1), (lambda number: None)

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Hold BLAS to one thread; the last of several concurrent holders restores what was there before the first."""
        with self.lock:
            if self.holders == 0:
                self.before = self.get()
                if self.before != 1:
                    self.set(1)
            self.holders += 1
        try:
            yield
        finally:
            with self.lock:
                self.holders -= 1
                if self.holders == 0 and self.before != 1:
                    self.set(self.before)
                    self.before = 1


_blas = _Blas()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_blas.renew)


def product(a: Array, b: Array, out: Array | None = None) -> Array:
    """Matrix product a @ b as np.matmul computes it, a large one shared out over this pool instead of BLAS's own.

    Shapes: as np.matmul; the rows of a (or, if there are few, the columns of b) are shared out when a is (…, M, K) and
    b is (K, N).  Raises ValueError if the shapes do not fit.
    Checked by: tests/autograd/kernels/test_blas.py
    """
    if a.ndim >= 2 and b.ndim >= 2 and a.shape[-1] == b.shape[-2] == 1:
        return np.multiply(a, b, out=out)  # of a column and a row, which NumPy hands to BLAS at five times the cost
    if a.ndim < 2 or b.ndim < 2 or a.shape[-2] * a.shape[-1] * b.shape[-1] <= _SMALL_PRODUCT:
        return np.matmul(a, b, out=out)
    with _blas.one_thread():
        if a.ndim > 2 or b.ndim > 2 or a.dtype != b.dtype or a.shape[1] != b.shape[0]:
            return np.matmul(a, b, out=out)
        result = np.empty((len(a), b.shape[1]), a.dtype) if out is None else out
        grain = 1 + _WORTH_A_THREAD * max(result.shape) // (result.size * a.shape[1])
        if len(a) >= b.shape[1]:
            parallel(lambda i, j: np.matmul(a[i:j], b, out=result[i:j]), len(a), grain)
        else:
            parallel(lambda i, j: np.matmul(a, b[:, i:j], out=result[:, i:j]), b.shape[1], grain)
    return result
