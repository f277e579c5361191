"""MAF: inverse, log-determinant, normalised density, samples that follow it, and orders of the variables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.flows import check_plane_sampler, random_context, small_autoregressive_flow
from hypothesis import given
from hypothesis import strategies as st

from tinygen import no_grad
from tinygen.bijections import AffineTransformer, Flow, MixtureCDF, RationalQuadraticSpline, Transformer
from tinygen.models import MAF
from tinygen.testing import check_invertible, check_log_det, check_normalised_density, check_parameter_grads

MIXTURE = MixtureCDF(2)
SPLINE = RationalQuadraticSpline(4)


@given(dim=st.integers(2, 4), random_orders=st.booleans(), context=st.integers(0, 2), seed=st.integers(0, 2**32))
def test_inverse(dim: int, random_orders: bool, context: int, seed: int) -> None:
    flow = small_autoregressive_flow(MAF, dim, seed, random_orders=random_orders, context=context)
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(3, dim)), random_context(rng, 3, context)
    check_invertible(flow.bijection, x, context=c, rng=rng)


@pytest.mark.parametrize("transformer", [AffineTransformer(), MIXTURE, SPLINE], ids=["affine", "mixture", "spline"])
def test_log_det_matches_jacobian(transformer: Transformer, rng: np.random.Generator) -> None:
    bijection = small_autoregressive_flow(MAF, transformer=transformer, context=1).bijection
    check_log_det(bijection, rng.normal(size=(4, 2)), context=rng.normal(size=(4, 1)), rng=rng)


@pytest.mark.parametrize(
    ("settings", "reach"),
    [({"scale": 0.15}, 16), ({"transformer": MIXTURE, "layers": 1, "scale": 0.05}, 40), ({"transformer": SPLINE}, 8)],
)
def test_density_integrates_to_one(settings: Any, reach: float) -> None:
    flow = small_autoregressive_flow(MAF, context=1, **settings)
    # The tails of a mixture of logistics are exponential: a mass of several 10⁻⁴ may be outside the box.
    with no_grad():
        check_normalised_density(
            lambda x: flow.log_prob(x, np.full((len(x), 1), 0.7)),
            [-reach, -reach],
            [reach, reach],
            points=257,
            tolerance=1e-3,
        )


def test_samples_follow_density(rng: np.random.Generator) -> None:
    flow = small_autoregressive_flow(MAF, context=1)
    with no_grad():
        check_plane_sampler(flow, flow, 2.5, rng=rng, context=np.array([0.7]))


@pytest.mark.parametrize("transformer", [MIXTURE, SPLINE], ids=["mixture", "spline"])
def test_samples_with_other_transformers_follow_density(transformer: Transformer, rng: np.random.Generator) -> None:
    flow = small_autoregressive_flow(MAF, transformer=transformer, layers=1)
    with no_grad():
        check_plane_sampler(flow, flow, 2.5, rng=rng)


def test_samples_without_first_layer_are_rejected(rng: np.random.Generator) -> None:
    flow = small_autoregressive_flow(MAF)
    shorter = Flow(flow.bijection.bijections[1], flow.base)
    with pytest.raises(AssertionError, match="χ²"), no_grad():
        check_plane_sampler(shorter, flow, 2.5, rng=rng)


@pytest.mark.parametrize(("transformer", "scale"), [(AffineTransformer(), 0.3), (SPLINE, 0.1)])
def test_draw_returns_log_prob_and_is_differentiable(
    transformer: Transformer, scale: float, rng: np.random.Generator
) -> None:
    settings: Any = {"layers": 3, "random_orders": True, "context": 2, "transformer": transformer, "scale": scale}
    flow = small_autoregressive_flow(MAF, 3, **settings)
    c = rng.normal(size=(5, 2))
    x, log_prob = flow.draw(5, rng, c)
    np.testing.assert_allclose(flow.log_prob(x, c).value, log_prob.value, rtol=1e-9, atol=1e-9)
    check_parameter_grads(lambda: flow.draw(5, np.random.default_rng(1), c)[1], flow.parameters(), rng=rng)


def test_one_mixture_layer_in_one_dimension_is_mixture_of_logistics(rng: np.random.Generator) -> None:
    flow = small_autoregressive_flow(MAF, 1, layers=1, transformer=MIXTURE)
    logits, means, log_scales = np.split(flow.bijection.bijections[0].net(np.zeros((1, 1))).value.ravel(), 3)
    x = rng.normal(size=(6, 1)) * 3
    log_scales = 5 * np.tanh(log_scales / 5)
    a = (x - means) / np.exp(log_scales)
    density = np.exp(logits) / np.exp(logits).sum() / np.exp(log_scales) / (2 * np.cosh(a / 2)) ** 2
    np.testing.assert_allclose(flow.log_prob(x).value, np.log(density.sum(1)), rtol=1e-9)


def test_initial_mixture_components_differ() -> None:
    flow = MAF(2, np.random.default_rng(0), transformer=MixtureCDF(4))
    parameters = flow.bijection.bijections[0].net(np.zeros((1, 2), np.float32)).value[0, 0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(parameters[4:8], [-2.25, -0.75, 0.75, 2.25])


def test_orders_alternate_or_are_random() -> None:
    def orders(random: bool) -> list[list[int]]:
        flow = MAF(6, np.random.default_rng(0), layers=3, hidden=(6,), random_orders=random)
        return [layer.net.order().tolist() for layer in flow.bijection.bijections]  # type: ignore[attr-defined]

    ascending = [0, 1, 2, 3, 4, 5]
    assert orders(random=False) == [ascending, ascending[::-1], ascending]
    assert [sorted(order) for order in orders(random=True)] == [ascending] * 3
    assert len({tuple(order) for order in orders(random=True)}) == 3
    assert orders(random=True) == orders(random=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 0}, "layers: expected at least 1"),
        ({"hidden": (4, 0)}, "hidden: expected integers of at least 1"),
        ({"context": -1}, "context: expected at least 0"),
        ({"dim": 0}, "dim: expected at least 1"),
    ],
)
def test_rejects_invalid_settings(settings: Any, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=message):
        MAF(**{"dim": 2, "rng": rng, **settings})


def test_rejects_invalid_examples_and_context() -> None:
    flow = small_autoregressive_flow(MAF, context=1)
    for x in (np.zeros((2, 3)), np.zeros((2, 2), int), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="x: expected"):
            flow.log_prob(x, np.zeros((2, 1)))
    with pytest.raises(ValueError, match="context: expected shape"):
        flow.log_prob(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="context: expected"):
        flow.sample(3, np.random.default_rng(0), np.zeros((2, 1)))
