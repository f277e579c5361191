"""Where an activation cache stores the inputs of a convolution: a ring buffer of time steps, or an image with a border.

Checked by: tests/nn/test_cache.py
"""

import numpy as np

from ..autograd import Array
from ..autograd.taps import Taps


def ring_buffer(taps: Taps, size: tuple[int, ...]) -> tuple[int, Array, Array]:
    """Return the number of slots, the slot of each position and the slots that the taps read, (positions, taps).

    Time step t has slot t mod L, where L is the reach of the taps, including the current time step. Slots are zero
    until they are written, which zero-pads the sequence on the left.
    """
    offsets = np.array(taps)[:, 0]
    length = 1 - offsets.min()
    slots = np.arange(length)
    return length, slots, (slots[:, None] + offsets) % length


def padded_image(taps: Taps, size: tuple[int, ...]) -> tuple[int, Array, Array]:
    """Like `ring_buffer`, for an image: its slots include a border of zeros as wide as the taps reach."""
    offsets = np.array(taps)
    before, after = np.maximum(0, -offsets.min(0)), np.maximum(0, offsets.max(0))
    padded = before + size + after
    slots = np.arange(padded.prod()).reshape(padded)
    interior = slots[tuple(slice(b, b + n) for b, n in zip(before, size, strict=True))].reshape(-1)
    strides = [int(padded[axis + 1 :].prod()) for axis in range(len(size))]
    return slots.size, interior, interior[:, None] + offsets @ strides
