"""Tensor, no_grad and primitive: the array interface, mixing tensors with NumPy arrays, gradient recording."""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen.autograd import Array, Parameter, Tensor, grad, no_grad


def test_no_grad_records_no_edges() -> None:
    x = Tensor(2.0)
    with no_grad():
        assert ag.exp(x).edges == ()
        with pytest.raises(ValueError, match="outside no_grad"):
            grad(ag.exp(x), [x])
    assert ag.exp(x).edges != ()


def test_no_grad_as_a_decorator_nested_and_after_errors() -> None:
    x = Tensor(2.0)

    @no_grad()  # type: ignore[untyped-decorator]
    def f() -> Tensor:
        with no_grad():
            pass
        return x * x

    assert f().edges == ()
    assert f().edges == ()  # the decorator is reusable
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert (x * x).edges != ()


def test_no_grad_applies_to_the_current_thread_only() -> None:
    x = Tensor(2.0)
    found: list[bool] = []
    with no_grad():
        thread = threading.Thread(target=lambda: found.append(bool((x * x).edges)))
        thread.start()
        thread.join()
    assert found == [True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("other", [2, 2.0, True, np.float64(2), np.float32(2), np.ones(3), np.ones(3, np.float32)])
@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_dtypes_follow_numpy(op: Callable[[Any, Any], Any], other: Any, dtype: type) -> None:
    array: Array = np.ones(3, dtype)
    for y, expected in ((op(Tensor(array), other), op(array, other)), (op(other, Tensor(array)), op(other, array))):
        assert type(y) is Tensor
        assert y.dtype == expected.dtype
        np.testing.assert_array_equal(y.value, expected)


def test_array_operators_with_a_tensor_return_tensors() -> None:
    a, x = np.ones((2, 2)), Tensor(np.full((2, 2), 2.0))
    results = [a + x, a - x, a * x, a / x, a**x, a @ x, np.float64(3) * x]
    assert all(type(y) is Tensor for y in results)
    np.testing.assert_array_equal(grad((a - x).sum(), [x])[0].value, -a)


def test_implicit_conversion_to_an_array_raises() -> None:
    x = Tensor(np.ones(2))
    for convert in (np.asarray, np.array):
        with pytest.raises(TypeError):
            convert(x)
    with pytest.raises(TypeError, match="expected an array, got a Tensor"):
        Tensor(x)


@pytest.mark.parametrize("value", [1j, "one", None, np.array(["a"])])
def test_tensor_rejects_values_that_are_not_real(value: Any) -> None:
    with pytest.raises(TypeError, match="expected real numbers"):
        Tensor(value)


def test_comparisons_return_arrays_and_tensors_hash_by_identity() -> None:
    x = Tensor(np.array([1.0, 2.0]))
    for y in (x == 1, x != 2, x < 2, x <= 1, x < np.array([2, 2]), x < 2):
        assert type(y) is np.ndarray
        np.testing.assert_array_equal(y, [True, False])
    np.testing.assert_array_equal(x > 1, [False, True])
    np.testing.assert_array_equal(x >= 2, [False, True])
    assert len({x, Tensor(x.value)}) == 2


def test_tensors_have_the_array_interface() -> None:
    x = Tensor(np.arange(6.0).reshape(2, 3))
    assert (x.shape, x.ndim, x.size, len(x), x.dtype.name) == ((2, 3), 2, 6, 2, "float64")
    assert x.T.shape == x.transpose().shape == (3, 2)
    assert x.transpose(1, 0).shape == x.reshape(3, 2).shape == x.reshape(3, -1).shape == (3, 2)
    assert x.transpose((1, 0)).shape == x.transpose(None).shape == x.reshape((3, 2)).shape == x.reshape([3, 2]).shape
    assert x.reshape(6).shape == x.reshape((6,)).shape == (6,)
    assert [row.shape for row in x] == [(3,), (3,)]
    assert (x.sum().item(), float(x.mean()), x.max().item()) == (15, 2.5, 5)
    assert x.sum(0).shape == x.mean(0).shape == x.max(0).shape == (3,)
    assert x.sum(1, keepdims=True).shape == (2, 1)
    assert (x.prod(1).value.tolist(), x.cumprod(1)[1, 2].item(), x.cumsum(0)[1, 2].item()) == ([0, 60], 60, 7)
    assert (x.var(1, 1, keepdims=True).value.tolist(), round(x.std(0)[0], 9)) == ([[1], [1]], 1.5)
    assert (x[:1].squeeze(0).shape, x.repeat(2, 1).shape, x.repeat([1, 2], axis=0).shape) == ((3,), (2, 6), (3, 3))
    assert abs(-x).value[1, 2] == 5
    assert bool(Tensor(1.0))
    assert "op=sum" in repr(x.sum())
    assert repr(Parameter([1.0])).startswith("Parameter(")


def test_primitive_rejects_the_name_of_another_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Tensor.__module__], "PRIMITIVES", dict(ag.PRIMITIVES))

    def add(a: Tensor, b: Tensor) -> Tensor:
        raise AssertionError

    with pytest.raises(ValueError, match=r"'add' is already an operation of tinygen\.autograd\.elementwise"):
        ag.primitive(add)
    ag.primitive(ag.add)  # registering the same function again is allowed, as in a notebook


def test_scalar_tensors_support_format_int_and_round() -> None:
    x = Tensor(2.34567)
    assert (f"{x:.3f}", int(x), round(x, 1)) == ("2.346", 2, 2.3)
    assert f"{x}" == str(x)
    with pytest.raises(TypeError, match="format"):
        f"{Tensor(np.ones(2)):.3f}"


def test_missing_attributes_and_functions_name_the_alternative() -> None:
    """NumPy functions called on tensors, and attributes that PyTorch users expect."""
    x: Any = Tensor(np.ones((2, 3)))
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)
    functions: Any = np.sum, np.prod, np.cumsum, np.cumprod, np.var, np.std, np.sort, np.squeeze, np.linalg.norm
    calls: list[Any] = [*(partial(f, x) for f in functions), lambda: np.stack([x]), lambda: np.where(True, x, 0)]
    calls.append(lambda: np.einsum("ij->j", x))
    for call in calls:
        with pytest.raises(TypeError, match=r"call tinygen\.autograd"):
            call()
    alternatives = {
        "backward": r"grad\(",
        "grad": r"grad\(",
        "detach": r"Tensor\(x",
        "numpy": r"x\.value",
        "sort": r"autograd\.sort",
    }
    for name, alternative in alternatives.items():
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; .*{alternative}"):
            getattr(x, name)
    assert not hasattr(x, "other")
