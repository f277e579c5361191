"""The complementary error function against that of Python's math, number by number."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygen.autograd.kernels.special import erfc

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@given(hnp.arrays(np.float64, SHAPES, elements=st.floats(-30, 30) | st.sampled_from([math.inf, -math.inf, math.nan])))
def test_erfc_is_that_of_math(x: np.ndarray) -> None:
    y = erfc(x)
    assert y.shape == x.shape
    assert y.dtype == np.float64
    # Two builds of one library's function, which is good to a unit in the last place.
    np.testing.assert_allclose(y, np.reshape([math.erfc(v) for v in x.ravel()], x.shape), rtol=1e-15, atol=0)


def test_many_numbers_in_any_order_of_memory() -> None:
    x = np.linspace(-6, 27, 20_000).reshape(100, 200)
    for view in (x, x.T, x[::-1, ::3]):
        np.testing.assert_allclose(erfc(view), np.vectorize(math.erfc)(view), rtol=1e-15, atol=0)
