"""Fused operations equal their plain forms, in value and in derivatives of the first and second order."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import Tensor, grad
from tinygen.autograd import gate, sigmoid, split, tanh

SHAPES = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([2, 6, 34]))


def plain_gate(x: Tensor) -> Tensor:
    a, b = split(x, 2, axis=-1)
    return tanh(a) * sigmoid(b)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-6)]
)  # 1e-6: float32 has 7 digits
@given(shape=SHAPES, seed=st.integers(0, 2**32))
def test_gate_equals_its_plain_form(dtype: Any, tolerance: float, shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = Tensor(rng.normal(size=shape).astype(dtype) * 3)
    g = rng.normal(size=(*shape[:-1], shape[-1] // 2)).astype(dtype)
    fused, plain = gate(x), plain_gate(x)
    assert fused.dtype == dtype
    np.testing.assert_allclose(fused.value, plain.value, rtol=tolerance, atol=tolerance)
    fused_grad, plain_grad = grad(fused, [x], g)[0], grad(plain, [x], g)[0]
    assert fused_grad.dtype == dtype
    np.testing.assert_allclose(fused_grad.value, plain_grad.value, rtol=tolerance, atol=tolerance)
    taped = grad(fused, [x], g, create_graph=True)[0]
    np.testing.assert_allclose(taped.value, plain_grad.value, rtol=tolerance, atol=tolerance)


def test_gate_refuses_an_odd_axis() -> None:
    with pytest.raises(ValueError, match="gate: the last axis"):
        gate(np.zeros((2, 3)))
