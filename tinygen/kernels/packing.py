"""Packed weights: blocks of output channels, each in the order in which a register tile reads it.

    packed[block, t · C_in + k, i] = w[t, k, block · width + i], and 0 beyond the last output channel

A tile of `width` output channels then reads consecutive memory, for any number of channels and whether or not w is
transposed.

Checked by: tests/kernels/test_packing.py
"""

from .runtime.arrays import Array, aligned_empty, as_contiguous
from .runtime.compilation import compiled, inlined
from .runtime.parts import part
from .runtime.registers import SQUARE_BYTES, VECTOR_BYTES
from .runtime.team import run_parts
from .runtime.tile import ONE, add, store, transpose, zeros

_GRAIN = 1 << 16  # weights in a part of about 10 µs


def pack(w: Array, width: int) -> Array:
    """Pack weights (taps, C_in, C_out) as (blocks, taps · C_in, width)."""
    taps, channels_in, channels = w.shape
    packed = aligned_empty((-(-channels // width), taps * channels_in, width), w.dtype)
    if channels % width:
        packed[-1] = 0
    swapped = w.swapaxes(1, 2)
    transposed = swapped.flags.c_contiguous
    grain = 1 + _GRAIN // (1 + taps * channels_in * width)
    run_parts(_pack, len(packed), grain, packed, as_contiguous(swapped if transposed else w), transposed)
    return packed


@inlined
def copy_block(w: Array, transposed: bool, block: int, width: int, flat: Array, q: int) -> None:
    """flat[q + k · width + c] = w[k, block + c], or w[block + c, k] if `transposed`, for c below the width of a block.

    What is beyond the last column of w is not defined.
    """
    values, n, lanes = w.reshape(-1), SQUARE_BYTES // w.itemsize, VECTOR_BYTES // w.itemsize
    if transposed:
        columns, depth = w.shape
        count = min(width, columns - block)
        for k in range(0, depth, n):
            for c in range(0, count, n):
                if k + n <= depth and c + n <= count:
                    transpose(flat, q + k * width + c, width, values, (block + c) * depth + k, depth)
                else:
                    for j in range(k, min(k + n, depth)):
                        for i in range(c, min(c + n, count)):
                            flat[q + j * width + i] = values[(block + i) * depth + j]
    else:
        depth, columns = w.shape
        for k in range(depth):
            for c in range(0, width, lanes):
                row = add(zeros(ONE, ONE, w), values, k * columns + block + c, 0, columns - block - c)
                store(flat, q + k * width + c, 0, width - c, row)


@compiled
def _pack(packed: Array, w: Array, transposed: bool, team: Array, size: int) -> None:
    first, last = part(team, size)
    taps, width, flat = w.shape[0], packed.shape[2], packed.reshape(-1)
    depth = packed.shape[1] // taps
    for block in range(first, last):
        for t in range(taps):
            copy_block(w[t], transposed, block * width, width, flat, (block * taps + t) * depth * width)
