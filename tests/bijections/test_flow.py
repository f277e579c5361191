"""A flow is a density and a sampler that agree, whichever way its bijection is read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygen.autograd import Array, Parameter, grad, no_grad
from tinygen.bijections import AdditiveCoupling, Affine, Bijection, Chain, Flow, Inverse, Logit, Mask, Reshape, Reverse
from tinygen.distributions import StandardNormal, StandardUniform
from tinygen.models import FFJORD, IAF, MAF, NICE, Flow1D, Glow, RealNVP
from tinygen.ode import FixedStep
from tinygen.testing import check_normalised_density, check_sampler

LOGIT_NORMAL = Chain(Affine(np.array([0.5, 0.25]), np.array([0.5, 0.4])), Logit(), Reverse(2), Affine(1.5, 0.3))


def test_densities_integrate_to_one() -> None:
    affine = Flow(Affine([2.0, -0.5], [1.0, 0.2]), StandardNormal((2,)))
    check_normalised_density(affine.log_prob, [-4, -12], [3, 12], points=257)
    check_normalised_density(Flow(Affine(-4.0, 1.0), StandardNormal((1,))).log_prob, [-2], [2])
    inside = Flow(LOGIT_NORMAL, StandardNormal((2,)))
    check_normalised_density(inside.log_prob, [-0.99999, -1.5999], [0.99999, 2.3999], points=257)
    uniform = Flow(Inverse(Logit()), StandardUniform((1,)))  # the logistic density
    check_normalised_density(uniform.log_prob, [-30], [30])


class Forgetful(Affine):
    """An affine map that says nothing of its volume."""

    def forward(self, x, context=None):  # type: ignore[no-untyped-def]
        z, log_det = super().forward(x, context)
        return z, 0 * log_det


def test_a_density_without_its_log_det_does_not() -> None:
    with pytest.raises(AssertionError, match="log-determinant"):
        check_normalised_density(Flow(Forgetful(2.0), StandardNormal((1,))).log_prob, [-5], [5])


def squashed(last: Bijection) -> Flow:
    """A density on (−1, 1): z = last(logit((x + 1) / 2)) is normal."""
    return Flow(Chain(Affine(0.5, 0.5), Logit(), last), StandardNormal((1,)))


def test_samples_follow_the_density(rng: np.random.Generator) -> None:
    """Of the cell that x falls into, whose mass is the integral of the density."""
    flow, edges = squashed(Affine(1.5, 0.3)), np.linspace(-1, 1, 9)
    fine = np.linspace(edges[:-1] + 1e-9, edges[1:] - 1e-9, 4001)
    mass = np.trapezoid(np.exp(flow.log_prob(fine.reshape(-1, 1)).value).reshape(fine.shape), fine, axis=0)

    def check(drawn: Flow) -> None:
        check_sampler(
            lambda n, rng: np.searchsorted(edges[1:-1], drawn.sample(n, rng)),
            lambda k: np.log(mass[k[:, 0]]),
            np.arange(8)[:, None],
            rng=rng,
        )

    check(flow)
    with pytest.raises(AssertionError, match="χ²"):
        check(squashed(Inverse(Affine(1.5, 0.3))))  # one layer read the wrong way round


def test_draws_know_their_density_and_can_be_differentiated(rng: np.random.Generator) -> None:
    scale, shift = Parameter([2.0, -0.5], np.float64), Parameter([1.0, 0.2], np.float64)
    flow = Flow(Affine(scale, shift), StandardNormal((2,)))
    x, log_prob = flow.draw(5, rng)
    np.testing.assert_allclose(log_prob.value, flow.log_prob(x.value).value, atol=1e-12)
    # x = (z − shift) / scale, so ∂ Σ x / ∂ shift = −n / scale
    np.testing.assert_allclose(grad(x.sum(), [shift])[0].value, -5 / scale.value, rtol=1e-12)


def test_a_flow_is_a_distribution_of_its_parameters_dtype(rng: np.random.Generator) -> None:
    flow = Flow(Affine(Parameter([2.0, 3.0])), StandardNormal((2,)))
    assert flow.sample(3, rng).dtype == flow.log_prob(np.ones((3, 2), np.float32)).dtype == np.float32
    assert flow.loss(np.ones((3, 2), np.float32)).shape == ()
    assert flow.astype(np.float64).sample(3, rng).dtype == np.float64


def test_data_may_have_another_shape_than_noise(rng: np.random.Generator) -> None:
    flow = Flow(Reshape((2, 1), (2,)), StandardNormal((2,)), shape=(2, 1))
    assert flow.sample(3, rng).shape == (3, 2, 1)
    np.testing.assert_allclose(flow.log_prob(np.zeros((3, 2, 1))).value, -math.log(2 * math.pi), rtol=1e-15)


@pytest.mark.parametrize("base", [StandardNormal((2,)), StandardUniform((2,))])
def test_nothing_drawn_and_nothing_asked(base: StandardNormal | StandardUniform, rng: np.random.Generator) -> None:
    flow = Flow(Affine(2.0), base)
    assert flow.sample(0, rng).shape == (0, 2)
    assert flow.log_prob(np.zeros((0, 2))).shape == (0,)


class Told(Bijection):
    """z = x − context."""

    context = 2

    def forward(self, x, context=None):  # type: ignore[no-untyped-def]
        return Affine(1.0, 0.0).forward(x - context)

    def inverse(self, z, context=None):  # type: ignore[no-untyped-def]
        return Affine(1.0, 0.0).inverse(z + context)


def test_a_condition_reaches_the_bijection_row_by_row(rng: np.random.Generator) -> None:
    flow, context = Flow(Told(), StandardNormal((2,))), np.array([[0.0, 0.0], [5.0, 0.0]])
    log_p = flow.log_prob(np.zeros((2, 2)), context).value
    np.testing.assert_allclose(log_p[0] - log_p[1], 12.5, rtol=1e-14)
    shifted = flow.sample(2, np.random.default_rng(0), context) - flow.sample(2, np.random.default_rng(0), 0 * context)
    np.testing.assert_allclose(shifted, context, atol=1e-12)
    for wrong in (context[:1], context[0], None, np.zeros((4, 3))):  # some of which NumPy would broadcast
        for ask in (lambda c=wrong: flow.log_prob(np.zeros((4, 2)), c), lambda c=wrong: flow.sample(4, rng, c)):
            with pytest.raises(ValueError, match="context: expected"):
                ask()


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "flow",
    [
        Flow1D(3),
        NICE((4,), RNG),
        RealNVP((4, 4, 1), RNG, scales=2, hidden=4, depth=1),
        Glow((4, 4, 1), RNG, scales=2, steps=1, hidden=4),
        MAF(3, RNG, hidden=(4,)),
        IAF(3, RNG, hidden=(4,)),
        FFJORD(2, RNG, hidden=4, solver=FixedStep(2)),
        Flow(Chain(Affine(2.0), Reverse(2)), StandardNormal((2,))),
    ],
)
def test_a_condition_that_nothing_takes_is_refused_and_decoding_is_the_inverse(flow: Flow) -> None:
    x, c, rng = np.full((3, *flow.shape), 0.5, np.float32), np.zeros((3, 2)), np.random.default_rng(1)
    for ask in (
        lambda: flow.log_prob(x, c),
        lambda: flow.sample(3, rng, c),
        lambda: flow.draw(3, rng, c),
        lambda: flow.initialise(x, c),
    ):
        with pytest.raises(ValueError, match=r"context: expected none, got \(3, 2\)"):
            ask()
    for parameter in flow.parameters():
        parameter.assign(parameter.value + 0.1 * rng.normal(size=parameter.shape))
    z = rng.normal(size=(3, *flow.base.shape)).astype(np.float32)
    with no_grad():
        np.testing.assert_array_equal(flow.bijection.to_data(z).value, flow.bijection.inverse(z)[0].value)
        np.testing.assert_array_equal(flow.bijection.to_noise(x).value, flow.bijection.forward(x)[0].value)
        turned = Inverse(flow.bijection)
        np.testing.assert_array_equal(turned.to_noise(z).value, turned.forward(z)[0].value)
        np.testing.assert_array_equal(turned.to_data(x).value, turned.inverse(x)[0].value)


def test_a_condition_that_is_missing_is_asked_for(rng: np.random.Generator) -> None:
    contexts = RealNVP((4, 4, 1), rng, scales=2, hidden=4, depth=1, context=3)
    for flow in (
        contexts,
        Flow(Inverse(contexts.bijection), StandardNormal((16,))),
        MAF(2, rng, hidden=(4,), context=3),
    ):
        with pytest.raises(ValueError, match=r"context: expected shape \(5, 3\), got none"):
            flow.sample(5, rng)


def test_a_network_that_is_a_plain_function_may_take_a_condition_or_not() -> None:
    mask, x = Mask("half", (2,)), np.ones((3, 2))
    flow = Flow(
        Chain(AdditiveCoupling(mask, lambda a, c: a if c is None else a + c), Affine(2.0)), StandardNormal((2,))
    )
    assert flow.context is None
    assert np.all(flow.log_prob(x).value > flow.log_prob(x, np.ones((3, 1))).value)
    with pytest.raises(ValueError, match=r"context: expected shape \(3, C\)"):
        flow.log_prob(x, np.ones((2, 1)))


@pytest.mark.parametrize("x", [np.zeros((3, 4)), np.zeros(2), np.zeros((2, 2), int), np.zeros(()), np.zeros((3, 2, 1))])
def test_wrong_shapes_and_integers(x: Array) -> None:
    flow = Flow(Affine(2.0), StandardNormal((2,)))
    for refuse in (flow.log_prob, flow.initialise):
        with pytest.raises(ValueError, match=r"x: expected (shape|floats) \(N, 2\)"):
            refuse(x)


def test_the_condition_is_told_in_training_and_at_the_start(rng: np.random.Generator) -> None:
    flow = NICE((4,), rng, layers=2, hidden=5, depth=1, context=2).astype(np.float64)
    for parameter in flow.parameters():
        parameter.assign(rng.normal(size=parameter.shape))
    x, contexts = rng.normal(size=(30, 4)), 3 * rng.normal(size=(30, 2))
    assert flow.loss(x, contexts).item() == -flow.log_prob(x, contexts).value.mean()
    assert abs(flow.loss(x, contexts).item() - flow.loss(x, -contexts).item()) > 0.1
    flow.initialise(x, contexts)
    z = flow.bijection.forward(x, contexts)[0].value  # the last map is an ActNorm
    np.testing.assert_allclose([z.mean(0), z.std(0)], [[0] * 4, [1] * 4], atol=1e-9)


def test_a_condition_in_float64_takes_nothing_with_it(rng: np.random.Generator) -> None:
    for flow in (RealNVP((2,), rng, layers=2, context=3), MAF(2, rng, layers=1, hidden=(4,), context=3)):
        x, contexts = rng.normal(size=(4, 2)), np.eye(3)[[0, 2, 1, 1]]
        flow.initialise(x, contexts)
        assert flow.log_prob(x, contexts).dtype == flow.sample(4, rng, contexts).dtype == np.float32
        assert flow.draw(4, rng, contexts)[0].dtype == np.float32


def test_what_is_not_finite(rng: np.random.Generator) -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="x: expected finite numbers, got 1"):
            Flow(Affine(2.0), StandardNormal((2,))).log_prob(np.array([[0.0, bad]]))
        flow = RealNVP((2,), rng, layers=2, context=1)
        x, contexts = np.zeros((2, 2)), np.array([[0.0], [bad]])
        for refuse in (flow.log_prob, flow.initialise):
            with pytest.raises(ValueError, match="x: expected finite numbers, got 1"):
                refuse(np.array([[0.0, 1.0], [bad, 2.0]]), np.zeros((2, 1)))
            with pytest.raises(ValueError, match="context: expected finite numbers, got 1"):
                refuse(x, contexts)
        with pytest.raises(ValueError, match="context: expected finite numbers, got 1"):
            flow.sample(2, rng, contexts)
        with pytest.raises(ValueError, match="context: expected finite numbers, got 1"):
            flow.draw(2, rng, contexts)
    with pytest.raises(ValueError, match="x: expected finite numbers, got 1"):  # in float32 it is not
        RealNVP((2,), rng, layers=2).log_prob(np.array([[0.0, 1e39]]))
    with pytest.raises(ValueError, match="n: expected at least 0"):
        Flow(Affine(2.0), StandardNormal((2,))).sample(-1, rng)
