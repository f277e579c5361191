"""Multilayer perceptrons: all layers in one kernel, for a few hundred examples at a time.

    forward     hₗ = f(hₗ₋₁ wₗ + bₗ), without f in the last layer
    backward    cₗ₋₁ = f′(hₗ₋₁) ⊙ (cₗ wₗᵀ), the cotangent of hₗ₋₂ wₗ₋₁ + bₗ₋₁; without f′ for the input h₀

A thread computes all layers of its examples, whose activations stay in its cache. It copies a block of weights at a
time, in the order in which the register tile reads it.

Checked by: tests/kernels/test_mlp.py
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .activation import ONE, ZERO, fast_tanh
from .gemm import GRAIN, multiply_block
from .packing import copy_block
from .runtime.arrays import Array, as_contiguous, check_shape, compiles
from .runtime.compilation import compiled, inlined
from .runtime.denormals import flush_denormals, restore
from .runtime.parts import part
from .runtime.registers import CACHE_LINE, TILE_ROWS, VECTOR_BYTES, lanes
from .runtime.team import run_parts

_TALL, _TWO = (0,) * TILE_ROWS[0], (0,) * 2  # the tile has many rows and two vectors
_CHUNK = 1 << 17  # activations of a layer that pass on to the next together, so that they stay in the L2 cache
_MOST = 1 << 20  # activations of a layer; beyond, products of the whole batch read every weight less often
_LAYERS = 8  # at most: the kernel is compiled for every number of layers
_RELU, _TANH = 0, 1
_FUNCTIONS = {"relu": _RELU, "tanh": _TANH}


@inlined
def _apply(function: int, is_vjp: bool, y: Array, h: Array) -> None:
    """y ← f(y), or f′ ⊙ y if `is_vjp`, where f′ is computed from the output h of f."""
    for k in range(y.size):
        if is_vjp and function == _TANH:
            y[k] *= ONE - h[k] * h[k]
        elif is_vjp:
            y[k] = ZERO if h[k] <= 0 else y[k]  # the cotangent of NaN reaches it
        else:
            y[k] = fast_tanh(y[k])


@compiled
def _chain(
    rows: Any, vectors: Any, x: Array, ws: Any, biases: Any, ys: Any, hs: Any, function: int,
    is_vjp: bool, count: int, chunk: int, scratch: int, team: Array, size: int,
) -> None:  # fmt: skip
    """Compute the outputs ys of the first `count` layers, for a part of the rows, about `chunk` rows at a time.

    For `forward`, hs is not used. For `backward`, the layers come from last to first, hs[i] is the input of layer i and
    ys[i] its cotangent. A block of weights has at most `scratch` elements.
    """
    start, stop = part(team, size)
    if start == stop:
        return
    line, width, none = CACHE_LINE // x.itemsize, len(vectors) * VECTOR_BYTES // x.itemsize, x.reshape(-1)[:0]
    block, apply_relu = np.empty(scratch + line, x.dtype), function == _RELU and not is_vjp
    q = -(block.ctypes.data // x.itemsize) % line  # the block starts on a cache line
    chunks, state = 1 + (stop - start) // chunk, flush_denormals()
    for c in range(chunks):
        first, last = start + (stop - start) * c // chunks, start + (stop - start) * (c + 1) // chunks
        for i in range(count):
            source, y = x if i == 0 else ys[i - 1], ys[i]
            hidden, depth = i + 1 < len(ws), source.shape[1]
            for column in range(0, y.shape[1], width):
                copy_block(ws[i], is_vjp, column, width, block, q)
                multiply_block(
                    rows, vectors, source.reshape(-1), depth, 1, block, q, column, none, biases[i],
                    hidden and apply_relu, y, first, last,
                )  # fmt: skip
            if hidden and not apply_relu:
                _apply(function, is_vjp, y[first:last].reshape(-1), hs[i][first:last].reshape(-1))
    restore(state)


def applies(x: Array, ws: Sequence[Array], bs: Sequence[Array]) -> bool:
    """Return whether the kernel computes these layers: two to eight of them, and a few hundred rows of float32."""
    n, widest = len(x), max([x.shape[-1], *(w.shape[-1] for w in ws)])
    fits = x.ndim == 2 and 2 <= len(ws) <= _LAYERS and len(_TALL) <= n <= _MOST // max(widest, 1)
    return fits and compiles(x, *ws, *bs)


def forward(x: Array, ws: Sequence[Array], bs: Sequence[Array], activation: str) -> list[Array]:
    """Return h₁ … hₙ of a multilayer perceptron with "relu" or "tanh", the last without it. The kernel must apply.

    tanh has an error of at most 5 units in the last place, and is 0 for |x| below 2.4e-36.

    Shapes: x (N, n₀); wₗ (nₗ₋₁, nₗ); bₗ (nₗ,); hₗ (N, nₗ).
    Raises: ValueError if the shapes do not match.
    """
    sizes = _check([x.shape[1], *(w.shape[-1] for w in ws)], ws)
    for i, b in enumerate(bs):
        check_shape(f"bs[{i}]", b, (sizes[i + 1],))
    hs = [np.empty((len(x), n), x.dtype) for n in sizes[1:]]
    _run(x, ws, bs, hs, hs, activation, False, len(ws))
    return hs


def backward(g: Array, hs: Sequence[Array], ws: Sequence[Array], activation: str, lowest: int = 0) -> list[Array]:
    """Return the cotangents of the outputs of layers `lowest` and above, before their activations; the last one is g.

    Layers count from 0, and layer i has the input hs[i] and the weights ws[i]. With lowest = −1, the cotangent of the
    input hs[0] comes first. The kernel must apply.

    Shapes: g (N, nₙ); hs[i] and its cotangent (N, nᵢ); ws[i] (nᵢ, nᵢ₊₁).
    Raises: ValueError if the shapes do not match.
    """
    sizes, count = _check([*map(len, ws), ws[-1].shape[-1]], ws), len(ws) - lowest - 1
    check_shape("g", g, (len(hs[0]), sizes[-1]))
    for i, h in enumerate(hs):
        check_shape(f"hs[{i}]", h, (len(g), sizes[i]))
    if count == 0:
        return [g]
    # From the last layer to the first; those that are not computed have no rows.
    cs = [np.empty((len(g) if i < count else 0, n), g.dtype) for i, n in enumerate(sizes[-2::-1])]
    _run(g, ws[::-1], [np.zeros(n, g.dtype) for n in sizes[-2::-1]], cs, hs[::-1], activation, True, count)
    return [*cs[:count][::-1], g]


def _check(sizes: list[int], ws: Sequence[Array]) -> list[int]:
    """Return the sizes. Raises ValueError unless the weights have these sizes."""
    for i, w in enumerate(ws):
        check_shape(f"ws[{i}]", w, (sizes[i], sizes[i + 1]))
    return sizes


def _run(
    x: Array, ws: Sequence[Array], biases: Sequence[Array], ys: Sequence[Array], hs: Sequence[Array],
    activation: str, is_vjp: bool, count: int,
) -> None:  # fmt: skip
    widest, grain = max(x.shape[1], *(y.shape[1] for y in ys)), max(len(_TALL), GRAIN // sum(w.size for w in ws))
    chunk = max(2 * len(_TALL), _CHUNK // widest)  # so that chunks of nearly equal length are no shorter than a tile
    arrays = as_contiguous(x), *(tuple(map(as_contiguous, each)) for each in (ws, biases, ys, hs))
    options = _FUNCTIONS[activation], is_vjp, count, chunk, widest * len(_TWO) * lanes(x.dtype)
    run_parts(_chain, len(x), grain, _TALL, _TWO, *arrays, *options)
