"""A convolution evaluated at one position of every image, for ancestral sampling from an activation cache.

For a few images, the overhead of NumPy's calls (gather, multiply, add, add) exceeds the arithmetic. Here one kernel
reads the inputs in place and computes on register tiles.

Checked by: tests/kernels/test_position.py
"""

from typing import Any

import numba
import numpy as np

from ..arguments import explained
from .packing import pack
from .plans import GRAIN
from .reference import matmul
from .runtime.arrays import Array, as_contiguous, check_dtype, check_shape
from .runtime.compilation import compiled
from .runtime.parts import part
from .runtime.registers import TILE_ROWS, lanes
from .runtime.team import run_parts
from .runtime.tile import ONE, add, fma, store, zeros

# The lengths are the shapes of tiles: one image or several, two vectors. Fewer shapes compile faster.
_TWO, _TALL = (0,) * 2, (0,) * TILE_ROWS[0]
FIRST_ROW = np.zeros(1, np.int64)  # `starts` of a pointwise layer


@compiled
def evaluate_rows(rows: Any, x: Array, starts: Array, shift: int, w: Array, residual: Array, y: Array) -> None:
    """y[i] = residual[i] + b + Σₜ x[startsₜ + shift + i] wₜ for at least as many i as a tile has rows.

    w is packed, with the bias as its last row; residual has the length of y, or 1. Indices are not checked.
    """
    height, depth, lanes, run, channels = len(rows), w.shape[1], w.shape[2], x.shape[1], y.shape[1]
    residual_row = channels if len(residual) == len(y) else 0
    flat_x, flat_w, flat_residual, flat_y = x.reshape(-1), w.reshape(-1), residual.reshape(-1), y.reshape(-1)
    for tile in range(0, len(y), height):
        i = min(tile, len(y) - height)  # the last tile may overlap the one before
        for block in range(w.shape[0]):
            channel, q = block * lanes, block * depth * lanes
            acc = zeros(rows, _TWO, y)
            for t in range(starts.size):
                p = (starts[t] + shift + i) * run
                for k in range(run):
                    acc = fma(acc, flat_x, p + k, run, flat_w, q + k * lanes)
                q += run * lanes
            acc = add(acc, flat_w, q, 0, lanes)
            acc = add(acc, flat_residual, i * residual_row + channel, residual_row, channels - channel)
            store(flat_y, i * channels + channel, channels, channels - channel, acc)


@compiled
def relu_rows(x: Array, y: Array) -> None:
    """y = max(x, 0)."""
    values, out = x.reshape(-1), y.reshape(-1)
    for k in range(values.size):
        out[k] = 0 if values[k] <= 0 else values[k]  # NaN propagates


@compiled
def _evaluate(
    rows: Any, x: Array, starts: Array, w: Array, residual: Array, relu: bool, y: Array, team: Array, size: int
) -> None:
    if starts.size * x.shape[1] + 1 != w.shape[1]:
        raise ValueError("x and starts: expected shapes (rows, C_in) and (taps,)")
    for first in starts:
        if first < 0 or first + size > len(x):
            raise ValueError("starts: expected rows of x")
    start, stop = part(team, size)
    own, added = y[start:stop], residual if len(residual) != size else residual[start:stop]
    evaluate_rows(rows, x, starts, start, w, added, own)
    if relu:
        relu_rows(own, own)


def tile_rows(n: int) -> tuple[int, ...]:
    """Return a tuple whose length is the number of images in a tile."""
    return ONE if n < len(_TALL) else _TALL


class AtPosition:
    """A layer with fixed weights: y[i] = residual[i] + b + Σₜ x[startsₜ + i] wₜ; with `relu`, max(y, 0).

    `starts` are the rows of x that contribute to y[0], one per tap.

    Shapes: w (taps, C_in, C_out), b (C_out,) or None; x (rows, C_in), C-contiguous; starts (taps,), int64; residual
    (n, C_out) or None; y (n, C_out). Floating-point arrays have the dtype of w.
    Raises: TypeError or ValueError if shapes or dtypes do not match, or if a row is not in x.
    """

    @explained
    def __init__(self, w: Array, b: Array | None, relu: bool = False) -> None:
        check_dtype("w", w, np.float32, np.float64)
        if w.ndim != 3:
            raise ValueError(f"w: expected shape (taps, C_in, C_out), got {w.shape}")
        (taps, channels_in, self.channels), self.dtype = w.shape, w.dtype
        if b is not None:
            check_shape("b", b, (self.channels,))
            check_dtype("b", b, w.dtype)
        self.w = np.zeros((taps * channels_in + 1, self.channels), w.dtype)  # the last row is the bias
        self.w[:-1], self.w[-1] = w.reshape(-1, self.channels), 0 if b is None else b
        if not numba.config.DISABLE_JIT:
            self.packed = pack(self.w[None], len(_TWO) * lanes(w.dtype))
        self.zeros, self.relu = np.zeros_like(self.w[:1]), relu
        self.grain = max(len(_TALL), GRAIN // self.w.size)

    @explained
    def __call__(self, x: Array, starts: Array, n: int, residual: Array | None = None) -> Array:
        self.check_inputs(x, starts, n)
        residual = self.as_residual(residual, n)
        if numba.config.DISABLE_JIT:
            return self.plain(x, starts, n, residual)
        y = np.empty((n, self.channels), x.dtype)
        run_parts(_evaluate, n, self.grain, tile_rows(n), x, starts, self.packed, residual, self.relu, y)
        return y

    def check_inputs(self, x: Array, starts: Array, n: int) -> None:
        """Raise TypeError or ValueError unless the kernel can read x; the kernel itself compares the sizes."""
        if x.dtype != self.dtype or starts.dtype != np.int64:
            raise TypeError(f"x and starts: expected {self.dtype} and int64, got {x.dtype} and {starts.dtype}")
        if not (x.flags.carray and x.ndim == 1 + starts.ndim == 2 and n >= 0):
            got = f"{x.shape}, {starts.shape} and {n}"
            raise ValueError(f"x, starts and n: expected contiguous (rows, C_in), (taps,) and n ≥ 0, got {got}")

    def as_residual(self, residual: Array | None, n: int, name: str = "residual") -> Array:
        """Return the residual as the kernel expects it; raise TypeError or ValueError if it does not fit."""
        if residual is None:
            return self.zeros
        if residual.dtype != self.dtype:
            raise TypeError(f"{name}: expected {self.dtype}, got {residual.dtype}")
        if residual.shape != (n, self.channels):
            raise ValueError(f"{name}: expected shape {(n, self.channels)}, got {residual.shape}")
        return as_contiguous(residual)

    def plain(self, x: Array, starts: Array, n: int, residual: Array) -> Array:
        """Compute the same in NumPy."""
        rows = starts + np.arange(n)[:, None]
        if rows.size and not 0 <= rows.min() <= rows.max() < len(x):
            raise ValueError("starts: expected rows of x")
        seen = x[rows].reshape(n, len(self.w) - 1)  # (n, taps · C_in)
        y: Array = matmul(seen, self.w[:-1]) + self.w[-1] + residual
        return np.maximum(y, 0) if self.relu else y
