"""IAF: the inverse of a MAF, with a normalised density and samples that follow it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.flows import check_plane_sampler, random_context, small_autoregressive_flow
from hypothesis import given
from hypothesis import strategies as st

from tinygen import no_grad
from tinygen.bijections import Flow, Inverse, MixtureCDF
from tinygen.models import IAF, MAF
from tinygen.testing import check_invertible, check_normalised_density, check_parameter_grads


@given(dim=st.integers(2, 4), random_orders=st.booleans(), context=st.integers(0, 2), seed=st.integers(0, 2**32))
def test_inverse(dim: int, random_orders: bool, context: int, seed: int) -> None:
    flow = small_autoregressive_flow(IAF, dim, seed, random_orders=random_orders, context=context)
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(3, dim)), random_context(rng, 3, context)
    check_invertible(flow.bijection, x, context=c, rng=rng)


def test_equals_inverse_of_maf_with_same_settings(rng: np.random.Generator) -> None:
    settings: dict[str, Any] = {"layers": 3, "transformer": MixtureCDF(2), "random_orders": True, "context": 2}
    maf, iaf = (small_autoregressive_flow(kind, 5, **settings) for kind in (MAF, IAF))
    assert isinstance(iaf.bijection, Inverse)
    x, c = rng.normal(size=(4, 5)), rng.normal(size=(4, 2))
    for a, b in (
        (maf.bijection.forward(x, c), iaf.bijection.inverse(x, c)),
        (maf.bijection.inverse(x, c), iaf.bijection.forward(x, c)),
    ):
        np.testing.assert_array_equal(a[0].value, b[0].value)
        np.testing.assert_array_equal(a[1].value, b[1].value)


def test_density_differs_from_maf_with_same_parameters(rng: np.random.Generator) -> None:
    maf, iaf, x = small_autoregressive_flow(MAF, 3), small_autoregressive_flow(IAF, 3), rng.normal(size=(4, 3))
    assert np.abs(maf.log_prob(x).value - iaf.log_prob(x).value).max() > 0.1


def test_density_integrates_to_one() -> None:
    flow = small_autoregressive_flow(IAF, scale=0.15, context=1)
    with no_grad():
        check_normalised_density(
            lambda x: flow.log_prob(x, np.full((len(x), 1), 0.7)), [-24, -24], [24, 24], points=257, tolerance=1e-3
        )


def test_samples_follow_density(rng: np.random.Generator) -> None:
    flow = small_autoregressive_flow(IAF, context=1)
    with no_grad():
        check_plane_sampler(flow, flow, 2.5, rng=rng, context=np.array([0.7]))


def test_samples_of_maf_with_same_parameters_are_rejected(rng: np.random.Generator) -> None:
    iaf = small_autoregressive_flow(IAF)
    not_inverted = Flow(iaf.bijection.bijection, iaf.base)
    with pytest.raises(AssertionError, match="χ²"), no_grad():
        check_plane_sampler(not_inverted, iaf, 2.5, rng=rng)


def test_draw_returns_log_prob_and_is_differentiable(rng: np.random.Generator) -> None:
    flow, c = small_autoregressive_flow(IAF, 3, layers=3, random_orders=True, context=2), rng.normal(size=(5, 2))
    x, log_prob = flow.draw(5, rng, c)
    np.testing.assert_allclose(flow.log_prob(x, c).value, log_prob.value, rtol=1e-9, atol=1e-9)
    check_parameter_grads(lambda: flow.draw(5, np.random.default_rng(1), c)[1], flow.parameters(), rng=rng)


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
        IAF(**{"dim": 2, "rng": rng, **settings})


def test_rejects_invalid_examples_and_context() -> None:
    flow = small_autoregressive_flow(IAF, context=1)
    for x in (np.zeros((2, 3)), np.zeros((2, 2), int), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="x: expected"):
            flow.log_prob(x, np.zeros((2, 1)))
    with pytest.raises(ValueError, match="context: expected shape"):
        flow.log_prob(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="context: expected"):
        flow.sample(3, np.random.default_rng(0), np.zeros((2, 1)))
