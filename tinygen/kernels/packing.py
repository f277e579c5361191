"""Packed weights: blocks of output channels, each in the order in which a register tile reads it.

    packed[block, t · C_in + k, i] = w[t, k, block · width + i], and 0 beyond the last output channel

A tile of `width` output channels then reads consecutive memory, for any number of channels and whether or not w is
transposed.

Checked by: tests/kernels/test_packing.py
"""

from .runtime.arrays import Array, aligned_empty, as_contiguous
from .runtime.compilation import compiled

_SQUARE = 16  # transposing in squares of this size reads and writes whole cache lines


def pack(w: Array, width: int) -> Array:
    """Pack weights (taps, C_in, C_out) as (blocks, taps · C_in, width)."""
    packed = empty_pack(w, width)
    pack_blocks(packed, w, 0, len(packed))
    return packed


def empty_pack(w: Array, width: int) -> Array:
    """Return an uninitialised array for `pack_blocks`."""
    taps, channels_in, channels = w.shape
    return aligned_empty((-(-channels // width), taps * channels_in, width), w.dtype)


def pack_blocks(packed: Array, w: Array, first: int, last: int) -> None:
    """Fill the blocks first … last of `packed`, so that several threads can pack one w."""
    transposed = w.swapaxes(1, 2)
    if transposed.flags.c_contiguous and not w.flags.c_contiguous:
        _pack(packed, as_contiguous(transposed), True, first, last)
    else:
        _pack(packed, as_contiguous(w), False, first, last)


@compiled
def _pack(packed: Array, w: Array, transposed: bool, first: int, last: int) -> None:
    depth, channels = (w.shape[2], w.shape[1]) if transposed else (w.shape[1], w.shape[2])
    width = packed.shape[2]
    for block in range(first, last):
        channel = block * width
        count = min(width, channels - channel)
        for t in range(w.shape[0]):
            for k in range(0, depth, _SQUARE if transposed else 1):
                target = packed[block, t * depth + k :]
                if transposed:
                    for i in range(count):
                        source = w[t, channel + i, k:]
                        for j in range(min(_SQUARE, depth - k)):
                            target[j, i] = source[j]
                else:
                    source = w[t, k, channel:]
                    for i in range(count):
                        target[0, i] = source[i]
        for i in range(count, width):
            for k in range(packed.shape[1]):
                packed[block, k, i] = 0
