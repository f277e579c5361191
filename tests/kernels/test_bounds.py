"""Kernels never read beyond their arguments, whatever the shapes, dtypes and memory layouts of these.

Each argument ends where a page of memory without access begins, so that reading one element more ends the process.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest

from tinygen.kernels import activation, convolution, likelihood, lstm, mixture, position, reductions, special, spline
from tinygen.kernels.adam import adam
from tinygen.kernels.product import product as matrix_product
from tinygen.kernels.residual_units import BottleneckBlocks, GatedUnits

Array = np.ndarray[Any, Any]
F32, F64 = np.float32, np.float64
DTYPES = ["?", "u1", "i8", "f2", "f4", "f8", ">f4", ">f8", "g", "c8", "O"]
TAPS = tuple(product((-1, 0, 1), repeat=2))

_guards: list[mmap.mmap] = []  # keeps the memory alive


def guarded(x: Array) -> Array:
    """Return a copy of x that ends at a page without access."""
    if x.dtype == object or not x.size:
        return x.copy(order="K")
    pages = -(-x.nbytes // mmap.PAGESIZE) + 1
    memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
    _guards.append(memory)
    buffer = np.frombuffer(memory, np.uint8)
    end = (pages - 1) * mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(buffer.ctypes.data + end), mmap.PAGESIZE, 0) == 0  # PROT_NONE
    copy = buffer[end - x.nbytes : end].view(x.dtype).reshape(x.shape)
    copy[...] = x
    return copy


class Case(NamedTuple):
    """A function of arrays, and arguments for which it returns."""

    name: str
    function: Callable[..., Any]
    arguments: dict[str, Array]
    free: str = ""  # the axes whose size the other arguments do not determine, such as "x0 x1"
    outputs: tuple[str, ...] = ()  # the arguments that are written


def cases() -> Iterator[Case]:
    """Yield every public function of the kernels, with arguments of distinct sizes, no multiple of a vector."""
    rng = np.random.default_rng(0)

    def draw(*shape: int, dtype: Any = F32) -> Array:
        return np.asarray(rng.standard_normal(shape), dtype)

    yield Case("gated_activation", activation.gated_activation, {"x": draw(67, 3, 38)})
    yield Case("gated_activation_vjp", activation.gated_activation_vjp, {"x": draw(67, 38), "g": draw(67, 19)})
    yield Case("tanh_vjp", activation.tanh_vjp, {"y": draw(71, 67), "g": draw(71, 67)})  # above the size of NumPy
    yield Case("relu", activation.relu, {"x": draw(71, 67)})
    yield Case("relu_vjp", activation.relu_vjp, {"y": draw(71, 67), "g": draw(71, 67)})
    yield Case(
        "adam",
        lambda value, g, m, v: (adam(value, g, m, v, [0.1, 0.1, 1, 1, 1, 1]), m, v),
        {"value": draw(13, 7), "g": draw(13, 7), "m": draw(13, 7), "v": np.abs(draw(13, 7))},
        outputs=("m", "v"),
    )
    bits = (draw(13, 67) > 0).astype(np.uint8)
    yield Case("bernoulli", likelihood.bernoulli, {"x": draw(13, 67), "k": bits})
    classes, sums = rng.integers(0, 67, 13), {"tops": draw(13), "logs": draw(13)}
    yield Case("categorical", likelihood.categorical, {"x": draw(13, 67), "k": classes}, free="x1")
    arguments = {"x": draw(13, 67), "k": classes, **sums, "g": draw(13)}
    yield Case("categorical_vjp", likelihood.categorical_vjp, arguments, free="x1")
    yield Case("bernoulli_vjp", likelihood.bernoulli_vjp, {"x": draw(13, 67), "k": bits, "g": draw(13)})
    yield Case("lstm", lstm.lstm, {"x": draw(11, 3, 28), "u": draw(7, 28)}, free="x0 x1")
    _, c, gates = lstm.lstm(draw(11, 3, 28), draw(7, 28))
    yield Case("lstm_vjp", lstm.lstm_vjp, {"dh": draw(11, 3, 7), "u": draw(7, 28), "c": c, "gates": gates})
    for dtype in F32, F64:
        x, parameters = draw(7, 5, dtype=dtype), draw(7, 5, 6, dtype=dtype)
        yield Case("mixture", mixture.mixture, {"x": x, "parameters": parameters})
        vjp_arguments = {"x": x, "parameters": parameters, "g": draw(2, 7, 5, dtype=dtype)}
        yield Case("mixture_vjp", mixture.mixture_vjp, vjp_arguments)
        yield Case("mixture_quantile", mixture.mixture_quantile, {"logit": x, "parameters": parameters})
        knots = np.cumsum(np.abs(draw(7, 5, 3, 4, dtype=dtype)), -1)
        for inverse in False, True:
            evaluate = lambda x, knots, inverse=inverse: spline.spline(x, knots, inverse)
            yield Case("spline", evaluate, {"x": x, "knots": knots}, free="knots3")
            vjp = lambda x, knots, g, inverse=inverse: spline.spline_vjp(x, knots, inverse, g)
            vjp_arguments = {"x": x, "knots": knots, "g": draw(2, 7, 5, dtype=dtype)}
            yield Case("spline_vjp", vjp, vjp_arguments, free="knots3")
        images, weights = draw(3, 7, 6, 11, dtype=dtype), draw(9, 11, 19, dtype=dtype)
        below, bias = draw(3, 7, 6, 19, dtype=dtype), draw(19, dtype=dtype)
        yield Case(
            "conv",
            lambda x, w, residual, bias: convolution.conv(x, w, TAPS, 1, (7, 6), residual, bias),
            {"x": images, "w": weights, "residual": below, "bias": bias},
            free="x1 x2",
        )
        for stride in 1, 2:
            yield Case(
                "conv_transpose",
                lambda y, w, residual, bias, s=stride: convolution.conv_transpose(
                    y, w, TAPS, s, (7 * s, 6 * s), residual, bias
                ),
                {"y": below, "w": weights, "residual": draw(3, 7 * stride, 6 * stride, 11, dtype=dtype),
                 "bias": draw(11, dtype=dtype)},
                free="y1 y2",
            )  # fmt: skip
        correlate = lambda x, y: convolution.conv_weight(x, y, TAPS, 1)
        yield Case("conv_weight", correlate, {"x": images, "y": below}, free="x1 x2 x3 y1 y2 y3")
        for m, k, n in (5, 3, 7), (131, 67, 71):  # by BLAS, and by the kernels
            arguments = {"a": draw(m, k, dtype=dtype), "b": draw(k, n, dtype=dtype), "bias": draw(n, dtype=dtype)}
            yield Case("product", matrix_product, arguments, free="a0")
            yield Case("product", matrix_product, arguments | {"residual": draw(m, n, dtype=dtype)})
        for n in 2, 19:
            yield Case(
                "AtPosition",
                lambda w, b, x, starts, residual, n=n: position.AtPosition(w, b)(x, starts, n, residual),
                {"w": draw(3, 5, 37, dtype=dtype), "b": draw(37, dtype=dtype), "x": draw(n + 4, 5, dtype=dtype),
                 "starts": np.array([0, 2, 4]), "residual": draw(n, 37, dtype=dtype)},
                free="x0",
            )  # fmt: skip
            yield from residual_unit_cases(n, dtype, draw)
        for function in special.log_ndtr, special.ndtr_slope, special.ndtri_sigmoid:
            yield Case(function.__name__, function, {"x": draw(7, 5, dtype=dtype)})
    large, weights, below = draw(5, 15, 14, 50), draw(9, 50, 70), draw(5, 15, 14, 70)  # by Winograd's algorithm
    dense = lambda x, w, residual: convolution.conv(x, w, TAPS, 1, (15, 14), residual)
    yield Case("conv", dense, {"x": large, "w": weights, "residual": below}, free="x1 x2")
    correlate = lambda x, y: convolution.conv_weight(x, y, TAPS, 1)
    yield Case("conv_weight", correlate, {"x": large, "y": below}, free="x1 x2 x3 y1 y2 y3")
    yield Case("total", lambda x: reductions.total(x, (0, 1)), {"x": draw(71, 3, 19)})
    yield Case("total", lambda x: reductions.total(x, (1,)), {"x": draw(3, 71, 19)})


def residual_unit_cases(n: int, dtype: Any, draw: Callable[..., Array]) -> Iterator[Case]:
    def layers(taps: int, n_in: int, n_out: int, relu: bool = False) -> list[position.AtPosition]:
        return [position.AtPosition(draw(taps, n_in, n_out, dtype=dtype), None, relu) for _ in range(2)]

    gated = GatedUnits(layers(3, 5, 74), layers(1, 37, 5)[:1], layers(1, 37, 11), 3)
    blocks = BottleneckBlocks(layers(3, 5, 37, True), layers(1, 11, 5, True), layers(1, 37, 11), 3)
    arguments = {
        "inputs": draw(4 * n + 1, 5, dtype=dtype), "places": n * np.array([[0, 1, 2, 2], [3, 0, 1, 3]]),
        "context": draw(2, n, 74, dtype=dtype), "h": draw(n, 5, dtype=dtype), "skip": draw(n, 11, dtype=dtype),
    }  # fmt: skip
    yield Case("GatedUnits", partial(gated, n=n), arguments, free="inputs0 context1", outputs=("inputs",))
    arguments |= {"context": draw(2, n, 37, dtype=dtype), "h": arguments.pop("skip")}
    yield Case("BottleneckBlocks", partial(blocks, n=n), arguments, free="inputs0 context1", outputs=("inputs",))


def other_lengths(x: Array, axis: int) -> Iterator[Array]:
    """Yield arrays that are one element shorter and longer along an axis."""
    yield np.delete(x, -1, axis)
    yield np.concatenate([x, np.take(x, [0], axis)], axis)


def other_shapes(x: Array) -> Iterator[Array]:
    """Yield arrays with an axis that is empty, of length one, missing or added; transposed. They may broadcast."""
    for axis in range(x.ndim):
        yield np.take(x, [], axis)
        yield np.take(x, [0], axis)
        yield np.take(x, 0, axis)
    yield x[None]
    yield x.T.copy()
    yield x.reshape(-1)
    yield x.reshape(-1)[0]


def layouts(x: Array) -> Iterator[Array]:
    """Yield arrays equal to x: not contiguous, with negative strides, not aligned, read-only."""
    yield guarded(x.T).T  # Fortran order
    yield np.repeat(x, 2, -1)[..., ::2]
    yield x[::-1].copy()[::-1]
    unaligned = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    yield unaligned
    constant = guarded(x)
    constant.flags.writeable = False
    yield constant


def call(case: Case, **changed: Array) -> Any:
    """Call a function with copies that end at a guard page; return its results, or None if it refuses."""
    print(case.name, {name: (x.dtype.str, x.shape) for name, x in changed.items()}, flush=True)
    arguments = {name: changed.get(name, guarded(x)) for name, x in case.arguments.items()}
    try:
        results = case.function(**arguments)
    except (ValueError, TypeError):
        return None
    return results if isinstance(results, tuple) else (results,)


def check(case: Case) -> None:
    expected = call(case)
    assert expected is not None, f"{case.name} refuses its arguments"
    for name, x in case.arguments.items():
        for axis in range(x.ndim):
            for wrong in other_lengths(x, axis):
                results = call(case, **{name: guarded(wrong)})
                free = len(case.arguments) == 1 or f"{name}{axis}" in case.free.split()
                assert results is None or free, f"{case.name} accepts {name} of shape {wrong.shape}"
        for wrong in other_shapes(x):
            call(case, **{name: guarded(wrong)})
        for code in DTYPES:
            call(case, **{name: guarded(x.astype(code))})
        for array in layouts(x):
            results = call(case, **{name: array})
            if results is None:  # an output may be refused; an input is copied if necessary
                assert name in case.outputs or case.name == "AtPosition", (name, array.flags)
                continue
            for result, right in zip(results, expected, strict=True):
                np.testing.assert_allclose(result, right, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
def test_no_kernel_reads_beyond_its_arguments() -> None:
    command = [sys.executable, "-W", "ignore", __file__]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert result.returncode == 0, f"{result.stdout.splitlines()[-1:]}\n{result.stderr[-2000:]}"


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
def test_reading_beyond_a_guarded_array_ends_the_process() -> None:
    program = (
        "import numpy as np, test_bounds; from numpy.lib.stride_tricks import as_strided\n"
        "x = test_bounds.guarded(np.ones(5)); print(as_strided(x, (5,))[-1], flush=True); as_strided(x, (6,))[-1]"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    }
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert result.stdout == "1.0\n"
    assert result.returncode < 0


if __name__ == "__main__":
    for case in cases():
        check(case)
