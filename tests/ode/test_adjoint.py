"""The adjoint method: derivatives equal to those through the solver, and to closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygen.autograd import Tensor, grad, sin, tanh
from tinygen.ode import Adaptive, FixedStep, Solver, State, solve_with_adjoint
from tinygen.testing import check_grads

TIGHT = Adaptive(1e-10, 1e-10)


def test_a_derivative_in_closed_form() -> None:
    # y = y₀ exp(θ t), so ∂y/∂y₀ = exp(θ t) and ∂y/∂θ = t y
    start, rate = Tensor(np.array([2.0])), Tensor(np.array(-0.7))
    solution = solve_with_adjoint(lambda t, y: (rate * y[0],), (start,), 0.0, 1.5, solver=TIGHT, inputs=[rate])
    by_start, by_rate = grad(solution.y[0], [start, rate])
    np.testing.assert_allclose(by_start.value, [math.exp(-1.05)], rtol=1e-8)
    np.testing.assert_allclose(by_rate.value, 1.5 * 2 * math.exp(-1.05), rtol=1e-8)
    assert solution.evaluations > 0


@pytest.mark.parametrize("solver", [TIGHT, FixedStep(100)], ids=["adaptive", "fixed"])
@pytest.mark.parametrize(("t0", "t1"), [(0.0, 1.0), (1.0, -0.5)])
def test_as_through_the_solver(solver: Solver, t0: float, t1: float, rng: np.random.Generator) -> None:
    x, total, w, phase = (Tensor(rng.normal(size=shape)) for shape in ((4, 3), (4,), (3, 3), ()))

    def field(t: float, y: State) -> State:
        return tanh(y[0] @ w + sin(phase + 2 * t)), (y[0] * y[0]).sum(1)  # the second part feeds back on nothing

    def through(state: State) -> Tensor:
        x, total = state
        return (x * np.arange(3.0)).sum() + (total * total).sum()  # type: ignore[no-any-return]

    inputs = [x, total, w, phase]
    steps = grad(through(solver(field, (x, total), t0, t1).y), inputs)
    solution = solve_with_adjoint(field, (x, total), t0, t1, solver=solver, inputs=[w, phase])
    assert [part.shape for part in solution.y] == [(4, 3), (4,)]
    for a, b in zip(grad(through(solution.y), inputs), steps, strict=True):
        # Discretised and differentiated, or the other way round: the two differ by the error of the solver.
        np.testing.assert_allclose(a.value, b.value, rtol=1e-7, atol=1e-7)


def test_against_finite_differences(rng: np.random.Generator) -> None:
    def end(x: Tensor, w: Tensor) -> Tensor:
        solve = solve_with_adjoint(lambda t, y: (sin(y[0] * w + t),), (x,), 0.0, 1.0, solver=TIGHT, inputs=[w])
        return solve.y[0]  # type: ignore[no-any-return]

    check_grads(end, rng.normal(size=3), rng.normal(size=3), order=1, tolerance=1e-6, rng=rng)


def test_an_input_left_out_has_no_derivative_and_a_second_one_is_refused() -> None:
    x, w = Tensor(np.ones(2)), Tensor(np.ones(2))
    y = solve_with_adjoint(lambda t, y: (y[0] * w,), (x,), 0.0, 1.0, solver=FixedStep(4), inputs=[]).y[0]
    with pytest.raises(ValueError, match="does not reach the output"):
        grad(y.sum(), [w])
    with pytest.raises(RuntimeError, match="differentiate through the solver twice"):
        grad(y.sum(), [x], create_graph=True)
