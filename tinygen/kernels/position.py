"""A convolution at one position of every image, with weights that stay: what sampling asks of every layer.

For a few images, NumPy's calls (gather, multiply, add, add) take longer than the arithmetic, which is little. Here they
are one call, which reads the inputs where they lie, on the register tiles of `convolution.py`.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .convolution import pack
from .product import matmul
from .runtime.arrays import Array, as_contiguous
from .runtime.pool import parts, share
from .runtime.tile import add, compiled, fma, lanes, store, zeros

# A thread is worth calling for this many multiply-adds (about 10 µs on one core).
_GRAIN = 1 << 19
# The shapes of tiles are lengths of tuples: eight images or one, two registers. Fewer shapes are compiled sooner.
_ONE, _TWO, _EIGHT = (0,), (0,) * 2, (0,) * 8


@compiled
def _evaluate(
    rows: Any, x: Array, starts: Array, w: Array, residual: Array, rectified: bool, y: Array, start: int, stop: int
) -> None:
    """Rows start … stop of y, as many as a tile has `rows` or more.  w: packed, the bias in its last row."""
    height, depth, lanes, run, channels = len(rows), w.shape[1], w.shape[2], x.shape[1], y.shape[1]
    residual_row = channels if len(residual) == len(y) else 0
    flat_x, flat_w, flat_residual, flat_y = x.reshape(-1), w.reshape(-1), residual.reshape(-1), y.reshape(-1)
    for tile in range(start, stop, height):
        i = min(tile, stop - height)  # the last tile may overlap the one before
        for block in range(w.shape[0]):
            channel, q = block * lanes, block * depth * lanes
            acc = zeros(rows, _TWO, y)
            for t in range(starts.size):
                p = (starts[t] + i) * run
                for k in range(run):
                    acc = fma(acc, flat_x, p + k, run, flat_w, q + k * lanes)
                q += run * lanes
            acc = add(acc, flat_w, q, 0, lanes)
            acc = add(acc, flat_residual, i * residual_row + channel, residual_row, channels - channel)
            store(flat_y, i * channels + channel, channels, channels - channel, acc)
    if rectified:
        part = y[start:stop].reshape(-1)
        for number in range(part.size):
            part[number] = 0 if part[number] <= 0 else part[number]  # NaN passes


class AtPosition:
    """y[i] = residual[i] + b + Σₜ x[startsₜ + i] wₜ, or if `relu` relu of that, with weights given once

    Shapes: w (taps, C_in, C_out), b (C_out,) or None; x (rows, C_in), C-contiguous; `starts` (taps,) of int64: rows
    of x that y's first row sums over; residual (n, C_out) or None; y (n, C_out). The others are of w's dtype,
    float32 or float64. Nothing of this is checked.
    Checked by: tests/kernels/test_position.py
    """

    def __init__(self, w: Array, b: Array | None, rectified: bool = False) -> None:
        taps, self.channels_in, self.channels = w.shape
        self.w = np.zeros((taps * self.channels_in + 1, self.channels), w.dtype)  # the last row is the bias
        self.w[:-1], self.w[-1] = w.reshape(-1, self.channels), 0 if b is None else b
        self.packed = pack(self.w[None], len(_TWO) * lanes(w.dtype))
        self.nothing, self.rectified = np.zeros_like(self.w[:1]), rectified
        self.grain = max(len(_EIGHT), _GRAIN // self.w.size)

    def __call__(self, x: Array, starts: Array, n: int, residual: Array | None = None) -> Array:
        residual = self.nothing if residual is None else as_contiguous(residual)
        if numba.config.DISABLE_JIT:
            return self.plain(x, starts, n, residual)
        y = np.empty((n, self.channels), x.dtype)
        rows = _ONE if n < len(_EIGHT) else _EIGHT
        if n < 2 * self.grain:
            _evaluate(rows, x, starts, self.packed, residual, self.rectified, y, 0, n)
        else:
            share(_evaluate, (rows, x, starts, self.packed, residual, self.rectified, y), parts(n, self.grain))
        return y

    def plain(self, x: Array, starts: Array, n: int, residual: Array) -> Array:
        """Do in NumPy what this computes."""
        seen = x[starts + np.arange(n)[:, None]].reshape(n, len(self.w) - 1)  # (n, taps · C_in)
        y: Array = matmul(seen, self.w[:-1]) + self.w[-1] + residual
        return np.maximum(y, 0) if self.rectified else y
