"""Parameter: assignment, and graphs that it invalidates."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Parameter, Tensor, grad


def test_grad_rejects_a_parameter_assigned_after_use() -> None:
    w = Parameter(np.ones(2))
    loss = (w * w).sum()
    w.assign(np.zeros(2))
    with pytest.raises(RuntimeError, match=r"parameter of shape \(2,\) was assigned a new value after 'multiply'"):
        grad(loss, [w])
    np.testing.assert_array_equal(grad((w * w).sum(), [w])[0].value, [0, 0])


def test_assigning_a_parameter_that_no_vjp_reads_is_allowed() -> None:
    """A GAN's critic may be differentiated after the generator's update: its VJPs read only the stored images."""
    g, d = Parameter([3.0]), Parameter([5.0])
    loss = (g * 2 * d).sum()
    g.assign(np.array([7.0]))
    assert grad(loss, [d])[0].item() == 6
    with pytest.raises(RuntimeError, match="after 'multiply' used it"):
        grad(loss, [g])
    with pytest.raises(RuntimeError, match="after 'multiply' used it"):
        grad(loss, [g], allow_unreached=True)


def test_grad_rejects_a_reassigned_parameter_that_a_vjp_reads() -> None:
    """∂(g d)/∂d is g, so the VJP reads the parameter g although it is not an input."""
    g, d = Parameter([3.0]), Parameter([5.0])
    loss = (g * d).sum()
    g.assign(np.array([7.0]))
    with pytest.raises(RuntimeError, match="after 'multiply' used it"):
        grad(loss, [d])


def test_assign_keeps_dtype_and_shape() -> None:
    w = Parameter(np.ones(2))
    old = w.value
    w.assign(np.zeros(2, np.float64))
    assert w.dtype == np.float32
    np.testing.assert_array_equal(old, [1, 1])  # assign does not write into the old array
    with pytest.raises(ValueError, match=r"value: expected shape \(2,\), got \(3,\)"):
        w.assign(np.zeros(3))


def test_parameter_values_change_only_by_assign() -> None:
    a = np.ones(2, np.float32)
    w = Parameter(a)
    a[:] = 7
    np.testing.assert_array_equal(w.value, [1, 1])
    with pytest.raises(AttributeError, match="assign"):
        w.value = np.zeros(2)
    w.assign(Tensor([3.0, 4.0]), np.float64)
    assert w.dtype == np.float64
    twin = copy.deepcopy(w)
    assert type(twin) is Parameter
    np.testing.assert_array_equal(twin.value, [3, 4])


def test_assigned_array_is_copied() -> None:
    p, value = Parameter([1.0, 2.0]), np.array([3, 4], np.float32)
    p.assign(value)
    value[:] = 0
    np.testing.assert_array_equal(p.value, [3, 4])


@pytest.mark.parametrize(("dtype", "number"), [(np.float32, 1e39), (np.float16, -1e5)])
def test_finite_numbers_do_not_become_infinite(dtype: Any, number: float) -> None:
    p = Parameter([1.0, 2.0], dtype)
    with pytest.raises(ValueError, match=f"value: expected numbers in the range of {np.dtype(dtype)}, got 1e"):
        p.assign(np.array([np.inf, number]))
    np.testing.assert_array_equal(p.value, [1, 2])
    p.assign(np.array([np.inf, np.nan]))  # what is not finite already stays so
    np.testing.assert_array_equal(p.value, [np.inf, np.nan])


@pytest.mark.parametrize("value", [[1j], ["1"], [None]])
def test_numbers_must_be_real(value: Any) -> None:
    t = Tensor([1.0])
    for use in (Parameter, Parameter([1.0]).assign, lambda seed: grad(t * 2, [t], seed)):
        with pytest.raises(TypeError, match=r"(value|cotangent): expected real numbers, got (complex128|<U1|object)"):
            use(value)


def test_numbers_must_be_in_the_range_of_the_dtype() -> None:
    t = Tensor(np.ones(1, np.float32))
    for use in (Parameter, Parameter([1.0]).assign, lambda seed: grad(t * 2, [t], seed)):
        with pytest.raises(ValueError, match=r": expected numbers in the range of float32, got 1e\+39"):
            use([1e39])
    with pytest.raises(ValueError, match=r"value: expected numbers in the range of int8, got 300 to 300"):
        Parameter([300], np.int8)
