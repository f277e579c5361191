"""The recurrence of an LSTM over whole sequences, forward and backward.

    a_t = x_t + h_{t-1} u,   i, f, o = σ(a_i), σ(a_f), σ(a_o),   g = tanh a_g
    c_t = f c_{t-1} + i g,   h_t = o tanh c_t

Examples are independent, so each part of the batch runs through all time steps in one call. The product with u runs on
register tiles; u is packed once, while BLAS would pack it at every step.

The kernels are for float32; for other dtypes, tinygen/autograd/fused.py uses tensor operations.

Source: Hochreiter & Schmidhuber, "Long short-term memory", 1997; with the forget gate of Gers, Schmidhuber & Cummins,
"Learning to forget: continual prediction with LSTM", 2000.
Checked by: tests/kernels/test_lstm.py
"""

from typing import Any

import numpy as np

from .activation import HALF, ONE, fast_tanh
from .packing import pack
from .runtime.arrays import Array, as_contiguous, check_dtype, check_shape
from .runtime.compilation import compiled
from .runtime.denormals import flush_denormals, restore
from .runtime.parts import part
from .runtime.registers import TILE_ROWS, lanes
from .runtime.team import run_parts
from .runtime.tile import fma, store, zeros

_TILE = (0,) * TILE_ROWS[0], (0,) * 2  # the lengths are the shape of a tile: examples × vectors


@compiled
def _product(examples: Any, vectors: Any, x: Array, w: Array, y: Array) -> None:
    """y = x w. Shapes: x (n, K), w (blocks, K, lanes) as packed, y (n, M); the tile's height divides n."""
    (n, depth), channels, lanes, height = x.shape, y.shape[1], w.shape[2], len(examples)
    flat_x, flat_w, flat_y = x.reshape(-1), w.reshape(-1), y.reshape(-1)
    for block in range(w.shape[0]):
        channel = block * lanes
        for row in range(0, n, height):
            at = row * channels + channel
            acc = zeros(examples, vectors, flat_y)
            for k in range(depth):
                acc = fma(acc, flat_x, row * depth + k, depth, flat_w, (block * depth + k) * lanes)
            store(flat_y, at, channels, channels - channel, acc)


@compiled
def _sigmoid_of_sum(x: Array, z: Array, y: Array) -> None:
    for j in range(y.size):
        y[j] = HALF + HALF * fast_tanh(HALF * (x[j] + z[j]))


@compiled
def _tanh_of_sum(x: Array, z: Array, y: Array) -> None:
    for j in range(y.size):
        y[j] = fast_tanh(x[j] + z[j])


@compiled
def _forward(
    examples: Any, vectors: Any, x: Array, u: Array, y: Array, cells: Array, gates: Array, team: Array, count: int
) -> None:
    """Run a part of the examples. Loops are short, as LLVM only vectorises loops over few arrays that may overlap."""
    start, stop = part(team, count)
    size = y.shape[2]
    n = (stop - start + len(examples) - 1) // len(examples) * len(examples)
    h, z = np.zeros((n, size), x.dtype), np.zeros((n, 4 * size), x.dtype)
    for t in range(x.shape[1]):
        if t:
            _product(examples, vectors, h, u, z)
        for row in range(stop - start):
            x_row, z_row, gate = x[start + row, t], z[row], gates[start + row, t]
            before, cell = cells[start + row, t], cells[start + row, t + 1]
            _sigmoid_of_sum(x_row[: 2 * size], z_row[: 2 * size], gate[: 2 * size])
            _tanh_of_sum(x_row[2 * size : 3 * size], z_row[2 * size : 3 * size], gate[2 * size : 3 * size])
            _sigmoid_of_sum(x_row[3 * size :], z_row[3 * size :], gate[3 * size :])
            i, f, g, o = gate[:size], gate[size : 2 * size], gate[2 * size : 3 * size], gate[3 * size :]
            for j in range(size):
                cell[j] = f[j] * before[j] + i[j] * g[j]
            here, h_row = y[start + row, t], h[row]
            for j in range(size):
                h_row[j] = o[j] * fast_tanh(cell[j])
            for j in range(size):
                here[j] = h_row[j]


@compiled
def _backward(
    examples: Any, vectors: Any, dy: Array, u: Array, cells: Array, gates: Array, dx: Array, team: Array, count: int
) -> None:
    """Run a part of the examples backwards in time; u is transposed and packed."""
    start, stop = part(team, count)
    size = dy.shape[2]
    n = (stop - start + len(examples) - 1) // len(examples) * len(examples)
    dh, dc, da = np.zeros((n, size), dy.dtype), np.zeros((n, size), dy.dtype), np.zeros((n, 4 * size), dy.dtype)
    state = flush_denormals()  # a cotangent that vanishes over time becomes denormal
    for t in range(dy.shape[1] - 1, -1, -1):
        for row in range(stop - start):
            gate, da_row = gates[start + row, t], da[row]
            i, f, g, o = gate[:size], gate[size : 2 * size], gate[2 * size : 3 * size], gate[3 * size :]
            di, df, dg = da_row[:size], da_row[size : 2 * size], da_row[2 * size : 3 * size]
            do, dh_row, dc_row = da_row[3 * size :], dh[row], dc[row]
            dy_row, before, cell = dy[start + row, t], cells[start + row, t], cells[start + row, t + 1]
            for j in range(size):
                dh_row[j] += dy_row[j]
            for j in range(size):
                squashed = fast_tanh(cell[j])
                do[j] = dh_row[j] * squashed * o[j] * (ONE - o[j])
                dc_row[j] += dh_row[j] * o[j] * (ONE - squashed * squashed)
            for j in range(size):
                di[j] = dc_row[j] * g[j] * i[j] * (ONE - i[j])
            for j in range(size):
                dg[j] = dc_row[j] * i[j] * (ONE - g[j] * g[j])
            for j in range(size):
                df[j] = dc_row[j] * before[j] * f[j] * (ONE - f[j])
            for j in range(size):
                dc_row[j] *= f[j]
            here = dx[start + row, t]
            for j in range(da_row.size):
                here[j] = da_row[j]
        if t:
            _product(examples, vectors, da, u, dh)
    restore(state)


def lstm(x: Array, u: Array) -> tuple[Array, Array, Array]:
    """Run an LSTM from zero states; return h, c and the activated gates. x is the inputs' contribution to the gates.

    Shapes: x and gates (N, T, 4H), in the order i, f, g, o; u (H, 4H); h (N, T, H); c (N, T+1, H), with c₀ = 0. All
    float32.
    Raises: ValueError if the shapes do not match, TypeError unless x and u are float32.
    """
    n, length, size = _check(x, u)
    h, c, gates = (np.empty(shape, x.dtype) for shape in ((n, length, size), (n, length + 1, size), x.shape))
    c[:, 0] = 0
    inputs, matrix = as_contiguous(x), _tiled(u)
    run_parts(_forward, n, _grain(length, u), *_TILE, inputs, matrix, h, c, gates)
    return h, c, gates


def lstm_vjp(dh: Array, u: Array, c: Array, gates: Array) -> Array:
    """VJP of `lstm`: the cotangent of x from that of h, given the c and gates of the forward pass.

    Shapes: dh (N, T, H); u (H, 4H); c (N, T+1, H); gates and the result (N, T, 4H). All float32.
    Raises: ValueError if the shapes do not match, TypeError unless all are float32.
    """
    n, length, size = _check(gates, u)
    for name, array, shape in (("dh", dh, (n, length, size)), ("c", c, (n, length + 1, size))):
        check_shape(name, array, shape)
        check_dtype(name, array, np.float32)
    dx, matrix, inputs = np.empty(gates.shape, gates.dtype), _tiled(u.T), (as_contiguous(c), as_contiguous(gates))
    run_parts(_backward, n, _grain(length, u), *_TILE, as_contiguous(dh), matrix, *inputs, dx)
    return dx


def _check(x: Array, u: Array) -> tuple[int, int, int]:
    """Check the shapes and dtypes of the gates and of u, and return N, T and H."""
    check_dtype("x", x, np.float32)
    check_dtype("u", u, np.float32)
    if x.ndim != 3 or u.ndim != 2 or not 4 * u.shape[0] == u.shape[1] == x.shape[2]:
        raise ValueError(f"lstm: expected gates (N, T, 4H) and u (H, 4H), got {x.shape} and {u.shape}")
    return x.shape[0], x.shape[1], u.shape[0]


def _grain(length: int, u: Array) -> int:
    """Return the number of examples that take about 50 µs: 2¹⁶ elements of tanh or 2²¹ multiply-adds."""
    return int(max(len(_TILE[0]), (1 << 16) // (length * (u.shape[1] + u.size // 32) + 1)))


def _tiled(w: Array) -> Array:
    return pack(w[None], lanes(w.dtype) * len(_TILE[1]))
