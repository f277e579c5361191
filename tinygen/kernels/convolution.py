"""The three convolutions as direct loops over taps, on register tiles.

    y(p) = Σₜ x(s·p + oₜ) wₜ        x zero outside; s the stride, oₜ the offset and wₜ (C_in, C_out) the matrix of tap t

`conv` is y from x and w, `conv_transpose` its adjoint in x, `conv_weight` its adjoint in w. A mask, a causal shift, a
dilation are only other offsets, so a tap that is masked out costs nothing.

How it is fast: a tile of 7 or 8 pixels × 32 output channels stays in registers while all taps and input channels are
added to it. The adjoint in x is the same kernel with negated offsets and transposed matrices, once per phase of the
stride; the adjoint in w the same tile over input channels × output channels. Direct loops beat im2col + BLAS by 1.3-3
times here: they touch each number once, and nothing is written that is not part of the answer.

The functions `plain_*` state the definition, and are what runs where Numba's JIT is switched off.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product as cartesian
from typing import Any, NamedTuple

import numba
import numpy as np

from .product import matmul, product
from .runtime.arrays import Array, aligned, as_contiguous
from .runtime.pool import parts, share, threads
from .runtime.tile import VECTOR_BYTES, add, compiled, fma, lanes, relu, store, zeros

Taps = tuple[tuple[int, ...], ...]  # as in autograd/taps.py; the kernels import nothing from outside their package
Shape = tuple[int, ...]
Slices = tuple[slice, ...]
Phase = tuple[int, int]

# A thread is worth calling for this many multiply-adds (about 10 µs on one core).
_GRAIN = 1 << 19
# With fewer channels than this, most lanes of a tile would idle: `_by_columns` is faster, or of 1×1 taps a product.
_FEW = 8


def overlap(offset: tuple[int, ...], stride: int, size_x: Shape, size_y: Shape) -> tuple[Slices, Slices]:
    """Where a tap meets the image: the pixels p of y with s·p + o inside x, and those pixels of x, as slices.

    Per axis: ⌈-o/s⌉ ≤ p ≤ ⌊(size_x - 1 - o)/s⌋.  Empty slices where the tap misses the image altogether.
    """
    at, source = [], []
    for o, x, y in zip(offset, size_x, size_y, strict=True):
        start, stop = max(0, -(o // stride)), min(y, (x - 1 - o) // stride + 1)
        if start >= stop:
            start = stop = 0
        at.append(slice(start, stop))
        source.append(slice(stride * start + o, stride * (stop - 1) + o + 1, stride) if stop else slice(0, 0))
    return tuple(at), tuple(source)


def plain_conv(
    x: Array,
    w: Array,
    taps: Taps,
    stride: int,
    size: Shape,
    residual: Array | None = None,
    bias: Array | None = None,
    rectified: bool = False,
) -> Array:
    """y(p) = residual + bias + Σₜ x(s·p + oₜ) wₜ in NumPy, tap by tap: what `conv` computes."""
    y = _begun(np.zeros((len(x), *size, w.shape[2]), x.dtype), residual, bias)
    for offset, matrix in zip(taps, w, strict=True):
        at, source = overlap(offset, stride, x.shape[1:-1], size)
        y[:, *at] += matmul(x[:, *source], matrix)
    return np.maximum(y, 0) if rectified else y


def plain_conv_transpose(
    y: Array, w: Array, taps: Taps, stride: int, size: Shape, residual: Array | None = None, bias: Array | None = None
) -> Array:
    """x(s·p + oₜ) += y(p) wₜᵀ in NumPy, tap by tap: what `conv_transpose` computes."""
    x = _begun(np.zeros((len(y), *size, w.shape[1]), y.dtype), residual, bias)
    for offset, matrix in zip(taps, w, strict=True):
        at, source = overlap(offset, stride, size, y.shape[1:-1])
        x[:, *source] += matmul(y[:, *at], matrix.T)
    return x


def _begun(y: Array, residual: Array | None, bias: Array | None) -> Array:
    for start in (residual, bias):
        if start is not None:
            y += start
    return y


def plain_conv_weight(x: Array, y: Array, taps: Taps, stride: int) -> Array:
    """wₜ = Σₚ x(s·p + oₜ)ᵀ y(p) in NumPy, tap by tap: what `conv_weight` computes."""
    w, pixels = np.zeros((len(taps), x.shape[-1], y.shape[-1]), x.dtype), list(range(x.ndim - 1))
    for offset, matrix in zip(taps, w, strict=True):
        at, source = overlap(offset, stride, x.shape[1:-1], y.shape[1:-1])
        matrix += np.tensordot(x[:, *source], y[:, *at], axes=(pixels, pixels))
    return w


class Layout(NamedTuple):
    """The sizes that `_convolve` runs over; strides count numbers (not bytes) of the flat arrays."""

    rows: int  # of y, per image
    columns: int  # of y
    channels: int  # of y
    stride: int  # of the convolution
    x_rows: int
    x_row: int  # numbers in one row of x
    x_pixel: int  # numbers in one pixel of x
    left: int  # numbers in front of a row of x where taps reach beyond it, 0 if x is read where it lies
    border_row: int  # numbers in one bordered row, 0 if x is read where it lies
    reach_up: int  # the smallest row offset of a tap
    reach_down: int  # the largest
    y_first: int
    y_image: int
    y_row: int
    y_pixel: int


@compiled
def _convolve(
    pixels: Any,
    vectors: Any,
    x: Array,
    w: Array,
    runs: Array,
    residual: Array,
    bias: Array,
    rectified: int,
    y: Array,
    z: Layout,
    start: int,
    stop: int,
) -> None:
    """Rows start … stop of y, counted over all images: y = residual + bias + Σ x w, or relu of that.

    x, y: flat images; residual: likewise, or empty.
    w: (blocks, taps · channels_in, lanes), a block of output channels after another.
    runs: per run of taps that lie side by side in a row of x: row offset, address, length, first row of w.
    """
    tile_pixels, lanes, depth = len(pixels), w.shape[2], w.shape[1]
    strip_pixels, x_step = 8 * tile_pixels, z.stride * z.x_pixel
    flat_w = w.reshape(-1)
    source, x_row = x, z.x_row
    if z.border_row:
        source, x_row = np.zeros(z.x_rows * z.border_row, x.dtype), z.border_row
    for image in range(start // z.rows, (stop + z.rows - 1) // z.rows):
        first, last = max(start - image * z.rows, 0), min(stop - image * z.rows, z.rows)
        base = image * z.x_rows * z.x_row
        if z.border_row:
            # Taps may reach beyond the ends of a row: copy the rows between zeros. (Rows above and below the image need
            # no copy; their taps are skipped below.) Views of rows, because an index is checked for being negative,
            # five times slower; a loop, because assigning a slice takes Numba another second to compile.
            lowest, highest = first * z.stride + z.reach_up, (last - 1) * z.stride + z.reach_down
            for row in range(max(lowest, 0), min(highest + 1, z.x_rows)):
                bordered, row_of_x = source[row * z.border_row + z.left :], x[base + row * z.x_row :]
                for number in range(z.x_row):
                    bordered[number] = row_of_x[number]
            base = 0
        for i in range(first, last):
            # A strip of x stays in the first cache while the blocks of output channels pass over it.
            for strip in range(0, z.columns, strip_pixels):
                for block in range(w.shape[0]):
                    channel = block * lanes
                    width = z.channels - channel
                    for j in range(strip, min(strip + strip_pixels, z.columns), tile_pixels):
                        j = min(j, z.columns - tile_pixels)  # the last tile may overlap the one before
                        at = z.y_first + image * z.y_image + i * z.y_row + j * z.y_pixel
                        acc = zeros(pixels, vectors, y)
                        for run in range(runs.shape[0]):
                            row = i * z.stride + runs[run, 0]
                            if 0 <= row < z.x_rows:
                                p = base + row * x_row + j * x_step + runs[run, 1]
                                q = (block * depth + runs[run, 3]) * lanes
                                for k in range(runs[run, 2]):
                                    acc = fma(acc, source, p + k, x_step, flat_w, q + k * lanes)
                        # Last: a sum that starts from residual waits for its load; here the next tile overlaps it.
                        if residual.size:
                            acc = add(acc, residual, at + channel, z.y_pixel, width)
                        acc = add(acc, bias, channel, 0, width)
                        if rectified:
                            acc = relu(acc)
                        store(y, at + channel, z.y_pixel, width, acc)


class Meeting(NamedTuple):
    """The strides with which `_correlate` walks over two images at once; both are flat arrays."""

    rows: int
    columns: int
    a_image: int
    a_row: int
    a_pixel: int
    b_image: int
    b_row: int
    b_pixel: int


@compiled
def _correlate(
    height: Any,
    vectors: Any,
    a: Array,
    b: Array,
    spans: Array,
    z: Meeting,
    first_channel: int,
    last_channel: int,
    w: Array,
    start: int,
    stop: int,
) -> None:
    """w[t, k, n] += Σ a(k) b(n) over the pixels that tap t's span names, in images start … stop.

    a, b: flat images.  w: (taps, channels_a, channels_b); only channels first … last of a.
    spans: per tap: first row, last row, first column, last column, and the addresses of (0, 0) in a and in b.
    """
    tile_height, channels_a, channels_b = len(height), w.shape[1], w.shape[2]
    lanes = (len(vectors) * VECTOR_BYTES) // w.itemsize
    flat_w = w.reshape(-1)
    # About 128 pixels of a and b stay in the first cache while all tiles of w pass over them.
    block_columns = min(z.columns, 128)
    block_rows = max(1, 128 // block_columns)
    for image in range(start, stop):
        for top in range(0, z.rows, block_rows):
            for left in range(0, z.columns, block_columns):
                for n in range(0, channels_b, lanes):
                    for t in range(spans.shape[0]):
                        i_first, i_last = max(top, spans[t, 0]), min(top + block_rows, spans[t, 1])
                        j_first, j_last = max(left, spans[t, 2]), min(left + block_columns, spans[t, 3])
                        if i_first >= i_last or j_first >= j_last:
                            continue
                        for k in range(first_channel, last_channel, tile_height):
                            at = (t * channels_a + k) * channels_b + n
                            acc = zeros(height, vectors, w)
                            for i in range(i_first, i_last):
                                p = image * z.a_image + i * z.a_row + spans[t, 4] + k
                                q = image * z.b_image + i * z.b_row + spans[t, 5] + n
                                for j in range(j_first, j_last):
                                    acc = fma(acc, a, p + j * z.a_pixel, 1, b, q + j * z.b_pixel)
                            acc = add(acc, flat_w, at, channels_b, lanes)
                            store(flat_w, at, channels_b, lanes, acc)


@compiled
def _fold(a: Array, b: Array, spans: Array, z: Meeting, channels: int, start: int, stop: int) -> None:
    """a(p) += b(q) of tap t, over the pixels that the tap's span names, in images start … stop."""
    for image in range(start, stop):
        for i in range(z.rows):  # outside the taps, so that a row of b stays in the first cache
            for t in range(spans.shape[0]):
                if spans[t, 0] <= i < spans[t, 1]:
                    p = image * z.a_image + i * z.a_row + spans[t, 4]
                    q = image * z.b_image + i * z.b_row + spans[t, 5]
                    for c in range(channels):  # few: the long loop is the inner one
                        for j in range(spans[t, 2], spans[t, 3]):
                            a[p + j * z.a_pixel + c] += b[q + j * z.b_pixel + c]


def _tile_pixels(columns: int) -> int:
    """Pixels in a tile: what covers a row with the least overlap (28 = 4·7); 12 × 32 would spill, at half the speed."""
    fitting = [pixels for pixels in (8, 7, 4, 1) if pixels <= columns]
    return min(fitting, key=lambda pixels: (-(-columns // pixels) * pixels / (0.5 if pixels == 1 else 1), -pixels))


class Plan(NamedTuple):
    """All that `_convolve` needs to know about a call beside its arrays."""

    pixels: tuple[int, ...]  # of a tile; its length is what counts
    vectors: tuple[int, ...]  # of a tile; likewise
    runs: Array
    layout: Layout
    units: int  # rows of y per image, which threads share out
    grain: int


@lru_cache(maxsize=4096)
def _plan(
    taps: Taps, stride: int, shape_x: Shape, shape_y: Shape, phase: Phase, step: int, per_vector: int, whole: bool
) -> Plan | None:
    """Plan y(step·p + phase) = Σₜ x(s·p + oₜ) wₜ for images x, y of these shapes (H, W, C); None if no such p.

    whole: whether a pointwise convolution may treat an image as one long row.
    """
    (x_rows, x_columns, channels_in), (y_rows, y_columns, channels) = shape_x, shape_y
    rows, columns = -((phase[0] - y_rows) // step), -((phase[1] - y_columns) // step)
    if rows <= 0 or columns <= 0:
        return None
    if whole and taps == ((0, 0),) and stride == step == 1 and (x_rows, x_columns) == (rows, columns):
        x_columns = y_columns = columns = rows * columns
        x_rows = rows = 1
    live = []
    for t, (dy, dx) in enumerate(taps):
        (i, j), _ = overlap((dy, dx), stride, (x_rows, x_columns), (rows, columns))
        if i.stop and j.stop:
            live.append((t, dy, dx))
    left = max(0, *(-dx for _, _, dx in live), 0)
    right = max(0, *(stride * (columns - 1) + dx - (x_columns - 1) for _, _, dx in live), 0)
    runs: list[list[int]] = []
    beside = (-1, 0, 0)  # the tap that would continue the run: its number and its offset
    for t, dy, dx in live:
        if (t, dy, dx) == beside:
            runs[-1][2] += channels_in  # side by side in x and in w: one longer run
        else:
            runs.append([dy, (left + dx) * channels_in, channels_in, t * channels_in])
        beside = (t + 1, dy, dx + 1)
    layout = Layout(
        rows=rows,
        columns=columns,
        channels=channels,
        stride=stride,
        x_rows=x_rows,
        x_row=x_columns * channels_in,
        x_pixel=channels_in,
        left=left * channels_in,
        border_row=(left + x_columns + right) * channels_in if left or right else 0,
        reach_up=min((dy for _, dy, _ in live), default=0),
        reach_down=max((dy for _, dy, _ in live), default=0),
        y_first=(phase[0] * y_columns + phase[1]) * channels,
        y_image=math.prod(shape_y),
        y_row=step * y_columns * channels,
        y_pixel=step * channels,
    )
    vectors = 1 if channels <= per_vector else 2
    work = 1 + columns * len(live) * channels_in * channels
    table = np.array(runs, np.int64).reshape(-1, 4)
    return Plan((0,) * _tile_pixels(columns), (0,) * vectors, table, layout, rows, 1 + _GRAIN // work)


@lru_cache(maxsize=4096)
def _spans(
    taps: Taps, stride: int, shape_x: tuple[int, int, int], shape_y: tuple[int, int, int], per_tap_y: int = 0
) -> tuple[Array, Meeting]:
    """Where each tap meets the image, and the strides of x and y; tap t's numbers in y start at t · per_tap_y."""
    (height, width, channels_x), (rows, columns, channels_y) = shape_x, shape_y
    spans = np.zeros((len(taps), 6), np.int64)
    for t, (dy, dx) in enumerate(taps):
        (i, j), _ = overlap((dy, dx), stride, (height, width), (rows, columns))
        spans[t] = i.start, i.stop, j.start, j.stop, (dy * width + dx) * channels_x, t * per_tap_y
    x = (height * width * channels_x, stride * width * channels_x, stride * channels_x)
    y = (rows * columns * channels_y, columns * channels_y, channels_y)
    return spans, Meeting(rows, columns, *x, *y)


@lru_cache(maxsize=4096)
def _phases(taps: Taps, stride: int) -> tuple[tuple[Phase, tuple[int, ...], Taps], ...]:
    """Per phase φ of the stride: the taps that reach pixels q = s·m + φ, and their offsets as seen from there.

    s·p + o = s·m + φ has a solution p = m + (φ - o)/s only if s divides φ - o.
    """
    phases = []
    for row, column in cartesian(range(stride), repeat=2):
        live = tuple(t for t, (dy, dx) in enumerate(taps) if (row - dy) % stride == 0 and (column - dx) % stride == 0)
        seen = tuple(((row - taps[t][0]) // stride, (column - taps[t][1]) // stride) for t in live)
        phases.append(((row, column), live, seen))
    return tuple(phases)


def _planar(x: Array) -> Array:
    """A sequence (N, T, C) as images of one row (N, 1, T, C)."""
    return x[:, None] if x.ndim == 3 else x


@lru_cache(maxsize=4096)
def _planar_taps(taps: Taps) -> Taps:
    return tuple(offset if len(offset) == 2 else (0, *offset) for offset in taps)


def _check(name: str, x: Array, w: Array, taps: Taps, axis: int, stride: int, size: Shape) -> None:
    if x.dtype != w.dtype or x.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name}: expected two arrays of float32 or two of float64, got {x.dtype} and {w.dtype}")
    if x.ndim not in (3, 4) or len(size) != x.ndim - 2 or stride < 1:
        raise ValueError(
            f"{name}: expected (N, T, C) or (N, H, W, C), a size to match and a stride of at least 1, "
            f"got {x.shape}, {size}, {stride}"
        )
    if w.ndim != 3 or w.shape[0] != len(taps) or w.shape[axis] != x.shape[-1]:
        raise ValueError(f"{name}: weights {w.shape} do not fit {len(taps)} taps and {x.shape[-1]} channels")


def _start(residual: Array | None, bias: Array | None, y: Array) -> tuple[Array, Array]:
    """What is added to the sums: flat numbers of y's shape, or none, and a bias."""
    residual = np.empty(0, y.dtype) if residual is None else residual
    bias = np.zeros(y.shape[-1], y.dtype) if bias is None else bias
    if (
        (residual.size and residual.shape != y.shape)
        or bias.shape != y.shape[-1:]
        or not residual.dtype == bias.dtype == y.dtype
    ):
        raise ValueError(
            f"residual: expected shape {y.shape} and bias {y.shape[-1:]}, both {y.dtype}; "
            f"got {residual.shape} {residual.dtype} and {bias.shape} {bias.dtype}"
        )
    return as_contiguous(residual).reshape(-1), as_contiguous(bias)


def pack(w: Array, lanes: int) -> Array:
    """Weights (taps, C_in, C_out) as (blocks of C_out, taps · C_in, lanes), so that a tile reads them front to back."""
    depth, channels = w.shape[0] * w.shape[1], w.shape[2]
    packed = aligned((-(-channels // lanes), depth, lanes), w.dtype)
    flat, even = w.reshape(depth, channels), channels // lanes
    packed[:even] = flat[:, : even * lanes].reshape(depth, even, lanes).swapaxes(0, 1)
    if even < len(packed):
        packed[even, :, : channels - even * lanes] = flat[:, even * lanes :]
    return packed


def _into(
    y: Array,
    x: Array,
    w: Array,
    taps: Taps,
    stride: int,
    start: tuple[Array, Array],
    rectified: bool,
    phase: Phase = (0, 0),
    step: int = 1,
) -> None:
    """y(step·p + phase) = residual + bias + Σₜ x(s·p + oₜ) wₜ for images x, y (N, H, W, C)."""
    per_vector = lanes(y.dtype)
    plan = _plan(taps, stride, x.shape[1:], y.shape[1:], phase, step, per_vector, len(y) >= threads())
    if plan is None:
        return
    packed, flat_x, flat_y = pack(w, per_vector * len(plan.vectors)), x.reshape(-1), y.reshape(-1)

    arguments = plan.pixels, plan.vectors, flat_x, packed, plan.runs, *start, rectified, flat_y, plan.layout
    share(_convolve, arguments, parts(len(y) * plan.units, plan.grain))


def conv(
    x: Array,
    w: Array,
    taps: Taps,
    stride: int,
    size: Shape,
    residual: Array | None = None,
    bias: Array | None = None,
    rectified: bool = False,
) -> Array:
    """Convolution: every pixel of y gathers from x through its taps. If `relu`, relu of that.

        y(p) = residual + bias + Σₜ x(s·p + oₜ) wₜ        x zero outside

    Shapes: x (N, H, W, C_in) or (N, T, C_in); w (taps, C_in, C_out); y (N, *size, C_out); residual y's; bias (C_out,).
    Pads are multiplied by weights where taps cross the left or right end of a row, so there a weight of inf gives NaN.
    Raises TypeError unless x and w are both float32 or both float64, ValueError if shapes do not fit.
    Checked by: tests/kernels/test_convolution.py
    """
    _check("conv", x, w, taps, 1, stride, size)
    if numba.config.DISABLE_JIT:
        return plain_conv(x, w, taps, stride, size, residual, bias, rectified)
    y = np.empty((len(x), *size, w.shape[2]), x.dtype)
    start = _start(residual, bias, y)
    pointwise = taps == ((0,) * len(size),) and stride == 1 and size == x.shape[1:-1]
    if pointwise and 0 < w.shape[2] < _FEW and x.size and residual is None:
        return product(x.reshape(-1, w.shape[1]), w[0], bias, rectified).reshape(y.shape)
    if y.size:
        _into(_planar(y), _planar(as_contiguous(x)), w, _planar_taps(taps), stride, start, rectified)
    return y


def conv_transpose(
    y: Array, w: Array, taps: Taps, stride: int, size: Shape, residual: Array | None = None, bias: Array | None = None
) -> Array:
    """Transposed convolution, the adjoint of `conv` in x: every pixel of y is scattered through its taps.

        x(q) = residual + bias + Σₜ Σ_{p: s·p + oₜ = q} y(p) wₜᵀ

    Shapes: y (N, H, W, C_out) or (N, T, C_out); w (taps, C_in, C_out); x (N, *size, C_in); residual x's; bias (C_in,).
    Raises TypeError unless y and w are both float32 or both float64, ValueError if shapes do not fit.
    Checked by: tests/kernels/test_convolution.py
    """
    _check("conv_transpose", y, w, taps, 2, stride, size)
    if numba.config.DISABLE_JIT:
        return plain_conv_transpose(y, w, taps, stride, size, residual, bias)
    x = np.empty((len(y), *size, w.shape[1]), y.dtype)
    start = _start(residual, bias, x)
    if not x.size:
        return x
    images, values, flat = _planar(x), _planar(as_contiguous(y)), _planar_taps(taps)
    turned = w.swapaxes(1, 2)  # (taps, C_out, C_in)
    if w.shape[1] < _FEW and len(taps) > 1 and y.size:
        x[...] = start[1] if residual is None else residual + start[1]
        _scatter_columns(images, values, turned, flat, stride)
        return x
    for phase, live, seen in _phases(flat, stride):
        _into(images, values, turned[list(live)], seen, 1, start, False, phase, stride)
    return x


def _scatter_columns(x: Array, y: Array, turned: Array, taps: Taps, stride: int) -> None:
    """x(s·p + oₜ) += y(p) wₜᵀ for few channels: one pointwise convolution to (tap, channel), then each tap is added."""
    few, wide = x.shape[3], len(taps) * x.shape[3]
    columns = np.empty((*y.shape[:3], wide), y.dtype)
    matrix = turned.transpose(1, 0, 2).reshape(1, -1, wide)
    _into(columns, y, matrix, ((0, 0),), 1, _start(None, None, columns), False)
    spans, meeting = _spans(taps, stride, x.shape[1:], columns.shape[1:], few)
    flat_x, flat_columns = x.reshape(-1), columns.reshape(-1)
    share(_fold, (flat_x, flat_columns, spans, meeting, few), parts(len(x)))


def conv_weight(x: Array, y: Array, taps: Taps, stride: int) -> Array:
    """Correlation of x and y at each tap, the adjoint of `conv` in w.

        wₜ = Σₚ x(s·p + oₜ)ᵀ y(p)        over all images and all p with s·p + oₜ inside x

    Shapes: x (N, H, W, C_in) or (N, T, C_in); y (N, H', W', C_out) or (N, T', C_out); w (taps, C_in, C_out).
    The bits of the result depend on threads(): each sums its own images.
    Raises TypeError unless x and y are both float32 or both float64, ValueError if shapes do not fit.
    Checked by: tests/kernels/test_convolution.py
    """
    if x.dtype != y.dtype or x.dtype not in (np.float32, np.float64):
        raise TypeError(f"conv_weight: expected two arrays of float32 or two of float64, got {x.dtype} and {y.dtype}")
    if x.ndim not in (3, 4) or x.ndim != y.ndim or len(x) != len(y) or stride < 1:
        raise ValueError(
            "conv_weight: expected x and y of as many axes and images, and a stride of at least 1, "
            f"got {x.shape}, {y.shape}, {stride}"
        )
    if numba.config.DISABLE_JIT:
        return plain_conv_weight(x, y, taps, stride)
    if not (x.size and y.size and taps):
        return np.zeros((len(taps), x.shape[-1], y.shape[-1]), x.dtype)
    x, y = _planar(as_contiguous(x)), _planar(as_contiguous(y))
    flat, per_vector, channels_out = _planar_taps(taps), lanes(x.dtype), y.shape[-1]
    if channels_out % per_vector and x.shape[-1] % per_vector == 0:
        # x's channels fill vectors and y's do not: let them change roles, wᵀ = Σₚ yᵀ x.
        turned = _weight(y, x, *_exchanged(*_spans(flat, stride, x.shape[1:], y.shape[1:])))
        return np.ascontiguousarray(turned.swapaxes(1, 2))
    if spare := -channels_out % per_vector:
        y = np.concatenate([y, np.zeros((*y.shape[:3], spare), y.dtype)], axis=3)
    w = _weight(x, y, *_spans(flat, stride, x.shape[1:], y.shape[1:]))
    return np.ascontiguousarray(w[:, :, :channels_out])


def _exchanged(spans: Array, meeting: Meeting) -> tuple[Array, Meeting]:
    """The same meeting of pixels with the roles of a and b exchanged."""
    rows, columns, *strides = meeting
    return np.ascontiguousarray(spans[:, [0, 1, 2, 3, 5, 4]]), Meeting(rows, columns, *strides[3:], *strides[:3])


def _weight(a: Array, b: Array, spans: Array, meeting: Meeting) -> Array:
    """w[t] = Σ aᵀ b over the pixels that tap t's span names; b's channels fill vectors."""
    taps, channels_a, channels_b, per_vector = len(spans), a.shape[-1], b.shape[-1], lanes(a.dtype)
    whole, vectors = channels_a - channels_a % 8, 1 if channels_b % (2 * per_vector) else 2
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    work = 1 + meeting.rows * meeting.columns * taps * channels_a * channels_b
    images = parts(len(a), 1 + _GRAIN // work)
    sums = [aligned((taps, channels_a, channels_b), a.dtype) for _ in images]  # one for each thread
    for height, first, last in ((8, 0, whole), (1, whole, channels_a)):
        if first < last:
            arguments = (0,) * height, (0,) * vectors, flat_a, flat_b, spans, meeting, first, last
            share(_correlate, arguments, [(w, *part) for w, part in zip(sums, images, strict=True)])
    return sum(sums[1:], sums[0])
