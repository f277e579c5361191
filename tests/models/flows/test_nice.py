"""NICE: inverse, log-determinant, normalised density and samples that follow it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.flows import check_bijection, check_plane_sampler, random_context, small_coupling_flow
from hypothesis import given
from hypothesis import strategies as st

from tinygen.models import NICE
from tinygen.testing import check_normalised_density, check_parameter_grads

small = partial(small_coupling_flow, NICE)
CASES: list[dict[str, Any]] = [{"shape": (2,)}, {"shape": (5,), "mask": "half", "depth": 1}, {"shape": (2, 2, 1)}]


@given(settings=st.sampled_from(CASES), context=st.sampled_from([0, 2]), seed=st.integers(0, 2**32))
def test_inverse_and_log_det(settings: dict[str, Any], context: int, seed: int) -> None:
    flow, rng = small(**settings, context=context, seed=seed), np.random.default_rng(seed)
    x = rng.normal(size=(3, *flow.shape))
    check_bijection(flow.bijection, x, context=random_context(rng, 3, context), rng=rng)


def test_density_integrates_to_one() -> None:
    flow = small((2,), context=1)
    check_normalised_density(lambda x: flow.log_prob(x, np.full((len(x), 1), 0.7)), [-16, -16], [16, 16])


def test_samples_follow_density(rng: np.random.Generator) -> None:
    flow = small((2,), context=1, scale=0.5)
    check_plane_sampler(flow, flow, 2.5, rng=rng, context=np.array([0.7]))


def test_log_det_is_sum_of_log_scales(rng: np.random.Generator) -> None:
    flow = small((4,))
    log_det = flow.bijection.forward(rng.normal(size=(3, 4)))[1].value
    np.testing.assert_allclose(log_det, flow.bijection.bijections[-1].s.value.sum(), rtol=1e-12)


def test_gradients(rng: np.random.Generator) -> None:
    flow, x, c = small((2,), layers=2, context=2), rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    check_parameter_grads(lambda: flow.log_prob(x, c), flow.parameters(), rng=rng)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 1}, "layers: expected at least 2"),
        ({"shape": (3,)}, "an even height and width"),
        ({"mask": "stripes"}, "mask: expected"),
        ({"hidden": 0}, "hidden: expected at least 1"),
        ({"context": -1}, "context: expected at least 0"),
    ],
)
def test_rejects_invalid_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**{"shape": (2,), **settings})
