"""Runge–Kutta methods: their order is measured, their errors held against solutions in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Tensor, sin
from tinygen.ode import DORMAND_PRINCE, RK4, Adaptive, FixedStep, IntegrationError, Solution, Solver, State, Tableau
from tinygen.testing import check_grads


def oscillator(t: float, y: State) -> State:
    """x″ = −x, as two parts of a state: x = cos t, x′ = −sin t from (1, 0)"""
    return y[1], -y[0]


def driven(t: float, y: State) -> State:
    """y′ = −2 t y², y = 1 / (1 + t²) from 1: neither linear nor the same at all times, so all of a tableau matters"""
    return (-2 * t * y[0] ** 2,)


def order(tableau: Tableau) -> float:
    """Slope of −ln(error) against ln(steps)"""
    steps = np.array([32, 64, 128])
    ends = [FixedStep(int(n), tableau)(driven, (np.ones(1),), 0.0, 2.0).y[0][0] for n in steps]
    errors = np.abs(np.array(ends) - 1 / 5)
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


TABLEAUS = pytest.mark.parametrize("tableau", [RK4, DORMAND_PRINCE], ids=["RK4", "Dormand-Prince"])


@TABLEAUS
def test_the_order_is_what_the_tableau_says(tableau: Tableau) -> None:
    # Terms of the next order are a step smaller, and bend the slope a little over these steps.
    assert order(tableau) == pytest.approx(tableau.order, abs=0.3)


@TABLEAUS
def test_any_wrong_entry_is_rejected_by_that(tableau: Tableau) -> None:
    used = len(tableau.a) - tableau.first_same_as_last  # the last row only repeats b
    for row in range(used):
        for entry in range(len(tableau.a[row])):
            a = (*tableau.a[:row], changed(tableau.a[row], entry), *tableau.a[row + 1 :])
            assert order(replace(tableau, a=a)) < tableau.order - 0.3
    for entry in range(used):
        b = changed(tableau.b, entry)
        a = (*tableau.a[:-1], b[: len(tableau.a[-1])]) if tableau.first_same_as_last else tableau.a
        assert order(replace(tableau, a=a, b=b)) < tableau.order - 0.3


def changed(row: tuple[float, ...], entry: int) -> tuple[float, ...]:
    return tuple(x + 0.01 * (i == entry) for i, x in enumerate(row))


def test_the_conditions_of_order_hold_exactly() -> None:
    for tableau in (RK4, DORMAND_PRINCE):
        b, c = np.array(tableau.b), np.array([sum(row) for row in tableau.a])
        for power in range(tableau.order):  # a quadrature of that order
            assert b @ c**power == pytest.approx(1 / (power + 1), abs=1e-15)
    b_hat = np.array(DORMAND_PRINCE.b) - DORMAND_PRINCE.error
    for power in range(4):
        assert b_hat @ c**power == pytest.approx(1 / (power + 1), abs=1e-15)
    assert abs(b_hat @ c**4 - 1 / 5) > 1e-4  # of order 4, not 5: else the estimate of the error would vanish
    assert DORMAND_PRINCE.first_same_as_last
    assert not RK4.first_same_as_last


@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.booleans())
def test_a_linear_system_is_its_matrix_exponential(size: int, seed: int, backwards: bool) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(size, size)) / math.sqrt(size)
    start, (t0, t1) = rng.normal(size=(3, size)), (1.5, -0.5) if backwards else (-0.5, 1.5)
    values, vectors = np.linalg.eig(a)
    exact = (start @ vectors * np.exp(values * (t1 - t0)) @ np.linalg.inv(vectors)).real
    tolerance = 1e-7 * np.linalg.cond(vectors)  # of the reference as well as of the solver at 1e-9
    for solver in (Adaptive(1e-9, 1e-9), FixedStep(200)):
        y = solver(lambda t, y: (y[0] @ a,), (start,), t0, t1).y[0]
        assert np.abs(y - exact).max() < tolerance * max(1, np.abs(exact).max())


@pytest.mark.parametrize("solver", [Adaptive(1e-10, 1e-10), FixedStep(400)], ids=["adaptive", "fixed"])
def test_there_and_back(solver: Solver) -> None:
    there = solver(oscillator, (np.ones(2), np.zeros(2)), 0.0, 3.0)
    np.testing.assert_allclose(there.y[0], math.cos(3), atol=1e-8)
    np.testing.assert_allclose(there.y[1], -math.sin(3), atol=1e-8)
    back = solver(oscillator, there.y, 3.0, 0.0)
    np.testing.assert_allclose(back.y, [np.ones(2), np.zeros(2)], atol=1e-8)


def test_the_error_is_proportional_to_the_tolerance() -> None:
    tolerances = 10.0 ** np.arange(-4, -11, -1)
    errors = []
    for tolerance in tolerances:
        y = Adaptive(tolerance, tolerance)(oscillator, (np.ones(1), np.zeros(1)), 0.0, 10.0).y
        errors.append(np.abs(np.array([y[0][0] - math.cos(10), y[1][0] + math.sin(10)])).max())
    # Local errors are kept, not the global one: a slope near 1, and a factor that the length of the way explains.
    assert np.polyfit(np.log(tolerances), np.log(errors), 1)[0] == pytest.approx(1, abs=0.15)
    assert np.all(errors < 50 * tolerances)


def test_steps_are_counted_and_those_too_long_rejected() -> None:
    calls = []

    def kink(t: float, y: State) -> State:
        calls.append(t)
        return (np.where(t < 0.5, 1.0, -20.0) * np.ones(1),)

    solution = Adaptive(1e-6, 1e-6)(kink, (np.zeros(1),), 0.0, 1.0)
    assert solution.y[0][0] == pytest.approx(0.5 - 10, abs=1e-3)  # the estimate of an error there is but a guess
    assert solution.rejected >= 3  # the kink can only be found by stepping over it
    assert solution.evaluations == len(calls) == 2 + 6 * (solution.accepted + solution.rejected)
    assert FixedStep(7)(oscillator, (np.ones(1), np.ones(1)), 0.0, 1.0).evaluations == 28

    stiff = Adaptive(1e-4, 1e-4)(lambda t, y: (-200 * (y[0] - math.cos(t)),), (np.zeros(1),), 0.0, 2.0)
    assert stiff.accepted > 2 * 200 / 3.3 - 10  # the method is stable up to h λ = 3.3, however smooth the solution is
    assert stiff.y[0][0] == pytest.approx((200**2 * math.cos(2) + 200 * math.sin(2)) / (200**2 + 1), abs=1e-3)


def test_the_steps_follow_both_tolerances_over_all_of_the_state() -> None:
    def solve(scale: float, copies: int) -> Solution:
        solver = Adaptive(1e-6, 1e-7 * scale)
        return solver(oscillator, (np.full(copies, scale), np.zeros(copies)), 0.0, 10.0)

    one = solve(1.0, 1)
    for scale in (2.0**-20, 2.0**20):  # in other units the same: a relative error, and an absolute one in these units
        np.testing.assert_array_equal(solve(scale, 1).y[0] / scale, one.y[0])
    many = solve(1.0, 64)  # a root mean square: of more of the same it is the same
    assert many.accepted == one.accepted
    np.testing.assert_allclose(many.y[0], one.y[0][0], rtol=1e-12)


def test_every_part_of_the_state_is_kept_to_the_tolerance() -> None:
    def slow_and_fast(t: float, y: State) -> State:
        return 0.1 * y[0], 30 * np.cos(30 * t + 0 * y[1])

    def fast_and_slow(t: float, y: State) -> State:
        return slow_and_fast(t, y[::-1])[::-1]

    start = np.ones(1), np.zeros(1)
    one, other = (
        Adaptive(1e-8, 1e-8)(f, y, 0.0, 2.0) for f, y in ((slow_and_fast, start), (fast_and_slow, start[::-1]))
    )
    assert one.accepted == other.accepted > 50
    np.testing.assert_allclose([one.y[1][0], other.y[0][0]], math.sin(60), atol=1e-5)


def test_nothing_to_do() -> None:
    for solver in (Adaptive(), FixedStep(3)):
        y = solver(oscillator, (np.ones(1), np.ones(1)), 1.0, 1.0).y
        np.testing.assert_array_equal(y, np.ones((2, 1)))
        assert solver(oscillator, (np.ones(0), np.ones(0)), 0.0, 1.0).y[0].shape == (0,)
        constant = solver(lambda t, y: (0 * y[0],), (np.ones(2),), 0.0, 5.0)
        np.testing.assert_array_equal(constant.y[0], np.ones(2))


@pytest.mark.parametrize("solver", [Adaptive(1e-9, 1e-9), FixedStep(3)], ids=["adaptive", "fixed"])
def test_float32_stays_and_the_steps_can_be_differentiated(solver: Solver, rng: np.random.Generator) -> None:
    y = solver(oscillator, (np.ones(1, np.float32), np.zeros(1, np.float32)), 0.0, 1.0).y
    assert y[0].dtype == y[1].dtype == np.float32

    def end(start: Tensor, speed: Tensor) -> Tensor:
        return solver(lambda t, y: (sin(y[0] * speed + t),), (start,), 0.0, 1.0).y[0]  # type: ignore[no-any-return]

    if isinstance(solver, FixedStep):  # the steps of the adaptive one move with its start, its derivative does not
        check_grads(end, rng.normal(size=3), rng.normal(size=3), rng=rng)
    else:
        check_grads(end, rng.normal(size=3), rng.normal(size=3), order=1, tolerance=1e-6, rng=rng)


def test_a_singularity_ends_in_an_error_and_not_in_nan() -> None:
    def explodes(t: float, y: State) -> State:
        return (y[0] ** 2,)  # y = 1 / (1 − t)

    with pytest.raises(IntegrationError, match=r"at t = (1|0\.99999)\S* a step of .* is still too long"):
        Adaptive()(explodes, (np.ones(1),), 0.0, 2.0)
    with pytest.raises(IntegrationError, match="not finite after 50 steps"):
        FixedStep(50)(explodes, (np.ones(1),), 0.0, 2.0)
    with pytest.raises(IntegrationError, match=r"20 steps from 0 led only to t = 0\.\d+"):
        Adaptive(1e-9, 1e-9, max_steps=20)(explodes, (np.ones(1),), 0.0, 0.999)
    with pytest.raises(IntegrationError, match=r"f\(0, y\) is not finite"):
        Adaptive()(lambda t, y: (y[0] / 0.0,), (np.ones(1),), 0.0, 1.0)
    with pytest.raises(IntegrationError, match="a stiff problem, or too small a tolerance"):
        Adaptive(1e-12, 1e-12, max_steps=500)(lambda t, y: (np.sin(40 * y[0]),), (np.ones(3, np.float32),), 0.0, 1.0)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        FixedStep(0)
    with pytest.raises(ValueError, match="rtol: expected a positive number, got 0"):
        Adaptive(rtol=0)
    with pytest.raises(ValueError, match="tableau: expected one with an embedded method"):
        Adaptive(tableau=RK4)
    for solver in (Adaptive(), FixedStep(3)):
        with pytest.raises(ValueError, match="f: expected a tuple of the state's shapes"):
            solver(lambda t, y: (y[0].sum(),), (np.ones(3),), 0.0, 1.0)  # would be broadcast
        with pytest.raises(ValueError, match="f: expected a tuple of the state's shapes"):
            solver(lambda t, y: (), (np.ones(3),), 0.0, 1.0)
