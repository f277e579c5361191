"""Matrix products: NumPy's for small matrices, a kernel on several threads (gemm.py) for large ones.

This avoids the threads of OpenBLAS, which spin: next to one busy process, a 512 × 512 product takes 5.4 ms on two of
them on average, but 3.1 ms on one thread (AMD EPYC with AVX-512, `python -m benchmarks.threads`). NumPy computes
products with fewer than four columns, which fill few lanes of a tile, in pieces too small for these threads.

Checked by: tests/kernels/test_product.py
"""

import numba
import numpy as np

from ..arguments import explained
from . import activation, reference
from .convolution import convolve_into, correlate_into, flat_terms
from .gemm import LONG, multiply_into
from .reference import SERIAL_BLAS
from .runtime.arrays import Array, as_contiguous, check_shape
from .runtime.pool import parallel_for, split

_FEW = 4  # columns below which NumPy is faster, unless the inner dimension is as small
_LARGE = 1 << 18  # elements of x from which xᵀ y, the gradient of a weight, is faster by blocks of rows of x and y
_POINT = ((0, 0),)


@explained
def product(a: Array, b: Array, bias: Array | None = None, relu: bool = False, residual: Array | None = None) -> Array:
    """Matrix product y = residual + a b + bias; with `relu`, max(y, 0).

    Shapes: a and b as for np.matmul; bias (N,); residual (M, N), for matrices.
    Raises: ValueError if the shapes do not match.
    """
    if bias is not None:
        check_shape("bias", bias, b.shape[-1:] if b.ndim > 1 else ())
    if residual is not None:
        check_shape("residual", residual, (len(a), b.shape[1]) if a.ndim == b.ndim == 2 else ())
    if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0] and _worth_a_kernel(a, b):
        same = (bias is None or bias.dtype == a.dtype) and (residual is None or residual.dtype == a.dtype)
        y = np.empty((len(a), b.shape[1]), a.dtype)
        terms = flat_terms(*((residual, bias) if same else (None, None)), y.shape, y.dtype)
        long, apply_relu = a.shape[1] > LONG, same and bool(relu)  # a kernel is compiled for every type of arguments
        if a.flags.f_contiguous and not a.flags.c_contiguous and (long or a.size > _LARGE):
            correlate_into(y[None], as_contiguous(a.T)[None, None], as_contiguous(b)[None, None], _POINT, 1)
            return _finish(y, bias, relu, residual)
        if long:
            convolve_into(y[None, None], as_contiguous(a)[None, None], b[None], _POINT, 1, terms, apply_relu)
        else:
            multiply_into(y, a, b, terms, apply_relu)
        return y if same else _finish(y, bias, relu, residual)
    if a.ndim > 1 and b.ndim > 1 and a.shape[-1] == b.shape[-2] == 1:
        # An outer product, for which BLAS takes longer.
        return _finish(np.asarray(a * b), bias, relu, residual)
    try:
        y = _matmul(a, b)
    except ValueError as error:
        raise ValueError(f"product: a and b: expected (…, n, k) and (…, k, m), got {a.shape} and {b.shape}") from error
    return _finish(y, bias, relu, residual)


def _matmul(a: Array, b: Array) -> Array:
    """NumPy's product, in pieces for which OpenBLAS uses one thread; matrices in stacks that are large, one by one."""
    dtype = np.result_type(a, b)
    if a.ndim < 2 or b.ndim < 2 or dtype.kind != "f" or a.shape[-1] != b.shape[-2]:
        return reference.matmul(a, b)
    (n, k), m = a.shape[-2:], b.shape[-1]
    if n * k * m <= SERIAL_BLAS:
        return reference.matmul(a, b)
    a, b = a.astype(dtype, copy=False), b.astype(dtype, copy=False)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = np.empty((*batch, n, m), dtype)
    if a.ndim == b.ndim == 2:
        rows = max(1, SERIAL_BLAS // (k * m))

        def multiply(start: int, stop: int) -> None:
            for i in range(start, stop, rows):
                y[i : min(i + rows, stop)] = reference.matmul(a[i : min(i + rows, stop)], b)

        parallel_for(multiply, split(n, 8 * rows))
    else:
        a, b = (np.broadcast_to(x, batch + x.shape[-2:]) for x in (a, b))
        for i in np.ndindex(batch):
            y[i] = product(a[i], b[i])
    return y


def _worth_a_kernel(a: Array, b: Array) -> bool:
    work = len(a) * a.shape[1] * b.shape[1]
    return (
        work > SERIAL_BLAS
        and (b.shape[1] >= _FEW or a.shape[1] < _FEW)
        and a.dtype == b.dtype
        and a.dtype in (np.float32, np.float64)
        and not numba.config.DISABLE_JIT
    )


def _finish(y: Array, bias: Array | None, relu: bool, residual: Array | None) -> Array:
    for term in (bias, residual):
        if term is not None:
            y = np.add(y, term, out=y) if y.dtype == np.result_type(y, term) else y + term
    if y.dtype.kind not in "fiub":
        raise TypeError(f"product: expected real numbers, got {y.dtype}")
    return activation.relu(y) if relu else y
