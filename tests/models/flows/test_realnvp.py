"""NICE and RealNVP: densities that integrate to one and are drawn from, whatever the mask, scales and context."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.plane import check_plane_sampler
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, relu, tanh
from tinygen.bijections import Chain, Flow
from tinygen.models import NICE, RealNVP
from tinygen.nn.networks.couplings import CouplingMLP
from tinygen.testing import check_invertible, check_log_det, check_normalised_density, check_parameter_grads


def small(kind: Any = RealNVP, shape: tuple[int, ...] = (2,), seed: int = 0, size: float = 0.4, **settings: Any) -> Any:
    """A flow in float64 whose every parameter is random, since those that it starts with make it the identity.

    With tanh, as finite differences across the kink of a relu are no derivative.
    """
    rng = np.random.default_rng(seed)
    flow = kind(shape, rng, **{"hidden": 5, "layers": 3, "activation": tanh, **settings}).astype(np.float64)
    for parameter in flow.parameters():
        parameter.assign(rng.normal(size=parameter.shape) * size)
    return flow


VECTORS: list[dict[str, Any]] = [
    {"kind": NICE, "shape": (2,)},
    {"kind": NICE, "shape": (5,), "mask": "half", "depth": 1},
    {"kind": NICE, "shape": (2, 2, 1)},
    {"kind": RealNVP, "shape": (2,), "depth": 3},
    {"kind": RealNVP, "shape": (6,), "layers": 2},
    {"kind": RealNVP, "shape": (3,), "mask": "channel"},
]
IMAGES: list[dict[str, Any]] = [
    {"shape": (2, 4, 1), "mask": "checkerboard"},
    {"shape": (4, 2, 1), "mask": "half"},
    {"shape": (2, 2, 3), "mask": "channel"},
    {"shape": (4, 4, 1), "scales": 2},
]


@given(settings=st.sampled_from(VECTORS), context=st.sampled_from([0, 2]), seed=st.integers(0, 2**32))
def test_vectors(settings: dict[str, Any], context: int, seed: int) -> None:
    check_flow(small(**settings, context=context, seed=seed), context, seed)


@pytest.mark.parametrize("settings", IMAGES)
@pytest.mark.parametrize("context", [0, 2])
def test_images(settings: dict[str, Any], context: int) -> None:
    check_flow(small(**{"layers": 2, "depth": 1, **settings}, context=context), context, 0)


def check_flow(flow: Flow, context: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, contexts = rng.normal(size=(3, *flow.shape)), rng.normal(size=(3, context)) if context else None
    check_invertible(flow.bijection, x, context=contexts, rng=rng)
    check_log_det(flow.bijection, x, context=contexts, rng=rng)


@pytest.mark.parametrize("kind", [NICE, RealNVP])
def test_densities_integrate_to_one(kind: Any) -> None:
    flow = small(kind, context=1)
    check_normalised_density(lambda x: flow.log_prob(x, np.full((len(x), 1), 0.7)), [-16, -16], [16, 16])


@pytest.mark.parametrize("kind", [NICE, RealNVP])
def test_samples_follow_the_density(kind: Any, rng: np.random.Generator) -> None:
    flow = small(kind, context=1, size=0.5)
    check_plane_sampler(flow, flow, 2.5, rng=rng, context=np.array([0.7]))


def test_a_layer_left_out_in_sampling_is_rejected(rng: np.random.Generator) -> None:
    flow = small(size=0.5)
    shorter = Flow(Chain(*flow.bijection.bijections[1:]), flow.base)
    with pytest.raises(AssertionError, match="χ²"):
        check_plane_sampler(shorter, flow, 2.5, rng=rng)


def test_a_flow_as_it_starts_checks_nothing_and_is_refused(rng: np.random.Generator) -> None:
    """It is the identity, so that its log_prob is that of the noise."""
    flow = RealNVP((2,), rng).astype(np.float64)
    x = rng.normal(size=(3, 2))
    np.testing.assert_allclose(flow.log_prob(x).value, flow.base.log_prob(x).value, rtol=1e-12)
    with pytest.raises(AssertionError, match="identity"):
        check_log_det(flow.bijection, x, rng=rng)


def test_the_networks_of_couplings_start_with_kinks_all_over_the_data(rng: np.random.Generator) -> None:
    first = CouplingMLP(1, 2, rng, hidden=64, depth=2, activation=relu).layers[0]
    assert first.b is not None
    kinks = np.sort(-first.b.value / first.w.value[0])
    assert kinks[0] < -1
    assert kinks[-1] > 1
    assert np.diff(kinks).max() < 2


def test_the_first_batch_comes_out_normalised(rng: np.random.Generator) -> None:
    flow = RealNVP((4, 4, 1), rng, scales=2, hidden=3, depth=1).astype(np.float64)
    x = 3 + 5 * rng.normal(size=(200, 4, 4, 1))
    flow.initialise(x)
    z = flow.bijection.forward(x)[0].value
    assert np.abs(z.mean()) < 1e-9
    assert np.abs(z.std() - 1) < 1e-9


@pytest.mark.parametrize("settings", [{"kind": NICE}, {}, {"shape": (4, 4, 1), "scales": 2, "depth": 1}])
def test_gradients(settings: dict[str, Any], rng: np.random.Generator) -> None:
    flow = small(**{"layers": 2, **settings}, context=2)
    x, contexts = rng.normal(size=(3, *flow.shape)), rng.normal(size=(3, 2))
    check_parameter_grads(lambda: flow.log_prob(x, contexts), flow.parameters(), rng=rng)


@pytest.mark.parametrize(
    ("context", "message"),
    [(None, "got none"), (np.zeros((3, 1)), "context"), (np.zeros((2, 2)), "context"), (np.zeros(3), "context")],
)
def test_conditions_that_are_none(context: Array | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(context=2).log_prob(np.zeros((3, 2)), context)


def test_a_condition_where_none_is_expected() -> None:
    with pytest.raises(ValueError, match="context: expected none"):
        small().log_prob(np.zeros((3, 2)), np.zeros((3, 1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 1}, "layers: expected at least 2"),
        ({"kind": NICE, "layers": 1}, "layers: expected at least 2"),
        ({"scales": 0}, "scales: expected at least 1"),
        ({"scales": 2}, "scales: expected 1 for vectors"),
        ({"shape": (4, 6, 1), "scales": 3}, "shape: expected H and W multiples of .* = 4"),
        ({"shape": (6, 7, 1), "mask": "half", "scales": 2}, r"shape: expected H and W multiples of 2.* = 2"),
        ({"shape": (3,)}, "even lengths"),
        ({"shape": (4, 4)}, "shape: expected"),
        ({"mask": "stripes"}, "mask: expected"),
        ({"hidden": 0}, "hidden: expected at least 1"),
        ({"depth": 0}, "depth: expected at least 1"),
        ({"context": -1}, "context: expected at least 0"),
    ],
)
def test_settings_that_make_no_flow(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**settings)
