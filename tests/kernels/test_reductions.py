"""total: shapes, memory layouts, and precision for many elements."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygen.kernels import reductions
from tinygen.kernels.reductions import total
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads
from tinygen.kernels.runtime.team import run_parts
from tinygen.testing import strategies as draws


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@given(data=st.data(), keepdims=st.booleans(), rng=draws.rngs())
def test_total_matches_numpy(dtype: Any, data: st.DataObject, keepdims: bool, rng: np.random.Generator) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=12))
    x = data.draw(draws.layouts(rng.integers(0, 9, shape).astype(dtype)))  # small integers: every sum is exact
    axes = tuple(data.draw(st.sets(st.integers(0, x.ndim - 1)))) if x.ndim else ()
    expected = x.astype(np.float64).sum(axes, keepdims=keepdims)
    y = total(x, axes, keepdims)
    assert y.shape == expected.shape
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("rows", [63, 64, 65, 4095, 4096, 4097, 8200])
def test_total_includes_every_row_of_every_block(rows: int) -> None:
    x = np.arange(6.0 * rows, dtype=np.float32).reshape(3, rows, 2) % 7
    for axes in (1,), (0, 1):
        np.testing.assert_array_equal(total(x, axes), x.sum(axes, np.float64))  # sums of integers are exact


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("order", "CF")
def test_error_does_not_grow_with_the_number_of_elements(axes: tuple[int, ...], order: Any) -> None:
    """Terms of 1 and of 2⁻¹⁴: after 2¹⁰ ones, a sequential float32 sum would lose the small ones."""
    shape = tuple(1 << 15 if axis == axes[0] else 3 for axis in range(3))
    x = np.full(shape, 2.0**-14, np.float32, order)
    x[(slice(None),) * axes[0] + (slice(1 << 14),)] = 1
    expected = x.sum(axes, np.float64)
    np.testing.assert_allclose(total(x, axes), expected, rtol=3e-7)  # a block and a pairwise sum in float32


def test_total_does_not_lose_small_terms() -> None:
    """A sequential float32 sum of 2²⁵ ones would stop at 2²⁴."""
    ones = np.ones((1 << 25, 1), np.float32)
    assert total(ones, (0,))[0] == 1 << 25
    assert total(np.broadcast_to(np.float32(1), (1 << 25, 1)), (0,))[0] == 1 << 25
    assert np.isnan(total(np.full((99, 2), [np.nan, 1], np.float32), (0,))).tolist() == [True, False]


@pytest.mark.parametrize("shape", [(64, 512), (16, 513), (3000, 7), (40, 5000), (300, 1)])
def test_rows_are_summed_accurately_and_alike(shape: tuple[int, int]) -> None:
    """The bits of a row's sum depend neither on its place nor on the other rows: equal examples have equal losses."""
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    y = total(x, (1,))
    np.testing.assert_allclose(y, x.sum(1, np.float64), rtol=3e-7)
    np.testing.assert_array_equal(np.concatenate([total(row[None], (1,)) for row in x]), y)
    np.testing.assert_array_equal(total(x[::-1].copy(), (1,)), y[::-1])


@pytest.mark.parametrize(("axes", "x"), [((0,), np.float32(1)), ((2,), np.ones((3, 2))), ((-1,), np.ones((3, 2))),
                                         ((0, 0), np.ones((3, 2), np.float32))])  # fmt: skip
def test_total_names_axes_that_do_not_exist(axes: tuple[int, ...], x: Any) -> None:
    with pytest.raises(ValueError, match=r"^axes: expected different numbers in 0…"):
        total(np.asarray(x), axes)


def test_total_propagates_infinities_and_nan() -> None:
    x = np.zeros((4, 4000), np.float32)
    x[1, 3], x[2, 5], x[3, :2] = np.inf, np.nan, (np.nan, -np.inf)
    for y in (total(x, (1,)), total(np.ascontiguousarray(x.T), (0,))):
        np.testing.assert_array_equal(y, [0, np.inf, np.nan, np.nan])  # without a warning


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    x = np.random.default_rng(0).standard_normal((3, 20_000, 7)).astype(np.float32)
    one_part = np.zeros((3, -(-20_000 // reductions._CHUNK), 7))
    size = one_part.shape[0] * one_part.shape[1]
    run_parts(reductions._sum_chunks, size, size, x, one_part)
    np.testing.assert_array_equal(total(x, (1,)), one_part.sum(1))


@pytest.mark.parametrize("shape", [(1_000_003, 7), (100_003, 64), (9, 700_001)])
def test_sums_of_rows_do_not_depend_on_the_number_of_threads(shape: tuple[int, int]) -> None:
    x, before = np.random.default_rng(0).standard_normal(shape, np.float32), get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            set_num_threads(number)
            results.append(total(x, (1,)))
    finally:
        set_num_threads(before)
    assert all(np.array_equal(results[0], other) for other in results[1:])
