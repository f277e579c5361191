"""Packed weights: blocks of output channels, each in the order in which a register tile reads it.

    packed[block, t · C_in + k, i] = w[t, k, block · width + i], and 0 beyond the last output channel

A tile of `width` output channels then reads consecutive memory, for any number of channels and whether or not w is
transposed.

Checked by: tests/kernels/test_packing.py
"""

import numba

from .runtime.arrays import Array, aligned_empty, as_contiguous
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.team import run_parts
from .runtime.tile import SQUARE_BYTES, transpose

_GRAIN = 1 << 16  # weights in a part of about 10 µs


def pack(w: Array, width: int) -> Array:
    """Pack weights (taps, C_in, C_out) as (blocks, taps · C_in, width)."""
    taps, channels_in, channels = w.shape
    packed = aligned_empty((-(-channels // width), taps * channels_in, width), w.dtype)
    if channels % width:
        packed[-1] = 0
    transposed = w.swapaxes(1, 2)
    by_square = transposed.flags.c_contiguous and not w.flags.c_contiguous and not numba.config.DISABLE_JIT
    kernel, source = (_transpose, transposed) if by_square else (_copy, w)
    run_parts(kernel, len(packed), 1 + _GRAIN // (1 + taps * channels_in * width), packed, as_contiguous(source))
    return packed


@compiled
def _copy(packed: Array, w: Array, team: Array, size: int) -> None:
    first, last = part(team, size)
    taps, depth, channels = w.shape
    for block in range(first, last):
        channel = block * packed.shape[2]
        for t in range(taps):
            for k in range(depth):
                row, values = packed[block, t * depth + k], w[t, k, channel:]
                for i in range(min(packed.shape[2], channels - channel)):
                    row[i] = values[i]


@compiled
def _transpose(packed: Array, w: Array, team: Array, size: int) -> None:
    first, last = part(team, size)
    taps, channels, depth = w.shape
    flat, source, width, n = packed.reshape(-1), w.reshape(-1), packed.shape[2], SQUARE_BYTES // w.itemsize
    for block in range(first, last):
        count = min(width, channels - block * width)
        for t in range(taps):
            q, p = (block * taps + t) * depth * width, (t * channels + block * width) * depth
            for k in range(0, depth, n):
                for i in range(0, count, n):
                    if k + n <= depth and i + n <= count:
                        transpose(flat, q + k * width + i, width, source, p + i * depth + k, depth)
                    else:
                        for j in range(k, min(k + n, depth)):
                            for c in range(i, min(i + n, count)):
                                flat[q + j * width + c] = source[p + c * depth + j]
