"""MAF and IAF: densities that integrate to one, samples that follow them, and one bijection read in two ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.plane import check_plane_sampler
from hypothesis import given
from hypothesis import strategies as st

from tinygen import no_grad
from tinygen.autograd import tanh
from tinygen.bijections import AffineTransformer, Flow, Inverse, MixtureCDF, Transformer
from tinygen.models import IAF, MAF
from tinygen.testing import check_invertible, check_log_det, check_normalised_density, check_parameter_grads

KINDS: dict[str, Any] = {"maf": MAF, "iaf": IAF}
MIXTURE = MixtureCDF(2)


def small(kind: str = "maf", dim: int = 2, seed: int = 0, size: float = 0.3, **settings: Any) -> Any:
    """A flow in float64 whose every parameter is random, so that no term is hidden by a zero.

    Its networks are of tanh here: among a few relus, all may be dead at all of the few examples.
    """
    rng = np.random.default_rng(seed)
    flow = KINDS[kind](dim, rng, **{"layers": 2, "hidden": (5, 5), **settings}).astype(np.float64)
    for layer in (flow.bijection.bijection if kind == "iaf" else flow.bijection).bijections:
        layer.net.activation = tanh
    for parameter in flow.parameters():
        parameter.assign(parameter.value + rng.normal(size=parameter.shape) * size)
    return flow


@given(
    kind=st.sampled_from(sorted(KINDS)),
    dim=st.integers(2, 4),
    random_orders=st.booleans(),
    context=st.integers(0, 2),
    seed=st.integers(0, 2**32),
)
def test_it_is_invertible(kind: str, dim: int, random_orders: bool, context: int, seed: int) -> None:
    flow = small(kind, dim, seed, random_orders=random_orders, context=context)
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(3, dim)), rng.normal(size=(3, context)) if context else None
    check_invertible(flow.bijection, x, context=c, rng=rng)


@pytest.mark.parametrize("transformer", [AffineTransformer(), MIXTURE], ids=["affine", "mixture"])
def test_its_log_det_is_that_of_its_jacobian(transformer: Transformer, rng: np.random.Generator) -> None:
    bijection = small(transformer=transformer, context=1).bijection
    check_log_det(bijection, rng.normal(size=(4, 2)), context=rng.normal(size=(4, 1)), rng=rng)


@pytest.mark.parametrize(
    ("kind", "settings", "reach"),
    [("maf", {}, 16), ("iaf", {}, 24), ("maf", {"transformer": MIXTURE, "layers": 1, "size": 0.05}, 40)],
)
def test_densities_integrate_to_one(kind: str, settings: Any, reach: float) -> None:
    flow, box = small(kind, context=1, **{"size": 0.15, **settings}), [reach, reach]
    # The tails of a mixture of logistics are exponential: beyond the box may be a few times 10⁻⁴.
    with no_grad():
        check_normalised_density(
            lambda x: flow.log_prob(x, np.full((len(x), 1), 0.7)), [-reach, -reach], box, points=257, tolerance=1e-3
        )


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_samples_follow_the_density(kind: str, rng: np.random.Generator) -> None:
    flow = small(kind, context=1)
    with no_grad():
        check_plane_sampler(flow, flow, 2.5, rng=rng, context=np.array([0.7]))


def test_samples_of_a_mixture_follow_its_density(rng: np.random.Generator) -> None:
    flow = small(transformer=MIXTURE, layers=1)
    with no_grad():
        check_plane_sampler(flow, flow, 2.5, rng=rng)


def test_samples_of_a_layer_less_are_rejected(rng: np.random.Generator) -> None:
    flow = small()
    shorter = Flow(flow.bijection.bijections[1], flow.base)
    with pytest.raises(AssertionError, match="χ²"), no_grad():
        check_plane_sampler(shorter, flow, 2.5, rng=rng)


def test_an_iaf_is_the_inverse_of_a_maf(rng: np.random.Generator) -> None:
    maf, iaf = small(dim=3), small("iaf", dim=3)
    x = rng.normal(size=(4, 3))
    assert isinstance(iaf.bijection, Inverse)
    for a, b in zip(maf.bijection.forward(x), iaf.bijection.inverse(x), strict=True):
        np.testing.assert_array_equal(a.value, b.value)
    assert np.abs(maf.log_prob(x).value - iaf.log_prob(x).value).max() > 0.1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_draws_come_with_their_log_prob(kind: str, rng: np.random.Generator) -> None:
    flow = small(kind, dim=3, layers=3, random_orders=True, context=2)
    c = rng.normal(size=(5, 2))
    x, log_prob = flow.draw(5, rng, c)
    np.testing.assert_allclose(flow.log_prob(x, c).value, log_prob.value, rtol=1e-9, atol=1e-9)
    check_parameter_grads(lambda: flow.draw(5, np.random.default_rng(1), c)[1], flow.parameters(), rng=rng)


def test_one_layer_of_mixtures_is_a_mixture_for_each_variable(rng: np.random.Generator) -> None:
    flow = small(dim=1, layers=1, transformer=MIXTURE)
    logits, means, log_scales = np.split(flow.bijection.bijections[0].net(np.zeros((1, 1))).value.ravel(), 3)
    x = rng.normal(size=(6, 1)) * 3
    log_scales = 5 * np.tanh(log_scales / 5)
    a = (x - means) / np.exp(log_scales)
    density = np.exp(logits) / np.exp(logits).sum() / np.exp(log_scales) / (2 * np.cosh(a / 2)) ** 2
    np.testing.assert_allclose(flow.log_prob(x).value, np.log(density.sum(1)), rtol=1e-9)


def test_components_are_not_alike_at_first() -> None:
    flow = MAF(2, np.random.default_rng(0), transformer=MixtureCDF(4))
    first = flow.bijection.bijections[0].net(np.zeros((1, 2), np.float32)).value[0, 0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(first[4:8], [-2.25, -0.75, 0.75, 2.25])


def test_orders() -> None:
    def orders(random: bool) -> list[list[int]]:
        flow = MAF(6, np.random.default_rng(0), layers=3, hidden=(6,), random_orders=random)
        return [layer.net.order().tolist() for layer in flow.bijection.bijections]  # type: ignore[attr-defined]

    up = [0, 1, 2, 3, 4, 5]
    assert orders(random=False) == [up, up[::-1], up]
    assert [sorted(order) for order in orders(random=True)] == [up] * 3
    assert len({tuple(order) for order in orders(random=True)}) == 3
    assert orders(random=True) == orders(random=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 0}, "layers: expected at least 1"),
        ({"hidden": (4, 0)}, "hidden: expected one or more integers"),
        ({"context": -1}, "context: expected at least 0"),
        ({"dim": 0}, "dim: expected at least 1"),
    ],
)
def test_settings_that_make_no_flow(settings: Any, message: str, rng: np.random.Generator) -> None:
    for kind in (MAF, IAF):
        with pytest.raises(ValueError, match=message):
            kind(**{"dim": 2, "rng": rng, **settings})


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_examples_that_are_none(kind: str) -> None:
    flow = small(kind, context=1)
    for x in (np.zeros((2, 3)), np.zeros((2, 2), int), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="x: expected"):
            flow.log_prob(x, np.zeros((2, 1)))
    with pytest.raises(ValueError, match="context: expected shape"):
        flow.log_prob(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="context: expected"):
        flow.sample(3, np.random.default_rng(0), np.zeros((2, 1)))


def test_an_iaf_is_the_maf_of_the_same_settings_inverted(rng: np.random.Generator) -> None:
    settings: dict[str, Any] = {"dim": 5, "layers": 3, "transformer": MIXTURE, "random_orders": True, "context": 2}
    maf, iaf = small("maf", **settings), small("iaf", **settings)
    x, contexts = rng.normal(size=(4, 5)), rng.normal(size=(4, 2))
    for forth, back in ((maf.bijection.forward, iaf.bijection.inverse), (maf.bijection.inverse, iaf.bijection.forward)):
        for one, other in zip(forth(x, contexts), back(x, contexts), strict=True):
            np.testing.assert_array_equal(one.value, other.value)
