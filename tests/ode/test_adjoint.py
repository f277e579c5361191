"""Adjoint method: gradients against closed forms, gradients through the solver, and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygen.autograd import Tensor, grad, sin, tanh
from tinygen.ode import Adaptive, FixedStep, Solver, State, solve_with_adjoint
from tinygen.testing import check_grads

TIGHT = Adaptive(1e-10, 1e-10)


def test_gradients_match_closed_form() -> None:
    # y = y₀ exp(θ t), so ∂y/∂y₀ = exp(θ t) and ∂y/∂θ = t y.
    start, rate = Tensor(np.array([2.0])), Tensor(np.array(-0.7))
    solution = solve_with_adjoint(lambda t, y: (rate * y[0],), (start,), 0.0, 1.5, solver=TIGHT, inputs=[rate])
    start_gradient, rate_gradient = grad(solution.y[0], [start, rate])
    np.testing.assert_allclose(start_gradient.value, [math.exp(-1.05)], rtol=1e-8)
    np.testing.assert_allclose(rate_gradient.value, 1.5 * 2 * math.exp(-1.05), rtol=1e-8)
    assert solution.evaluations > 0


@pytest.mark.parametrize("solver", [TIGHT, FixedStep(100)], ids=["adaptive", "fixed"])
@pytest.mark.parametrize(("t0", "t1"), [(0.0, 1.0), (1.0, -0.5)])
def test_gradients_match_those_through_the_solver(
    solver: Solver, t0: float, t1: float, rng: np.random.Generator
) -> None:
    x, total, w, phase = (Tensor(rng.normal(size=shape)) for shape in ((4, 3), (4,), (3, 3), ()))

    def field(t: float, y: State) -> State:
        return tanh(y[0] @ w + sin(phase + 2 * t)), (y[0] * y[0]).sum(1)  # independent of the second part of y

    def loss(state: State) -> Tensor:
        x, total = state
        return (x * np.arange(3.0)).sum() + (total * total).sum()  # type: ignore[no-any-return]

    inputs = [x, total, w, phase]
    expected = grad(loss(solver(field, (x, total), t0, t1).y), inputs)
    solution = solve_with_adjoint(field, (x, total), t0, t1, solver=solver, inputs=[w, phase])
    assert [part.shape for part in solution.y] == [(4, 3), (4,)]
    for a, b in zip(grad(loss(solution.y), inputs), expected, strict=True):
        # Discretising and differentiating commute only up to the error of the solver.
        np.testing.assert_allclose(a.value, b.value, rtol=1e-7, atol=1e-7)


def test_inputs_are_counted_once() -> None:
    y, rate, solver = (Tensor(np.ones(2)),), Tensor(0.5), FixedStep(20)
    twice = rate * 2

    def field(t: float, y: State) -> State:
        return (y[0] * twice * rate,)

    expected = grad(solver(field, y, 0.0, 1.0).y[0].sum(), [rate])[0].value
    for inputs in ([rate], [rate, rate], (each for each in [rate])):
        adjoint = solve_with_adjoint(field, y, 0.0, 1.0, solver=solver, inputs=inputs)
        np.testing.assert_allclose(grad(adjoint.y[0].sum(), [rate])[0].value, expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"inputs\[1\]: expected a tensor that is not computed from another input"):
        solve_with_adjoint(field, y, 0.0, 1.0, solver=solver, inputs=[rate, twice])


def test_slopes_may_be_arrays() -> None:
    """For example that of the time, as a part of y."""
    start, rate, solver = Tensor(np.ones(2)), Tensor(0.5), FixedStep(20)

    def field(t: float, y: State) -> State:
        return y[0] * rate, np.ones(1)

    def end(adjoint: bool) -> Tensor:
        y = start, Tensor(np.zeros(1))
        solution = (
            solve_with_adjoint(field, y, 0.0, 1.0, solver=solver, inputs=[rate])
            if adjoint
            else solver(field, y, 0.0, 1.0)
        )
        return (solution.y[0] * solution.y[1]).sum()  # type: ignore[no-any-return]

    for a, b in zip(grad(end(True), [start, rate]), grad(end(False), [start, rate]), strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-6)


def test_gradients_match_finite_differences(rng: np.random.Generator) -> None:
    def end(x: Tensor, w: Tensor) -> Tensor:
        solution = solve_with_adjoint(lambda t, y: (sin(y[0] * w + t),), (x,), 0.0, 1.0, solver=TIGHT, inputs=[w])
        return solution.y[0]  # type: ignore[no-any-return]

    check_grads(end, rng.normal(size=3), rng.normal(size=3), order=1, tolerance=1e-6, rng=rng)


def test_rejects_gradients_of_unlisted_inputs_and_second_derivatives() -> None:
    x, w = Tensor(np.ones(2)), Tensor(np.ones(2))
    y = solve_with_adjoint(lambda t, y: (y[0] * w,), (x,), 0.0, 1.0, solver=FixedStep(4), inputs=[]).y[0]
    with pytest.raises(ValueError, match="does not reach"):
        grad(y.sum(), [w])
    with pytest.raises(RuntimeError, match="second derivatives are not supported"):
        grad(y.sum(), [x], create_graph=True)


def test_parts_of_different_dtypes_are_an_error() -> None:
    y = np.ones(2, np.float32), np.ones(2)
    with pytest.raises(ValueError, match="y: expected parts of the same dtype, got float32 and float64"):
        solve_with_adjoint(lambda t, y: y, y, 0.0, 1.0, solver=FixedStep(2), inputs=[])
