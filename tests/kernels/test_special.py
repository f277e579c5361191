"""erf and the normal distribution function against Python's math module. Far tails: autograd/test_special.py."""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygen.kernels.special import erf, log_ndtr, ndtr_slope, ndtri_sigmoid

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def ndtr(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


@given(hnp.arrays(np.float64, SHAPES, elements=st.floats(-30, 30)))
def test_functions_match_the_math_module(x: np.ndarray) -> None:
    functions: list[tuple[Any, Any]] = [
        (erf, math.erf),
        (log_ndtr, lambda v: math.log(ndtr(v)) if v < 0 else math.log1p(-ndtr(-v))),
        (ndtr_slope, lambda v: math.exp(-0.5 * v * v) / math.sqrt(2 * math.pi) / ndtr(v)),
    ]
    for ours, expected in functions:
        y = ours(x)
        assert y.shape == x.shape
        assert y.dtype == np.float64
        # rtol: the density's exponent, up to 450, is rounded before it is exponentiated.
        np.testing.assert_allclose(y, np.reshape([expected(v) for v in x.ravel()], x.shape), rtol=3e-13)


@given(hnp.arrays(np.float64, SHAPES, elements=st.floats(-1e4, 1e4)))
def test_ndtri_sigmoid_inverts_the_logit_of_ndtr(x: np.ndarray) -> None:
    logit = log_ndtr(x) - log_ndtr(-x)
    np.testing.assert_allclose(ndtri_sigmoid(logit), x, rtol=1e-15, atol=1e-15)


def test_log_ndtr_for_large_arrays_of_any_layout_and_dtype() -> None:
    x = np.linspace(-6, 27, 20_000).reshape(100, 200)
    for view in (x, x.T, x[::-1, ::3]):
        np.testing.assert_allclose(log_ndtr(view), np.vectorize(lambda v: log_ndtr(np.array(v)))(view), rtol=1e-15)
    assert log_ndtr(x.astype(np.float32)).dtype == np.float32
    assert log_ndtr(np.arange(3)).dtype == np.float64
