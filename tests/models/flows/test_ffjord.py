"""FFJORD: inverse, log-determinant, density and samples; traces, kinetic energy and adjoint gradients."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers.flows import check_plane_sampler, random_context, randomised
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.autograd import Array, Tensor, TensorLike, grad, no_grad
from tinygen.bijections import ContinuousFlow, Flow
from tinygen.models import FFJORD
from tinygen.models.flows.ffjord import MLPAtTime, Noise, TimeDependentLinear, TimeDependentMLP, hutchinson_noise
from tinygen.ode import DORMAND_PRINCE, Adaptive, FixedStep, Solution, Solver
from tinygen.testing import check_invertible, check_log_det, check_normalised_density, check_parameter_grads

TIGHT = Adaptive(1e-9, 1e-9)
# RK4 has order 4, so for these smooth fields the error of 20 steps is about (1/20)⁴ ≈ 6·10⁻⁶.
FINE = FixedStep(20)


def small(dim: int = 2, seed: int = 0, scale: float = 0.7, **settings: Any) -> FFJORD:
    """Build a randomised flow, whose velocity depends on time."""
    rng = np.random.default_rng(seed)
    return randomised(FFJORD(dim, rng, **{"hidden": 6, "training": FINE, "solver": FINE, **settings}), rng, scale)


@settings(max_examples=settings().max_examples // 16)  # each example takes seconds
@given(size=st.sampled_from([(1, 2), (4, 0)]), seed=st.integers(0, 2**32))
def test_inverse_and_log_det(size: tuple[int, int], seed: int) -> None:
    (dim, context), rng = size, np.random.default_rng(seed)
    # Fixed steps, as adaptive ones would not be smooth in x. At this scale the error of 30 is at most 3e-9.
    flow = small(dim, seed, scale=0.4, context=context, solver=FixedStep(30, DORMAND_PRINCE))
    x, c = rng.normal(size=(2, dim)), random_context(rng, 2, context)
    check_invertible(flow.bijection, x, context=c, rng=rng, tolerance=1e-8)
    check_log_det(flow.bijection, x, context=c, rng=rng, tolerance=1e-6)


def test_round_trip_with_adaptive_steps(rng: np.random.Generator) -> None:
    flow, x = small(solver=TIGHT), rng.normal(size=(4, 2))
    z, log_det = flow.bijection.forward(x)
    x_again, inverse_log_det = flow.bijection.inverse(z)
    # Errors accumulate over the steps and grow where the flow expands, to tens of times the tolerance.
    np.testing.assert_allclose(x_again.value, x, atol=1e-7)
    np.testing.assert_allclose(inverse_log_det.value, -log_det.value, atol=1e-7)
    np.testing.assert_allclose(log_det.value, small(solver=FINE).bijection.forward(x)[1].value, atol=1e-4)


@pytest.mark.parametrize("context", [None, np.array([0.5, -1.0])], ids=["unconditional", "conditional"])
def test_density_integrates_to_one_and_samples_follow_it(context: Array | None, rng: np.random.Generator) -> None:
    flow = small(context=0 if context is None else 2, seed=3, solver=FixedStep(10))

    def tiled(n: int) -> Array | None:
        return None if context is None else np.tile(context, (n, 1))

    def log_prob(x: Array) -> Tensor:
        return flow.log_prob(x, tiled(len(x)))

    with no_grad():
        check_normalised_density(log_prob, [-9, -9], [9, 9], points=81, tolerance=1e-3)
        check_plane_sampler(flow, flow, 3.0, context=context, rng=rng)
    x, log_p = flow.draw(5, np.random.default_rng(1), tiled(5))
    sample = flow.sample(5, np.random.default_rng(1), tiled(5))
    np.testing.assert_array_equal(x.value, sample)
    np.testing.assert_allclose(log_prob(sample).value, log_p.value, atol=1e-3)  # a round trip in few steps
    assert flow.sample(0, rng, tiled(0)).shape == (0, 2)


class WithTrace(ContinuousFlow):
    """A flow whose trace is replaced by a function of the trace at t and the trace at 1 − t."""

    def __init__(self, flow: ContinuousFlow, replace: Any) -> None:
        super().__init__(flow.velocity, flow.solver)
        self.replace = replace

    def solve(
        self,
        x: TensorLike,
        t0: float,
        t1: float,
        context: TensorLike | None = None,
        log_det: bool = True,
        energy: bool = False,
    ) -> Solution:
        def slope(t: float, y: Any) -> Any:
            velocity, trace = self.velocity.at(t).with_trace(y[0], context)
            return velocity, self.replace(trace, self.velocity.at(1 - t).with_trace(y[0], context)[1])

        return self.solver(slope, (Tensor(x), Tensor(np.zeros(len(np.asarray(x))))), t0, t1)


def test_wrong_traces_are_rejected(rng: np.random.Generator) -> None:
    flow, x = small(seed=3, solver=FixedStep(8)), rng.normal(size=(3, 2))
    # The error of eight steps is a few thousandths.
    check_log_det(WithTrace(flow.bijection, lambda trace, mirrored: trace), x, rng=rng, tolerance=1e-2)
    flipped = WithTrace(flow.bijection, lambda trace, mirrored: -trace)
    check_invertible(flipped, x, rng=rng, tolerance=1e-2)  # a round trip cannot detect the sign
    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(flipped, x, rng=rng, tolerance=1e-2)
    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(WithTrace(flow.bijection, lambda trace, mirrored: mirrored), x, rng=rng, tolerance=1e-2)
    wrong = Flow(flipped, flow.base)
    with no_grad(), pytest.raises(AssertionError, match="log-determinant with the wrong sign"):
        check_normalised_density(wrong.log_prob, [-9, -9], [9, 9], points=81, tolerance=1e-3)


def jacobian(net: MLPAtTime, x: Array) -> Array:
    """Return ∂f/∂x (D, D) for one example by central differences, accurate to about 1e-9."""
    h = 1e-5 * np.eye(len(x))
    return (net(x + h).value - net(x - h).value).T / 2e-5


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_trace_and_estimate_match_jacobian(dim: int, rng: np.random.Generator) -> None:
    net = small(dim).bijection.velocity.at(0.3)
    assert isinstance(net, MLPAtTime)
    x = rng.normal(size=dim)
    j = jacobian(net, x)
    np.testing.assert_allclose(net.with_trace(x[None])[1].value, [np.trace(j)], atol=1e-8)
    # The 2ᴰ Rademacher vectors are equally likely, so the mean over all of them is the exact expectation.
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=dim)))
    estimates = net.with_estimate(np.tile(x, (len(signs), 1)), None, signs)[1].value
    np.testing.assert_allclose(estimates, np.einsum("ni,ij,nj->n", signs, j, signs), atol=1e-7)
    assert estimates.mean() == pytest.approx(np.trace(j), abs=1e-8)


def standard_errors(estimates: Array, exact: float) -> float:
    """Return the distance of the estimates' mean from the exact value, in standard errors."""
    return abs(estimates.mean() - exact) / (estimates.std(ddof=1) / math.sqrt(len(estimates)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_estimated_density_is_unbiased(kind: Noise, rng: np.random.Generator) -> None:
    flow = small(3, seed=2, noise=kind, solver=FixedStep(4))
    x = np.tile(rng.normal(size=3), (2000, 1))
    exact = flow.log_prob(x[:1]).item()
    with no_grad():
        estimates = flow.log_prob_estimate(x, rng).value
        assert estimates.std() > 0.01
        assert standard_errors(estimates, exact) < 5  # a correct estimate fails for one of 1.7 million seeds
        # Wrong: noise with variance 1.5.
        own, noise = flow.bijection, hutchinson_noise(kind, x.shape, rng)
        wide = ContinuousFlow(own.velocity, own.solver, noise * math.sqrt(1.5)).forward(x)
        assert standard_errors(flow.base.log_prob(wide[0]).value + wide[1].value, exact) > 5
        # Wrong: ε and ε′ independent in ½ (εᵀJε′ + ε′ᵀJε), whose mean is 0.
        net, other = own.velocity.at(0.0), hutchinson_noise(kind, x.shape, rng)
        mixed = net.with_estimate(x, None, noise + other)[1] - net.with_estimate(x, None, noise - other)[1]
        trace = net.with_trace(x[:1], None)[1].item()
        assert standard_errors(net.with_estimate(x, None, noise)[1].value, trace) < 5
        assert standard_errors(mixed.value / 4, trace) > 5


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_noise_has_mean_zero_and_identity_covariance(kind: Noise, rng: np.random.Generator) -> None:
    noise = hutchinson_noise(kind, (20_000, 2), rng)
    # 5 standard errors: entries of εᵀε/n are means of n numbers with variance at most 2.
    np.testing.assert_allclose(noise.T @ noise / len(noise), np.eye(2), atol=5 * math.sqrt(2 / 20_000))
    np.testing.assert_allclose(noise.mean(0), 0, atol=5 / math.sqrt(20_000))
    assert (np.abs(noise) == 1).all() == (kind == "rademacher")
    with pytest.raises(ValueError, match=r"^kind: expected 'rademacher' or 'gaussian', got 'Rademacher'"):
        hutchinson_noise("Rademacher", (2, 2), rng)  # type: ignore[arg-type]


@pytest.mark.parametrize("noise", [None, "rademacher"])
@pytest.mark.parametrize("kinetic", [0.0, 0.5])
@pytest.mark.parametrize("solver", [TIGHT, FixedStep(40)], ids=["adaptive", "fixed"])
def test_adjoint_gradients_equal_backpropagation_through_solver(
    solver: Solver, kinetic: float, noise: Noise | None, rng: np.random.Generator
) -> None:
    x, c = Tensor(rng.normal(size=(5, 2))), Tensor(rng.normal(size=(5, 3)))
    gradients = []
    for adjoint in (False, True):
        flow = small(context=3, kinetic=kinetic, noise=noise, adjoint=adjoint, training=solver)
        loss = flow.loss(x, c, rng=np.random.default_rng(1))
        gradients.append(grad(loss, [*flow.parameters(), x, c]))
    for a, b in zip(*gradients, strict=True):
        assert np.abs(b.value).max() > 1e-4
        # Equal up to the solver's error: one method differentiates its steps, the other solves an ODE for the gradient.
        np.testing.assert_allclose(a.value, b.value, rtol=1e-5, atol=1e-6)


def test_gradients_if_first_step_reuses_time_of_initial_guess(rng: np.random.Generator) -> None:
    """A slow flow takes one step from 0 to 1, and the field at 1 was already evaluated to choose the first step.

    That evaluation was under `no_grad`: if its weights were reused, the gradient would be wrong.
    """
    flow, x = small(scale=0.02, solver=Adaptive(), training=Adaptive()), rng.normal(size=(4, 2))
    adjoint = small(scale=0.02, training=Adaptive(), adjoint=True)
    pairs = zip(grad(flow.loss(x), flow.parameters()), grad(adjoint.loss(x), adjoint.parameters()), strict=True)
    for a, b in pairs:
        # Equal up to the default tolerance of 1e-5; without the gradient of one stage the error is about 0.1.
        np.testing.assert_allclose(a.value, b.value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("noise", [None, "gaussian"])
@pytest.mark.parametrize("kinetic", [0.0, 0.5])
def test_gradients(kinetic: float, noise: Noise | None, rng: np.random.Generator) -> None:
    flow = small(noise=noise, kinetic=kinetic, context=1, training=FixedStep(2))
    x, c = rng.normal(size=(3, 2)), np.ones((3, 1))
    loss = lambda: flow.loss(x, c, rng=np.random.default_rng(0))
    check_parameter_grads(loss, flow.parameters(), order=1, rng=rng)


def test_settings_are_used(rng: np.random.Generator) -> None:
    x = rng.normal(size=(40, 2))
    for adjoint in (False, True):
        assert small(adjoint=adjoint)._with(FINE, x, None).adjoint == adjoint
    for kind in ("rademacher", "gaussian"):
        flow = small(noise=kind, training=FixedStep(2))
        noise = flow._with(FINE, x, rng).noise
        assert noise is not None
        assert (np.abs(noise) == 1).all() == (kind == "rademacher")
        losses = [flow.loss(x, rng=np.random.default_rng(seed)).item() for seed in (0, 0, 1)]
        assert losses[0] == losses[1] != losses[2]
    exact = small(training=FixedStep(2))
    assert exact.loss(x).item() == exact.loss(x, rng=rng).item()


def test_time_dependent_layer(rng: np.random.Generator) -> None:
    layer = TimeDependentLinear(2, 3, rng)
    for parameter in layer.parameters():
        parameter.assign(rng.normal(size=parameter.shape))
    w, b = layer.at(0.7)
    scale = 1 + 0.7 * layer.g.value
    np.testing.assert_allclose(w.value, layer.w.value * scale, rtol=1e-6)
    np.testing.assert_allclose(b.value, layer.b.value * scale + 0.7 * layer.u.value, rtol=1e-6, atol=1e-7)


def test_fixed_steps_converge_with_order_four(rng: np.random.Generator) -> None:
    flow, x = small(), rng.normal(size=(6, 2))
    solvers: list[Solver] = [TIGHT, FixedStep(4), FixedStep(8), FixedStep(16)]
    exact, *others = [Flow(flow._with(solver, x, None), flow.base).log_prob(x).value for solver in solvers]
    errors = [np.abs(other - exact).max() for other in others]
    assert errors[2] < errors[1] / 8 < errors[0] / 64


def check_kinetic_energy(flow: ContinuousFlow, x: Array, context: Array | None = None) -> None:
    """Check the kinetic energy of each path against a quadrature of ‖f(x(t), t)‖²."""
    z, log_det, energy = flow.solve(x, 0.0, 1.0, context, energy=True).y
    for part, plain in zip((z, log_det), flow.forward(x, context), strict=True):
        np.testing.assert_allclose(part.value, plain.value, atol=1e-12)
    nodes, weights = np.polynomial.legendre.leggauss(12)  # on (−1, 1)
    expected = np.zeros(len(x))
    for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        on_path = flow.solve(x, 0.0, t, context, log_det=False).y[0]
        expected += weight * np.square(flow.velocity.at(t)(on_path, context).value).sum(1)
    np.testing.assert_allclose(energy.value, expected, rtol=1e-4)  # the largest difference for 300 seeds was 5·10⁻⁶


@settings(max_examples=settings().max_examples // 4)
@given(size=st.sampled_from([(1, 0), (3, 2)]), noise=st.sampled_from([None, "gaussian"]), seed=st.integers(0, 2**32))
def test_kinetic_energy(size: tuple[int, int], noise: Noise | None, seed: int) -> None:
    (dim, context), rng = size, np.random.default_rng(seed)
    # A smaller scale than elsewhere: at 0.7 and in three dimensions, the errors of 20 steps reach 0.2 % of the energy.
    flow = small(dim, seed, 0.4, context=context, kinetic=0.7, noise=noise)
    x, c = rng.normal(size=(3, dim)), random_context(rng, 3, context)
    own = flow._with(FINE, x, np.random.default_rng(1) if noise else None)
    check_kinetic_energy(own, x, c)
    z, energy = own.solve(x, 0.0, 1.0, c, log_det=False, energy=True).y
    back = own.solve(z, 1.0, 0.0, c, log_det=False, energy=True).y[1]
    np.testing.assert_allclose(back.value, -energy.value, rtol=1e-4)
    plain = small(dim, seed, 0.4, context=context, noise=noise)
    losses = [each.loss(x, c, rng=np.random.default_rng(1)).item() for each in (flow, plain)]
    assert losses[0] - losses[1] == pytest.approx(0.7 * energy.value.mean())


@pytest.mark.parametrize("wrong", ["speed", "half", "mean", "at the start"])
def test_wrong_kinetic_energies_are_rejected(wrong: str, rng: np.random.Generator) -> None:
    flow, x = small(seed=3).bijection, rng.normal(size=(3, 2))
    energy_of: dict[str, Any] = {
        "speed": lambda x, energy: energy**0.5,
        "half": lambda x, energy: energy / 2,
        "mean": lambda x, energy: energy.mean() + 0 * energy,
        "at the start": lambda x, energy: (flow.velocity.at(0.0)(x, None) ** 2).sum(1),
    }

    class Wrong(ContinuousFlow):
        def solve(self, x: TensorLike, *args: Any, **options: Any) -> Solution:
            solution = super().solve(x, *args, **options)
            if not options.get("energy"):
                return solution
            return replace(solution, y=(*solution.y[:-1], energy_of[wrong](x, solution.y[-1])))

    check_kinetic_energy(flow, x)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_kinetic_energy(Wrong(flow.velocity, flow.solver), x)


def test_number_of_evaluations(rng: np.random.Generator) -> None:
    velocity, x = small().bijection.velocity, rng.normal(size=(6, 2))
    fixed, loose, tight = (
        ContinuousFlow(velocity, solver).solve(x, 0.0, 1.0).evaluations
        for solver in (FixedStep(5), Adaptive(1e-3, 1e-3), TIGHT)
    )
    assert fixed == 20
    assert 0 < loose < tight


def test_velocity_depends_on_time_except_at_initialisation(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 2))
    velocity = small().bijection.velocity
    assert np.abs(velocity.at(0.0)(x, None).value - velocity.at(1.0)(x, None).value).min() > 1e-3
    initial = TimeDependentMLP(2, rng, hidden=8, context=0, steepness=2.0)
    np.testing.assert_array_equal(initial.at(0.0)(x).value, initial.at(1.0)(x).value)
    assert np.abs(initial.at(0.0)(x).value).min() > 1e-4


def test_float32_model_returns_float32(rng: np.random.Generator) -> None:
    flow = FFJORD(2, rng, noise="rademacher", kinetic=np.float64(0.1))
    for dtype in (np.float32, np.float64):
        x = rng.normal(size=(3, 2)).astype(dtype)
        for result in (flow.log_prob(x), flow.log_prob_estimate(x, rng), flow.loss(x, rng=rng)):
            assert result.dtype == np.float32
    assert flow.sample(3, rng).dtype == np.float32


def test_rejects_invalid_settings(rng: np.random.Generator) -> None:
    for dim, hidden, context, name in ((0, 8, 0, "dim"), (2, 0, 0, "hidden"), (2, 8, -1, "context")):
        with pytest.raises(ValueError, match=f"{name}: expected at least"):
            FFJORD(dim, rng, hidden=hidden, context=context)
    with pytest.raises(ValueError, match="steepness: expected a positive number, got 0"):
        FFJORD(2, rng, steepness=0)
    for kinetic in (-0.1, math.inf, math.nan, "0.1", Tensor(0.1)):
        with pytest.raises(ValueError, match="kinetic: expected a finite number of at least 0, got"):
            FFJORD(2, rng, kinetic=kinetic)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="noise: expected 'rademacher', 'gaussian' or None, got 'uniform'"):
        FFJORD(2, rng, noise="uniform")  # type: ignore[arg-type]


def test_rejects_invalid_arguments(rng: np.random.Generator) -> None:
    flow, conditional = small(), small(context=3)
    x = np.zeros((4, 2))
    with pytest.raises(ValueError, match=r"rng: expected a np\.random\.Generator for rademacher noise, got None"):
        small(noise="rademacher").loss(x)
    with pytest.raises(TypeError, match=r"rng: expected a .*, got None"):
        flow.log_prob_estimate(x, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected at least 0, got -1"):
        flow.sample(-1, rng)
    for method in (flow.log_prob, flow.bijection.forward):
        with pytest.raises(ValueError, match=r"x: expected shape \(N, 2\), got \(4, 3\)"):
            method(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="x: expected finite numbers, got 1"):
        flow.log_prob(np.where(np.eye(4)[:, :2] * [1, 0], np.nan, x))
    with pytest.raises(ValueError, match=r"context: expected none, got \(4, 3\)"):
        flow.log_prob(x, np.zeros((4, 3)))
    for wrong in (None, np.zeros((1, 3)), np.zeros((4, 2))):
        with pytest.raises(ValueError, match=r"context: expected .*\(4, "):
            conditional.log_prob(x, wrong)
    with pytest.raises(ValueError, match=r"noise: expected the shape of x, \(4, 2\)"):
        ContinuousFlow(flow.bijection.velocity, FINE, np.ones((1, 2))).forward(x)
