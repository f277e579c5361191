"""Products of large arrays are bitwise those of NumPy, for every dtype, shape and memory layout."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels import elementwise
from tinygen.kernels.elementwise import multiply
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-45, 3e38, 1e-30], np.float32)


@given(n=st.integers(1, 40), m=st.integers(1, 40), seed=st.integers(0, 1000), threads=st.integers(1, 3))
def test_kernel_equals_numpy(n: int, m: int, seed: int, threads: int) -> None:
    a, b = np.random.default_rng(seed).choice(np.append(SPECIAL, [1.5, -0.1]), (2, n, m)).astype(np.float32)
    before = get_num_threads()
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(elementwise, "_LARGE", 1)
        patch.setattr(elementwise, "_GRAIN", 7)
        set_num_threads(threads)
        try:
            y = multiply(a, b)
        finally:
            set_num_threads(before)
        np.testing.assert_array_equal(y.view(np.uint32) * ~np.isnan(y), (a * b).view(np.uint32) * ~np.isnan(a * b))
        np.testing.assert_array_equal(y, a * b, strict=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(np.float64),
        lambda x: x.T,
        lambda x: x[::-1],
        lambda x: x[:1],
        lambda x: x > 0,
        lambda x: 2.0,
        lambda x: np.float32(0.5),
        lambda x: np.broadcast_to(x[:1], x.shape),
    ],
)
def test_other_operands_are_those_of_numpy(change: Any) -> None:
    x = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32)
    assert x.size > elementwise._LARGE
    for a, b in ((x, change(x)), (change(x), x)):
        y, expected = multiply(a, b), a * b
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y, expected)
    with pytest.raises(ValueError, match="could not be broadcast together"):
        multiply(x, x[:, :-1])
