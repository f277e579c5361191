"""The loops of a convolution over register tiles: gather (`convolve`), correlate, and scatter (`fold`).

A tile of 7 or 8 pixels × 32 output channels (6 × 16 on a CPU with 16 registers) stays in registers while the products
of all taps and input channels are added to it, so every element of y is written once. `convolve` is the convolution
and, with negated offsets and transposed weights, its adjoint in x. `correlate` is the adjoint in w: the same tile over
input channels × output channels, which reads the output channels from an aligned copy.

Arrays are flat; addresses come from a plan (plans.py) and are not checked here.

Checked by: tests/kernels/test_convolution.py
"""

from typing import Any

import numpy as np

from .plans import Layout, Strides
from .runtime.arrays import Array
from .runtime.compilation import compiled
from .runtime.denormals import flush_denormals, restore
from .runtime.parts import part
from .runtime.registers import CACHE_LINE, VECTOR_BYTES
from .runtime.tile import ONE, add, fma, prefetch, relu, store, zeros


@compiled
def _pad_rows(padded: Array, x: Array, base: int, z: Layout, first: int, last: int) -> None:
    """Copy the rows of x that strips first … last of an image read, with zeros at both ends for taps to reach into.

    Rows above and below the image need no copy: their taps are skipped. Flat indices would be five times
    slower, as Numba checks them for negative values; a slice assignment would take a second longer to compile.
    """
    top = first // z.strips * z.stride + z.min_row_offset
    bottom = (last - 1) // z.strips * z.stride + z.max_row_offset
    for row in range(max(top, 0), min(bottom + 1, z.x_rows)):
        target, source = padded[row * z.padded_row + z.left :], x[base + row * z.x_row :]
        for k in range(z.x_row):
            target[k] = source[k]


@compiled
def convolve(
    pixels: Any, vectors: Any,
    x: Array, w: Array, lines: Array, runs: Array, residual: Array, bias: Array, apply_relu: int, y: Array, z: Layout,
    strips: int, by_block: bool, team: Array, size: int,
) -> None:  # fmt: skip
    """y = residual + bias + Σ x w for all strips of all lines of all images; with `apply_relu`, max(y, 0).

    A part is a range of the strips, or `by_block` a range of the blocks.

    x, y: flat images; residual: likewise, or empty.
    w: (blocks, taps · channels_in, lanes), one block of output channels after another.
    lines: per row of y: the row of x at offset 0, the address in y, the first run and the one after the last.
    runs: per run of neighbouring taps: row offset, address, length, first row of w.
    """
    start, stop = part(team, size)
    if start == stop:
        return
    first_block, last_block = 0, w.shape[0]
    if by_block:
        first_block, last_block, start, stop = start, stop, 0, strips
    tile_pixels, lanes, depth = len(pixels), w.shape[2], w.shape[1]
    x_step, per_image, flat_w = z.stride * z.x_pixel, len(lines) * z.strips, w.reshape(-1)
    source, x_row = x, z.x_row
    if z.padded_row:
        source, x_row = np.zeros(z.x_rows * z.padded_row, x.dtype), z.padded_row
    state = flush_denormals()
    for image in range(start // per_image, (stop + per_image - 1) // per_image):
        first, last = max(start - image * per_image, 0), min(stop - image * per_image, per_image)
        base = image * z.x_rows * z.x_row
        if z.padded_row:
            _pad_rows(source, x, base, z, first, last)
            base = 0
        for unit in range(first, last):
            i, left = unit // z.strips, unit % z.strips * z.strip
            x_line, y_line, first_run, last_run = lines[i, 0], lines[i, 1], lines[i, 2], lines[i, 3]
            for block in range(first_block, last_block):  # the strip of x stays in the L1 cache
                channel = block * lanes
                width = z.channels - channel
                for j in range(left, min(left + z.strip, z.columns), tile_pixels):
                    j = min(j, z.columns - tile_pixels)  # the last tile may overlap the one before
                    at = y_line + image * z.y_image + j * z.y_pixel
                    acc = zeros(pixels, vectors, y)
                    for run in range(first_run, last_run):
                        row = x_line + runs[run, 0]
                        if 0 <= row < z.x_rows:
                            p = base + row * x_row + j * x_step + runs[run, 1]
                            q = (block * depth + runs[run, 3]) * lanes
                            for k in range(runs[run, 2]):
                                acc = fma(acc, source, p + k, x_step, flat_w, q + k * lanes)
                    # Added last: a sum that started from the residual would have to wait until it is loaded.
                    if residual.size:
                        acc = add(acc, residual, at + channel, z.y_pixel, width)
                    acc = add(acc, bias, channel, 0, width)
                    if apply_relu:
                        acc = relu(acc)
                    store(y, at + channel, z.y_pixel, width, acc)
    restore(state)


@compiled
def _prefetch_block(a: Array, at: int, z: Strides, images: int, rows: int, columns: int, channels: int) -> None:
    """Prefetch pixels of a: a tile reads one or two cache lines of each, too few for the hardware prefetcher."""
    for image in range(images):
        for i in range(rows):
            for j in range(columns):
                for c in range(0, channels, CACHE_LINE // a.itemsize):
                    prefetch(a, at + image * z.a_image + i * z.a_row + j * z.a_pixel + c)


@compiled
def _copy_panel(
    vectors: Any, panel: Array, q: int, b: Array, at: int, z: Strides, images: int, rows: int, columns: int, width: int
) -> None:
    """Copy the channels of one tile, at pixels in some images, rows and columns of b, to consecutive memory.

    In b itself, a vector may span two cache lines, or reach beyond the last of the `width` channels.
    """
    lanes = (len(vectors) * VECTOR_BYTES) // b.itemsize
    for image in range(images):
        for i in range(rows):
            for j in range(columns):
                p = at + image * z.b_image + i * z.b_row + j * z.b_pixel
                store(panel, q, 0, lanes, add(zeros(ONE, vectors, b), b, p, 0, width))
                q += lanes


@compiled
def _block_shape(z: Strides) -> tuple[int, int, int]:
    """Return images, rows and columns: about 128 pixels, which stay in the L1 cache while all tiles pass over them."""
    columns = min(z.columns, 128)
    rows = min(z.rows, 128 // columns)
    return 128 // (rows * columns), rows, columns


@compiled
def correlate(
    height: Any, vectors: Any,
    a: Array, b: Array, spans: Array, z: Strides, images: int, first_channel: int, groups: int, w: Array,
    team: Array, size: int,
) -> None:  # fmt: skip
    """w[chunk, t, k, n] += Σ a(k) b(n) over the pixels of all images that are in the chunk and in tap t's span.

    a, b: flat images.  w: (chunks, taps, channels_a, channels_b). Per tap, the channels k from first_channel on are
    divided into `groups` of one tile's height each; a part is a range of these groups over all taps of all chunks.
    """
    start, stop = part(team, size)
    if start == stop:
        return
    chunks, taps, channels_a, channels_b = w.shape
    tile_height, lanes, tiles = len(height), (len(vectors) * VECTOR_BYTES) // w.itemsize, taps * groups
    flat_w, line = w.reshape(-1), CACHE_LINE // w.itemsize
    block_images, block_rows, block_columns = _block_shape(z)
    across, down = (z.columns + block_columns - 1) // block_columns, (z.rows + block_rows - 1) // block_rows
    blocks = (images + block_images - 1) // block_images * down * across
    panel = np.empty(block_images * block_rows * block_columns * lanes + line, w.dtype)
    base = -(panel.ctypes.data // w.itemsize) % line  # the panel starts on a cache line
    state = flush_denormals()
    for chunk in range(start // tiles, (stop + tiles - 1) // tiles):
        first, last = max(start - chunk * tiles, 0), min(stop - chunk * tiles, tiles)
        first_block = chunk * blocks // chunks
        for block in range(first_block, (chunk + 1) * blocks // chunks):
            front = block // (down * across) * block_images
            back = min(front + block_images, images)
            top, left = block // across % down * block_rows, block % across * block_columns
            bottom, right = min(top + block_rows, z.rows), min(left + block_columns, z.columns)
            rows, columns = bottom - top, right - left
            at = front * z.a_image + top * z.a_row + left * z.a_pixel
            _prefetch_block(a, at, z, back - front, rows, columns, channels_a)
            for n in range(0, channels_b, lanes):
                at = front * z.b_image + top * z.b_row + left * z.b_pixel + n
                _copy_panel(vectors, panel, base, b, at, z, back - front, rows, columns, channels_b - n)
                for t in range(first // groups, (last + groups - 1) // groups):
                    i_first, i_last = max(top, spans[t, 0]), min(bottom, spans[t, 1])
                    j_first, j_last = max(left, spans[t, 2]), min(right, spans[t, 3])
                    if block > first_block and (i_first >= i_last or j_first >= j_last):
                        continue
                    for group in range(max(first - t * groups, 0), min(last - t * groups, groups)):
                        k = first_channel + group * tile_height
                        at = ((chunk * taps + t) * channels_a + k) * channels_b + n
                        acc = zeros(height, vectors, w)
                        for image in range(front, back):
                            for i in range(i_first, i_last):
                                p = image * z.a_image + i * z.a_row + spans[t, 4] + k
                                q = base + (((image - front) * rows + i - top) * columns - left) * lanes
                                for j in range(j_first, j_last):
                                    acc = fma(acc, a, p + j * z.a_pixel, 1, panel, q + j * lanes)
                        if block > first_block:
                            acc = add(acc, flat_w, at, channels_b, channels_b - n)
                        store(flat_w, at, channels_b, channels_b - n, acc)
    restore(state)


@compiled
def fold(a: Array, b: Array, spans: Array, z: Strides, channels: int, team: Array, size: int) -> None:
    """a(p) += b(q) for every tap and the pixels in its span, in a part of the images, which have few channels.

    Unsigned indices take half the time, as Numba checks the others for negative values.
    """
    start, stop = part(team, size)
    for image in range(start, stop):
        for i in range(z.rows):  # outside the loop over taps, so that a row of b stays in the L1 cache
            for t in range(spans.shape[0]):
                if spans[t, 0] <= i < spans[t, 1]:
                    p = image * z.a_image + i * z.a_row + spans[t, 4]
                    q = image * z.b_image + i * z.b_row + spans[t, 5]
                    for c in range(channels):
                        for j in range(spans[t, 2], spans[t, 3]):
                            a[np.uint64(p + j * z.a_pixel + c)] += b[np.uint64(q + j * z.b_pixel + c)]
