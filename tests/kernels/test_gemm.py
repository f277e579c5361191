"""The matrix product by register tiles equals NumPy's for every shape, memory layout and division into parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygen.kernels import conv, gemm, reference
from tinygen.kernels.runtime.parts import new_team
from tinygen.kernels.runtime.registers import TILE_ROWS, lanes

Array = np.ndarray[Any, Any]
pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="the kernel needs the JIT")


def read_only(x: Array) -> Array:
    x = np.array(x)
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "slice": lambda x: np.repeat(x, 2, 1)[:, ::2],
    "read-only": read_only,
    "read-only columns": lambda x: read_only(x.T).T,
}


def multiply(
    a: Array, b: Array, residual: Array, bias: Array, relu: bool, by_columns: bool, parts: int, vectors: int
) -> Array:
    """Compute the parts one after another, and then one more, which must do nothing."""
    y = np.full((len(a), b.shape[1]), np.nan, a.dtype)
    size = -(-b.shape[1] // (vectors * lanes(a.dtype))) if by_columns else len(a)
    height, words = next(rows for rows in TILE_ROWS if rows <= len(a)), new_team(parts)
    arrays = *gemm._stored(a), *gemm._stored(b), residual, bias, relu, y
    for _ in range(parts + 1):
        gemm._multiply((0,) * height, (0,) * vectors, *arrays, by_columns, words, size)
    return y


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 20), st.integers(1, 100)),
    layouts=st.tuples(st.sampled_from([*LAYOUTS]), st.sampled_from([*LAYOUTS])),
    dtype=st.sampled_from([np.float32, np.float64]),
    with_residual=st.booleans(),
    relu=st.booleans(),
    by_columns=st.booleans(),
    parts=st.integers(1, 5),
)
def test_equals_numpy_with_the_same_bits_for_any_division_into_parts(
    shape: tuple[int, int, int], layouts: tuple[str, str], dtype: Any, with_residual: bool, relu: bool,
    by_columns: bool, parts: int,
) -> None:  # fmt: skip
    (m, k, n), rng = shape, np.random.default_rng(0)
    a, b, bias, residual = (rng.standard_normal(size).astype(dtype) for size in ((m, k), (k, n), (n,), (m, n)))
    parts = parts if by_columns else min(parts, max(1, m // TILE_ROWS[0]))
    terms = residual.reshape(-1) if with_residual else np.empty(0, dtype), bias
    y = multiply(LAYOUTS[layouts[0]](a), LAYOUTS[layouts[1]](b), *terms, relu, by_columns, parts, 2)
    expected = reference.product(a, b, bias, relu, residual if with_residual else None)
    np.testing.assert_allclose(y, expected, rtol=0, atol=50 * k * float(np.finfo(dtype).eps))
    np.testing.assert_array_equal(multiply(a, b, *terms, relu, True, 1, 2), y)
    whole = np.full_like(y, np.nan)
    gemm.multiply_into(whole, a, b, terms, relu)  # with one vector, if there are few columns
    np.testing.assert_array_equal(whole, y)


@pytest.mark.parametrize("shape", [(3000, 50, 40), (40, 2000, 300), (700, 1000, 16), (100, 9000, 20)])
@pytest.mark.parametrize("transposed", [False, True])
def test_many_rows_pass_over_the_blocks_in_chunks(shape: tuple[int, int, int], transposed: bool) -> None:
    (m, k, n), rng = shape, np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    a = np.asfortranarray(a) if transposed else a
    for parts in (1, 3):
        for by_columns in (False, True):
            y = multiply(a, b, np.empty(0), np.zeros(n), False, by_columns, parts, 2)
            np.testing.assert_allclose(y, a @ b, rtol=0, atol=1e-10)


def test_relu_does_not_hide_nan() -> None:
    a, b = np.ones((20, 3)), np.ones((3, 40))
    a[3, 1] = np.nan
    y = multiply(a, b, np.empty(0), np.zeros(40), True, True, 1, 2)
    np.testing.assert_array_equal(np.isnan(y).all(axis=1), np.arange(20) == 3)
    assert not np.isnan(np.delete(y, 3, 0)).any()


@given(
    rows=st.integers(1, 3000), blocks=st.integers(1, 200), height=st.sampled_from(TILE_ROWS), parts=st.integers(1, 64)
)
@example(rows=100, blocks=3, height=TILE_ROWS[0], parts=64)  # rows for fewer parts than threads
def test_parts_have_rows_for_two_tiles_and_the_longest_is_short(
    rows: int, blocks: int, height: int, parts: int
) -> None:
    by_columns, size, grain = gemm.divide(rows, blocks, height, parts)
    used = max(1, min(parts, size // grain))
    assert size == (blocks if by_columns else rows)
    assert by_columns or used == 1 or size // used >= 2 * height  # a part has rows for two tiles
    shares = -(-blocks // parts) / blocks, 1 / max(1, min(parts, rows // (2 * height)))
    limit = shares[1] if rows >= 1024 * parts else min(shares)
    assert -(-size // used) / size <= 9 / 8 * limit + (0 if by_columns else 1 / rows) + 1e-9


@pytest.mark.parametrize(("channels_in", "channels_out"), [(0, 40), (3, 0), (3, 1), (3, 40)])
def test_pointwise_convolutions_of_any_number_of_channels(channels_in: int, channels_out: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 5, channels_in)), rng.standard_normal((1, channels_in, channels_out))
    bias, residual = rng.standard_normal(channels_out), rng.standard_normal((2, 4, 5, channels_out))
    y = conv(x, w, ((0, 0),), 1, (4, 5), residual, bias)
    np.testing.assert_allclose(y, residual + bias + x @ w[0], rtol=0, atol=1e-13)
