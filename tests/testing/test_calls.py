"""Conversion of results, and what holds for every function that a check calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Tensor
from tinygen.testing import check_adjoint, check_gradient
from tinygen.testing.calls import Function, as_array, check_input

X = np.array([[1.0, 2.0]])


def test_as_array_converts_and_copies() -> None:
    for result in (X, Tensor(X), [[1.0, 2.0]], [np.array([1.0, 2.0])]):
        y = as_array(result)
        assert y.tolist() == X.tolist()
        assert not np.shares_memory(y, X)
    assert as_array(np.float32(2)).dtype == np.float32


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "an array of real numbers, got NoneType"),
        ("text", "got str"),
        ([[1.0], [1.0, 2.0]], "got list"),
        (X + 1j, "got ndarray of complex128"),
        ({"z": X}, "got dict"),
    ],
)
def test_as_array_names_what_is_not_an_array_of_numbers(result: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        as_array(result)


def test_as_array_of_pytorch_tensors() -> None:
    torch = pytest.importorskip("torch")
    x = torch.ones(2, requires_grad=True)
    y = as_array(x)
    assert y.dtype == np.float32
    y[0] = 5
    assert x.tolist() == [1, 1]
    assert as_array(torch.ones(2).t().conj()).tolist() == [1, 1]
    with pytest.raises(TypeError, match=r"real numbers, got Tensor of torch\.bfloat16"):
        as_array(torch.ones(2, dtype=torch.bfloat16))


def test_a_function_that_returns_its_buffer_does_not_alias_earlier_results() -> None:
    buffer = np.zeros_like(X)
    f = Function("check", "f", lambda x: np.multiply(x, 2, out=buffer), ["x"])
    first, _ = f(X), f(0 * X)
    assert first.tolist() == [[2, 4]]


def test_signatures_are_checked_before_the_first_call() -> None:
    Function("check", "f", lambda x, scale=1.0: x, ["x"])
    Function("check", "f", np.sin, ["x"])
    with pytest.raises(
        TypeError, match=r"f: expected a function that can be called as f\(x, context\), got .* \(x\): too"
    ):
        Function("check", "f", lambda x: x, ["x", "context"])
    with pytest.raises(TypeError, match=r"f: expected a function that can be called as f\(x\), got ndarray"):
        Function("check", "f", X, ["x"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"convert: expected a function such as torch.from_numpy, got str"):
        Function("check", "f", np.sin, ["x"], "torch")  # type: ignore[arg-type]


def test_errors_inside_a_function_keep_their_type_and_say_how_it_was_called() -> None:
    def f(x: Any) -> Any:
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside") as caught:
        Function("check_vjp", "f", f, ["x"])(X)
    note = "check_vjp: raised by f, which was called with float64 of shape (1, 2); for a function of PyTorch"
    assert caught.value.__notes__[0].startswith(note)


def test_inputs_that_are_not_arrays_are_named() -> None:
    for wrong in ([1.0], None, 1.0, "x", Tensor(X)):
        with pytest.raises(TypeError, match="x: expected a NumPy array, got"):
            check_input("x", wrong)
    with pytest.raises(TypeError, match=r"x: expected float64 or float32, got int64; use x.astype\(np.float64\)"):
        check_input("x", np.ones((2, 2), int))
    with pytest.raises(TypeError, match="got float16"):
        check_input("x", np.ones((2, 2), np.float16), kinds="fiu")
    with pytest.raises(ValueError, match="x: expected finite numbers, got 1 of 2 that are NaN"):
        check_input("x", np.array([1.0, np.nan]))
    with pytest.raises(
        ValueError, match=r"x: expected at least 2 examples along axis 0, got an array of shape \(1, 2\)"
    ):
        check_input("x", X, least=2)


def test_arithmetic_of_arrays_without_axes_reaches_the_function_as_an_array() -> None:
    """`x + h` of an array x of shape () is an np.float64, which torch.exp does not take."""
    f = Function("check", "f", lambda x: float(isinstance(x, np.ndarray)), ["x"])
    assert f(np.array(0.5) + 1.0) == 1


def test_gradients_of_pytorch_functions_of_one_number(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    check_gradient(torch.exp, torch.exp, 0.5, rng=rng, convert=torch.from_numpy)
    check_adjoint(
        lambda x: x * torch.ones(3, dtype=torch.float64), lambda y: y.sum(), (), (3,), rng=rng, convert=torch.from_numpy
    )
