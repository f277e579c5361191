"""Flow: the density and the sampler agree, and the context reaches the bijection."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.flows import randomised

from tinygen.autograd import Array, Parameter, grad, no_grad
from tinygen.bijections import (
    ActNorm,
    AdditiveCoupling,
    Affine,
    Bijection,
    Chain,
    Dequantized,
    Flow,
    Inverse,
    Logit,
    Mask,
    Permute,
    Reshape,
)
from tinygen.distributions import StandardNormal, StandardUniform
from tinygen.models import FFJORD, IAF, MAF, NICE, Flow1D, Glow, RealNVP
from tinygen.ode import FixedStep
from tinygen.testing import check_normalised_density, check_sampler

SWAP = Permute(np.array([1, 0]))
LOGIT_NORMAL = Chain(Affine(np.array([0.5, 0.25]), np.array([0.5, 0.4])), Logit(), SWAP, Affine(1.5, 0.3))


def test_densities_integrate_to_one() -> None:
    affine = Flow(Affine([2.0, -0.5], [1.0, 0.2]), StandardNormal((2,)))
    check_normalised_density(affine.log_prob, [-4, -12], [3, 12], points=257)
    check_normalised_density(Flow(Affine(-4.0, 1.0), StandardNormal((1,))).log_prob, [-2], [2])
    bounded = Flow(LOGIT_NORMAL, StandardNormal((2,)))
    check_normalised_density(bounded.log_prob, [-0.99999, -1.5999], [0.99999, 2.3999], points=257)
    logistic = Flow(Inverse(Logit()), StandardUniform((1,)))
    check_normalised_density(logistic.log_prob, [-30], [30])


class WithoutLogDet(Affine):
    """Wrong: an affine map with log_det = 0."""

    def forward(self, x, context=None):  # type: ignore[no-untyped-def]
        z, log_det = super().forward(x, context)
        return z, 0 * log_det


def test_density_without_log_det_is_rejected() -> None:
    with pytest.raises(AssertionError, match="log-determinant"):
        check_normalised_density(Flow(WithoutLogDet(2.0), StandardNormal((1,))).log_prob, [-5], [5])


def on_interval(last: Bijection) -> Flow:
    """A density on (−1, 1): z = last(logit((x + 1) / 2)) is standard normal."""
    return Flow(Chain(Affine(0.5, 0.5), Logit(), last), StandardNormal((1,)))


def test_samples_follow_density(rng: np.random.Generator) -> None:
    """Compare the frequencies of 8 intervals with the integrals of the density."""
    flow, edges = on_interval(Affine(1.5, 0.3)), np.linspace(-1, 1, 9)
    fine = np.linspace(edges[:-1] + 1e-9, edges[1:] - 1e-9, 4001)
    mass = np.trapezoid(np.exp(flow.log_prob(fine.reshape(-1, 1)).value).reshape(fine.shape), fine, axis=0)

    def check(sampled: Flow) -> None:
        check_sampler(
            lambda n, rng: np.searchsorted(edges[1:-1], sampled.sample(n, rng)),
            lambda k: np.log(mass[k[:, 0]]),
            np.arange(8)[:, None],
            rng=rng,
        )

    check(flow)
    with pytest.raises(AssertionError, match="χ²"):
        check(on_interval(Inverse(Affine(1.5, 0.3))))  # wrong: one layer is inverted


def test_temperature_is_the_standard_deviation_of_the_noise(rng: np.random.Generator) -> None:
    flow = on_interval(Affine(1.5, 0.3))
    z = StandardNormal((1,)).sample(50, np.random.default_rng(1))
    expected = flow.bijection.to_data(0.7 * z).value
    np.testing.assert_array_equal(flow.sample(50, np.random.default_rng(1), temperature=0.7), expected)
    levels = Dequantized(flow, 4)
    np.testing.assert_array_equal(
        levels.sample(50, np.random.default_rng(1), temperature=0.7), np.clip(np.floor(4 * expected), 0, 3)
    )
    for wrong in (0, -1.0, np.nan):
        with pytest.raises(ValueError, match=r"^temperature: expected a positive number"):
            flow.sample(2, rng, temperature=wrong)
    with pytest.raises(ValueError, match=r"^temperature: expected 1 for a flow with a base StandardUniform, got 0\.5"):
        Flow(Affine(2.0), StandardUniform((2,))).sample(2, rng, temperature=0.5)


def test_draw_returns_log_prob_and_is_differentiable(rng: np.random.Generator) -> None:
    scale, shift = Parameter([2.0, -0.5], np.float64), Parameter([1.0, 0.2], np.float64)
    flow = Flow(Affine(scale, shift), StandardNormal((2,)))
    x, log_prob = flow.draw(5, rng)
    np.testing.assert_allclose(log_prob.value, flow.log_prob(x.value).value, atol=1e-12)
    # x = (z − shift) / scale, so ∂ Σ x / ∂ shift = −n / scale
    np.testing.assert_allclose(grad(x.sum(), [shift])[0].value, -5 / scale.value, rtol=1e-12)


def test_dtype_is_that_of_parameters(rng: np.random.Generator) -> None:
    flow = Flow(Affine(Parameter([2.0, 3.0])), StandardNormal((2,)))
    assert flow.sample(3, rng).dtype == flow.log_prob(np.ones((3, 2), np.float32)).dtype == np.float32
    assert flow.loss(np.ones((3, 2), np.float32)).shape == ()
    assert flow.astype(np.float64).sample(3, rng).dtype == np.float64


def test_shape_of_data_may_differ_from_shape_of_noise(rng: np.random.Generator) -> None:
    flow = Flow(Reshape((2, 1), (2,)), StandardNormal((2,)), shape=(2, 1))
    assert flow.sample(3, rng).shape == (3, 2, 1)
    np.testing.assert_allclose(flow.log_prob(np.zeros((3, 2, 1))).value, -math.log(2 * math.pi), rtol=1e-15)


@pytest.mark.parametrize("base", [StandardNormal((2,)), StandardUniform((2,))])
def test_zero_examples(base: StandardNormal | StandardUniform, rng: np.random.Generator) -> None:
    flow = Flow(Affine(2.0), base)
    assert flow.sample(0, rng).shape == (0, 2)
    assert flow.log_prob(np.zeros((0, 2))).shape == (0,)


class ShiftedByContext(Bijection):
    """z = x − context."""

    context = 2

    def forward(self, x, context=None):  # type: ignore[no-untyped-def]
        return Affine(1.0, 0.0).forward(x - context)

    def inverse(self, z, context=None):  # type: ignore[no-untyped-def]
        return Affine(1.0, 0.0).inverse(z + context)


def test_each_example_has_its_own_context(rng: np.random.Generator) -> None:
    flow, context = Flow(ShiftedByContext(), StandardNormal((2,))), np.array([[0.0, 0.0], [5.0, 0.0]])
    log_p = flow.log_prob(np.zeros((2, 2)), context).value
    np.testing.assert_allclose(log_p[0] - log_p[1], 12.5, rtol=1e-14)
    shifted = flow.sample(2, np.random.default_rng(0), context) - flow.sample(2, np.random.default_rng(0), 0 * context)
    np.testing.assert_allclose(shifted, context, atol=1e-12)
    noise = flow.base.sample(2, np.random.default_rng(0))
    tempered = flow.sample(2, np.random.default_rng(0), context, temperature=0.5)
    np.testing.assert_allclose(tempered, context + 0.5 * noise, atol=1e-12)
    for wrong in (context[:1], context[0], None, np.zeros((4, 3))):  # NumPy would broadcast the first two
        for call in (lambda c=wrong: flow.log_prob(np.zeros((4, 2)), c), lambda c=wrong: flow.sample(4, rng, c)):
            with pytest.raises(ValueError, match="context: expected"):
                call()


RNG = np.random.default_rng(0)
UNCONDITIONAL = [
    Flow1D(3),
    NICE((4,), RNG),
    RealNVP((4, 4, 1), RNG, scales=2, hidden=4, depth=1),
    Glow((4, 4, 1), RNG, scales=2, steps=1, hidden=4),
    MAF(3, RNG, hidden=(4,)),
    IAF(3, RNG, hidden=(4,)),
    FFJORD(2, RNG, hidden=4, solver=FixedStep(2)),
    Flow(Chain(Affine(2.0), SWAP), StandardNormal((2,))),
]


@pytest.mark.parametrize("flow", UNCONDITIONAL, ids=lambda flow: type(flow).__name__)
def test_unconditional_flow_rejects_context(flow: Flow) -> None:
    x, c, rng = np.full((3, *flow.shape), 0.5, np.float32), np.zeros((3, 2)), np.random.default_rng(1)
    for call in (
        lambda: flow.log_prob(x, c),
        lambda: flow.sample(3, rng, c),
        lambda: flow.draw(3, rng, c),
        lambda: flow.initialise(x, c),
    ):
        with pytest.raises(ValueError, match=r"context: expected none, got \(3, 2\)"):
            call()


@pytest.mark.parametrize("flow", UNCONDITIONAL, ids=lambda flow: type(flow).__name__)
def test_to_noise_and_to_data_equal_forward_and_inverse(flow: Flow) -> None:
    rng = np.random.default_rng(1)
    for parameter in flow.parameters():
        parameter.assign(parameter.value + 0.1 * rng.normal(size=parameter.shape))
    x = np.full((3, *flow.shape), 0.5, np.float32)
    z = rng.normal(size=(3, *flow.base.shape)).astype(np.float32)
    inverse = Inverse(flow.bijection)
    with no_grad():
        np.testing.assert_array_equal(flow.bijection.to_data(z).value, flow.bijection.inverse(z)[0].value)
        np.testing.assert_array_equal(flow.bijection.to_noise(x).value, flow.bijection.forward(x)[0].value)
        np.testing.assert_array_equal(inverse.to_noise(z).value, inverse.forward(z)[0].value)
        np.testing.assert_array_equal(inverse.to_data(x).value, inverse.inverse(x)[0].value)


def test_conditional_flow_requires_context(rng: np.random.Generator) -> None:
    conditional = RealNVP((4, 4, 1), rng, scales=2, hidden=4, depth=1, context=3)
    for flow in (
        conditional,
        Flow(Inverse(conditional.bijection), StandardNormal((16,))),
        MAF(2, rng, hidden=(4,), context=3),
    ):
        with pytest.raises(ValueError, match=r"context: expected shape \(5, 3\), got none"):
            flow.sample(5, rng)


def test_context_is_optional_if_network_does_not_declare_its_size() -> None:
    mask, x = Mask("half", (2,)), np.ones((3, 2))
    coupling = AdditiveCoupling(mask, lambda a, c: a if c is None else a + c)
    flow = Flow(Chain(coupling, Affine(2.0)), StandardNormal((2,)))
    assert flow.context is None
    assert np.all(flow.log_prob(x).value > flow.log_prob(x, np.ones((3, 1))).value)
    with pytest.raises(ValueError, match=r"context: expected shape \(3, C\)"):
        flow.log_prob(x, np.ones((2, 1)))


@pytest.mark.parametrize("x", [np.zeros((3, 4)), np.zeros(2), np.zeros((2, 2), int), np.zeros(()), np.zeros((3, 2, 1))])
def test_rejects_wrong_shapes_and_integers(x: Array) -> None:
    flow = Flow(Affine(2.0), StandardNormal((2,)))
    for method in (flow.log_prob, flow.initialise):
        with pytest.raises(ValueError, match=r"x: expected (shape|floats of shape) \(N, 2\)"):
            method(x)


def test_loss_and_initialise_use_context(rng: np.random.Generator) -> None:
    flow = randomised(NICE((4,), rng, layers=2, hidden=5, depth=1, context=2), rng, 1)
    x, c = rng.normal(size=(30, 4)), 3 * rng.normal(size=(30, 2))
    assert flow.loss(x, c).item() == -flow.log_prob(x, c).value.mean()
    assert abs(flow.loss(x, c).item() - flow.loss(x, -c).item()) > 0.1
    flow.initialise(x, c)
    z = flow.bijection.forward(x, c)[0].value  # the last bijection is an ActNorm
    np.testing.assert_allclose([z.mean(0), z.std(0)], [[0] * 4, [1] * 4], atol=1e-9)


def test_float64_context_does_not_promote_float32_model(rng: np.random.Generator) -> None:
    for flow in (RealNVP((2,), rng, layers=2, context=3), MAF(2, rng, layers=1, hidden=(4,), context=3)):
        x, c = rng.normal(size=(4, 2)), np.eye(3)[[0, 2, 1, 1]]
        flow.initialise(x, c)
        assert flow.log_prob(x, c).dtype == flow.sample(4, rng, c).dtype == np.float32
        assert flow.draw(4, rng, c)[0].dtype == np.float32


def test_rejects_non_finite_values(rng: np.random.Generator) -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="x: expected finite numbers, got 1"):
            Flow(Affine(2.0), StandardNormal((2,))).log_prob(np.array([[0.0, bad]]))
        flow = RealNVP((2,), rng, layers=2, context=1)
        x, c = np.zeros((2, 2)), np.array([[0.0], [bad]])
        for method in (flow.log_prob, flow.initialise):
            with pytest.raises(ValueError, match="x: expected finite numbers, got 1"):
                method(np.array([[0.0, 1.0], [bad, 2.0]]), np.zeros((2, 1)))
            with pytest.raises(ValueError, match="context: expected finite numbers, got 1"):
                method(x, c)
        with pytest.raises(ValueError, match="context: expected finite numbers, got 1"):
            flow.sample(2, rng, c)
        with pytest.raises(ValueError, match="context: expected finite numbers, got 1"):
            flow.draw(2, rng, c)
    with pytest.raises(ValueError, match="x: expected finite numbers, got 1"):  # 1e39 overflows float32
        RealNVP((2,), rng, layers=2).log_prob(np.array([[0.0, 1e39]]))


def test_rejects_negative_number_of_samples(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="n: expected at least 0"):
        Flow(Affine(2.0), StandardNormal((2,))).sample(-1, rng)


def test_draw_is_differentiable_with_respect_to_a_learned_base(rng: np.random.Generator) -> None:
    """x = z / s with z ~ N(0, 1): ∂x/∂s = −x / s, and ln p(x) = ln N(z) + ln s."""
    s = Parameter([2.0], np.float64)
    flow = Flow(Affine(np.ones(1)), Flow(Affine(s), StandardNormal((1,))))
    x, log_p = flow.draw(5, rng)
    np.testing.assert_allclose(grad(x.sum(), [s])[0].value, -x.value.sum(keepdims=True).reshape(1) / 2)
    np.testing.assert_allclose(grad(log_p.sum(), [s])[0].value, [5 / 2])


class Largest(StandardUniform):
    def sample(self, n: int, rng: np.random.Generator) -> Array:
        return np.full((n, *self.shape), np.nextafter(1, 0))


def test_uniform_noise_does_not_round_to_1_in_float32(rng: np.random.Generator) -> None:
    flow = Flow(Chain(ActNorm(1), Inverse(Logit())), Largest((1,)))
    assert flow.dtype == np.float32
    assert np.isfinite(flow.sample(3, rng)).all()
    assert np.isfinite(flow.draw(3, rng)[0].value).all()
