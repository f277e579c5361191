"""Every form of the arguments of every operation, in two memory orders, forward and backward.

A form is an expression that is evaluated twice: with the operations of tinygen.autograd on tensors, and with those of
NumPy on arrays. The results are equal, and gradients equal finite differences of NumPy's. A form that starts
with "!" is refused by an error that starts with the name of the operation or of an argument. Dtypes are tested in
test_operands.py.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from helpers import oracle
from helpers.operations import (
    np_gated_activation,
    np_logsumexp,
    np_lstm_cell,
    np_ndtr,
    np_ndtri,
    np_sigmoid,
    np_softmax,
)

import tinygen.autograd as ag
from tinygen.autograd import PRIMITIVES, Array, Tensor, grad

# The operands. No two elements of one are equal, so there are no ties; each has two integers, 1 and 2.
OPERANDS: dict[str, Array] = {
    "x": np.array([[0.5, 1.25, -0.75], [1.5, -0.25, 2.0]]),
    "p": np.array([[0.75, 1.5, 0.625], [2.0, 0.875, 1.125]]),  # positive
    "v": np.array([1.75, -0.5, 0.25]),
    "m": np.array([[0.5, -1.5], [1.0, 0.25], [2.0, -0.75]]),
    "s": np.array([[2.0, 0.5], [-0.25, 1.0]]),  # invertible, also in integers
    "z": np.linspace(-1, 1.25, 16).reshape(2, 2, 4),
    "u": np.array([[0.25, -0.5, 1.0, 0.75]]),
    "w": np.linspace(-0.9, 1.3, 16).reshape(2, 4, 2),  # the weights of two taps
}
CONSTANTS = {"np": np, "taps": ((-1,), (0,)), "bits": np.array([[0, 1, 1], [1, 0, 1]])}

ELEMENTWISE = ["{}(x)", "{}(x[0])", "{}(x[1, 2])", "{}(0.5)", "{}(2)", "{}([[0.5, 1.5], [1, 2]])", "!{}('1')"]
POSITIVE = [form.replace("x", "p") for form in ELEMENTWISE]
BINARY = ["{}(p, x)", "{}(p, v)", "{}(p, 2)", "{}(2.5, p)", "{}([1, 2, 4], p)", "{}(p, np.float32(0.5))", "{}(p[0], x)"]
BINARY += ["{}(p, p[:, :1])", "{}(2, 3)", "!{}(p, v[:2])", "!{}(p, None)"]
AXES = ["{}(x)", "{}(x, 0)", "{}(x, -1)", "{}(x, np.int64(1))", "{}(x, (0, 1))", "{}(x, (-1,))", "{}(x, axis=(-1, 0))"]
AXES += ["{}(x[None], (0, 2))", "{}([[1, 2], [4, 8]], 1)", "!{}(x, 2)", "!{}(x, -3)", "!{}(x, (0, -2))", "!{}(x, 0.5)"]
REDUCTION = [*AXES, "{}(x, None)", "{}(x, ())", "{}(x, 0, True)", "{}(x, axis=None, keepdims=True)", "!{}(x, '0')"]
JOINING = ["{}([x, p])", "{}((x, p), 1)", "{}([x, p, x], axis=-1)", "{}([x], np.int64(0))", "{}(y for y in (x, p))"]
JOINING += ["{}([x, [[1, 2, 4], [8, 16, 32]]])", "!{}([x, v])", "!{}([])", "!{}([x, p], 3)", "!{}([x, p], 0.5)"]
FORMS: dict[str, Sequence[str]] = {
    **dict.fromkeys(
        (
            "cos", "exp", "leaky_relu", "log_ndtr", "log_normal", "log_sigmoid", "ndtri_sigmoid", "one_minus_square",
            "erf", "expm1", "relu", "sigmoid", "sin", "softplus", "tanh",
        ),
        ELEMENTWISE,
    ),
    **dict.fromkeys(["log", "log1p", "sqrt"], POSITIVE),
    **dict.fromkeys(["maximum", "minimum"], BINARY),
    **dict.fromkeys(["log_softmax", "softmax"], AXES),
    "abs": [*ELEMENTWISE, "x.__abs__()"],
    "add": [*BINARY, "x + v", "2 + x", "x + 0.5", "x + p[0]"],
    "astype": [
        "{}(x, np.float64)", "{}(x, 'f4')", "{}(x, float)", "x.astype(np.float32)", "{}(x, '>f8')", "!{}(x, int)",
    ],
    "bernoulli_log_prob": [
        "{}(x, bits)", "{}(x, bits == 1)", "{}(x, bits.tolist())", "{}(x, bits * 1.0)", "{}(x, bits.astype('u1'))",
        "!{}(x, bits * 0.5)", "!{}(x, bits * 2)", "!{}(x, bits[0])", "!{}(v, bits[0])", "!{}(x, x)",
    ],
    "broadcast_to": [
        "{}(v, (2, 3))", "{}(v, [2, 3])", "{}(v, 3)", "{}(x, (4, 2, 3))", "{}(x[:, :1], np.array([2, 3]))",
        "{}(v[0], ())", "{}(2.0, np.int64(3))", "!{}(v, 2)", "!{}(v, (3, -1))", "!{}(v, 3.0)",
    ],
    "categorical_log_prob": [
        "{}(x, bits[:, 0])", "{}(x, [2, 0])", "{}(x, bits[:, 0].astype('u1'))", "{}(x, bits[:, 0] == 1)",
        "!{}(x, bits[:, 0] * 1.0)", "!{}(x, [0, -1])", "!{}(x, [0, 3])", "!{}(x, bits[0])", "!{}(v, bits[0])",
        "!{}(x, x[:, 0])",
    ],
    "clip": [
        "{}(x, -0.5, 1)", "{}(x, None, 1.6)", "{}(x, -0.5, None)", "{}(x, v, None)", "{}(x, p[:, 1:2], 3)",
        "{}(x, [-1, 0, 1], 1.75)", "{}(x, 2 * x, 2 * p)", "{}(x, np.float32(0), np.int64(1))", "!{}(x, 0, [1, 2])",
        "!{}(x, 'a', 1)",
    ],
    "concatenate": [*JOINING, "{}([x, v[None]])", "{}([v, v])", "!{}([x, p], None)", "!{}(x[0, 0])"],
    "conv": [
        "{}(z, w, taps)", "{}(z, w, [[-1], [0]])", "{}(z, w, np.array(taps))", "{}(z, w, taps, 2)",
        "{}(z, w, taps, np.int64(1), (3,))", "{}(z, w, taps, size=[1])", "{}(z, w, taps, size=3)",
        "{}(z, w, taps, residual=0.5)", "{}(z, w, taps, residual=w[0, 0])", "{}(z, w, taps, bias=w[1, 0])",
        "{}(z, w, taps, bias=[1.0, 2])", "{}(z, w, taps, relu=True)", "{}(z[:, None], w, ((0, -1), (0, 0)))",
        "!{}(z, w, taps, 1.5)", "!{}(z, w, taps, 0)", "!{}(z, w, ((0.5,), (0,)))", "!{}(z, w, taps, size=(1, 1))",
        "!{}(z[0], w, taps)", "!{}(z, w[:1], taps)",
    ],
    "conv_transpose": [
        "{}(z[..., :2], w, taps)", "{}(z[..., :2], w, [[-1], [0]], 2)", "{}(z[..., :2], w, taps, 2, (3,))",
        "{}(z[..., :2], w, taps, size=2)", "{}(z[..., :2], w, taps, residual=0.5, bias=u[0])",
        "{}(z[..., :2], w, taps, residual=z)", "!{}(z, w, taps)", "!{}(z[..., :2], w, taps, -1)",
    ],
    "conv_weight": [
        "{}(z, z, taps)", "{}(z, z[..., :2], np.array(taps))", "{}(z, z[:, :1], taps, 2)",
        "{}(z[:, None], z[:, None], [[0, 1]])", "!{}(z, z[:1], taps)", "!{}(z, z, taps, 0.5)", "!{}(z, z, 3)",
    ],
    "divide": [*[form.replace("x)", "s[0, 0])") for form in BINARY], "x / p", "2 / p", "x / 0.5"],
    "gated_activation": ["{}(z)", "{}(u)", "{}(u[0])", "{}([0.5, 2])", "!{}(x)", "!{}(0.5)"],
    "index": [
        "{}(x, 0)", "x[-1]", "x[0, 1]", "x[np.int64(1)]", "x[:, 1]", "x[::-1, ::2]", "x[..., 0]", "x[None]", "x[()]",
        "x[..., None, :]", "x[[0, 1, 1]]", "x[:, [2, 0]]", "x[[0, 1], [1, -1]]", "x[np.array(1)]",
        "x[np.array([], int)]",
        "x[[True, False]]", "x[bits == 1]", "x[:, np.array([True, False, True])]", "x[np.array([[0], [1]]), [0, 0]]",
        "x[2:]", "!{}(x, 2)", "!{}(x, (0, 0, 0))", "!{}(x, 0.5)", "!{}(x, 'a')", "!{}(x, [True])",
        "!{}(x, [[0], [0, 1]])",
    ],
    "inv": ["{}(s)", "{}(s[None])", "{}([[2, 1], [0, 0.5]])", "!{}(x)", "!{}(v)", "!{}([[1, 2], [2, 4]])"],
    "linear": [
        "{}(x, m, u[0, :2])", "{}(v, m, u[0, :2])", "{}(x[None], m, u[0, :2])", "{}(x, m, u[0, :2], True)",
        "{}(x, m, [0.5, 1], relu=False)", "{}([1, 2, 4], m, u[0, :2])", "!{}(x, m, 0.0)", "!{}(x, m.T, v)",
        "!{}(x, v, v)", "{}(x, m, u[0, :2], residual=[[0.5], [1]])", "{}(x, m, u[0, :2], True, 0.25)",
        "!{}(x, m, u[0, :2], residual=v)",
    ],
    "logabsdet": ["{}(s)", "{}(s[None])", "{}([[2, 1], [0, 0.5]])", "!{}(x)", "!{}([[1, 2], [2, 4]])"],
    "logsumexp": REDUCTION,
    "lstm": ["{}(z, u)", "{}(z[:1], [[0.25, 0.5, 1, 2]])", "!{}(z[0], u)", "!{}(z, u[:, :2])", "!{}(z, u[0])"],
    "lstm_cell": [
        "concatenate({}(z, z[..., :1]), -1)", "concatenate({}(z[0, 0], [0.5]), 0)", "!{}(x, v)", "!{}(z, 0.5)",
        "!{}(z, z)",
    ],
    "matmul": [
        "{}(x, m)", "x @ m", "x @ v", "v @ m", "v @ v", "x[None] @ m", "m @ x[None]", "[1, 2, 4] @ m",
        "{}(s, [[1, 2], [3, 4]])",
        "z @ z[0].T", "!{}(x, x)", "!{}(x, 2)", "!{}(v, v[:2])", "!{}(z, z)",
    ],
    "max": [*REDUCTION, "x.max()", "x.max(0)", "x.max(axis=-1, keepdims=True)"],
    "mean": [*REDUCTION, "x.mean()", "x.mean(0)", "x.mean(axis=-1, keepdims=True)", "!{}(x[2:], 0)"],
    "min": [*REDUCTION, "x.min()", "x.min(0)", "x.min(axis=-1, keepdims=True)"],
    "mixture_cdf": [
        "{}(x, v)", "{}(x, p[..., None] * v)", "{}(0.5, v)", "{}(x, [0.5, 0.25, -1])", "{}(x, z[0, 0, :3])",
        "{}([1, 2], v)",
        "!{}(x, m)", "!{}(x, 0.5)", "!{}(v, z[..., :3])",
    ],
    "mlp": [
        "{}(x, [m, s], [u[0, :2], v[:2]])", "{}(x, (m,), (u[0, :2],))", "{}(v, [m], [u[0, :2]])",
        "{}(z, [w[0], s], [v[:2], [0.5, 1]])", "{}([[1, 2, 4]], [m, s], [v[:2], v[1:]])", "{}(x, [m], iter([v[:2]]))",
        "!{}(x, [m, s], [v[:2]])", "!{}(x, [], [])", "!{}(x, [m, m], [v[:2], v[:2]])", "!{}(x, [m], [v])",
        "!{}(x, [v], [v])", "!{}(0.5, [m], [v[:2]])", "!{}(x, m, v[:2])",
    ],
    "multiply": [*BINARY, "x * v", "2 * x", "x * 0.5"],
    "negative": [*ELEMENTWISE, "-x"],
    "pad": [
        "{}(x, 1)", "{}(x, 0)", "{}(x, (1, 2))", "{}(x, [1, 2])", "{}(x, (1,))", "{}(x, ((1, 2),))",
        "{}(x, [(1, 0), (0, 2)])",
        "{}(x, np.array([[1, 2], [0, 3]]))", "{}(x, ((1,), (2,)))", "{}(x, {{0: (1, 2)}})",
        "{}(x, {{-1: 1, 0: (0, 2)}})",
        "{}(x, {{}})", "{}(x, np.int64(2))", "{}(v, 1)", "!{}(x, -1)", "!{}(x, 0.5)", "!{}(x, (1, 2, 3))",
        "!{}(x, None)",
        "!{}(x, {{2: 1}})", "!{}(x, [(1, 2), 3])",
    ],
    "power": [
        "{}(p, 2)", "{}(p, 3)", "{}(p, 0.5)", "{}(p, -1.0)", "{}(p, x)", "{}(2.0, x)", "{}(p, [1, 2, 0])", "{}(p, v)",
        "p ** 2", "2 ** x", "p ** -0.5", "{}(2, 3)", "{}(p, np.int64(2))", "{}([1, 2, 4], x)", "!{}(p, v[:2])",
        "!{}(p, None)",
    ],
    "put_along_axis": [
        "{}(x, np.array([[0, 2, 1], [1, 0, 2]]), 1, (2, 3))", "{}(x, np.array([[1, 1, 0], [0, 1, 1]]), 0, [3, 3])",
        "{}(x[:, :1], np.array([[0], [-1]]), -1, (2, 3))", "!{}(x, np.array([[0, 2, 1], [1, 0, 3]]), 1, (2, 3))",
        "!{}(x, np.array([[0, 1]]), 1, (2, 3))", "!{}(x, bits * 1.0, 1, (2, 3))",
    ],
    "reshape": [
        "{}(x, (3, 2))", "{}(x, -1)", "{}(x, (-1, 2))", "{}(x, 6)", "{}(x, [6])", "{}(x, np.array([3, 2]))",
        "{}(x, np.int64(6))",
        "{}(x[0, :1], ())", "x.reshape(3, 2)", "x.reshape(-1)", "x.reshape((2, 1, -1))", "{}([1, 2, 4], (1, 3))",
        "!{}(x, (-1, -1))", "!{}(x, 4)", "!{}(x, 6.0)", "!{}(x, 'a')", "!{}(x, None)",
    ],
    "scatter_add": [
        "{}(x[0], 1, (4, 3))", "{}(x, slice(1, 3), (4, 3))", "{}(x, [0, 0], [2, 3])",
        "{}(x, (slice(None), [1, 1, 0]), (2, 4))",
        "{}(v[:2], bits[0] == 1, 3)", "{}(x[..., None], (..., None), (2, 3))",
        "!{}(x, 1, (4, 3))", "!{}(x[0], 4, (4, 3))", "!{}(x[0], 0.5, (4, 3))", "!{}(x[0], 1, (4.0, 3))",
    ],
    "solve": [
        "{}(s, m.T)", "{}(s[None], s)", "{}(s, z[..., :2])", "{}([[2, 1], [0, 0.5]], s)", "!{}(s, v)", "!{}(x, s)",
        "!{}(s, m)",
        "!{}([[1, 2], [2, 4]], s)",
    ],
    "split": [
        "{}(x, 3, 1)[2]", "{}(x, 2)[1]", "{}(x, np.int64(3), axis=-1)[0]", "{}(x, [1], 1)[1]", "{}(x, (1, 2), 1)[1]",
        "{}(x, np.array([0, 2]), 1)[0]", "{}(x, [], 0)[0]", "!{}(x, 2, 1)", "!{}(x, [2, 1], 1)", "!{}(x, 0)",
        "!{}(x, 1.0)",
        "!{}(x, 1, 2)", "!{}(x, [4], 1)",
    ],
    "stack": [*JOINING, "{}([v, [1, 2, 4]], -2)", "{}([x, p], 2)"],
    "subtract": [*BINARY, "x - v", "2 - x", "x - 0.5"],
    "sum": [*REDUCTION, "x.sum()", "x.sum(0)", "x.sum(axis=-1, keepdims=True)"],
    "sum_to": [
        "{}(x, (3,))", "{}(x, 3)", "{}(x, [1, 3])", "{}(x, (2, 1))", "{}(x, ())", "{}(x, (2, 3))",
        "{}(x, np.array([1, 1]))",
        "!{}(x, 2)", "!{}(x, (4, 2, 3))", "!{}(x, 3.0)", "!{}(x, None)",
    ],
    "take_along_axis": [
        "{}(x, np.array([[0], [2]]), 1)", "{}(x, np.array([[-1, 0], [1, 1]]), -1)",
        "{}(x, np.array([[1, 0, 1]]), np.int64(0))",
        "{}(x, np.array([[1, 0, 1]], 'u1'), axis=0)", "!{}(x, np.array([[3], [0]]), 1)", "!{}(x, np.array([0]), 1)",
        "!{}(x, bits * 1.0, 1)", "!{}(x, bits, 2)", "!{}(x, bits, None)",
    ],
    "transpose": [
        "{}(x)", "{}(x, None)", "{}(x, (1, 0))", "{}(x, (-1, 0))", "{}(x, [0, 1])", "{}(z, (2, 0, 1))",
        "{}(z, np.array([1, 2, 0]))",
        "{}(v)", "x.T", "z.T", "x.transpose()", "x.transpose(1, 0)", "x.transpose((1, 0))", "z.transpose(0, -1, 1)",
        "!{}(x, (0, 0))", "!{}(x, (0,))", "!{}(x, (0, 2))", "!{}(x, (0.5, 1))", "!{}(x, 0)",
    ],
    "where": [
        "{}(bits == 1, x, p)", "{}(bits, x, 0.5)", "{}(True, x, p)", "{}(False, 2, x)", "{}([[True], [False]], x, v)",
        "{}(bits.tolist(), x, [1, 2, 4])", "{}(x > 1, x, p)", "{}(bits[0], v[0], x)", "!{}(bits, x, v[:2])",
        "!{}(x, x, p)",
    ],
    "cholesky": [
        "{}(s @ s.T)", "{}((s @ s.T)[None])", "{}(s @ s.T, upper=True)", "{}([[4, 2], [2, 5]])", "!{}(x)", "!{}(v)",
        "!{}(-s @ s.T)",
    ],
    **dict.fromkeys(
        ["cumprod", "cumsum"],
        (
            "{}(x)", "{}(x, None)", "{}(x, 0)", "{}(x, axis=-1)", "{}(z, np.int64(1))", "{}([[1, 2], [4, 8]], 1)",
            "!{}(x, 2)", "!{}(x, 0.5)",
        ),
    ),
    "einsum": [
        "{}('ij,jk->ik', x, m)", "{}('ij,jk', x, m)", "{}('ij->ji', x)", "{}('ji', x)", "{}('ij->', x)",
        "{}('ii->i', s)",
        "{}('ii', s)", "{}('...j,j->...', z, u[0])", "{}('i...->...', x)", "{}('i,j,k->kji', v, x[0], u[0])",
        "{}(' i j , i j -> i ', x, p)",
        "{}('i,i', v, [1, 2, 4])", "!{}('ij,jk', x, x)", "!{}('ij->ik', x)", "!{}('i', x)", "!{}(1, x)",
    ],
    "norm": [
        "{}(x)", "{}(x, None, 0)", "{}(x, axis=-1, keepdims=True)", "{}(v, 1)", "{}(v, 2)", "{}(v, np.inf)",
        "{}(v, -np.inf)",
        "{}(x, 3, 1)", "{}(x, 'fro')", "{}(x, None, (0, 1))", "{}([1, 2, 4])", "!{}(x, axis=2)", "!{}(x, axis=0.5)",
        "!{}(v, 'a')",
    ],
    "prod": REDUCTION,
    "repeat": [
        "{}(x, 2)", "{}(x, 2, 0)", "{}(x, [0, 1, 2], 1)", "{}(x, np.array([2, 1]), axis=-2)", "{}(v, np.int64(3))",
        "{}([1, 2], 2)",
        "!{}(x, -1)", "!{}(x, 1.5)", "!{}(x, [1, 2], 1)", "!{}(x, 2, 2)",
    ],
    "sort": ["{}(x)", "{}(x, 0)", "{}(x, axis=-1)", "{}(x, None)", "{}([4, 1, 2])", "!{}(x, 2)", "!{}(x, 0.5)"],
    "squeeze": [
        "{}(u)", "{}(u, 0)", "{}(u[..., None], (0, -1))", "{}(u, axis=None)", "u.squeeze()", "{}([[1, 2]])",
        "!{}(u, 1)", "!{}(u, 2)",
        "!{}(u, 0.5)",
    ],
    **dict.fromkeys(
        ["std", "var"],
        (
            "{}(x)", "{}(x, 0)", "{}(x, (0, 1))", "{}(x, axis=-1, ddof=1)", "{}(x, None, ddof=0.5, keepdims=True)",
            "{}([1, 2, 4])",
            "!{}(x, 2)", "!{}(x, 0.5)", "!{}(x, 0, ddof=2)",
        ),
    ),
}  # fmt: skip


def np_pad(x: Array, widths: Any) -> Array:
    """np.pad, which accepts a dict since NumPy 2.2 only."""
    if isinstance(widths, dict):
        by_axis = {axis % x.ndim: width for axis, width in widths.items()}
        widths = [np.broadcast_to(by_axis.get(axis, 0), 2) for axis in range(x.ndim)]
    return np.pad(x, widths)


def np_sum_to(x: Array, shape: Any) -> Array:
    ones = (1,) * (x.ndim - np.size(shape)) + tuple(np.atleast_1d(np.asarray(shape, int)))
    return np.asarray(np.sum(x, tuple(i for i, n in enumerate(ones) if n == 1), keepdims=True).reshape(shape))


def np_scatter_add(x: Array, key: Any, shape: Any) -> Array:
    y = np.zeros(shape, np.result_type(x, np.float64))
    np.add.at(y, key, x)
    return y


def np_put_along_axis(x: Array, indices: Array, axis: int, shape: Any) -> Array:
    places: list[Array] = list(np.indices(indices.shape))
    places[axis] = indices
    return np_scatter_add(x, tuple(places), shape)


def np_conv(
    x: Array,
    w: Array,
    taps: Any,
    stride: int = 1,
    size: Any = None,
    residual: Any = 0,
    bias: Any = 0,
    relu: bool = False,
) -> Array:
    size = [-(-n // stride) for n in x.shape[1:-1]] if size is None else np.atleast_1d(size)
    y = oracle.conv(x, w, taps, stride, tuple(size)) + residual + bias
    return np.asarray(np.maximum(y, 0) if relu else y)


def np_conv_transpose(
    y: Array, w: Array, taps: Any, stride: int = 1, size: Any = None, residual: Any = 0, bias: Any = 0
) -> Array:
    size = [n * stride for n in y.shape[1:-1]] if size is None else np.atleast_1d(size)
    return np.asarray(oracle.conv_transpose(y, w, taps, stride, tuple(size)) + residual + bias)


def np_lstm(x: Array, u: Array) -> Array:
    hs, (h, c) = [], np.zeros((2, len(x), len(u)))
    for t in range(x.shape[1]):
        h, c = np_lstm_cell(x[:, t] + h @ u, c)
        hs.append(h)
    return np.stack(hs, 1)


def np_mixture_cdf(x: Any, parameters: Any) -> Array:
    logits, means, log_scales = np.split(np.asarray(parameters), 3, -1)
    weights, a = np_softmax(logits, -1), (np.asarray(x)[..., None] - means) / np.exp(log_scales)
    density = (weights * np_sigmoid(a) * np_sigmoid(-a) / np.exp(log_scales)).sum(-1)
    logit = np.log((weights * np_sigmoid(a)).sum(-1)) - np.log((weights * np_sigmoid(-a)).sum(-1))
    return np.stack([logit, np.log(density)])


def np_mlp(x: Any, weights: Any, biases: Any) -> Array:
    *hidden, (w, b) = zip(weights, biases, strict=True)
    for v, c in hidden:
        x = np.tanh(x @ v + c)
    return np.asarray(x @ w + b)


def reduction(f: Any) -> Any:
    return lambda x, axis=None, keepdims=False: f(np.asarray(x), axis=axis, keepdims=keepdims)


def of_array(f: Any) -> Any:
    return lambda x, *arguments, **named: f(np.asarray(x), *arguments, **named)


NUMPY: dict[str, Any] = {
    **{name: getattr(np, name) for name in FORMS if hasattr(np, name)},
    **{name: reduction(getattr(np, name)) for name in ("max", "mean", "min", "sum")},
    "bernoulli_log_prob": lambda x, k: np.log(np_sigmoid(np.where(k, x, -x))).sum(1),
    "categorical_log_prob": lambda x, k: np.log(np_softmax(x, 1))[np.arange(len(x)), np.asarray(k, int)],
    "concatenate": lambda parts, axis=0: np.concatenate(list(parts), axis),
    "stack": lambda parts, axis=0: np.stack(list(parts), axis),
    "astype": of_array(lambda x, dtype: x.astype(np.dtype(dtype).newbyteorder("="))),
    "conv": np_conv,
    "conv_transpose": np_conv_transpose,
    "conv_weight": lambda x, y, taps, stride=1: oracle.conv_weight(x, y, taps, stride),
    "gated_activation": of_array(np_gated_activation),
    "index": lambda x, key: x[key],
    "inv": np.linalg.inv,
    "leaky_relu": of_array(lambda x: np.where(x > 0, x, 0.01 * x)),
    "linear": lambda x, w, b, relu=False, residual=0: np.maximum(residual + x @ w + b, 0 if relu else -np.inf),
    "log_ndtr": lambda x: np.log(np_ndtr(x)),
    "log_normal": of_array(lambda x: -x * x / 2 - np.log(2 * np.pi) / 2),
    "log_sigmoid": of_array(lambda x: np.log(np_sigmoid(x))),
    "log_softmax": lambda x, axis=-1: np.log(np_softmax(x, axis)),
    "logabsdet": lambda x: np.linalg.slogdet(x)[1],
    "logsumexp": of_array(np_logsumexp),
    "lstm": np_lstm,
    "lstm_cell": np_lstm_cell,
    "mixture_cdf": np_mixture_cdf,
    "mlp": np_mlp,
    "cholesky": lambda x, upper=False: np.linalg.cholesky(x).mT if upper else np.linalg.cholesky(x),
    "erf": of_array(np.vectorize(math.erf, otypes=[float])),
    "norm": lambda x, *arguments, **named: np.linalg.norm(np.asarray(x), *arguments, **named),
    "prod": reduction(np.prod),
    "sort": lambda x, axis=-1: np.sort(np.asarray(x), axis),
    "ndtri_sigmoid": of_array(lambda x: np_ndtri(np_sigmoid(x))),
    "one_minus_square": of_array(lambda x: 1 - x * x),
    "pad": np_pad,
    "put_along_axis": np_put_along_axis,
    "relu": of_array(lambda x: np.maximum(x, 0)),
    "scatter_add": np_scatter_add,
    "sigmoid": of_array(np_sigmoid),
    "softmax": lambda x, axis=-1: np_softmax(x, axis),
    "softplus": of_array(lambda x: np.log1p(np.exp(x))),
    "solve": np.linalg.solve,
    "sum_to": np_sum_to,
}


def evaluate(form: str, name: str, functions: Any, operands: dict[str, Any]) -> Any:
    """Evaluate a form with these operations and operands."""
    operation = functions[name] if isinstance(functions, dict) else getattr(functions, name)
    concatenate = functions["concatenate"] if isinstance(functions, dict) else functions.concatenate
    return eval(form.format("operation"), {"operation": operation, "concatenate": concatenate} | CONSTANTS | operands)


def slope(form: str, name: str, towards: dict[str, Array], weights: Array) -> float:
    """Return the derivative of Σ weights · y along a direction, by central differences of NumPy's result."""
    step = 1e-5
    ends = [
        np.sum(weights * evaluate(form, name, NUMPY, {key: x + sign * towards[key] for key, x in OPERANDS.items()}))
        for sign in (step, -step)
    ]
    return float(ends[0] - ends[1]) / (2 * step)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("name", "form"), [(n, form) for n, forms in FORMS.items() for form in forms if form[0] != "!"]
)
def test_every_form_is_that_of_numpy(name: str, form: str, order: Any, rng: np.random.Generator) -> None:
    tensors = {key: Tensor(np.array(x, order=order)) for key, x in OPERANDS.items()}
    y = evaluate(form, name, ag, tensors)
    expected = np.asarray(evaluate(form, name, NUMPY, OPERANDS))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.value, expected, rtol=1e-6 if y.dtype == np.float32 else 1e-12, atol=1e-12)
    if y.dtype == np.float64:
        weights = rng.standard_normal(y.shape)
        towards = {key: rng.standard_normal(x.shape) for key, x in OPERANDS.items()}
        gradients = grad(y, list(tensors.values()), weights, allow_unreached=True)
        found = sum(np.sum(g.value * towards[key]) for key, g in zip(tensors, gradients, strict=True))
        assert found == pytest.approx(slope(form, name, towards, weights), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("name", "form"), [(n, form) for n, forms in FORMS.items() for form in forms if form[0] == "!"]
)
def test_unsuitable_forms_are_refused_by_name(name: str, form: str) -> None:
    tensors = {key: Tensor(x) for key, x in OPERANDS.items()}
    with pytest.raises((TypeError, ValueError, IndexError)) as caught:
        evaluate(form[1:], name, ag, tensors)
    message, names = str(caught.value), [name, *inspect.signature(getattr(ag, name)).parameters]
    assert any(f"{word}:" in message for word in names), message


def test_every_operation_has_forms() -> None:
    assert {*PRIMITIVES} <= {*FORMS}
