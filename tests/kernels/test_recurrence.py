"""linear_recurrence against a loop, for any shape and memory layout, and on several threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygen.kernels.recurrence import linear_recurrence
from tinygen.testing import strategies as draws


def by_a_loop(a: Any, b: Any) -> Any:
    y = np.zeros(a.shape)
    for i in range(a.shape[-1]):
        y[..., i] = b[..., i] + (a[..., i] * y[..., i - 1] if i else 0)
    return y


@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    data=st.data(),
    rng=draws.rngs(),
)
def test_matches_a_loop(shape: tuple[int, ...], dtype: Any, data: st.DataObject, rng: np.random.Generator) -> None:
    a, b = (data.draw(draws.layouts(rng.integers(-2, 3, shape).astype(dtype))) for _ in range(2))
    y = linear_recurrence(a, b)
    assert (y.shape, y.dtype) == (shape, dtype)
    np.testing.assert_array_equal(y, by_a_loop(a, b))  # small integers: every term is exact


def test_many_rows_and_a_wrong_shape(rng: np.random.Generator) -> None:
    a, b = rng.uniform(-1, 1, (2, 3000, 70))
    np.testing.assert_allclose(linear_recurrence(a, b), by_a_loop(a, b), rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match=r"b: expected shape \(3000, 70\), got \(3000,\)"):
        linear_recurrence(a, b[:, 0])
