"""The geometry of a convolution: the addresses that the tile loops visit, cached per taps, stride and shapes.

A plan turns taps into *runs*: taps that are neighbours in a row of x, and whose weights are neighbours in memory, are
read as one longer sequence of channels. Strides and addresses count array elements, not bytes.

Checked by: tests/kernels/test_convolution.py
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .reference import Taps, overlap
from .runtime.arrays import Array
from .runtime.registers import TILE_ROWS

# Multiply-adds in a part of about 40 µs (one core of an AMD EPYC with AVX-512 at 100 GFLOP/s: benchmarks/layers.py).
GRAIN = 1 << 21
# Multiply-adds in the time in which one core moves an element to or from memory: in a nanosecond, an AMD EPYC with
# AVX-512 does 58 multiply-adds and moves 5 to 7 elements (docs/RESULTS.md has the limits of one thread).
MOVE = 12
Shape = tuple[int, ...]
Phase = tuple[int, int]


class Layout(NamedTuple):
    """Sizes and strides that `convolve` loops over."""

    columns: int  # of y
    channels: int  # of y
    stride: int  # of the convolution
    strips: int  # per row of y; the inputs of one strip stay in the L1 cache
    strip: int  # pixels in a strip
    x_rows: int
    x_row: int  # elements in one row of x
    x_pixel: int  # elements in one pixel of x
    left: int  # zeros in front of a row of x where taps reach beyond it
    padded_row: int  # elements in a row of x with its zeros, or 0 if x is read in place
    min_row_offset: int  # the smallest row offset of a tap
    max_row_offset: int
    y_image: int
    y_pixel: int


class Plan(NamedTuple):
    """The arguments of `convolve` other than its arrays. The lengths of `pixels` and `vectors` are the tile's shape."""

    pixels: tuple[int, ...]
    vectors: tuple[int, ...]
    lines: Array  # per row of y: the row of x at offset 0, the address in y, the first run and the one after the last
    runs: Array  # per run: row offset, address, length, first row of w
    layout: Layout
    work: int  # cost of one strip, in units of a multiply-add


def _tile_pixels(columns: int) -> int:
    """Choose the number of pixels in a tile: the one that covers a row with the least overlap (28 = 4·7)."""
    efficiency = {pixels: 0.5 if pixels == 1 else 0.9 if pixels == 4 else 1.0 for pixels in TILE_ROWS}
    fitting = [pixels for pixels in TILE_ROWS if pixels <= columns]
    return min(fitting, key=lambda pixels: (-(-columns // pixels) * pixels / efficiency[pixels], -pixels))


@lru_cache(maxsize=4096)
def plan(taps: Taps, stride: int, shape_x: Shape, shape_y: Shape, phase: Phase, step: int, lanes: int) -> Plan | None:
    """Plan y(step·p + phase) = Σₜ x(s·p + oₜ) Wₜ for images x, y of shapes (H, W, C); None if there is no such p."""
    (x_rows, x_columns, channels_in), (y_rows, y_columns, channels) = shape_x, shape_y
    rows, columns = -((phase[0] - y_rows) // step), -((phase[1] - y_columns) // step)
    if rows <= 0 or columns <= 0:
        return None
    if taps == ((0, 0),) and stride == step == 1 and (x_rows, x_columns) == (rows, columns):
        x_rows, x_columns, rows, columns = 1, rows * columns, 1, rows * columns  # pointwise: an image is one long row
        y_columns = columns
    live = []
    for t, (dy, dx) in enumerate(taps):
        (i, j), _ = overlap((dy, dx), stride, (x_rows, x_columns), (rows, columns))
        if i.stop and j.stop:
            live.append((t, dy, dx))
    left = max(0, *(-dx for _, _, dx in live), 0)
    right = max(0, *(stride * (columns - 1) + dx - (x_columns - 1) for _, _, dx in live), 0)
    runs: list[list[int]] = []
    following = (-1, 0, 0)  # the tap that would extend the current run: its index and offset
    for t, dy, dx in live:
        if (t, dy, dx) == following:
            runs[-1][2] += channels_in
        else:
            runs.append([dy, (left + dx) * channels_in, channels_in, t * channels_in])
        following = (t + 1, dy, dx + 1)
    padded_row = (left + x_columns + right) * channels_in if left or right else 0
    row_offsets = [dy for _, dy, _ in live] or [0]
    x = x_rows, x_columns * channels_in, channels_in, left * channels_in, padded_row, min(row_offsets), max(row_offsets)
    lines = [[stride * i, ((step * i + phase[0]) * y_columns + phase[1]) * channels, 0, len(runs)] for i in range(rows)]
    return _plan_lines(lines, runs, lanes, (columns, channels, stride), x, (math.prod(shape_y), step * channels))


@lru_cache(maxsize=4096)
def plan_across_images(
    taps: Taps, stride: int, images: int, shape_x: Shape, shape_y: Shape, transposed: bool, lanes: int
) -> Plan:
    """Plan a convolution, or with `transposed` Σ_{p: s·p + oₜ = q} x(p) Wₜ, with one line per pixel of all images y.

    Tiles are then filled where the rows of y are too short, and taps that miss the image are skipped.
    """
    (height, width, channels_in), (rows, columns, channels) = shape_x, shape_y
    lines: list[list[int]] = []
    runs: list[list[int]] = []
    for i in range(rows):
        for j in range(columns):
            first = len(runs)
            for t, (dy, dx) in enumerate(taps):
                (row, rest), (column, other) = (
                    divmod(at - offset, stride) if transposed else (stride * at + offset, 0)
                    for at, offset in ((i, dy), (j, dx))
                )
                if rest == other == 0 and 0 <= row < height and 0 <= column < width:
                    runs.append([0, (row * width + column) * channels_in, channels_in, t * channels_in])
            lines.append([0, (i * columns + j) * channels, first, len(runs)])
    # Read in place, as one row whose pixel stride is a whole image.
    x = 1, 0, math.prod(shape_x), 0, 0, 0, 0
    return _plan_lines(lines, runs, lanes, (images, channels, 1), x, (0, math.prod(shape_y)))


def _plan_lines(
    lines: list[list[int]],
    runs: list[list[int]],
    lanes: int,
    sizes: tuple[int, int, int],
    x: tuple[int, ...],
    y: tuple[int, int],
) -> Plan:
    """Divide rows into strips and tiles; sizes, x and y are the fields of `Layout` before and after the strips."""
    columns, channels, _ = sizes
    pixels = _tile_pixels(columns)
    strips = -(-columns // (8 * pixels))
    strip = -(-columns // (strips * pixels)) * pixels  # of nearly equal length, for threads to share
    depth = sum(sum(run[2] for run in runs[first:last]) for _, _, first, last in lines) // len(lines)
    work = 1 + min(columns, strip) * (depth + MOVE) * channels
    tables = np.array(lines, np.int64), np.array(runs, np.int64).reshape(-1, 4)
    vectors = 1 if channels <= lanes else 2
    return Plan((0,) * pixels, (0,) * vectors, *tables, Layout._make((*sizes, strips, strip, *x, *y)), work)


class Strides(NamedTuple):
    """The strides with which `correlate` and `fold` traverse two images a and b."""

    rows: int
    columns: int
    a_image: int
    a_row: int
    a_pixel: int
    b_image: int
    b_row: int
    b_pixel: int


@lru_cache(maxsize=4096)
def spans(taps: Taps, stride: int, shape_x: Shape, shape_y: Shape, y_per_tap: int = 0) -> tuple[Array, Strides]:
    """Return where each tap overlaps the image, and the strides of x and y.

    Each span is: first row, last row, first column, last column, and the addresses of pixel (0, 0) in x and in y. In y,
    the elements of tap t start at t · y_per_tap.
    """
    (height, width, channels_x), (rows, columns, channels_y) = shape_x, shape_y
    table = np.zeros((len(taps), 6), np.int64)
    for t, (dy, dx) in enumerate(taps):
        (i, j), _ = overlap((dy, dx), stride, (height, width), (rows, columns))
        if i.stop and j.stop:  # the offset of a tap that misses the image may be too large for the table
            table[t] = i.start, i.stop, j.start, j.stop, (dy * width + dx) * channels_x, t * y_per_tap
    x = (height * width * channels_x, stride * width * channels_x, stride * channels_x)
    y = (rows * columns * channels_y, columns * channels_y, channels_y)
    return table, Strides(rows, columns, *x, *y)


class Runs(NamedTuple):
    """Runs of taps that are neighbours in a row of x. Each is one tap with the channels of all, on zero-padded rows."""

    taps: Taps  # per run, the offset of its first tap on the padded rows
    order: Array  # the indices of the taps, run by run; taps that miss the image are left out
    channels: Array  # per channel of these taps, its index among the channels of all runs
    width: int  # channels in each run, rounded up to fill tiles
    left: int  # zero pixels in front of a row
    columns: int  # pixels in a padded row


@lru_cache(maxsize=4096)
def join_taps(taps: Taps, stride: int, shape_x: Shape, shape_y: Shape) -> Runs | None:
    """Join taps, so that few channels fill the tiles of a correlation.

    Return None if all taps miss the image, or if strides or offsets are so large that the rows would be mostly zeros.
    """
    (height, columns, channels), size_y = shape_x, shape_y[:2]
    found: list[tuple[int, int, list[int]]] = []  # row and column offset of the first tap, and all taps
    for (dy, dx), t in sorted((offset, t) for t, offset in enumerate(taps)):
        (i, j), _ = overlap((dy, dx), stride, (height, columns), size_y)
        if i.stop and j.stop:
            if not found or (dy, dx) != (found[-1][0], found[-1][1] + len(found[-1][2])):
                found.append((dy, dx, []))
            found[-1][2].append(t)
    if not found:
        return None
    width = -(-max(len(run) for *_, run in found) * channels // TILE_ROWS[0]) * TILE_ROWS[0]
    left = max(0, *(-dx for _, dx, _ in found))
    # The last pixel of a row, too, is followed by as many elements as a run reads.
    last = max(stride * (size_y[1] - 1) + dx for _, dx, _ in found)
    padded = left + max(columns, last - -width // channels)
    if padded > 2 * columns + 64:
        return None
    numbers = [np.arange(len(run) * channels) + r * width for r, (*_, run) in enumerate(found)]
    first = tuple((dy, left + dx) for dy, dx, _ in found)
    return Runs(first, np.array([t for *_, run in found for t in run]), np.concatenate(numbers), width, left, padded)


@lru_cache(maxsize=4096)
def phases(taps: Taps, stride: int) -> tuple[tuple[Phase, tuple[int, ...], Taps], ...]:
    """Split a transposed convolution by phase: return the taps of each phase φ and their offsets on the coarse grid.

    s·p + o = s·m + φ has a solution p = m + (φ - o)/s only if s divides φ - o, so each tap belongs to one phase. Phases
    without taps are left out: there may be s² of them.
    """
    found: dict[Phase, tuple[list[int], list[tuple[int, int]]]] = {}
    for t, (dy, dx) in enumerate(taps):
        live, offsets = found.setdefault((dy % stride, dx % stride), ([], []))
        live.append(t)
        offsets.append((-(dy // stride), -(dx // stride)))
    return tuple((phase, tuple(live), tuple(offsets)) for phase, (live, offsets) in sorted(found.items()))


@lru_cache(maxsize=4096)
def planar(taps: Taps) -> Taps:
    """Return the taps of a sequence as those of images with a single row."""
    return tuple(offset if len(offset) == 2 else (0, *offset) for offset in taps)
