"""value_and_grad, vjp, jvp, jacobian, hessian and hvp against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen.autograd import Parameter, Tensor, no_grad

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 3))
X = RNG.normal(size=3)
V = RNG.normal(size=3)


def assert_near(actual: Tensor, expected: Any) -> None:
    np.testing.assert_allclose(actual.value, expected, rtol=1e-12, atol=1e-14)


def cubic(x: Tensor) -> Tensor:
    """⟨x³, A x⟩"""
    return ag.sum(x**3 * (A @ x))


CUBIC_GRADIENT = 3 * X**2 * (A @ X) + A.T @ X**3
CUBIC_HESSIAN = np.diag(6 * X * (A @ X)) + 3 * X[:, None] ** 2 * A + 3 * A.T * X[None, :] ** 2


def outer(x: Tensor) -> Tensor:
    """x xᵀ"""
    return ag.reshape(x, (3, 1)) * ag.reshape(x, (1, 3))


EYE = np.eye(3)
OUTER_JACOBIAN = EYE[:, None, :] * X[None, :, None] + X[:, None, None] * EYE[None, :, :]


def test_value_and_grad_differentiates_the_first_argument() -> None:
    value, gradient = ag.value_and_grad(cubic)(Tensor(X))
    assert_near(value, np.sum(X**3 * (A @ X)))
    assert_near(gradient, CUBIC_GRADIENT)
    assert value.edges == ()


def test_value_and_grad_with_explicit_inputs() -> None:
    w, b = Parameter([1.0, 2.0], np.float64), Parameter([3.0], np.float64)

    def loss(x: Any, scale: float = 1.0) -> Tensor:
        return scale * ag.sum(w * x + b)

    value, gradients = ag.value_and_grad(loss, [w, b])(np.array([5.0, 7.0]), scale=2.0)
    assert value.item() == 50
    assert_near(gradients[0], [10, 14])
    assert_near(gradients[1], [4])


def test_value_and_grad_raises_the_errors_of_grad() -> None:
    unused = Parameter(np.ones(2))
    with pytest.raises(ValueError, match=r"inputs\[0\]: expected .* shape \(2,\) that does"):
        ag.value_and_grad(cubic, [unused])(Tensor(X))
    assert not ag.value_and_grad(cubic, [unused], allow_unreached=True)(Tensor(X))[1][0].value.any()
    with pytest.raises(ValueError, match="output: expected one element"):
        ag.value_and_grad(outer)(Tensor(X))


def test_vjp_and_jvp_match_the_jacobian() -> None:
    g = RNG.normal(size=(3, 3))
    y, pull_back = ag.vjp(outer, X)
    assert_near(y, np.outer(X, X))
    assert_near(pull_back(g)[0], np.tensordot(g, OUTER_JACOBIAN, 2))
    y, dy = ag.jvp(outer, [X], [V])
    assert_near(y, np.outer(X, X))
    assert_near(dy, OUTER_JACOBIAN @ V)


def test_jvp_of_several_inputs() -> None:
    b, db = RNG.normal(size=(2, 3))
    y, dy = ag.jvp(lambda a, b: ag.sin(a) * b, [X, b], [V, db])
    assert_near(y, np.sin(X) * b)
    assert_near(dy, np.cos(X) * V * b + np.sin(X) * db)
    with pytest.raises(ValueError, match=r"tangents\[0\]: expected the shape of its input, \(3,\), got \(2,\)"):
        ag.jvp(outer, [X], [np.ones(2)])


def test_jacobian_hessian_and_hvp_match_closed_forms() -> None:
    assert_near(ag.jacobian(outer)(X), OUTER_JACOBIAN)
    assert_near(ag.hessian(cubic)(X), CUBIC_HESSIAN)
    assert_near(ag.hvp(cubic, X, V), CUBIC_HESSIAN @ V)
    assert ag.jacobian(lambda x: x[:0])(X).shape == (0, 3)
    assert_near(ag.jacobian(cubic)(X), CUBIC_GRADIENT)


def test_constant_functions_have_zero_derivatives() -> None:
    assert_near(ag.jacobian(lambda x: Tensor(np.ones(2)))(X), np.zeros((2, 3)))
    assert_near(ag.jvp(lambda x: Tensor(np.ones(2)), [X], [V])[1], np.zeros(2))
    assert_near(ag.vjp(lambda x: Tensor(np.ones(2)), X)[1](np.ones(2))[0], np.zeros(3))
    assert_near(ag.hessian(lambda x: ag.sum(x))(X), np.zeros((3, 3)))
    assert_near(ag.hvp(lambda x: ag.sum(x), X, V), np.zeros(3))


THIRD: dict[str, Callable[[Tensor], Tensor]] = {
    "jacobian of jacobian of jacobian": ag.jacobian(ag.jacobian(ag.jacobian(cubic))),
    "jacobian of hessian": ag.jacobian(ag.hessian(cubic)),
    "hessian of jvp": lambda x: ag.stack([ag.hessian(lambda x, e=e: ag.jvp(cubic, [x], [e])[1])(x) for e in EYE], 2),
    "jacobian of hvp": lambda x: ag.stack([ag.jacobian(lambda x, e=e: ag.hvp(cubic, x, e))(x) for e in EYE], 2),
}


@pytest.mark.parametrize("name", THIRD)
def test_third_derivatives_by_nesting(name: str) -> None:
    expected = np.zeros((3, 3, 3))
    for i, j, k in np.ndindex(3, 3, 3):
        # Two kinds of terms of ⟨x³, A x⟩: x³ is differentiated three times, or x³ twice and A x once.
        expected[i, j, k] = (i == j == k) * 6 * (A @ X)[i]
        expected[i, j, k] += 6 * ((i == j) * X[i] * A[i, k] + (i == k) * X[i] * A[i, j] + (j == k) * X[j] * A[j, i])
    assert_near(THIRD[name](Tensor(X)), expected)


def test_derivatives_inside_no_grad() -> None:
    with no_grad():
        assert_near(ag.value_and_grad(cubic)(Tensor(X))[1], CUBIC_GRADIENT)
        assert_near(ag.vjp(cubic, X)[1](1.0)[0], CUBIC_GRADIENT)
        assert_near(ag.jvp(cubic, [X], [V])[1], CUBIC_GRADIENT @ V)
        assert_near(ag.jacobian(outer)(X), OUTER_JACOBIAN)
        assert_near(ag.hessian(cubic)(X), CUBIC_HESSIAN)
        assert_near(ag.hvp(cubic, X, V), CUBIC_HESSIAN @ V)


def test_results_record_no_edges_inside_no_grad() -> None:
    x = Tensor(X)
    with no_grad():
        y, pull_back = ag.vjp(outer, x)
        results = [y, *pull_back(EYE), *ag.jvp(outer, [x], [V]), *ag.value_and_grad(cubic)(x)]
        results += [ag.jacobian(outer)(x), ag.hessian(cubic)(x), ag.hvp(cubic, x, V)]
    assert [result.edges for result in results] == [()] * len(results)
    y, dy = ag.jvp(outer, [x], [V])
    assert all(result.edges for result in (y, dy, ag.jacobian(outer)(x), ag.hvp(cubic, x, V)))


def test_gradient_penalty_is_differentiable_in_the_parameters() -> None:
    """The penalty (|∂D/∂x| − 1)² of a critic D, differentiated with respect to D's weights."""
    w = Parameter(X, np.float64)

    def penalty() -> Tensor:
        (g,) = ag.grad(ag.sum(ag.sin(ag.sum(w * x))), [x], create_graph=True)
        return (ag.sqrt(ag.sum(g * g)) - 1) ** 2

    x = Tensor(V)
    _, (gradient,) = ag.value_and_grad(penalty, [w])()
    s, norm = X @ V, np.linalg.norm(X)
    slope = abs(np.cos(s)) * X / norm - np.sign(np.cos(s)) * np.sin(s) * norm * V
    assert_near(gradient, 2 * (norm * abs(np.cos(s)) - 1) * slope)


def test_a_tensor_passed_twice_is_differentiated_per_argument() -> None:
    """The arguments are independent variables, even if one tensor is passed twice or is also captured by f."""
    x = Tensor(X)
    (gradient,) = ag.grad(cubic(x), [x], create_graph=True)
    for y in (
        *ag.vjp(lambda a, b: a * b, x, x)[1](np.ones(3)),
        ag.value_and_grad(lambda a, b: ag.sum(a * b))(x, x)[1],
        ag.jacobian(lambda a: ag.sum(a * x))(x),
        ag.jvp(lambda a, b: a * b, [x, x], [np.ones(3), np.zeros(3)])[1],
    ):
        assert_near(y, X)
    assert_near(ag.hvp(lambda a: ag.sum(a * a), x, x), 2 * X)
    assert_near(ag.hvp(cubic, x, gradient), CUBIC_HESSIAN @ CUBIC_GRADIENT)
    assert_near(ag.jacobian(lambda a: ag.jacobian(lambda b: ag.sum(a * a * b))(x))(x), 2 * np.diag(X))


def test_hessian_of_a_constant_or_linear_function_is_zero() -> None:
    x = Tensor(np.ones(2))
    for f in (lambda x: Tensor(3.0), lambda x: x.sum()):
        np.testing.assert_array_equal(ag.hessian(f)(x).value, np.zeros((2, 2)))
        np.testing.assert_array_equal(ag.hvp(f, x, np.ones(2)).value, np.zeros(2))


def test_jvp_takes_generators() -> None:
    y, tangent = ag.jvp(lambda a, b: a * b, (x for x in [2.0, 3.0]), (x for x in [1.0, 10.0]))
    assert (y.item(), tangent.item()) == (6, 23)
