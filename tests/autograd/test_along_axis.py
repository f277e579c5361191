"""cumsum, cumprod and prod: exact derivatives at zeros, and float32; the order of equal elements in sort."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygen.autograd as ag
from tinygen.autograd import Array, Tensor, grad
from tinygen.testing import check_grads

# Products of small integers are exact, so derivatives can be compared without a tolerance.
INTEGERS = hnp.arrays(np.float64, st.integers(1, 6), elements=st.sampled_from([0, 0, 1, -1, 2, -3]))


def without(x: Array, *left_out: int) -> float:
    return float(np.prod(np.delete(x, left_out)))


@given(x=INTEGERS)
def test_first_and_second_derivatives_of_prod_are_exact_at_zeros(x: Array) -> None:
    n = len(x)
    (by_x,) = grad(ag.prod(t := Tensor(x)), [t])
    assert by_x.value.tolist() == [without(x, i) for i in range(n)]
    hessian = [[0 if i == j else without(x, i, j) for j in range(n)] for i in range(n)]
    assert ag.hessian(ag.prod)(x).value.tolist() == hessian


@given(x=INTEGERS)
def test_first_and_second_derivatives_of_cumprod_are_exact_at_zeros(x: Array) -> None:
    n = len(x)
    jacobian = [[without(x[: i + 1], j) if j <= i else 0 for j in range(n)] for i in range(n)]
    assert ag.jacobian(ag.cumprod)(x).value.tolist() == jacobian
    expected = np.zeros((n, n))
    for last, i, j in np.ndindex(n, n, n):
        expected[i, j] += without(x[: last + 1], i, j) if i != j and max(i, j) <= last else 0
    assert ag.hessian(lambda t: ag.cumprod(t).sum())(x).value.tolist() == expected.tolist()


@pytest.mark.parametrize("f", [ag.prod, ag.cumprod])
@pytest.mark.parametrize("zeros", [[], [1], [0, 3], [0, 1, 2]])
def test_third_derivatives_with_zeros(f: Callable[..., Tensor], zeros: list[int], rng: np.random.Generator) -> None:
    x = rng.uniform(0.5, 1.5, 5)
    x[zeros] = 0
    # Σ x², because the first derivatives of a product with two zeros are all 0, which check_grads rejects.
    check_grads(lambda t: f(t) + (t * t).sum(), x, order=3, rng=rng)


def test_cumsum_of_float32_keeps_small_terms() -> None:
    n = 3 << 23  # a sequential float32 sum of ones stops at 2²⁴
    x = Tensor(np.ones(n, np.float32))
    y = ag.cumsum(x)
    assert y.dtype == np.float32
    assert y.value[-1] == n
    assert grad(y, [x], np.ones(n, np.float32))[0].value[0] == n


def test_products_of_float32_are_rounded_once() -> None:
    x = np.full(1 << 16, 1 + 2.0**-16, np.float32)
    expected = np.float32((1 + 2.0**-16) ** len(x))
    assert ag.prod(x).item() == expected
    assert ag.cumprod(x).value[-1] == expected


def test_sort_keeps_equal_elements_in_order_and_puts_nan_last() -> None:
    x = Tensor([3.0, np.nan, 1.0, 2.0, 1.0])  # a permutation that is not its own inverse
    y = ag.sort(x)
    np.testing.assert_array_equal(y.value, [1, 1, 2, 3, np.nan])
    (by_x,) = grad(y, [x], np.array([10.0, 20, 30, 40, 50]))
    np.testing.assert_array_equal(by_x.value, [40, 50, 10, 30, 20])
    many = Tensor(np.arange(200.0) % 3)  # NumPy sorts up to 16 numbers by a stable algorithm in any case
    (by_many,) = grad(ag.sort(many), [many], np.arange(200.0))
    np.testing.assert_array_equal(np.concatenate([by_many.value[i::3] for i in range(3)]), np.arange(200.0))


def test_the_other_elements_of_prod_may_overflow_with_x_only() -> None:
    """Each factor is in [0, 1e200], and so is each derivative; x̄ = y / x would be 0 / 0 or inf / inf."""
    x = Tensor([1e200, 0.0, 1e-200, 1e100])
    np.testing.assert_allclose(grad(ag.prod(x), [x])[0].value, [0, 1e100, 0, 0], rtol=1e-15)


@pytest.mark.parametrize(("dtype", "n"), [(np.float16, 8), (np.float32, 60)])
def test_the_other_elements_of_a_product_may_overflow_in_the_dtype_of_x(dtype: Any, n: int) -> None:
    """∂y/∂xₖ = y / xₖ, a product of two products: that of the first or last n elements is out of range."""
    x = np.array([0.125] * n + [8.0] * n, dtype)  # powers of 2 are exact
    for f in (ag.prod, lambda t: ag.cumprod(t)[-1]):
        y = f(t := Tensor(x))
        assert (y.item(), y.dtype) == (1, dtype)
        np.testing.assert_array_equal(grad(y, [t])[0].value, 1 / x)


@pytest.mark.parametrize("f", [ag.prod, ag.cumprod])
def test_products_are_not_taken_for_a_promotion_to_float64(f: Any, rng: np.random.Generator) -> None:
    """check_grads reports operations that turn float32 into float64; the float64 constant is no fault."""
    check_grads(lambda x: f(x) * np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]), rng=rng)
