"""FFJORD: a bijection, a density and a sampler as exact as its solver, traces exact and estimated, and the adjoint."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from helpers.plane import check_plane_sampler
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.autograd import Array, Tensor, TensorLike, grad, no_grad
from tinygen.bijections import ContinuousFlow, Flow
from tinygen.models import FFJORD
from tinygen.models.flows.ffjord import InstantMLP, Noise, TimedLinear, TimedMLP, hutchinson_noise
from tinygen.ode import Adaptive, FixedStep, Solution, Solver
from tinygen.testing import check_invertible, check_log_det, check_normalised_density, check_parameter_grads

TIGHT = Adaptive(1e-9, 1e-9)
# RK4 is of order 4: (1/20)⁴ ≈ 6·10⁻⁶ is what these smooth fields leave of an error.
FINE = FixedStep(20)


def small(dim: int = 2, seed: int = 0, size: float = 0.7, **settings: Any) -> FFJORD:
    """A flow in float64 whose every parameter is random: it moves, and its velocity depends on time."""
    rng = np.random.default_rng(seed)
    flow = FFJORD(dim, rng, **{"hidden": 6, "training": FINE, "solver": FINE, **settings}).astype(np.float64)
    for parameter in flow.parameters():
        parameter.assign(rng.normal(size=parameter.shape) * size)
    return flow


@settings(max_examples=settings().max_examples // 16)  # each takes seconds, so exact are the solutions
@given(size=st.sampled_from([(1, 2), (4, 0)]), seed=st.integers(0, 2**32))
def test_a_bijection_with_its_log_det(size: tuple[int, int], seed: int) -> None:
    (dim, context), rng = size, np.random.default_rng(seed)
    flow = small(dim, seed, context=context, solver=Adaptive(1e-11, 1e-11))
    x, contexts = rng.normal(size=(2, dim)), rng.normal(size=(2, context)) if context else None
    check_invertible(flow.bijection, x, context=contexts, rng=rng, tolerance=1e-8)  # what errors of 1e-11 may grow to
    check_log_det(flow.bijection, x, context=contexts, rng=rng, tolerance=1e-6)


def test_there_and_back_in_adaptive_steps(rng: np.random.Generator) -> None:
    flow, x = small(solver=TIGHT), rng.normal(size=(4, 2))
    z, there = flow.bijection.forward(x)
    back, here = flow.bijection.inverse(z)
    # Some tens of the tolerance: errors add up over the steps, and grow where the flow spreads.
    np.testing.assert_allclose(back.value, x, atol=1e-7)
    np.testing.assert_allclose(here.value, -there.value, atol=1e-7)
    np.testing.assert_allclose(there.value, small(solver=FINE).bijection.forward(x)[1].value, atol=1e-4)


@pytest.mark.parametrize("context", [None, [0.5, -1.0]])
def test_a_density_that_it_draws_from(context: list[float] | None, rng: np.random.Generator) -> None:
    flow = small(context=2 if context else 0, seed=3, solver=FixedStep(10))
    contexts = None if context is None else np.array(context)

    def log_prob(x: Array) -> Tensor:
        return flow.log_prob(x, None if contexts is None else np.tile(contexts, (len(x), 1)))

    with no_grad():
        check_normalised_density(log_prob, [-9, -9], [9, 9], points=81, tolerance=1e-3)
        check_plane_sampler(flow, flow, 3.0, context=contexts, rng=rng)
    drawn = flow.draw(5, np.random.default_rng(1), None if contexts is None else np.tile(contexts, (5, 1)))
    sample = flow.sample(5, np.random.default_rng(1), None if contexts is None else np.tile(contexts, (5, 1)))
    np.testing.assert_array_equal(drawn[0].value, sample)
    np.testing.assert_allclose(log_prob(sample).value, drawn[1].value, atol=1e-3)  # of a round trip in few steps
    assert flow.sample(0, rng, None if contexts is None else np.zeros((0, 2))).shape == (0, 2)


class Wrong(ContinuousFlow):
    """A velocity whose trace is made wrong by a function of (trace at t, trace at 1 − t)."""

    def __init__(self, flow: ContinuousFlow, wrong: Any) -> None:
        super().__init__(flow.velocity, flow.solver)
        self.wrong = wrong

    def solve(
        self, x: TensorLike, t0: float, t1: float, context: TensorLike | None = None, volume: bool = True
    ) -> Solution:
        def field(t: float, y: Any) -> Any:
            speed, trace = self.velocity.at(t).with_trace(y[0], context)
            return speed, self.wrong(trace, self.velocity.at(1 - t).with_trace(y[0], context)[1])

        return self.solver(field, (Tensor(x), Tensor(np.zeros(len(np.asarray(x))))), t0, t1)


def test_wrong_traces_are_rejected(rng: np.random.Generator) -> None:
    flow, x = small(seed=3, solver=FixedStep(8)), rng.normal(size=(3, 2))
    # Eight steps are exact to a few thousandths, and quick.
    check_log_det(Wrong(flow.bijection, lambda trace, mirrored: trace), x, rng=rng, tolerance=1e-2)
    flipped = Wrong(flow.bijection, lambda trace, mirrored: -trace)
    check_invertible(flipped, x, rng=rng, tolerance=1e-2)  # which cannot see it
    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(flipped, x, rng=rng, tolerance=1e-2)
    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(Wrong(flow.bijection, lambda trace, mirrored: mirrored), x, rng=rng, tolerance=1e-2)
    wrong = Flow(flipped, flow.base)
    with no_grad(), pytest.raises(AssertionError, match="log-determinant with the wrong sign"):
        check_normalised_density(wrong.log_prob, [-9, -9], [9, 9], points=81, tolerance=1e-3)


def jacobian(net: InstantMLP, x: Array, context: Array | None) -> Array:
    """∂f/∂x of one example by central differences, (D, D), good to 1e-9"""
    h, d = 1e-5, len(x)
    ends = [net(x + sign * h * np.eye(d), context and np.tile(context, (d, 1))).value for sign in (1, -1)]
    return ((ends[0] - ends[1]) / (2 * h)).T


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_trace_and_its_estimate(dim: int, rng: np.random.Generator) -> None:
    net = small(dim).bijection.velocity.at(0.3)
    assert isinstance(net, InstantMLP)
    x = rng.normal(size=dim)
    j = jacobian(net, x, None)
    np.testing.assert_allclose(net.with_trace(x[None])[1].value, [np.trace(j)], atol=1e-8)
    # Every one of the 2ᴰ Rademacher vectors is as likely as any other: their mean is the expectation itself.
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=dim)))
    estimates = net.with_estimate(np.tile(x, (len(signs), 1)), None, signs)[1].value
    np.testing.assert_allclose(estimates, np.einsum("ni,ij,nj->n", signs, j, signs), atol=1e-7)
    assert estimates.mean() == pytest.approx(np.trace(j), abs=1e-8)


def standard_errors(estimates: Array, exact: float) -> float:
    return abs(estimates.mean() - exact) / (estimates.std(ddof=1) / math.sqrt(len(estimates)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased_in_the_density(kind: Noise, rng: np.random.Generator) -> None:
    flow = small(3, seed=2, noise=kind, solver=FixedStep(4))
    x = np.tile(rng.normal(size=3), (2000, 1))
    exact = flow.log_prob(x[:1]).item()
    with no_grad():
        estimates = flow.log_prob_estimate(x, rng).value
        assert estimates.std() > 0.01
        assert standard_errors(estimates, exact) < 5  # a right one fails once in 1.7 million seeds
        # Noise of another variance, and one ε on the left and another on the right, are found out by that.
        own, noise = flow.bijection, hutchinson_noise(kind, x.shape, rng)
        wide = ContinuousFlow(own.velocity, own.solver, noise * math.sqrt(1.5)).forward(x)
        assert standard_errors(flow.base.log_prob(wide[0]).value + wide[1].value, exact) > 5
        net, other = own.velocity.at(0.0), hutchinson_noise(kind, x.shape, rng)
        pushed = net.with_estimate(x, None, noise + other)[1] - net.with_estimate(x, None, noise - other)[1]
        trace = net.with_trace(x[:1], None)[1].item()
        assert standard_errors(net.with_estimate(x, None, noise)[1].value, trace) < 5
        assert standard_errors(pushed.value / 4, trace) > 5  # ½ (εᵀJε′ + ε′ᵀJε), whose mean is 0


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_the_noise(kind: Noise, rng: np.random.Generator) -> None:
    drawn = hutchinson_noise(kind, (20_000, 2), rng)
    # Entries of εᵀε/n are means of n numbers of variance at most 2: these are 5 standard errors.
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), np.eye(2), atol=5 * math.sqrt(2 / 20_000))
    np.testing.assert_allclose(drawn.mean(0), 0, atol=5 / math.sqrt(20_000))
    assert (np.abs(drawn) == 1).all() == (kind == "rademacher")


@pytest.mark.parametrize("noise", [None, "rademacher"])
@pytest.mark.parametrize("solver", [TIGHT, FixedStep(40)], ids=["adaptive", "fixed"])
def test_the_adjoint_method_gives_the_gradients_through_the_solver(
    solver: Solver, noise: Noise | None, rng: np.random.Generator
) -> None:
    x, contexts = Tensor(rng.normal(size=(5, 2))), Tensor(rng.normal(size=(5, 3)))
    gradients = []
    for adjoint in (False, True):
        flow = small(context=3, noise=noise, adjoint=adjoint, training=solver)
        loss = flow.loss(x, contexts, rng=np.random.default_rng(1))
        gradients.append(grad(loss, [*flow.parameters(), x, contexts]))
    for a, b in zip(*gradients, strict=True):
        assert np.abs(b.value).max() > 1e-4
        # As exact as the solver: one differentiates its steps, the other solves for the derivative.
        np.testing.assert_allclose(a.value, b.value, rtol=1e-5, atol=1e-6)


def test_where_the_first_step_was_guessed_there_is_a_derivative_too(rng: np.random.Generator) -> None:
    """A slow flow takes one step from 0 to 1, the length that was tried without a graph to guess it."""
    flow, x = small(size=0.02, solver=Adaptive(), training=Adaptive()), rng.normal(size=(4, 2))
    with_memory = grad(flow.loss(x), flow.parameters())
    plain = small(size=0.02, training=Adaptive(), adjoint=True)
    for a, b in zip(with_memory, grad(plain.loss(x), plain.parameters()), strict=True):
        # As exact as the default tolerance of 1e-5; a stage without a derivative is off by a tenth.
        np.testing.assert_allclose(a.value, b.value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("noise", [None, "gaussian"])
def test_gradients(noise: Noise | None, rng: np.random.Generator) -> None:
    flow, x, contexts = small(noise=noise, context=1, training=FixedStep(2)), rng.normal(size=(3, 2)), np.ones((3, 1))
    check_parameter_grads(
        lambda: flow.loss(x, contexts, rng=np.random.default_rng(0)), flow.parameters(), order=1, rng=rng
    )


def test_its_settings_reach_the_solution(rng: np.random.Generator) -> None:
    x = rng.normal(size=(40, 2))
    for adjoint in (False, True):
        assert small(adjoint=adjoint)._solved_by(FINE, x, None).bijection.adjoint == adjoint  # type: ignore[attr-defined]
    for kind in ("rademacher", "gaussian"):
        flow = small(noise=kind, training=FixedStep(2))
        noise = flow._solved_by(FINE, x, rng).bijection.noise  # type: ignore[attr-defined]
        assert (np.abs(noise) == 1).all() == (kind == "rademacher")
        losses = [flow.loss(x, rng=np.random.default_rng(seed)).item() for seed in (0, 0, 1)]
        assert losses[0] == losses[1] != losses[2]  # it is an estimate
    exact = small(training=FixedStep(2))
    assert exact.loss(x).item() == exact.loss(x, rng=rng).item()


def test_a_layer_in_time(rng: np.random.Generator) -> None:
    layer = TimedLinear(2, 3, rng)
    for parameter in layer.parameters():
        parameter.assign(rng.normal(size=parameter.shape))
    w, b = layer.at(0.7)
    gate = 1 + 0.7 * layer.g.value
    np.testing.assert_allclose(w.value, layer.w.value * gate, rtol=1e-6)
    np.testing.assert_allclose(b.value, layer.b.value * gate + 0.7 * layer.u.value, rtol=1e-6, atol=1e-7)


def test_solvers_agree_and_count(rng: np.random.Generator) -> None:
    flow, x = small(), rng.normal(size=(6, 2))
    exact = flow._solved_by(TIGHT, x, None).log_prob(x).value
    errors = [np.abs(flow._solved_by(FixedStep(n), x, None).log_prob(x).value - exact).max() for n in (4, 8, 16)]
    assert errors[2] < errors[1] / 8 < errors[0] / 64  # order 4
    fixed, loose, tight = (
        ContinuousFlow(flow.bijection.velocity, solver).solve(x, 0.0, 1.0).evaluations
        for solver in (FixedStep(5), Adaptive(1e-3, 1e-3), TIGHT)
    )
    assert fixed == 20
    assert 0 < loose < tight


def test_it_depends_on_time_and_starts_without(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 2))
    velocity = small().bijection.velocity
    assert np.abs(velocity.at(0.0)(x, None).value - velocity.at(1.0)(x, None).value).min() > 1e-3
    fresh = TimedMLP(2, rng, hidden=8, context=0, steepness=2.0)
    np.testing.assert_array_equal(fresh.at(0.0)(x).value, fresh.at(1.0)(x).value)
    assert np.abs(fresh.at(0.0)(x).value).min() > 1e-4  # and yet it moves


def test_float32_stays(rng: np.random.Generator) -> None:
    flow = FFJORD(2, rng, noise="rademacher")
    for dtype in (np.float32, np.float64):  # the model's own is what counts
        x = rng.normal(size=(3, 2)).astype(dtype)
        for computed in (flow.log_prob(x), flow.log_prob_estimate(x, rng), flow.loss(x, rng=rng)):
            assert computed.dtype == np.float32
    assert flow.sample(3, rng).dtype == np.float32


def test_what_is_refused(rng: np.random.Generator) -> None:
    for dim, hidden, context, name in ((0, 8, 0, "dim"), (2, 0, 0, "hidden"), (2, 8, -1, "context")):
        with pytest.raises(ValueError, match=f"{name}: expected at least"):
            FFJORD(dim, rng, hidden=hidden, context=context)
    with pytest.raises(ValueError, match="steepness: expected a positive number, got 0"):
        FFJORD(2, rng, steepness=0)
    with pytest.raises(ValueError, match="noise: expected 'rademacher', 'gaussian' or None, got 'uniform'"):
        FFJORD(2, rng, noise="uniform")  # type: ignore[arg-type]
    flow, contexts = small(), small(context=3)
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match="rng: expected a generator for rademacher noise"):
        small(noise="rademacher").loss(x)
    with pytest.raises(ValueError, match=r"rng: expected a .*, got None"):
        flow.log_prob_estimate(x, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected at least 0, got -1"):
        flow.sample(-1, rng)
    with pytest.raises(ValueError, match=r"x: expected shape \(N, 2\)"):
        flow.log_prob(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"x: expected shape \(N, 2\), got \(4, 3\)"):
        flow.bijection.forward(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="1 that are not"):
        flow.log_prob(np.where(np.eye(4)[:, :2] * [1, 0], np.nan, x))
    with pytest.raises(ValueError, match=r"context: expected none, got \(4, 3\)"):
        flow.log_prob(x, np.zeros((4, 3)))
    for wrong in (None, np.zeros((1, 3)), np.zeros((4, 2))):
        with pytest.raises(ValueError, match=r"context: expected .*\(4, "):
            contexts.log_prob(x, wrong)
    with pytest.raises(ValueError, match=r"noise: expected \(4, 2\)"):
        ContinuousFlow(flow.bijection.velocity, FINE, np.ones((1, 2))).forward(x)
