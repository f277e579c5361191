"""NumPy functions called with tensors: every error names what to call; operators compute tensors from either side."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen.autograd import Tensor, grad
from tinygen.autograd.numpy_calls import COMPARISONS, OPERATORS, RENAMED

UFUNCS = {ufunc.__name__: ufunc for ufunc in vars(np).values() if isinstance(ufunc, np.ufunc)}
FUNCTIONS = {
    f"{prefix}{name}": function
    for prefix, module in (("", np), ("linalg.", np.linalg), ("fft.", np.fft))
    for name, function in vars(module).items()
    if hasattr(function, "_implementation")  # NumPy's mark of functions that dispatch to __array_function__
}
COMPUTED = {"shape", "ndim", "size"}


def check_error_says_what_to_call(name: str, call: Callable[[], Any]) -> None:
    with pytest.raises(TypeError) as caught:
        call()
    message = str(caught.value)
    operation = RENAMED.get(name, name.split(".")[-1])
    instead = f"call tinygen.autograd.{operation}, or pass" if operation in ag.__all__ else "without derivatives, pass"
    assert message == f"np.{name}: expected arrays, got a Tensor; {instead} tensor.value"


@pytest.mark.parametrize("name", sorted(UFUNCS))
def test_every_ufunc_names_what_to_call_or_computes_an_operator(name: str) -> None:
    ufunc, array = UFUNCS[name], np.array([[2.0, 3.0], [1.0, 2.0]])
    x = Tensor(array + 1)
    if ufunc in OPERATORS:
        assert np.array_equal(ufunc(array, x).value, ufunc(array, x.value))
        assert isinstance(ufunc(x, array), Tensor)
    elif ufunc in COMPARISONS:
        assert np.array_equal(ufunc(array, x), ufunc(array, x.value))
    else:
        check_error_says_what_to_call(name, lambda: ufunc(*[x] * ufunc.nin))
        if ufunc.nin == 2:
            check_error_says_what_to_call(name, lambda: ufunc(array, x))
    if ufunc.nout == 1:
        check_error_says_what_to_call(name, lambda: ufunc(*[x] * ufunc.nin, out=array))
    if ufunc.nin == 2 and ufunc.nout == 1 and not ufunc.signature:
        check_error_says_what_to_call(f"{name}.reduce", lambda: ufunc.reduce(x))


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - COMPUTED))
def test_every_array_function_names_what_to_call(name: str) -> None:
    function, x = FUNCTIONS[name], Tensor(np.ones((2, 2)))
    required = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    sequences = [p.name in ("arrays", "tup", "choicelist") and p.kind is not p.VAR_POSITIONAL for p in required]
    arguments = [[x] if sequence else x for sequence in sequences]
    own_name = f"{function.__module__}.{function.__name__}".removeprefix("numpy.")
    check_error_says_what_to_call(own_name, lambda: function(*arguments))


def test_renamed_functions_and_their_operations_exist() -> None:
    for name, operation in RENAMED.items():
        assert operator.attrgetter(name)(np)
        assert operation in ag.__all__


@pytest.mark.parametrize(
    "left", [np.array([1.0, 2.0]), np.float32(3), np.array(2.0), np.int64(2), np.array([True, False])]
)
@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_operators_with_an_array_on_the_left_record_the_gradient(op: Callable[[Any, Any], Any], left: Any) -> None:
    x = Tensor([1.5, 2.5])
    y = op(left, x)
    assert np.array_equal(y.value, op(left, x.value))
    assert np.array_equal(grad(y.sum(), [x])[0].value, grad(op(Tensor(left), x).sum(), [x])[0].value)
    with pytest.raises(TypeError, match=r"np\.floor_divide: expected arrays, got a Tensor"):
        left // x


def test_in_place_operators_of_an_array_raise() -> None:
    x = np.ones(2)
    with pytest.raises(TypeError, match=r"np\.add: expected arrays, got a Tensor; call tinygen\.autograd\.add"):
        x += Tensor(x)
