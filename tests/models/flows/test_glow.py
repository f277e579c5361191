"""Glow: inverse and log-determinant at every level, normalised density, samples, and initialisation from data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.flows import check_bijection, check_plane_sampler, perturbed, random_context

from tinygen.autograd import tanh
from tinygen.bijections import ActNorm, AffineCoupling, Bijection, Chain, Flow, InvertibleConv, Mask, Reshape
from tinygen.distributions import StandardNormal
from tinygen.models import Glow
from tinygen.nn import Module
from tinygen.nn.networks.couplings import CouplingMLP
from tinygen.testing import check_log_det, check_normalised_density, check_parameter_grads


def small(shape: tuple[int, int, int] = (4, 4, 1), seed: int = 0, **settings: Any) -> Glow:
    """Build a perturbed Glow with tanh, since finite differences fail at the kink of relu."""
    rng = np.random.default_rng(seed)
    return perturbed(Glow(shape, rng, **{"steps": 2, "hidden": 3, "activation": tanh, **settings}), rng, 0.3)


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize(
    "settings",
    [{"steps": 1}, {"shape": (2, 4, 3), "scales": 1, "steps": 2}, {"shape": (8, 8, 1), "scales": 3, "steps": 1}],
)
def test_inverse_and_log_det(settings: dict[str, Any], context: int) -> None:
    glow, rng = small(**settings, context=context), np.random.default_rng(0)
    x = rng.normal(size=(2, *glow.shape))
    check_bijection(glow.bijection, x, context=random_context(rng, 2, context), rng=rng)


def two_steps_on_two_channels(seed: int = 0) -> Flow:
    """Return the smallest Glow flow whose density can be integrated numerically."""
    rng = np.random.default_rng(seed)
    parts: list[Bijection] = []
    for _ in range(2):
        network = CouplingMLP(1, 2, rng, hidden=5, depth=1, activation=tanh)
        parts += [ActNorm(2), InvertibleConv(2, rng), AffineCoupling(Mask("channel", (2,)), network)]
    return perturbed(Flow(Chain(*parts), StandardNormal((2,))), rng, 0.3)


def test_density_of_steps_integrates_to_one_and_samples_follow_it(rng: np.random.Generator) -> None:
    flow = two_steps_on_two_channels()
    check_normalised_density(flow.log_prob, [-15, -15], [15, 15])
    check_plane_sampler(flow, flow, 2.5, rng=rng)
    with pytest.raises(AssertionError, match="χ²"):
        check_plane_sampler(two_steps_on_two_channels(1), flow, 2.5, rng=rng)


def test_missing_log_det_is_rejected(rng: np.random.Generator) -> None:
    flow = two_steps_on_two_channels()
    first, *rest = flow.bijection.bijections  # type: ignore[attr-defined]

    class WithoutLogDet(Bijection):
        def forward(self, x, context=None):  # type: ignore[no-untyped-def]
            z, _ = first.forward(x, context)
            return Reshape((2,), (2,)).forward(z)

    with pytest.raises(AssertionError, match="log-determinant"):
        check_normalised_density(Flow(Chain(WithoutLogDet(), *rest), flow.base).log_prob, [-15, -15], [15, 15])


def test_initialise_normalises_first_batch_and_is_saved(rng: np.random.Generator) -> None:
    glow = Glow((4, 4, 1), rng, steps=3, hidden=4).astype(np.float64)
    x = 7 + 20 * rng.normal(size=(300, 4, 4, 1))
    glow.initialise(x)
    norms = [part for part in modules(glow) if isinstance(part, ActNorm)]
    assert len(norms) == 6
    assert all(np.any(norm.m.value != 0) and np.any(norm.s.value != 0) for norm in norms)
    z = glow.bijection.forward(x)[0].value
    np.testing.assert_allclose(
        [z.mean(), z.std()], [0, 1], atol=0.01
    )  # approximate, as a rotation follows each ActNorm
    other = Glow((4, 4, 1), np.random.default_rng(5), steps=3, hidden=4).astype(np.float64)
    other.load(glow.state())
    np.testing.assert_array_equal(other.log_prob(x).value, glow.log_prob(x).value)


def modules(module: Module) -> list[Module]:
    """Return every module below a module."""
    below = [v for value in vars(module).values() for v in (value if isinstance(value, list) else [value])]
    return [m for part in below if isinstance(part, Module) for m in (part, *modules(part))]


def test_gradients(rng: np.random.Generator) -> None:
    glow = small(steps=1, context=2)
    x, c = rng.normal(size=(2, 4, 4, 1)), rng.normal(size=(2, 2))
    check_parameter_grads(lambda: glow.log_prob(x, c), glow.parameters(), rng=rng)


def test_couplings_initialised_to_identity_are_rejected(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="changes nothing"):
        check_log_det(Glow((4, 4, 1), rng).astype(np.float64).bijection, rng.normal(size=(2, 4, 4, 1)), rng=rng)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scales": 0}, "scales: expected at least 1"),
        ({"steps": 0}, "steps: expected at least 1"),
        ({"shape": (6, 4, 1)}, r"multiples of 2\^scales = 4, got \(6, 4, 1\)"),
        ({"shape": (4, 4)}, "shape: expected"),
        ({"hidden": 0}, "hidden: expected at least 1"),
        ({"context": -1}, "context: expected at least 0"),
    ],
)
def test_rejects_invalid_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**settings)


def test_rejects_invalid_inputs() -> None:
    with pytest.raises(ValueError, match="x: expected floats"):
        small().log_prob(np.zeros((2, 4, 4, 1), int))
    with pytest.raises(ValueError, match="context: expected none"):
        small().log_prob(np.zeros((2, 4, 4, 1)), np.zeros((2, 3)))


def test_rejects_matrix_that_became_singular() -> None:
    glow = small()
    glow.bijection.named_parameters()["bijections.0.bijections.2.log_s"].assign(np.full(4, -1e4))
    with pytest.raises(ValueError, match="w: expected an invertible matrix"):
        glow.log_prob(np.zeros((2, 4, 4, 1)))
