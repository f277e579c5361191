"""sum_rows: shapes, memory layouts, and precision for many rows."""

from typing import Any

import numpy as np
import pytest

from tinygen.kernels.reductions import sum_rows


@pytest.mark.parametrize("shape", [(5,), (0, 3), (2, 0), (7, 1), (3, 4, 5, 6), (2000, 33)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sum_rows_matches_numpy(shape: tuple[int, ...], dtype: Any) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    expected = x.astype(np.float64).reshape(-1, shape[-1] if x.size else 1).sum(0) if x.size else np.zeros(shape[-1])
    for ours in sum_rows(x), sum_rows(np.asfortranarray(x)):
        assert (ours.dtype, ours.shape) == (dtype, (shape[-1],))
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 if dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("rows", [63, 64, 65, 4095, 4096, 4097, 8200])
def test_sum_rows_includes_every_row_of_every_block(rows: int) -> None:
    x = np.arange(2.0 * rows, dtype=np.float32).reshape(rows, 2) % 7
    np.testing.assert_array_equal(sum_rows(x), x.sum(0, np.float64))  # sums of integers are exact


def test_sum_rows_does_not_lose_small_terms() -> None:
    """A sequential float32 sum of 2²⁵ ones would stop at 2²⁴."""
    ones = np.ones((1 << 25, 1), np.float32)
    assert sum_rows(ones)[0] == 1 << 25
    assert np.isnan(sum_rows(np.array([[np.nan, 1.0]], np.float32))).tolist() == [True, False]
