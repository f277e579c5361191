"""RealNVP: inverse, log-determinant, normalised density and samples, for vectors and for images at several scales."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.flows import check_bijection, check_plane_sampler, random_context, small_coupling_flow
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, relu
from tinygen.bijections import AffineCoupling, Chain, Flow, MixtureCDF, RationalQuadraticSpline, Squeeze, Transformer
from tinygen.bijections.squeeze import FactorOut
from tinygen.models import RealNVP
from tinygen.nn.networks.couplings import CouplingMLP
from tinygen.testing import check_log_det, check_normalised_density, check_parameter_grads

small = partial(small_coupling_flow, RealNVP)
SPLINE = RationalQuadraticSpline(4)
VECTORS: list[dict[str, Any]] = [
    {"shape": (2,), "depth": 3},
    {"shape": (6,), "layers": 2},
    {"shape": (3,), "mask": "channel"},
]
IMAGES: list[dict[str, Any]] = [
    {"shape": (2, 4, 1), "mask": "checkerboard"},
    {"shape": (4, 2, 1), "mask": "half"},
    {"shape": (2, 2, 3), "mask": "channel"},
    {"shape": (4, 4, 1), "scales": 2},
]


def check_flow(flow: Flow, context: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, *flow.shape))
    check_bijection(flow.bijection, x, context=random_context(rng, 3, context), rng=rng)


@given(settings=st.sampled_from(VECTORS), context=st.sampled_from([0, 2]), seed=st.integers(0, 2**32))
def test_inverse_and_log_det_for_vectors(settings: dict[str, Any], context: int, seed: int) -> None:
    check_flow(small(**settings, context=context, seed=seed), context, seed)


@pytest.mark.parametrize("settings", IMAGES)
@pytest.mark.parametrize("context", [0, 2])
def test_inverse_and_log_det_for_images(settings: dict[str, Any], context: int) -> None:
    check_flow(small(**{"layers": 2, "depth": 1, **settings}, context=context), context, 0)


def test_multi_scale_architecture() -> None:
    """Per level, couplings in the mask, then a squeeze and couplings by channel; at the last level, only the former."""
    flow = RealNVP((8, 8, 1), np.random.default_rng(0), scales=3, layers=2, hidden=2, depth=1)
    names: list[str] = []
    stages: list[Any] = [flow.bijection]
    while stages:
        part = stages.pop()
        stages += reversed(getattr(part, "bijections", [part.rest] if isinstance(part, FactorOut) else []))
        names += [part.mask.name] if isinstance(part, AffineCoupling) else ["squeeze"] * isinstance(part, Squeeze)
    level = ["checkerboard", "checkerboard", "squeeze", "channel", "channel"]
    assert names == [*level, *level, *level[:2]]


@pytest.mark.parametrize("transformer", [None, SPLINE], ids=["affine", "spline"])
def test_density_integrates_to_one(transformer: Transformer | None) -> None:
    flow = small((2,), context=1, transformer=transformer, scale=0.4 if transformer is None else 0.2)
    # The derivative of a spline's density jumps at knots, so the quadrature converges slowly.
    settings: Any = {} if transformer is None else {"points": 257, "tolerance": 1e-3}
    check_normalised_density(lambda x: flow.log_prob(x, np.full((len(x), 1), 0.7)), [-16, -16], [16, 16], **settings)


@pytest.mark.parametrize("transformer", [None, SPLINE], ids=["affine", "spline"])
def test_samples_follow_density(transformer: Transformer | None, rng: np.random.Generator) -> None:
    flow = small((2,), context=1, scale=0.5, transformer=transformer)
    check_plane_sampler(flow, flow, 2.5, rng=rng, context=np.array([0.7]))


def test_samples_without_first_layer_are_rejected(rng: np.random.Generator) -> None:
    flow = small((2,), scale=0.5)
    shorter = Flow(Chain(*flow.bijection.bijections[1:]), flow.base)
    with pytest.raises(AssertionError, match="χ²"):
        check_plane_sampler(shorter, flow, 2.5, rng=rng)


@pytest.mark.parametrize("transformer", [None, SPLINE], ids=["affine", "spline"])
def test_starts_as_identity_which_checks_reject(transformer: Transformer | None, rng: np.random.Generator) -> None:
    flow = RealNVP((2,), rng, transformer=transformer).astype(np.float64)
    x = rng.normal(size=(3, 2))
    np.testing.assert_allclose(flow.log_prob(x).value, flow.base.log_prob(x).value, rtol=1e-12)
    with pytest.raises(AssertionError, match="identity"):
        check_log_det(flow.bijection, x, rng=rng)


@pytest.mark.parametrize("shape", [(6,), (4, 4, 1)])
def test_a_transformer_starts_with_its_initial_parameters(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """For each channel; components with equal means would remain equal."""
    transformer, x = MixtureCDF(3), rng.normal(size=(3, *shape))
    flow = RealNVP(shape, rng, transformer=transformer, mask="half", layers=2, hidden=4).astype(np.float64)
    lower, upper = np.split(x, 2, 1)
    expected = [transformer.forward(half, transformer.start())[0].value for half in (lower, upper)]
    np.testing.assert_allclose(flow.bijection.forward(x)[0].value, np.concatenate(expected, 1), rtol=1e-6)


def test_initial_kinks_of_coupling_network_are_spread_over_data(rng: np.random.Generator) -> None:
    first = CouplingMLP(1, 2, rng, hidden=64, depth=2, activation=relu).layers[0]
    assert first.b is not None
    kinks = np.sort(-first.b.value / first.w.value[0])
    assert kinks[0] < -1
    assert kinks[-1] > 1
    assert np.diff(kinks).max() < 2


def test_initialise_normalises_first_batch(rng: np.random.Generator) -> None:
    flow = RealNVP((4, 4, 1), rng, scales=2, hidden=3, depth=1).astype(np.float64)
    x = 3 + 5 * rng.normal(size=(200, 4, 4, 1))
    flow.initialise(x)
    z = flow.bijection.forward(x)[0].value
    assert np.abs(z.mean()) < 1e-9
    assert np.abs(z.std() - 1) < 1e-9


@pytest.mark.parametrize("settings", [{"shape": (2,)}, {"shape": (4, 4, 1), "scales": 2, "depth": 1}])
def test_gradients(settings: dict[str, Any], rng: np.random.Generator) -> None:
    flow = small(**{"layers": 2, **settings}, context=2)
    x, c = rng.normal(size=(3, *flow.shape)), rng.normal(size=(3, 2))
    check_parameter_grads(lambda: flow.log_prob(x, c), flow.parameters(), rng=rng)


@pytest.mark.parametrize(
    ("context", "message"),
    [(None, "got none"), (np.zeros((3, 1)), "context"), (np.zeros((2, 2)), "context"), (np.zeros(3), "context")],
)
def test_rejects_missing_context_or_wrong_shape(context: Array | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small((2,), context=2).log_prob(np.zeros((3, 2)), context)


def test_rejects_context_if_unconditional() -> None:
    with pytest.raises(ValueError, match="context: expected none"):
        small((2,)).log_prob(np.zeros((3, 2)), np.zeros((3, 1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 1}, "layers: expected at least 2"),
        ({"scales": 0}, "scales: expected at least 1"),
        ({"scales": 2}, r"scales: expected 1 for the shape \(2,\), got 2"),
        ({"shape": (4, 6, 1), "scales": 3}, "shape: expected H and W multiples of .* = 4"),
        ({"shape": (6, 7, 1), "mask": "half", "scales": 2}, r"shape: expected H and W multiples of 2.* = 2"),
        ({"shape": (3,)}, "an even height and width"),
        ({"shape": (4, 4)}, "shape: expected"),
        ({"mask": "stripes"}, "mask: expected"),
        ({"hidden": 0}, "hidden: expected at least 1"),
        ({"depth": 0}, "depth: expected at least 1"),
        ({"context": -1}, "context: expected at least 0"),
    ],
)
def test_rejects_invalid_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**{"shape": (2,), **settings})


@pytest.mark.parametrize(("shape", "scales"), [((5, 4, 1), 1), ((6, 6, 1), 2)])
def test_rejects_halves_of_different_sizes(shape: tuple[int, int, int], scales: int) -> None:
    """The network, which keeps the size, could not compute the parameters of the larger half."""
    with pytest.raises(ValueError, match=r"^shape: expected an even height at every scale for the mask 'half', got"):
        RealNVP(shape, np.random.default_rng(0), mask="half", scales=scales)
