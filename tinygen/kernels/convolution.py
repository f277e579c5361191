"""The three convolutions: `conv`, its adjoint in x `conv_transpose`, and its adjoint in w `conv_weight`.

    y(p) = Σₜ x(s·p + oₜ) wₜ        x is zero-padded; s is the stride, oₜ the offset of tap t

A mask, a causal shift or a dilation only changes the offsets, so a masked tap costs nothing. reference.py defines the
three in NumPy; plans.py computes addresses; tile_loops.py has the loops. Direct loops over taps are 1.3–3 times as fast
as im2col and BLAS: they read every element once and write nothing but the result. winograd.py computes dense 3×3
and 2×3 convolutions of many channels in fewer multiplications.

Checked by: tests/kernels/test_convolution.py
"""

from functools import cache
from itertools import chain
from typing import Any

import numba
import numpy as np

from ..arguments import explained
from . import reference, winograd
from .gemm import LONG, multiply_into
from .packing import pack
from .plans import GRAIN, MOVE, Phase, Plan, Strides, join_taps, phases, plan, plan_across_images, planar, spans
from .reference import Size, Taps, Term
from .runtime.arrays import Array, as_contiguous
from .runtime.registers import TILE_ROWS, lanes
from .runtime.team import run_parts
from .tile_loops import convolve, correlate, fold

_SMALL, _CHUNK, _MAX_CHUNKS = 1 << 14, 2048, 8  # of `_correlate`: weights; pixels in a chunk, at least 128; chunks
# With fewer channels most lanes of a tile are idle: `_scatter_columns` or, if pointwise, np.matmul is faster.
_FEW = 8
_FOLD_GRAIN = 1 << 13  # additions of columns in a part of about 10 µs
# At least _NARROW images y (for a transposed convolution, x divided by the stride) of fewer columns than this and at
# most _PIXELS pixels are computed one pixel at a time, across the batch, if images · weights ≥ _LARGE
# (Intel Xeon: python -m benchmarks.algorithms).
_NARROW, _PIXELS, _LARGE = 4, 9, 1 << 19


@explained
def conv(
    x: Array,
    w: Array,
    taps: Taps,
    stride: int,
    size: Size,
    residual: Term = None,
    bias: Term = None,
    relu: bool = False,
) -> Array:
    """Convolution: y(p) = residual + bias + Σₜ x(s·p + oₜ) wₜ; with `relu`, max(y, 0).

    Where taps cross the left or right end of a row, zeros are multiplied by weights: a weight of inf gives NaN there.
    Large dense 3×3 and 2×3 convolutions in float32 use Winograd's algorithm (winograd.py): inf may then give NaN, and
    the last bits of an example depend on whether the batch is large.

    Args:
        size: the spatial size of y.

    Shapes: x (N, H, W, C_in) or (N, T, C_in); w (taps, C_in, C_out); y (N, *size, C_out); residual broadcastable to y;
        bias (C_out,).
    Raises: TypeError unless x and w are both float32 or both float64; ValueError if shapes do not match.
    """
    _check("conv", "x", x, w, taps, 1, stride, size)
    shape = (len(x), *size, w.shape[2])
    terms = flat_terms(residual, bias, shape, x.dtype)
    relu = bool(relu)  # a kernel would be compiled for every other type
    pointwise = taps == ((0,) * len(size),) and stride == 1 and size == x.shape[1:-1]
    if numba.config.DISABLE_JIT or (pointwise and residual is None and w.shape[2] < _FEW):
        return reference.conv(x, w, taps, stride, size, residual, bias, relu)
    y = np.empty(shape, x.dtype)
    if y.size:
        convolve_into(_planar(y), _planar(as_contiguous(x)), w, planar(taps), stride, terms, relu)
    return y


@explained
def conv_transpose(
    y: Array, w: Array, taps: Taps, stride: int, size: Size, residual: Term = None, bias: Term = None
) -> Array:
    """Transposed convolution, the adjoint of `conv` in x: x(q) = residual + bias + Σₜ Σ_{p: s·p + oₜ = q} y(p) wₜᵀ.

    Args:
        size: the spatial size of x.

    Shapes: y (N, H, W, C_out) or (N, T, C_out); w (taps, C_in, C_out); x (N, *size, C_in); residual broadcastable to x;
        bias (C_in,).
    Raises: TypeError unless y and w are both float32 or both float64; ValueError if shapes do not match.
    """
    _check("conv_transpose", "y", y, w, taps, 2, stride, size)
    terms = flat_terms(residual, bias, (len(y), *size, w.shape[1]), y.dtype)
    if numba.config.DISABLE_JIT:
        return reference.conv_transpose(y, w, taps, stride, size, residual, bias)
    x = np.empty((len(y), *size, w.shape[1]), y.dtype)
    if not x.size:
        return x
    images, values, flat = _planar(x), _planar(as_contiguous(y)), planar(taps)
    transposed = w.swapaxes(1, 2)  # (taps, C_out, C_in)
    by_columns = w.shape[1] < _FEW and len(taps) > 1 and y.size > 0
    by_phase, (height, width) = phases(flat, stride), images.shape[1:3]
    coarse = -(-height // stride), -(-width // stride)
    if not by_columns and flat != ((0, 0),) and _is_narrow(*coarse, len(y), w.size // stride**2):
        _convolve_across(images, values, transposed, flat, stride, True, terms, False)
        return x
    inside = sum(row < height and column < width for (row, column), _, _ in by_phase)
    if by_columns or inside < min(stride, height) * min(stride, width):  # no tap reaches some of the pixels
        x[...] = terms[1] if residual is None else residual + terms[1]
    if by_columns:
        _scatter_columns(images, values, transposed, flat, stride)
        return x
    for phase, live, offsets in by_phase:
        convolve_into(images, values, transposed[list(live)], offsets, 1, terms, False, phase, stride)
    return x


@explained
def conv_weight(x: Array, y: Array, taps: Taps, stride: int) -> Array:
    """Correlation of x and y at each tap, the adjoint of `conv` in w: wₜ = Σ_p x(s·p + oₜ)ᵀ y(p) over all images.

    Where taps cross the left or right end of a row, zeros may be multiplied by x or y: inf and NaN give NaN there.
    Large dense 3×3 and 2×3 ones in float32 use Winograd's algorithm (winograd.py): inf and NaN then reach all taps.

    Shapes: x (N, H, W, C_in) or (N, T, C_in); y (N, H′, W′, C_out) or (N, T′, C_out); w (taps, C_in, C_out).
    Raises: TypeError unless x and y are both float32 or both float64; ValueError if shapes do not match.
    """
    if x.dtype != y.dtype or x.dtype not in (np.float32, np.float64):
        raise TypeError(f"conv_weight: x and y: expected both float32 or both float64, got {x.dtype} and {y.dtype}")
    if x.ndim != y.ndim or x.shape[:1] != y.shape[:1]:
        raise ValueError(f"conv_weight: x and y: expected the same N and number of axes, got {x.shape} and {y.shape}")
    _check_geometry("conv_weight", "x", x.shape, taps, stride, y.shape[1:-1])
    if numba.config.DISABLE_JIT:
        return reference.conv_weight(x, y, taps, stride)
    w = np.zeros((len(taps), x.shape[-1], y.shape[-1]), x.dtype)
    if w.size and x.size and y.size:
        correlate_into(w, _planar(as_contiguous(x)), _planar(as_contiguous(y)), planar(taps), stride)
    return w


def correlate_into(w: Array, x: Array, y: Array, taps: Taps, stride: int) -> None:
    """wₜ = Σ_p x(s·p + oₜ)ᵀ y(p) for images x, y (N, H, W, C), neither empty. w (taps, C_in, C_out)."""
    if stride == 1 and (tiles := winograd.grid_if_faster(x, y, taps)):
        winograd.correlate_into(w, x, y, taps, tiles)
        return
    if stride == 1 and y.shape[3] < min(lanes(x.dtype), x.shape[3]):
        # The channels of y do not fill a vector: compute wᵀ = Σ yᵀ x instead.
        transposed = np.empty((len(taps), y.shape[3], x.shape[3]), x.dtype)
        correlate_into(transposed, y, x, tuple((-dy, -dx) for dy, dx in taps), 1)
        w[...] = transposed.swapaxes(1, 2)
        return
    if taps == ((0, 0),) and stride == 1 and x.shape[:3] == y.shape[:3]:
        x, y = (each.reshape(1, 1, -1, each.shape[3]) for each in (x, y))  # pointwise: all images are one long row
    few = x.shape[3] < _FEW and _tile_heights(x.shape[3])[-1][0] == 1
    runs = join_taps(taps, stride, x.shape[1:], y.shape[1:]) if few else None
    if runs is None:
        _correlate(w, x, y, *spans(taps, stride, x.shape[1:], y.shape[1:]))
        return
    # Taps with few channels are joined, to fill tiles.
    padded = np.zeros((*x.shape[:2], runs.columns, x.shape[3]), x.dtype)
    padded[:, :, runs.left : runs.left + x.shape[2]] = x
    wide = np.empty((len(runs.taps), runs.width, y.shape[3]), x.dtype)
    _correlate(wide, padded, y, *spans(runs.taps, stride, padded.shape[1:], y.shape[1:]))
    w[...] = 0  # taps that miss the image are not in a run
    w[runs.order] = wide.reshape(-1, y.shape[3])[runs.channels].reshape(-1, *w.shape[1:])


def convolve_into(
    y: Array, x: Array, w: Array, taps: Taps, stride: int, terms: tuple[Array, Array], relu: bool,
    phase: Phase = (0, 0), step: int = 1,
) -> None:  # fmt: skip
    """y(step·p + phase) = residual + bias + Σₜ x(s·p + oₜ) wₜ for images x, y (N, H, W, C)."""
    if stride == step == 1 and (tiles := winograd.grid_if_faster(x, y, taps)):
        winograd.convolve_into(y, x, w, taps, tiles, terms, relu)
        return
    depth, channels = w.shape[1:]
    pointwise = taps == ((0, 0),) and stride == step == 1 and x.shape[:3] == y.shape[:3]
    if pointwise and 0 < depth <= LONG:
        multiply_into(y.reshape(-1, channels), x.reshape(-1, depth), w[0], terms, relu)
        return
    if step == 1 and _is_narrow(y.shape[1], y.shape[2], len(y), w.size):
        _convolve_across(y, x, w, taps, stride, False, terms, relu)
    elif p := plan(taps, stride, x.shape[1:], y.shape[1:], phase, step, lanes(y.dtype)):
        _convolve(y, x, w, p, len(y), terms, relu)


def _is_narrow(height: int, width: int, images: int, weights: int) -> bool:
    return width < _NARROW <= images and height * width <= _PIXELS and images * weights >= _LARGE


def _convolve_across(
    y: Array, x: Array, w: Array, taps: Taps, stride: int, transposed: bool, terms: tuple[Array, Array], relu: bool
) -> None:
    """Compute a (transposed) convolution of narrow images, one pixel of all images at a time."""
    p = plan_across_images(taps, stride, len(y), x.shape[1:], y.shape[1:], transposed, lanes(y.dtype))
    _convolve(y, x, w, p, 1, terms, relu)


def _convolve(y: Array, x: Array, w: Array, p: Plan, images: int, terms: tuple[Array, Array], relu: bool) -> None:
    packed = pack(w, lanes(y.dtype) * len(p.vectors))
    strips, blocks = images * len(p.lines) * p.layout.strips, len(packed)
    by_block = strips < 2 * (1 + GRAIN // p.work)  # few pixels: split the output channels instead
    size, work = (blocks, max(1, p.work * strips // blocks)) if by_block else (strips, p.work)
    arguments = x.reshape(-1), packed, p.lines, p.runs, *terms, relu, y.reshape(-1), p.layout, strips, by_block
    run_parts(convolve, size, 1 + GRAIN // work, p.pixels, p.vectors, *arguments)


def _correlate(w: Array, a: Array, b: Array, table: Array, strides: Strides) -> None:
    """w[t] = Σ aᵀ b over the pixels in tap t's span.

    A small w has few tiles to share out, and every thread would read all of a and b. Its sum is therefore split into
    chunks of pixels. Their number depends on the shapes only, so the result does not depend on the number of threads.
    """
    (taps, channels_a, channels_b), per_vector = w.shape, lanes(a.dtype)
    vectors = (0,) * (1 if channels_b <= per_vector else 2)
    pixels = len(a) * strides.rows * strides.columns
    small = taps * channels_a * channels_b <= _SMALL
    chunks = max(1, min(_MAX_CHUNKS, pixels // _CHUNK)) if small else 1
    sums = w[None] if chunks == 1 else np.empty((chunks, *w.shape), w.dtype)
    arrays, first = (a.reshape(-1), b.reshape(-1), table, strides, len(a)), 0
    work = 1 + pixels * MOVE * channels_b // chunks  # reading b takes longer than the arithmetic of a tile
    for height, groups in _tile_heights(channels_a):
        rest = first, groups, sums
        run_parts(correlate, chunks * taps * groups, 1 + GRAIN // work, (0,) * height, vectors, *arrays, *rest)
        first += height * groups
    if chunks > 1:
        np.add.reduce(sums, out=w)


@cache
def _tile_heights(channels: int) -> list[tuple[int, int]]:
    """Divide channels into tiles of the greatest height, of 4 and of 1; return (height, number of tiles) of each."""
    tall = TILE_ROWS[0]
    counts = [n for n in range(channels // tall + 1) if (channels - n * tall) % 4 == 0]
    n = counts[-1] if counts else channels // tall
    rest = channels - n * tall
    return [(height, count) for height, count in ((tall, n), (4, rest // 4), (1, rest % 4)) if count]


def _scatter_columns(x: Array, y: Array, transposed: Array, taps: Taps, stride: int) -> None:
    """x(s·p + oₜ) += y(p) wₜᵀ for few channels: one pointwise convolution for all taps, then add each tap's columns."""
    few, wide = x.shape[3], len(taps) * x.shape[3]
    columns = np.empty((*y.shape[:3], wide), y.dtype)
    matrix = transposed.transpose(1, 0, 2).reshape(1, -1, wide)
    convolve_into(columns, y, matrix, ((0, 0),), 1, flat_terms(None, None, columns.shape, columns.dtype), False)
    table, strides = spans(taps, stride, x.shape[1:], columns.shape[1:], few)
    arguments = x.reshape(-1), columns.reshape(-1), table, strides, few
    run_parts(fold, len(x), 1 + _FOLD_GRAIN // (1 + columns[0].size), *arguments)


def _planar(x: Array) -> Array:
    """Return a sequence (N, T, C) as images with one row (N, 1, T, C)."""
    return x[:, None] if x.ndim == 3 else x


def _check(op: str, name: str, x: Array, w: Array, taps: Taps, axis: int, stride: int, size: Size) -> None:
    """Check the arguments of an operation on images x, which it calls `name`."""
    if x.dtype != w.dtype or x.dtype not in (np.float32, np.float64):
        raise TypeError(f"{op}: {name} and w: expected both float32 or both float64, got {x.dtype} and {w.dtype}")
    _check_geometry(op, name, x.shape, taps, stride, size)
    if w.ndim != 3 or w.shape[0] != len(taps) or w.shape[axis] != x.shape[-1]:
        expected = [str(len(taps)), "C_in", "C_out"]
        expected[axis] = str(x.shape[-1])
        raise ValueError(f"{op}: w: expected shape ({', '.join(expected)}) for {name} {x.shape}, got {w.shape}")


def _check_geometry(op: str, name: str, shape: tuple[int, ...], taps: Taps, stride: int, size: Size) -> None:
    axes = len(shape) - 2
    # Sets of types, because comparing the taps one by one would take longer. 1.0 and np.uint8(1) are equal to 1, and
    # would enter the cache of plans; -np.uint8(1) is 255.
    if not (isinstance(taps, tuple) and {*map(type, taps)} <= {tuple} and {*map(type, chain(*taps))} <= {int}):
        raise TypeError(f"{op}: taps: expected a tuple of tuples of integers (int), got {taps!r}")
    if type(stride) is not int:
        raise TypeError(f"{op}: stride: expected an integer (int), got {stride!r}")
    if axes not in (1, 2) or not {*map(len, taps)} <= {axes}:
        expected = "images (N, H, W, C) and (dy, dx), or sequences (N, T, C) and (dt,)"
        raise ValueError(f"{op}: {name} and taps: expected {expected}, got {shape} and {taps[:1]}…")
    if not 1 <= stride < 1 << 31:
        raise ValueError(f"{op}: stride: expected an integer from 1 to 2³¹ − 1, got {stride}")
    if len(size) != axes or min(size) < 0:
        raise ValueError(f"{op}: size: expected {axes} integers of at least 0, got {size}")


def flat_terms(residual: Term, bias: Term, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return the residual, broadcast to `shape` and flattened (empty if None), and the bias (zeros if None)."""
    bias = np.zeros(shape[-1], dtype) if bias is None else bias
    if residual is None:
        residual = np.empty(0, dtype)
    elif residual.shape != shape:
        try:
            residual = np.broadcast_to(residual, shape)
        except ValueError:
            raise ValueError(f"residual: expected a shape broadcastable to {shape}, got {residual.shape}") from None
    if residual.dtype != dtype:
        raise ValueError(f"residual: expected {dtype}, got {residual.dtype}")
    if bias.shape != shape[-1:] or bias.dtype != dtype:
        raise ValueError(f"bias: expected shape {shape[-1:]} and {dtype}, got {bias.shape} and {bias.dtype}")
    return as_contiguous(residual).reshape(-1), as_contiguous(bias)
