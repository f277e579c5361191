"""General matrix multiply (GEMM): y = residual + a b + bias, and max(y, 0) where a relu follows.

A block of two vectors of columns of b is copied in the order in which the register tile reads it (packing.py). Tiles of
rows then pass over this block, which stays in the cache. Each thread copies the blocks that it needs: one that another
core has written would have to come from that core's cache.

Checked by: tests/kernels/test_gemm.py
"""

from typing import Any

import numpy as np

from .packing import copy_block
from .runtime.arrays import Array, as_contiguous
from .runtime.compilation import compiled, inlined
from .runtime.denormals import flush_denormals, restore
from .runtime.parts import part
from .runtime.pool import count_parts
from .runtime.registers import CACHE_LINE, TILE_ROWS, VECTOR_BYTES, lanes
from .runtime.team import run_parts
from .runtime.tile import add, fma, relu, store, zeros

LONG = 2048  # the largest inner dimension for which a block stays in the L2 cache
_MANY = 1 << 10  # rows in a part from which copying all blocks takes little of the time
GRAIN = 1 << 19  # multiply-adds in a part of about 12 µs
_CHUNK = 1 << 17  # elements of a that pass over all blocks together, so that they stay in the L2 cache


@inlined
def multiply_block(
    rows: Any, vectors: Any, a: Array, row_stride: int, column_stride: int, block: Array, q: int, column: int,
    residual: Array, bias: Array, apply_relu: bool, y: Array, first: int, last: int,
) -> None:  # fmt: skip
    """y = residual + a b + bias for a block of columns and rows [first, last), at least as many as a tile has.

    a and residual are flat. A residual without elements is not added.
    """
    (count, columns), height = y.shape, len(rows)
    depth, width, flat = a.size // count, len(vectors) * VECTOR_BYTES // y.itemsize, y.reshape(-1)
    for row in range(first, last, height):
        i = min(row, last - height)  # the last tile may overlap the one before
        acc = zeros(rows, vectors, y)
        for k in range(depth):
            acc = fma(acc, a, i * row_stride + k * column_stride, row_stride, block, q + k * width)
        if residual.size:
            acc = add(acc, residual, i * columns + column, columns, columns - column)
        acc = add(acc, bias, column, 0, columns - column)
        if apply_relu:
            acc = relu(acc)
        store(flat, i * columns + column, columns, columns - column, acc)


@compiled
def _multiply(
    rows: Any, vectors: Any, a: Array, a_transposed: bool, b: Array, b_transposed: bool,
    residual: Array, bias: Array, apply_relu: bool, y: Array, by_columns: bool, team: Array, size: int,
) -> None:  # fmt: skip
    """y = residual + a b + bias, for a part of the rows or, if `by_columns`, of the blocks of columns.

    a is (count, depth), or (depth, count) if `a_transposed`, and b likewise.
    """
    start, stop = part(team, size)
    if start == stop:
        return
    (count, columns), width = y.shape, len(vectors) * VECTOR_BYTES // y.itemsize
    flat, depth, line = a.reshape(-1), a.size // count, CACHE_LINE // y.itemsize
    row_stride, column_stride = (1, count) if a_transposed else (depth, 1)
    block = np.empty(depth * width + line, y.dtype)
    q = -(block.ctypes.data // y.itemsize) % line  # the block starts on a cache line
    top, bottom, left, right = start, stop, 0, columns
    if by_columns:
        top, bottom, left, right = 0, count, start * width, min(stop * width, columns)
    chunks, state = 1 + (bottom - top) // max(2 * len(rows), _CHUNK // depth), flush_denormals()
    for chunk in range(chunks):  # of nearly equal length, no shorter than a tile
        first, last = top + (bottom - top) * chunk // chunks, top + (bottom - top) * (chunk + 1) // chunks
        for column in range(left, right, width):
            copy_block(b, b_transposed, column, width, block, q)
            multiply_block(
                rows, vectors, flat, row_stride, column_stride, block, q, column,
                residual, bias, apply_relu, y, first, last,
            )  # fmt: skip
    restore(state)


def multiply_into(y: Array, a: Array, b: Array, terms: tuple[Array, Array], relu: bool) -> None:
    """y = residual + a b + bias; with `relu`, max(y, 0). No dimension is zero.

    `terms` are the residual, flat or without elements, and the bias. All arrays have one dtype, float32 or float64, and
    none shares memory with y.

    Shapes: a (M, K) and b (K, N) in any memory layout; y (M, N), contiguous; residual (M · N,) or (0,); bias (N,).
    """
    count, columns = y.shape
    height = TILE_ROWS[0] if count >= TILE_ROWS[0] else next(rows for rows in TILE_ROWS if rows <= count)
    vectors = 1 if columns <= lanes(y.dtype) else 2
    blocks, parts = -(-columns // (vectors * lanes(y.dtype))), count_parts(a.size * columns, GRAIN)
    by_columns, size, grain = divide(count, blocks, height, parts)
    arguments = *_stored(a), *_stored(b), *terms, relu, y, by_columns
    run_parts(_multiply, size, grain, (0,) * height, (0,) * vectors, *arguments)


def divide(rows: int, blocks: int, height: int, parts: int) -> tuple[bool, int, int]:
    """Choose blocks of columns or rows to divide into parts: return whether blocks, how many, and how many per part.

    The last number is the least. If blocks are divided, each is copied by one thread only. Rows are divided if that
    makes the longest part more than an eighth shorter, or if there are many: each thread then reads its own rows only.
    """
    by_rows = max(1, min(parts, rows // (2 * height)))
    if -(-blocks // parts) * by_rows * 8 <= 9 * blocks and rows < _MANY * parts:
        return True, blocks, max(1, blocks // parts)
    return False, rows, max(2 * height, rows // parts)


def _stored(x: Array) -> tuple[Array, bool]:
    """Return a contiguous matrix, and whether it is the transpose of x."""
    if x.flags.carray:
        return x, False
    return (as_contiguous(x.T), True) if x.flags.f_contiguous else (x.copy(), False)
