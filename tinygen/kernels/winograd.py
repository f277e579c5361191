"""Dense 3×3 and 2×3 convolutions by Winograd's minimal filtering: 16 instead of 36, and 12 instead of 24 products.

Two outputs y of a filter g with three taps, from four inputs d, take four multiplications:

    y = Aᵀ [(G g) ⊙ (Bᵀ d)],   Bᵀ = 1  0 −1  0    G = 1  0  0    Aᵀ = 1  1  1  0
                                    0  1  1  0        ½  ½  ½         0  1 −1 −1
                                    0 −1  1  0        ½ −½  ½
                                    0  1  0 −1        0  0  1

With two taps, they take three multiplications:       Bᵀ = 1 −1  0    G = 1  0    Aᵀ = 1  1  0
                                                           0  1  0        1  1         0  1 −1
                                                           0  1 −1        0  1

In two dimensions, a tile of 2×2 outputs is Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ D B)] A, where D are 4×4 inputs, or 3×4 for two rows
of taps; the matrices on the left are then those of two taps. With channels, each of the 16 or 12 products is a matrix
product over the input channels, for many tiles at once. The adjoint in g is

    ḡ = Gᵀ [Σ (Bᵀ D B) ⊙ (A Ȳ Aᵀ)] G, where the sum is over all tiles

Rounding errors are relative to the largest of a tile's inputs. NaN propagates as in the definition, but inf may give
NaN, and in ḡ an inf or NaN of D or Ȳ reaches all taps.

Source: Lavin & Gray, "Fast algorithms for convolutional neural networks", 2016, section 4.1.
Checked by: tests/kernels/test_winograd.py
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .packing import pack
from .plans import GRAIN
from .reference import SERIAL_BLAS, Taps
from .runtime.arrays import Array
from .runtime.compilation import compiled
from .runtime.denormals import flush_denormals, restore
from .runtime.parts import part
from .runtime.registers import TILE_ROWS, lanes
from .runtime.team import run_parts
from .runtime.tile import ONE, add, fma, relu, store, subtract, zeros

_G3 = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
_G2 = np.array([[1, 0], [1, 1], [0, 1]], np.float32)
_GG = {2: np.kron(_G2, _G3), 3: np.kron(_G3, _G3)}  # (12, 6) and (16, 9): map a flattened g to G g Gᵀ
# Row a of Bᵀ d is d[_FIRST[a]] ± d[_SECOND[a]], with + for a = 1: four rows for three taps, then three for two taps, of
# which one has no second d.
_FIRST, _SECOND, _NONE = (0, 1, 2, 1, 0, 1, 1), (2, 2, 1, 3, 1, 9, 2), 9
_TALL, _TWO = (0,) * TILE_ROWS[0], (0,) * 2  # register tiles have many rows and two vectors
_HEIGHT, _WIDTH = len(_TALL), len(_TWO) * lanes(np.dtype(np.float32))
_CHUNK = 64  # tiles that are transformed together; with 64 channels, their two arrays of 256 KiB stay in the L2 cache
# Minimum numbers of channels and tiles, and maximum ratio of the tiles' outputs to those of y: beyond these, the
# transforms cost more than they save. Long rows of tiles, at least _ROW, need fewer channels (Intel Xeon, AVX-512 and
# AVX2: python -m benchmarks.algorithms).
_CHANNELS, _FEWER, _ROW, _TILES, _WASTE = 48, 32, 8, 256, 1.25


class Grid(NamedTuple):
    """The tiles of images y, and where they read x."""

    rows: int  # of tiles
    columns: int
    taps: int  # rows of taps: 2 or 3
    top: int  # the pixel of x at which the inputs of the first tile start
    left: int
    height: int  # of y, in pixels
    width: int
    channels: int
    x_height: int
    x_width: int
    x_channels: int


@lru_cache(maxsize=4096)
def grid(taps: Taps, shape_x: tuple[int, ...], shape_y: tuple[int, ...]) -> Grid | None:
    """Return the tiles for images x and y (H, W, C), or None unless the taps are a dense 3×3 or 2×3 and reach x."""
    (top, left), rows = map(int, min(taps)), len(taps) // 3
    if rows not in (2, 3) or {*taps} != {(top + i, left + j) for i in range(rows) for j in range(3)}:
        return None
    if not (1 - rows - shape_y[0] < top < shape_x[0] and -2 - shape_y[1] < left < shape_x[1]):
        return None
    return Grid(-(-shape_y[0] // 2), -(-shape_y[1] // 2), rows, top, left, *shape_y, *shape_x)


def grid_if_faster(x: Array, y: Array, taps: Taps) -> Grid | None:
    """Return the tiles of images y (N, H, W, C) if this algorithm is faster than the tile loops, else None."""
    channels = min(x.shape[3], y.shape[3])
    if len(taps) not in (6, 9) or channels < _FEWER or not x.dtype == y.dtype == np.float32:
        return None
    z = grid(taps, x.shape[1:], y.shape[1:])
    if z is None or (channels < _CHANNELS and z.columns < _ROW):
        return None
    if len(y) * z.rows * z.columns < _TILES or 4 * z.rows * z.columns > _WASTE * z.height * z.width:
        return None
    return z


def convolve_into(y: Array, x: Array, w: Array, taps: Taps, z: Grid, terms: tuple[Array, Array], relu: bool) -> None:
    """y(p) = residual + bias + Σₜ x(p + oₜ) wₜ for images x, y (N, H, W, C); with `relu`, max(y, 0). All float32."""
    transposed = w.swapaxes(1, 2).flags.c_contiguous
    u = _multiply(_GG[z.taps], (w.swapaxes(1, 2) if transposed else w)[_raster(taps)])
    packed = pack(u.swapaxes(1, 2) if transposed else u, _WIDTH)
    work = len(u) * z.columns * z.channels * z.x_channels
    run_parts(_convolve, len(y) * z.rows, 1 + GRAIN // work, x.reshape(-1), packed, *terms, relu, y.reshape(-1), z)


def correlate_into(w: Array, x: Array, y: Array, taps: Taps, z: Grid) -> None:
    """wₜ = Σ_p x(p + oₜ)ᵀ y(p) for images x, y (N, H, W, C). All float32."""
    depth, blocks = -(-z.x_channels // _HEIGHT) * _HEIGHT, -(-z.channels // _WIDTH)
    u = np.zeros((len(_GG[z.taps]), depth, blocks * _WIDTH), x.dtype)
    work = 4 * len(x) * z.rows * z.columns * depth * _WIDTH
    run_parts(_correlate, (z.taps + 1) * blocks, 1 + GRAIN // work, x.reshape(-1), y.reshape(-1), z, len(x), u)
    w[_raster(taps)] = _multiply(_GG[z.taps].T, u)[:, : z.x_channels, : z.channels]


@lru_cache(maxsize=4096)
def _raster(taps: Taps) -> Array:
    """Return the indices of the taps in raster order."""
    return np.array(sorted(range(len(taps)), key=taps.__getitem__))


def _multiply(matrix: Array, g: Array) -> Array:
    """Multiply the first axis of g by a matrix, in pieces for which OpenBLAS uses one thread."""
    flat, step = g.reshape(len(g), -1), SERIAL_BLAS // matrix.size
    y = np.empty((len(matrix), flat.shape[1]), g.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # as in the kernels
        for i in range(0, flat.shape[1], step):
            np.matmul(matrix, flat[:, i : i + step], out=y[:, i : i + step])
    return y.reshape(len(matrix), *g.shape[1:])


@compiled
def _pair(t: Array, at: int, x: Array, p: int, p_width: int, q: int, q_width: int, n: int, plus: bool) -> None:
    """t[at + k] = x[p + k] ± x[q + k] for k < n, where a term is 0 beyond its width."""
    for k in range(0, n, _WIDTH):
        acc = add(zeros(ONE, _TWO, x), x, p + k, 0, p_width - k)
        acc = add(acc, x, q + k, 0, q_width - k) if plus else subtract(acc, x, q + k, 0, q_width - k)
        store(t, at + k, 0, n - k, acc)


@compiled
def _input_rows(a: int, x: Array, row: int, z: Grid, t: Array) -> None:
    """t = row a of Bᵀ D for a row of tiles. Pixels of t to the left and right of x stay zero."""
    image, i = row // z.rows, row % z.rows
    first, last = max(z.left, 0), min(z.left + 2 * z.columns + 2, z.x_width)
    n, entry = (last - first) * z.x_channels, a if z.taps == 3 else a + 4
    one, two, second = 2 * i + z.top + _FIRST[entry], 2 * i + z.top + _SECOND[entry], _SECOND[entry] != _NONE
    p = ((image * z.x_height + one) * z.x_width + first) * z.x_channels
    q = ((image * z.x_height + two) * z.x_width + first) * z.x_channels
    p_width, q_width = n if 0 <= one < z.x_height else 0, n if second and 0 <= two < z.x_height else 0
    _pair(t, (first - z.left) * z.x_channels, x, p, p_width, q, q_width, n, a == 1)


@compiled
def _input_columns(t: Array, z: Grid, v: Array, at: int, pitch: int, section: int) -> None:
    """v[at + b · section + j · pitch …] = column b of t B for tile j of a row."""
    c = z.x_channels
    for j in range(z.columns):
        for k in range(0, c, _WIDTH):
            p, q, n = 2 * j * c + k, at + j * pitch + k, c - k
            zero, one = add(zeros(ONE, _TWO, t), t, p, 0, n), add(zeros(ONE, _TWO, t), t, p + c, 0, n)
            two = add(zeros(ONE, _TWO, t), t, p + 2 * c, 0, n)
            store(v, q, 0, n, subtract(zero, t, p + 2 * c, 0, n))
            store(v, q + section, 0, n, add(one, t, p + 2 * c, 0, n))
            store(v, q + 2 * section, 0, n, subtract(two, t, p + c, 0, n))
            store(v, q + 3 * section, 0, n, subtract(one, t, p + 3 * c, 0, n))


@compiled
def _write_row(
    m: Array, p: int, section: int, pitch: int, y: Array, at: int, z: Grid, residual: Array, bias: Array,
    apply_relu: bool,
) -> None:  # fmt: skip
    """Write the row of y that starts at `at`: residual + bias + m A, where m has a section per column."""
    for j in range(z.width):
        for k in range(0, z.channels, _WIDTH):
            q, target, n = p + j // 2 * pitch + k, at + j * z.channels + k, z.channels - k
            acc = add(zeros(ONE, _TWO, m), bias, k, 0, n)
            acc = add(acc, m, q + section, 0, _WIDTH)
            if j % 2 == 0:
                acc = add(acc, m, q, 0, _WIDTH)
                acc = add(acc, m, q + 2 * section, 0, _WIDTH)
            else:
                acc = subtract(acc, m, q + 2 * section, 0, _WIDTH)
                acc = subtract(acc, m, q + 3 * section, 0, _WIDTH)
            if residual.size:
                acc = add(acc, residual, target, 0, n)
            if apply_relu:
                acc = relu(acc)
            store(y, target, 0, n, acc)


@compiled
def _convolve(
    x: Array, u: Array, residual: Array, bias: Array, apply_relu: bool, y: Array, z: Grid, team: Array, size: int
) -> None:
    """y = residual + bias + the convolution, for a part of the rows of tiles of all images.

    x, y: flat images; residual: likewise, or empty.  u: G g Gᵀ, packed (blocks, products · channels_in, _WIDTH).
    """
    start, stop = part(team, size)
    if start == stop:
        return
    blocks, c, flat_u, products = u.shape[0], z.x_channels, u.reshape(-1), 4 * (z.taps + 1)
    rows, pitch = max(1, _CHUNK // z.columns), blocks * _WIDTH
    tiles = (rows * z.columns + _HEIGHT - 1) // _HEIGHT * _HEIGHT
    section, n = tiles * pitch, z.columns * pitch
    t, v = np.zeros((2 * z.columns + 2) * c, x.dtype), np.zeros(products * tiles * c, x.dtype)
    m = np.empty(products * section, x.dtype)
    state = flush_denormals()
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        for row in range(first, last):
            for a in range(z.taps + 1):
                _input_rows(a, x, row, z, t)
                _input_columns(t, z, v, (4 * a * tiles + (row - first) * z.columns) * c, c, tiles * c)
        for i in range(products):
            for block in range(blocks):
                for tile in range(0, (last - first) * z.columns, _HEIGHT):
                    p, q = (i * tiles + tile) * c, (block * products + i) * c * _WIDTH
                    acc = zeros(_TALL, _TWO, m)
                    for k in range(c):
                        acc = fma(acc, v, p + k, c, flat_u, q + k * _WIDTH)
                    store(m, (i * tiles + tile) * pitch + block * _WIDTH, pitch, _WIDTH, acc)
        for row in range(first, last):
            for b in range(4):  # the first and last rows of m become those of Aᵀ m
                p = (row - first) * n + b * section
                m0, m1 = m[p : p + n], m[p + 4 * section : p + 4 * section + n]
                m2, m3 = m[p + 8 * section : p + 8 * section + n], m[p + 12 * section : p + 12 * section + n]
                if z.taps == 2:
                    for k in range(n):
                        m0[k] += m1[k]
                    for k in range(n):
                        m2[k] = m1[k] - m2[k]
                else:
                    for k in range(n):
                        m0[k] += m1[k] + m2[k]
                    for k in range(n):
                        m3[k] = m1[k] - m2[k] - m3[k]
            image, top = row // z.rows, row % z.rows * 2
            for i in range(top, min(top + 2, z.height)):
                p = (row - first) * n + 4 * z.taps * (i - top) * section
                at = (image * z.height + i) * z.width * z.channels
                _write_row(m, p, section, pitch, y, at, z, residual, bias, apply_relu)
    restore(state)


@compiled
def _cotangent_columns(s: Array, z: Grid, g: Array, at: int, pitch: int, section: int) -> None:
    """g[at + b · section + j · pitch …] = column b of s Aᵀ for tile j of a row."""
    c = z.channels
    for j in range(z.columns):
        for k in range(0, c, _WIDTH):
            p, q, n = 2 * j * c + k, at + j * pitch + k, c - k
            zero = add(zeros(ONE, _TWO, s), s, p, 0, n)
            store(g, q, 0, n, zero)
            store(g, q + section, 0, n, add(zero, s, p + c, 0, n))
            store(g, q + 2 * section, 0, n, subtract(zero, s, p + c, 0, n))
            store(g, q + 3 * section, 0, n, subtract(zeros(ONE, _TWO, s), s, p + c, 0, n))


@compiled
def _correlate(x: Array, y: Array, z: Grid, images: int, u: Array, team: Array, size: int) -> None:
    """u = Σ (Bᵀ D B) ⊙ (A Y Aᵀ) over the tiles of all images, for a part of the rows a and blocks of channels of y.

    x, y: flat images.  u: (products, channels_in, channels_out), multiples of a register tile; all zeros before.
    """
    start, stop = part(team, size)
    if start == stop:
        return
    depth, channels, flat_u = u.shape[1], u.shape[2], u.reshape(-1)
    blocks, rows, n = channels // _WIDTH, max(1, _CHUNK // z.columns), z.width * z.channels
    tiles = rows * z.columns
    t, s = np.zeros((2 * z.columns + 2) * z.x_channels, x.dtype), np.zeros(2 * z.columns * z.channels, x.dtype)
    v, g = np.zeros(4 * tiles * depth, x.dtype), np.zeros(4 * tiles * channels, x.dtype)
    state = flush_denormals()
    for first in range(0, images * z.rows, rows):
        last = min(first + rows, images * z.rows)
        for a in range(start // blocks, (stop + blocks - 1) // blocks):  # their inputs stay in the L2 cache
            first_block, last_block = max(start - a * blocks, 0), min(stop - a * blocks, blocks)
            for row in range(first, last):
                i, tile = row % z.rows, (row - first) * z.columns
                _input_rows(a, x, row, z, t)
                _input_columns(t, z, v, tile * depth, depth, tiles * depth)
                p = (row // z.rows * z.height + 2 * i) * n
                upper, lower = n if a < z.taps else 0, n if a > 0 and 2 * i + 1 < z.height else 0
                _pair(s, 0, y, p, upper, p + n, lower, n, a == 1)  # row a of A Y: y₀, y₀ + y₁, (y₀ − y₁,) −y₁
                _cotangent_columns(s, z, g, tile * channels, channels, tiles * channels)
            for b in range(4):
                for block in range(first_block, last_block):
                    for k in range(0, depth, _HEIGHT):
                        p, q = b * tiles * depth + k, b * tiles * channels + block * _WIDTH
                        at = ((4 * a + b) * depth + k) * channels + block * _WIDTH
                        acc = zeros(_TALL, _TWO, u)
                        for tile in range((last - first) * z.columns):
                            acc = fma(acc, v, p + tile * depth, 1, g, q + tile * channels)
                        acc = add(acc, flat_u, at, channels, _WIDTH)
                        store(flat_u, at, channels, _WIDTH, acc)
    restore(state)
