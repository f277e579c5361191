"""var, std and norm: numbers far from 0, equal numbers, and subgradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen.autograd import Tensor, grad

ORDERS = [None, 1, 2, 3, 1.5, np.inf, -np.inf]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_std_of_equal_numbers_and_its_derivatives_are_zero(dtype: Any) -> None:
    """The mean of three times 0.1 is not 0.1 in float64: x − mean x would be 10⁻¹⁷, and the derivative of order 1."""
    x = Tensor(np.full((3, 2), 0.1, dtype))
    for f in (ag.std, lambda t: ag.std(t, 0, 1).sum()):
        assert f(x).item() == 0
        (first,) = grad(f(x), [x], create_graph=True)
        (second,) = grad((first * np.arange(6, dtype=dtype).reshape(3, 2)).sum(), [x], allow_unreached=True)
        assert not first.value.any()
        assert not second.value.any()


def test_variance_far_from_zero_keeps_its_digits() -> None:
    offsets = np.arange(5.0)
    assert ag.var(1e15 + offsets).item() == 2
    assert ag.var((2.0**23 + offsets).astype(np.float32)).item() == 2
    assert ag.var(np.array([1e8, 0, 0, 0])).item() == pytest.approx(1e16 * 3 / 16, rel=1e-14)


def test_variance_of_many_float16_numbers_does_not_overflow() -> None:
    assert ag.var(np.tile(np.array([-1, 1], np.float16), 40_000)).item() == 1


@pytest.mark.parametrize("ord", ORDERS)
def test_norm_has_derivatives_of_zero_at_zero(ord: Any) -> None:
    x = Tensor(np.zeros((2, 3)))
    y = ag.norm(x, ord, None if ord is None else 1)
    assert not y.value.any()
    (first,) = grad(y.sum(), [x], create_graph=True)
    (second,) = grad((first * np.ones(3)).sum(), [x], allow_unreached=True)
    assert not first.value.any()
    assert not second.value.any()


@pytest.mark.parametrize("ord", [1, 1.5, 2, 3])
def test_norm_of_a_vector_with_zeros_has_their_subgradient(ord: Any) -> None:
    x = Tensor([0.0, -3.0, 0.0, 4.0])
    y = ag.norm(x, ord)
    (by_x,) = grad(y, [x])
    expected = np.sign(x.value) * (np.abs(x.value) / y.item()) ** (ord - 1)
    np.testing.assert_allclose(by_x.value, expected, rtol=1e-14)


def test_norm_of_float32_does_not_overflow_or_underflow() -> None:
    for scale in (1e-30, 1e30):
        x = Tensor(np.array([3, 4], np.float32) * np.float32(scale))
        np.testing.assert_allclose(ag.norm(x).item(), 5 * scale, rtol=1e-6)  # float32 rounding
        np.testing.assert_allclose(grad(ag.norm(x), [x])[0].value, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize(("dtype", "large"), [(np.float16, 6e4), (np.float32, 1e25), (np.float64, 1e160)])
@pytest.mark.parametrize("p", [0.5, 1, 1.5])
def test_slope_of_a_p_norm_at_a_number_that_is_tiny_beside_another(p: float, dtype: Any, large: float) -> None:
    """Their ratio is 0 in this dtype; with p = 1.5 and float16, so is the slope, √(1.7·10⁻⁹)."""
    x = np.array([1 / large, -large], dtype)
    t = Tensor(x)
    y = ag.norm(t, p, 0)
    slope = [float(abs(each) / y.value) ** (p - 1) for each in x.astype(float)]
    np.testing.assert_allclose(grad(y, [t])[0].value, np.multiply(slope, [1, -1]), rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("p", [0.5, 3, 20])
def test_p_norms_of_float32_do_not_overflow_or_underflow(p: float) -> None:
    """Compare rows of large, tiny and zero elements with float64, in which the powers are in range."""
    x = np.array([[3e12, -4e12, 0], [5e-10, 4e-10, -4.5e-10], [0, 0, 0]], np.float32)
    for axis, keepdims in ((1, False), (0, True)):
        t, wide = Tensor(x), x.astype(float)
        y = ag.norm(t, p, axis, keepdims)
        expected = np.sum(np.abs(wide) ** p, axis, keepdims=True) ** (1 / p)
        slope = np.sign(wide) * (np.where(wide == 0, 1, np.abs(wide)) / np.where(expected == 0, 1, expected)) ** (p - 1)
        np.testing.assert_allclose(y.value, expected if keepdims else expected.squeeze(axis), rtol=4e-6)
        by_x = grad(y.sum(), [t])[0].value
        # A slope of a power below the least float32 is 0.
        np.testing.assert_allclose(by_x[x != 0], slope[x != 0], rtol=4e-6, atol=1e-37)
        assert not by_x[x == 0].any()
