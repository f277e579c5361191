"""Winograd's algorithm for dense 3×3 and 2×3 convolutions, against the definition in float64."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygen.kernels import reference, winograd
from tinygen.kernels.convolution import conv, conv_transpose, conv_weight, flat_terms
from tinygen.kernels.runtime.arrays import Array
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="there is no kernel")

SQUARE = tuple(product((-1, 0, 1), repeat=2))
ABOVE = tuple(product((-2, -1), (-1, 0, 1)))  # a vertical 2×3 convolution of the Gated PixelCNN
# Sums of up to 9 · 70 products of normal numbers, computed from sums and differences of up to 16 of them.
BOUND: Any = {"rtol": 1e-4, "atol": 1e-3}


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = get_num_threads()
    set_num_threads(3)
    monkeypatch.setattr(winograd, "GRAIN", 1)  # as many parts as there are rows of tiles
    yield
    set_num_threads(before)


def normal(seed: int, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


@pytest.mark.usefixtures("three_threads")
@given(
    images=st.integers(1, 3),
    size_x=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size_y=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    start=st.tuples(st.integers(-11, 9), st.integers(-11, 9)) | st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
    channels=st.tuples(*[st.sampled_from([1, 3, 8, 16, 33, 70])] * 2),
    order=st.permutations(range(9)) | st.permutations(range(6)),
    transposed=st.booleans(),
    with_residual=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_both_kernels_match_the_definition(
    images: int, size_x: Any, size_y: Any, start: Any, channels: Any, order: Any, transposed: bool,
    with_residual: bool, relu: bool, seed: int,
) -> None:  # fmt: skip
    taps = tuple((start[0] + t // 3, start[1] + t % 3) for t in order)
    shape_x, shape_y = (images, *size_x, channels[0]), (images, *size_y, channels[1])
    z = winograd.grid(taps, shape_x[1:], shape_y[1:])
    assume(z is not None)
    assert z is not None
    x, y, w, residual, bias = normal(seed, shape_x, shape_y, (len(taps), *channels), shape_y, channels[1:])
    if transposed:
        w = np.ascontiguousarray(w.swapaxes(1, 2)).swapaxes(1, 2)
    term = residual if with_residual else None
    result = np.full(shape_y, np.nan, np.float32)
    winograd.convolve_into(result, x, w, taps, z, flat_terms(term, bias, shape_y, result.dtype), relu)
    exact = reference.conv(x.astype(np.float64), w, taps, 1, size_y, term, bias, relu)
    np.testing.assert_allclose(result, exact, **BOUND)

    gradient = np.full(w.shape, np.nan, np.float32)
    winograd.correlate_into(gradient, x, y, taps, z)
    np.testing.assert_allclose(gradient, reference.conv_weight(x.astype(np.float64), y, taps, 1), **BOUND)


# The three convolutions of images x and y with weights w, each with 8 · 7 · 6 tiles of 50 and 70 channels
CALLS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "conv": lambda x, y, w: conv(x, w, SQUARE, 1, y.shape[1:3], y, y[0, 0, 0], True),
    "conv_transpose": lambda x, y, w: conv_transpose(y, w, SQUARE, 1, x.shape[1:3], x, x[0, 0, 0]),
    "conv_weight": lambda x, y, w: conv_weight(x, y, SQUARE, 1),
    "conv, 2×3": lambda x, y, w: conv(x, w[:6], ABOVE, 1, y.shape[1:3], y, y[0, 0, 0], True),
    "conv_transpose, 2×3": lambda x, y, w: conv_transpose(y, w[:6], ABOVE, 1, x.shape[1:3], x, x[0, 0, 0]),
    "conv_weight, 2×3": lambda x, y, w: conv_weight(x, y, ABOVE, 1),
}
SHAPES = (8, 13, 12, 50), (8, 13, 12, 70), (9, 50, 70)


@pytest.mark.parametrize("name", CALLS)
def test_large_convolutions_use_it_and_equal_the_tile_loops(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, w = normal(0, *SHAPES)
    fast = CALLS[name](x, y, w)
    grids, choose = [], winograd.grid_if_faster
    monkeypatch.setattr(winograd, "grid_if_faster", lambda *arguments: grids.append(choose(*arguments)))
    plain = CALLS[name](x, y, w)  # append returns None
    assert [z and (z.rows, z.columns) for z in grids] == [(7, 6)]
    assert not np.array_equal(fast, plain)  # another algorithm rounds in another way
    scale = np.abs(plain).max()
    np.testing.assert_allclose(fast, plain, rtol=0, atol=2e-6 * scale)


@pytest.mark.parametrize(
    ("taps", "size", "channels", "dtype"),
    [
        (SQUARE[:8], 16, 64, np.float32),
        (tuple((2 * i, 2 * j) for i, j in SQUARE), 16, 64, np.float32),
        ((*SQUARE[:8], SQUARE[0]), 16, 64, np.float32),
        ((*SQUARE, SQUARE[0]), 16, 64, np.float32),
        (SQUARE, 16, 31, np.float32),
        (SQUARE, 14, 47, np.float32),
        (SQUARE, 2, 64, np.float32),
        (SQUARE, 7, 64, np.float32),
        (SQUARE, 16, 64, np.float64),
    ],
    ids=[
        "masked",
        "dilated",
        "eight taps, one twice",
        "nine taps, one twice",
        "few channels",
        "few channels in short rows",
        "few tiles",
        "many outputs outside",
        "float64",
    ],
)
def test_other_convolutions_do_not_use_it(taps: Any, size: int, channels: int, dtype: Any) -> None:
    x, y = np.zeros((32, size, size, 64), dtype), np.zeros((32, size, size, channels), dtype)
    assert winograd.grid_if_faster(x, y, taps) is None


@pytest.mark.parametrize("taps", [SQUARE, ABOVE], ids=["3×3", "2×3"])
@pytest.mark.parametrize(("side", "images", "channels"), [(14, 6, 48), (16, 4, 32)])
def test_limits_of_its_use(taps: Any, side: int, images: int, channels: int) -> None:
    x, y = (np.zeros((images, side, side, c), np.float32) for c in (channels, 64))
    assert winograd.grid_if_faster(x, y, taps) is not None
    assert winograd.grid_if_faster(y, x, taps) is not None
    assert winograd.grid_if_faster(x[1:], y[1:], taps) is None  # fewer than 256 tiles
    assert winograd.grid_if_faster(x[..., 1:], y, taps) is None


def test_strided_convolutions_equal_the_definition() -> None:
    x, y, w = normal(1, (8, 26, 26, 64), (8, 13, 13, 64), (9, 64, 64))
    np.testing.assert_allclose(conv(x, w, SQUARE, 2, (13, 13)), reference.conv(x, w, SQUARE, 2, (13, 13)), **BOUND)
    np.testing.assert_allclose(conv_weight(x, y, SQUARE, 2), reference.conv_weight(x, y, SQUARE, 2), **BOUND)
    # Each of the four phases of a transposed 6×6 convolution of stride 2 has the taps of a dense 3×3 one.
    taps, (w,) = tuple(product(range(-2, 4), repeat=2)), normal(2, (36, 64, 64))
    ours, exact = (f(y, w, taps, 2, (26, 26)) for f in (conv_transpose, reference.conv_transpose))
    np.testing.assert_allclose(ours, exact, **BOUND)


@pytest.mark.parametrize("name", CALLS)
def test_results_do_not_depend_on_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, results, before = normal(2, *SHAPES), [], get_num_threads()
    monkeypatch.setattr(winograd, "GRAIN", 1 << 16)
    try:
        for threads in 1, 2, 3, 5:
            set_num_threads(threads)
            results.append(CALLS[name](*arrays))  # all are kept, so that none is written to the memory of another
    finally:
        set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_reach_exactly_the_outputs_that_read_them(value: float) -> None:
    x, w = normal(3, (4, 16, 16, 64), (9, 64, 64))
    x[1, 6, 9] = value
    finite = np.isfinite(conv(x, w, SQUARE, 1, (16, 16)))
    expected = np.ones_like(finite)
    expected[1, 5:8, 8:11] = False
    np.testing.assert_array_equal(finite, expected)
    assert not np.isfinite(conv_weight(x, x, SQUARE, 1)).any()


def test_inf_and_overflow_are_silent_as_in_other_kernels() -> None:
    with np.errstate(all="raise"):
        for value in np.inf, 3e38:
            x, w = normal(4, (4, 16, 16, 64), (9, 64, 64))
            w[4, 0], x[0, 0, 0] = value, value
            assert not np.isfinite(conv(x, w, SQUARE, 1, (16, 16))).all()
            assert not np.isfinite(conv_weight(x, x, SQUARE, 1)).all()
