"""General matrix multiply (GEMM): y = residual + a b + bias, and max(y, 0) where a relu follows.

A block of two vectors of columns of b is copied in the order in which the register tile reads it (packing.py). Tiles of
rows then pass over this block, which stays in the cache. Each thread copies the blocks that it needs: one that another
core has written would have to come from that core's cache.

Checked by: tests/kernels/test_gemm.py
"""

from typing import Any

import numpy as np

from .packing import copy_block
from .runtime.arrays import Array
from .runtime.compilation import compiled, inlined
from .runtime.denormals import flush_denormals, restore
from .runtime.parts import part
from .runtime.pool import count_parts
from .runtime.team import run_parts
from .runtime.tile import CACHE_LINE, TILE_ROWS, VECTOR_BYTES, add, fma, lanes, relu, store, zeros

LONG = 2048  # the largest inner dimension for which a block stays in the cache
_CHUNK = 1 << 17  # elements of a that pass over all blocks together, so that they stay in the L2 cache
GRAIN = 1 << 19  # multiply-adds in a part of about 12 µs
_TWO = (0,) * 2  # vectors in a tile


@inlined
def multiply_block(
    rows: Any, vectors: Any, a: Array, step: int, stride: int, block: Array, q: int, column: int,
    residual: Array, bias: Array, rectify: bool, y: Array, first: int, last: int,
) -> None:  # fmt: skip
    """y = residual + a b + bias for a block of columns and rows first … last, at least as many as a tile has.

    a and residual are flat; a[i, k] is at i · stride + k · step. A residual without elements is not added.
    """
    (count, columns), height = y.shape, len(rows)
    depth, width, flat = a.size // count, len(vectors) * VECTOR_BYTES // y.itemsize, y.reshape(-1)
    for row in range(first, last, height):
        i = min(row, last - height)  # the last tile may overlap the one before
        acc = zeros(rows, vectors, y)
        for k in range(depth):
            acc = fma(acc, a, i * stride + k * step, stride, block, q + k * width)
        acc = add(acc, bias, column, 0, columns - column)
        if residual.size:
            acc = add(acc, residual, i * columns + column, columns, columns - column)
        if rectify:
            acc = relu(acc)
        store(flat, i * columns + column, columns, columns - column, acc)


@compiled
def _multiply(
    rows: Any, vectors: Any, a: Array, a_transposed: bool, b: Array, b_transposed: bool,
    residual: Array, bias: Array, rectify: bool, y: Array, by_columns: bool, team: Array, size: int,
) -> None:  # fmt: skip
    """y = residual + a b + bias, for a part of the rows or, if `by_columns`, of the blocks of columns.

    a is (count, depth), or (depth, count) if `a_transposed`, and b likewise.
    """
    start, stop = part(team, size)
    if start == stop:
        return
    (count, columns), width = y.shape, len(vectors) * VECTOR_BYTES // y.itemsize
    flat, depth, line = a.reshape(-1), a.size // count, CACHE_LINE // y.itemsize
    step, stride = 1, depth  # from a[i, k] to a[i, k + 1], and to a[i + 1, k]
    if a_transposed:  # a conditional expression would keep both in memory: half as fast
        step, stride = count, 1
    block = np.empty(depth * width + line, y.dtype)
    q = -(block.ctypes.data // y.itemsize) % line  # the block starts on a cache line
    top, bottom, left, right = start, stop, 0, columns
    if by_columns:
        top, bottom, left, right = 0, count, start * width, min(stop * width, columns)
    chunks, state = 1 + (bottom - top) * depth // _CHUNK, flush_denormals()
    for chunk in range(chunks):
        first, last = top + (bottom - top) * chunk // chunks, top + (bottom - top) * (chunk + 1) // chunks
        for column in range(left, right, width):
            copy_block(b, b_transposed, column, width, block, q)
            multiply_block(rows, vectors, flat, step, stride, block, q, column, residual, bias, rectify, y, first, last)
    restore(state)


def multiply_into(y: Array, a: Array, b: Array, terms: tuple[Array, Array], rectify: bool) -> None:
    """y = residual + a b + bias; with `rectify`, max(y, 0). No dimension is zero, and the inner one is at most LONG.

    `terms` are the residual, flat or without elements, and the bias. All arrays have one dtype, float32 or float64.
    The columns are divided among the threads, unless there are too few to be shared equally.

    Shapes: a (M, K) and b (K, N) in any memory layout; y (M, N), contiguous; residual (M · N,) or (0,); bias (N,).
    """
    (count, columns), rows = y.shape, TILE_ROWS[0]
    if count < rows:
        rows = next(height for height in TILE_ROWS if height <= count)
    blocks, parts = -(-columns // (len(_TWO) * lanes(y.dtype))), count_parts(a.size * columns, GRAIN)
    by_columns = -blocks % parts * 8 <= blocks or count < 2 * parts * rows
    size, arguments = blocks if by_columns else count, (*_stored(a), *_stored(b), *terms, rectify, y, by_columns)
    run_parts(_multiply, size, max(1, size // parts), (0,) * rows, _TWO, *arguments)


def _stored(x: Array) -> tuple[Array, bool]:
    """Return a contiguous matrix, and whether it is the transpose of x."""
    if x.flags.carray:
        return x, False
    return (x.T, True) if x.T.flags.carray else (x.copy(), False)
