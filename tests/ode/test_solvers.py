"""Runge–Kutta methods: measured order of convergence, errors against closed-form solutions, step size control."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygen.autograd import Array, Tensor, sin
from tinygen.ode import DORMAND_PRINCE, RK4, Adaptive, FixedStep, IntegrationError, Solution, Solver, State, Tableau
from tinygen.testing import check_grads


def oscillator(t: float, y: State) -> State:
    """Harmonic oscillator x″ = −x as a first-order system; started at (1, 0), x = cos t and x′ = −sin t."""
    return y[1], -y[0]


def nonlinear(t: float, y: State) -> State:
    """y′ = −2 t y², y(0) = 1, y = 1 / (1 + t²): nonlinear and non-autonomous, so that every coefficient matters."""
    return (-2 * t * y[0] ** 2,)


def measured_order(tableau: Tableau) -> float:
    """Return the slope of −ln(error) against ln(steps)."""
    steps = np.array([32, 64, 128])
    ends = [FixedStep(int(n), tableau)(nonlinear, (np.ones(1),), 0.0, 2.0).y[0][0] for n in steps]
    errors = np.abs(np.array(ends) - 1 / 5)
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


TABLEAUS = pytest.mark.parametrize("tableau", [RK4, DORMAND_PRINCE], ids=["RK4", "Dormand-Prince"])


@TABLEAUS
def test_measured_order_matches_tableau(tableau: Tableau) -> None:
    # The next term of the error expansion changes the slope slightly at these step sizes.
    assert measured_order(tableau) == pytest.approx(tableau.order, abs=0.3)


@TABLEAUS
def test_any_wrong_coefficient_lowers_the_measured_order(tableau: Tableau) -> None:
    stages = len(tableau.a) - tableau.first_same_as_last  # the last row of Dormand & Prince repeats b
    for row in range(stages):
        for entry in range(len(tableau.a[row])):
            a = (*tableau.a[:row], perturbed(tableau.a[row], entry), *tableau.a[row + 1 :])
            assert measured_order(replace(tableau, a=a)) < tableau.order - 0.3
    for entry in range(stages):
        b = perturbed(perturbed(tableau.b, entry), (entry + 1) % stages, -0.01)  # the sum must stay 1
        a = (*tableau.a[:-1], b[: len(tableau.a[-1])]) if tableau.first_same_as_last else tableau.a
        assert measured_order(replace(tableau, a=a, b=b)) < tableau.order - 0.3


def perturbed(row: tuple[float, ...], entry: int, by: float = 0.01) -> tuple[float, ...]:
    return tuple(x + by * (i == entry) for i, x in enumerate(row))


def test_quadrature_order_conditions_hold_exactly() -> None:
    for tableau in (RK4, DORMAND_PRINCE):
        b, c = np.array(tableau.b), np.array([sum(row) for row in tableau.a])
        for power in range(tableau.order):
            assert b @ c**power == pytest.approx(1 / (power + 1), abs=1e-15)
    b_hat = np.array(DORMAND_PRINCE.b) - DORMAND_PRINCE.error
    for power in range(4):
        assert b_hat @ c**power == pytest.approx(1 / (power + 1), abs=1e-15)
    assert abs(b_hat @ c**4 - 1 / 5) > 1e-4  # of order 4, not 5; otherwise the error estimate would vanish
    assert DORMAND_PRINCE.first_same_as_last
    assert not RK4.first_same_as_last


@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.booleans())
@example(1, 299595992, True)  # a = −3.6, for which 200 steps of RK4 are too few
def test_linear_system_matches_matrix_exponential(size: int, seed: int, backwards: bool) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(size, size)) / math.sqrt(size)
    start, (t0, t1) = rng.normal(size=(3, size)), (1.5, -0.5) if backwards else (-0.5, 1.5)
    values, vectors = np.linalg.eig(a)
    exact = (start @ vectors * np.exp(values * (t1 - t0)) @ np.linalg.inv(vectors)).real
    tolerance = 1e-7 * np.linalg.cond(vectors)  # both the reference and the solver have errors
    for solver in (Adaptive(1e-9, 1e-9), FixedStep(400)):
        y = solver(lambda t, y: (y[0] @ a,), (start,), t0, t1).y[0]
        assert np.abs(y - exact).max() < tolerance * max(1, np.abs(exact).max())


@pytest.mark.parametrize("solver", [Adaptive(1e-10, 1e-10), FixedStep(400)], ids=["adaptive", "fixed"])
def test_forward_then_backward_returns_to_the_start(solver: Solver) -> None:
    end = solver(oscillator, (np.ones(2), np.zeros(2)), 0.0, 3.0)
    np.testing.assert_allclose(end.y[0], math.cos(3), atol=1e-8)
    np.testing.assert_allclose(end.y[1], -math.sin(3), atol=1e-8)
    start = solver(oscillator, end.y, 3.0, 0.0)
    np.testing.assert_allclose(start.y, [np.ones(2), np.zeros(2)], atol=1e-8)


def test_global_error_is_proportional_to_the_tolerance() -> None:
    tolerances = 10.0 ** np.arange(-4, -11, -1)
    errors = []
    for tolerance in tolerances:
        y = Adaptive(tolerance, tolerance)(oscillator, (np.ones(1), np.zeros(1)), 0.0, 10.0).y
        errors.append(np.abs(np.array([y[0][0] - math.cos(10), y[1][0] + math.sin(10)])).max())
    # Local errors are proportional to the tolerance and accumulate: the slope is 1, but the factor is above 1.
    assert np.polyfit(np.log(tolerances), np.log(errors), 1)[0] == pytest.approx(1, abs=0.15)
    assert np.all(errors < 50 * tolerances)


def test_evaluations_and_rejected_steps_are_counted() -> None:
    calls = []

    def discontinuous(t: float, y: State) -> State:
        calls.append(t)
        return (np.where(t < 0.5, 1.0, -20.0) * np.ones(1),)

    solution = Adaptive(1e-6, 1e-6)(discontinuous, (np.zeros(1),), 0.0, 1.0)
    assert solution.y[0][0] == pytest.approx(0.5 - 10, abs=1e-3)  # the error estimate is inaccurate at a discontinuity
    assert solution.rejected >= 3  # the solver finds the discontinuity only by stepping across it
    assert solution.evaluations == len(calls) == 2 + 6 * (solution.accepted + solution.rejected)
    assert FixedStep(7)(oscillator, (np.ones(1), np.ones(1)), 0.0, 1.0).evaluations == 28


def steps_and_errors(start: float) -> tuple[Array, Array]:
    """Return which steps of a solution were accepted, and the errors of all steps in units of the tolerance.

    The stages of a step give its error; where the next step starts says whether it was accepted.
    """
    rtol, atol = 0.1, 1e-6  # y changes so much in a step that the error depends on both ends
    calls = []

    def irregular(t: float, y: State) -> State:
        k = 8 * y[0] * np.cos(np.exp(t))
        calls.append((t, y[0].item(), k.item()))
        return (k,)

    solution = Adaptive(rtol, atol)(irregular, (np.full(1, start),), 0.0, 7.0)
    stages = np.reshape(calls[2:], (-1, 6, 3))  # after two evaluations that choose the first step
    ends = stages[:, -1, 0]
    starts = ends - (ends - stages[:, 0, 0]) / 0.8  # the first of the six stages is at t + h/5
    accepted, errors = np.append(np.isclose(starts[1:], ends[:-1], rtol=0, atol=1e-9), True), []
    _, y, k = calls[0]
    for (*_, (end, y_new, k_new)), start, keep, ks in zip(stages, starts, accepted, stages[:, :, 2], strict=True):
        error = (end - start) * (DORMAND_PRINCE.error @ np.array([k, *ks]))
        errors.append(abs(error) / (atol + rtol * max(abs(y), abs(y_new))))
        y, k = (y_new, k_new) if keep else (y, k)
    assert (solution.accepted, solution.rejected) == (sum(accepted), sum(~accepted))
    return accepted, np.array(errors)


def test_exactly_the_steps_with_an_error_of_at_most_one_are_accepted() -> None:
    """Which errors occur depends on the last bits of cos and exp, and so on the CPU; hundreds of steps are rejected."""
    solutions = [steps_and_errors(start) for start in np.linspace(0.1, 3.0, 40)]
    accepted, errors = (np.concatenate(each) for each in zip(*solutions, strict=True))
    assert 0.9 < max(errors[accepted]) <= 1 + 1e-6  # 1e-6: the rounding error of the recovered starts
    assert 1 - 1e-6 < min(errors[~accepted]) < 1.1


def test_step_size_on_a_stiff_problem_is_limited_by_stability() -> None:
    solution = Adaptive(1e-4, 1e-4)(lambda t, y: (-200 * (y[0] - math.cos(t)),), (np.zeros(1),), 0.0, 2.0)
    assert solution.accepted > 2 * 200 / 3.3 - 10  # Dormand & Prince's method is stable up to |h λ| = 3.3
    assert solution.y[0][0] == pytest.approx((200**2 * math.cos(2) + 200 * math.sin(2)) / (200**2 + 1), abs=1e-3)
    assert solution.rejected <= 1  # the step size does not oscillate about the limit


def test_error_norm_scales_with_units_and_averages_over_the_state() -> None:
    def solve(scale: float, copies: int) -> Solution:
        solver = Adaptive(1e-6, 1e-7 * scale)
        return solver(oscillator, (np.full(copies, scale), np.zeros(copies)), 0.0, 10.0)

    reference = solve(1.0, 1)
    for scale in (2.0**-20, 2.0**20):  # y and atol in other units give the same steps
        np.testing.assert_array_equal(solve(scale, 1).y[0] / scale, reference.y[0])
    copies = solve(1.0, 64)  # the root mean square does not depend on the number of copies
    assert copies.accepted == reference.accepted
    np.testing.assert_allclose(copies.y[0], reference.y[0][0], rtol=1e-12)


def test_tolerance_holds_for_every_part_of_the_state() -> None:
    def slow_and_fast(t: float, y: State) -> State:
        return 0.1 * y[0], 30 * np.cos(30 * t + 0 * y[1])

    def fast_and_slow(t: float, y: State) -> State:
        return slow_and_fast(t, y[::-1])[::-1]

    start, solver = (np.ones(1), np.zeros(1)), Adaptive(1e-8, 1e-8)
    first, swapped = solver(slow_and_fast, start, 0.0, 2.0), solver(fast_and_slow, start[::-1], 0.0, 2.0)
    assert first.accepted == swapped.accepted > 50
    np.testing.assert_allclose([first.y[1][0], swapped.y[0][0]], math.sin(60), atol=1e-5)


@pytest.mark.parametrize("solver", [Adaptive(), FixedStep(3)], ids=["adaptive", "fixed"])
def test_trivial_problems(solver: Solver) -> None:
    y = solver(oscillator, (np.ones(1), np.ones(1)), 1.0, 1.0).y  # t0 = t1
    np.testing.assert_array_equal(y, np.ones((2, 1)))
    assert solver(oscillator, (np.ones(0), np.ones(0)), 0.0, 1.0).y[0].shape == (0,)
    constant = solver(lambda t, y: (0 * y[0],), (np.ones(2),), 0.0, 5.0)
    np.testing.assert_array_equal(constant.y[0], np.ones(2))


@pytest.mark.parametrize("solver", [Adaptive(1e-6, 1e-6), FixedStep(3)], ids=["adaptive", "fixed"])
def test_float32_is_preserved(solver: Solver) -> None:
    y = solver(oscillator, (np.ones(1, np.float32), np.zeros(1, np.float32)), 0.0, 1.0).y
    assert y[0].dtype == y[1].dtype == np.float32


@pytest.mark.parametrize("solver", [Adaptive(1e-9, 1e-9), FixedStep(3)], ids=["adaptive", "fixed"])
def test_gradients_through_the_solver_match_finite_differences(solver: Solver, rng: np.random.Generator) -> None:
    def end(start: Tensor, speed: Tensor) -> Tensor:
        return solver(lambda t, y: (sin(y[0] * speed + t),), (start,), 0.0, 1.0).y[0]  # type: ignore[no-any-return]

    # Adaptive step sizes depend on the start; finite differences include this dependence, the gradient does not.
    settings = {} if isinstance(solver, FixedStep) else {"order": 1, "tolerance": 1e-6}
    check_grads(end, rng.normal(size=3), rng.normal(size=3), rng=rng, **settings)  # type: ignore[arg-type]


def test_singularities_and_unreachable_tolerances_raise_integration_error() -> None:
    def blows_up(t: float, y: State) -> State:
        return (y[0] ** 2,)  # y = 1 / (1 − t)

    with pytest.raises(
        IntegrationError, match=r"at t = (1|0\.99999)\S* a step size of .* the solution may have a sing"
    ):
        Adaptive()(blows_up, (np.ones(1),), 0.0, 2.0)
    with pytest.raises(IntegrationError, match="not finite at t = 2, after 50 steps"):
        FixedStep(50)(blows_up, (np.ones(1),), 0.0, 2.0)
    with pytest.raises(IntegrationError, match=r"reached t = 0\.\d+ of 0\.999 after max_steps = 20 steps"):
        Adaptive(1e-9, 1e-9, max_steps=20)(blows_up, (np.ones(1),), 0.0, 0.999)
    with pytest.raises(IntegrationError, match=r"f\(0, y\) is not finite"):
        Adaptive()(lambda t, y: (y[0] / 0.0,), (np.ones(1),), 0.0, 1.0)
    with pytest.raises(IntegrationError, match="the problem may be stiff, or the tolerance too small"):
        Adaptive(1e-15, 1e-15, max_steps=500)(lambda t, y: (np.sin(40 * y[0]),), (np.ones(3),), 0.0, 1.0)


@pytest.mark.parametrize("solver", [FixedStep(4), Adaptive()], ids=["fixed step", "adaptive"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_at_the_start_is_named(solver: Any, value: float) -> None:
    """More steps would not help."""
    with pytest.raises(IntegrationError, match=r"the initial value y\(0\) is not finite"):
        solver(lambda t, y: (-y[0],), (np.array([1.0, value]),), 0.0, 1.0)
    with pytest.raises(
        IntegrationError, match=r"f\(0, y\) is not finite although y is; have its parameters diverged\?"
    ):
        solver(lambda t, y: (value * y[0],), (np.ones(2),), 0.0, 1.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("slope", [1e4, 1e36, 1e200, 1e308])
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_large_slopes_raise_integration_error_or_are_solved(dtype: type, slope: float, start: float) -> None:
    k: Array = np.full(2, min(slope, float(np.finfo(dtype).max)), dtype)
    try:
        end = Adaptive(1e-2, 1e-2)(lambda t, y: (k,), (np.full(2, start, dtype),), 0.0, 1.0).y[0]
    except IntegrationError:
        assert slope >= 1e36  # the step size underflows
    else:
        np.testing.assert_allclose(end, start + k, rtol=4 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_tolerances_below_the_resolution_of_the_state_are_refused(dtype: type) -> None:
    def solve(rtol: float, atol: float, start: float = 1.0) -> State:
        return Adaptive(rtol, atol)(lambda t, y: (-y[0],), (np.full(2, start, dtype),), 0.0, 1.0).y

    eps = float(np.finfo(dtype).eps)
    solve(2 * eps, 1e-30)
    solve(1e-30, 2 * eps)  # for |y| ≤ 1, atol alone suffices
    for rtol, atol, start in ((eps / 2, eps / 4, 1.0), (1e-30, 2 * eps, 4.0)):
        with pytest.raises(
            ValueError, match=rf"^rtol, atol: expected .* the resolution of {np.dtype(dtype)} at \|y\| = "
        ):
            solve(rtol, atol, start)


def test_at_most_max_steps_are_taken() -> None:
    problem = oscillator, (np.ones(1), np.zeros(1)), 0.0, 1.0
    solution = Adaptive(1e-9, 1e-9)(*problem)
    total = solution.accepted + solution.rejected
    Adaptive(1e-9, 1e-9, max_steps=total)(*problem)
    with pytest.raises(IntegrationError, match=f"after max_steps = {total - 1} steps"):
        Adaptive(1e-9, 1e-9, max_steps=total - 1)(*problem)


def test_rejects_invalid_settings() -> None:
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        FixedStep(0)
    with pytest.raises(ValueError, match="rtol: expected a positive number, got 0"):
        Adaptive(rtol=0)
    with pytest.raises(ValueError, match="tableau: expected an embedded method"):
        Adaptive(tableau=RK4)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((((), (0.5,)), (1.0,)), "b"),
        ((((), (0.5,)), (0.0, 0.5, 0.5)), "b"),
        ((((), (0.5,)), (0.0, 0.9)), "b"),
        ((((), (0.5, 0.5)), (0.0, 1.0)), "a"),
        ((((), ()), (0.0, 1.0)), "a"),
        ((((), (0.5,)), (0.0, 1.0), (1.0,)), "error"),
        ((((), (0.5,)), (0.0, 1.0), (1.0, 0.0)), "error"),
    ],
)
def test_rejects_tableaus_of_the_wrong_shape_or_sum(arguments: Any, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: expected (rows|2 weights|2 differences)"):
        Tableau(2, *arguments)


@pytest.mark.parametrize("solver", [Adaptive(), FixedStep(3)], ids=["adaptive", "fixed"])
def test_rejects_vector_fields_of_the_wrong_shape(solver: Solver) -> None:
    with pytest.raises(ValueError, match="f: expected a tuple of arrays with the shapes of y"):
        solver(lambda t, y: (y[0].sum(),), (np.ones(3),), 0.0, 1.0)  # would broadcast
    with pytest.raises(ValueError, match="f: expected a tuple of arrays with the shapes of y"):
        solver(lambda t, y: (), (np.ones(3),), 0.0, 1.0)


@given(span=st.floats(1e-12, 1e12), spans_before=st.floats(-1e6, 1e6))
@example(span=2.9e10, spans_before=0.0)
@example(span=1e6, spans_before=1e6)
def test_adaptive_steps_work_in_any_unit_and_for_any_origin_of_time(span: float, spans_before: float) -> None:
    start = span * spans_before
    solution = Adaptive()(lambda t, y: (-y[0] / span,), (np.ones(1),), start, start + span)
    np.testing.assert_allclose(solution.y[0], math.exp(-1), rtol=1e-3)


@pytest.mark.parametrize("solver", [Adaptive(), FixedStep(10)], ids=["adaptive", "fixed"])
def test_a_field_may_return_the_same_array_again(solver: Solver) -> None:
    buffer = np.empty(1)

    def slope(t: float, y: State) -> State:
        buffer[:] = -y[0]
        return (buffer,)

    np.testing.assert_allclose(solver(slope, (np.ones(1),), 0.0, 1.0).y[0], math.exp(-1), rtol=1e-4)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64])
def test_adaptive_solver_starts_from_integers(dtype: Any) -> None:
    solution = Adaptive()(lambda t, y: (-1.0 * y[0],), (np.ones(1, dtype),), 0.0, 1.0)
    np.testing.assert_allclose(solution.y[0], [np.exp(-1)], rtol=1e-4)
