"""Discretised mixture of logistics: values against high-precision arithmetic, normalisation, samples, extremes."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from helpers.midpoints import MidpointRule
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, log, sigmoid, value_and_grad
from tinygen.distributions import DiscretizedLogistics
from tinygen.testing import check_grads, check_normalised, check_sampler

EXTREMES = [-1e4, -40.0, -1.0, 0.0, 1.0, 40.0, 1e4]


def exact_log_prob(parameters: Array, k: int, levels: int, digits: int = 100) -> float:
    """Return ln p(k) by its definition, with enough digits to survive the cancellation between sigmoids."""
    with localcontext() as context:
        context.prec = digits
        weights, means, log_scales = ([Decimal(float(v)) for v in part] for part in np.split(parameters, 3))
        total, last = Decimal(0), levels - 1
        for weight, mean, log_scale in zip(weights, means, log_scales, strict=True):
            at = [(Decimal(numerator) / last - 1 - mean) / log_scale.exp() for numerator in (2 * k - 1, 2 * k + 1)]
            lower, upper = (1 / (1 + (-x).exp()) for x in at)
            total += weight.exp() * ((upper if k < last else 1) - (lower if k > 0 else 0))
        return float((total / sum(weight.exp() for weight in weights)).ln())


@given(levels=st.integers(2, 6), components=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_log_prob_matches_high_precision(levels: int, components: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    output = DiscretizedLogistics(levels, components)
    parameters = rng.normal(size=3 * components) * 2
    parameters[2 * components :] = np.clip(parameters[2 * components :], np.log(2 / (levels - 1)) - 4, 7)
    for k in range(levels):
        log_p = output.log_prob(parameters[None], np.array([k])).item()
        assert log_p == pytest.approx(exact_log_prob(parameters, k, levels), rel=1e-12, abs=1e-14)


def test_log_prob_matches_high_precision_far_in_the_tails() -> None:
    output = DiscretizedLogistics(5, 1)
    for mean, log_scale in ((30.0, -4.0), (-30.0, -4.0), (1.0, 7.0), (-200.0, -2.0)):
        parameters = np.array([0.3, mean, log_scale])
        for k in range(5):
            log_p = output.log_prob(parameters[None], np.array([k])).item()
            assert log_p == pytest.approx(exact_log_prob(parameters, k, 5, digits=1000), rel=1e-12, abs=1e-14)


def test_naive_difference_of_sigmoids_underflows_in_the_tails() -> None:
    """Negative control of the previous test: in float64, the definition gives ln 0."""
    with np.errstate(divide="ignore"):
        naive = log(sigmoid((0.25 - 30) / np.exp(-4.0)) - sigmoid((-0.25 - 30) / np.exp(-4.0)))
    assert naive.item() == -np.inf


@given(levels=st.integers(2, 20), components=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_probabilities_sum_to_one(levels: int, components: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    output = DiscretizedLogistics(levels, components)
    parameters = rng.normal(size=3 * components) * 3

    def log_prob(x: Array) -> Array:
        return output.log_prob(np.broadcast_to(parameters, (len(x), len(parameters))), x[:, 0]).value

    check_normalised(log_prob, np.arange(levels)[:, None])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_parameters_give_finite_normalised_probabilities(dtype: type) -> None:
    output = DiscretizedLogistics(256, 2)
    grid = np.meshgrid(EXTREMES, EXTREMES, EXTREMES)
    first = np.stack([part.ravel() for part in grid], -1)  # (343, 3): weight, mean and log-scale of one component
    second = np.broadcast_to([0.0, 0.1, -2.0], first.shape)
    parameters: Array = np.stack([first, second], -1).reshape(len(first), 6).astype(dtype)
    log_probs = np.stack([output.log_prob(parameters, np.full(len(first), k)).value for k in range(256)])
    assert log_probs.dtype == dtype
    assert np.all(np.isfinite(log_probs))
    tolerance = 1e-12 if dtype is np.float64 else 2e-4  # 256 boundaries, each rounded to 10⁻⁷ and divided by the scale
    np.testing.assert_allclose(np.exp(log_probs.astype(np.float64)).sum(0), 1, atol=tolerance)


def test_gradients_match_finite_differences(rng: np.random.Generator) -> None:
    output, k = DiscretizedLogistics(4, 2), np.array([0, 1, 3])
    check_grads(lambda parameters: output.log_prob(parameters, k), rng.normal(size=(3, 6)), rng=rng)


@pytest.mark.parametrize("k", [0, 100, 255])
def test_gradients_are_finite_for_extreme_parameters(k: int) -> None:
    output = DiscretizedLogistics(256, 1)
    parameters = np.stack([part.ravel() for part in np.meshgrid([0.0], EXTREMES, EXTREMES)], -1).astype(np.float32)
    _, gradient = value_and_grad(lambda p: output.log_prob(p, np.full(len(p), k)).sum())(parameters)
    assert np.all(np.isfinite(gradient.value))


def test_samples_follow_the_probabilities(rng: np.random.Generator) -> None:
    output = DiscretizedLogistics(6, 2)
    parameters = np.array([0.5, -0.3, -0.9, 0.4, -1.0, -2.0])

    def sample(n: int, rng: np.random.Generator) -> Array:
        return output.sample(np.broadcast_to(parameters, (n, 1, 6)), rng)

    def log_prob(x: Array) -> Array:
        return output.log_prob(np.broadcast_to(parameters, (len(x), 6)), x[:, 0]).value

    check_sampler(sample, log_prob, np.arange(6)[:, None], rng=rng)
    with pytest.raises(AssertionError, match="χ²"):  # negative control: one level too low, as if always rounded down
        check_sampler(lambda n, rng: np.maximum(sample(n, rng) - 1, 0), log_prob, np.arange(6)[:, None], rng=rng)


@pytest.mark.parametrize("log_scale", [-1.0, -1.9])
def test_samples_of_one_component_are_quantiles(log_scale: float) -> None:
    """Levels are intervals of the logistic numbers, so their frequencies are exact, and any temperature but 1 fails."""
    output, n, parameters = DiscretizedLogistics(6, 1), 10_000, np.array([0.0, 0.3, log_scale])
    k = output.sample(np.broadcast_to(parameters, (n, 3)), MidpointRule())
    p = np.exp([output.log_prob(parameters, np.array(level)).item() for level in range(6)])
    np.testing.assert_allclose(np.bincount(k, minlength=6) / n, p, rtol=0, atol=1 / n)


@pytest.mark.parametrize(
    ("k", "width"),
    [
        (np.array([-1]), 6), (np.array([4]), 6), (np.array([1.0]), 6), (np.array([[1]]), 6), (np.array([[True]]), 6),
        (np.array([1]), 5),
    ],
)  # fmt: skip
def test_rejects_invalid_levels_and_widths(k: Any, width: int) -> None:
    with pytest.raises(ValueError, match=r"k: expected integers 0…3|parameters: expected shape \(…, 6\)"):
        DiscretizedLogistics(4, 2).log_prob(np.zeros((1, width)), k)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_smallest_scale_puts_all_mass_on_one_level(levels: int) -> None:
    middle = levels // 2
    parameters = np.array([0.0, 2 * middle / (levels - 1) - 1, -50.0])
    assert DiscretizedLogistics(levels, 1).log_prob(parameters, np.array(middle)).item() > -1e-9


@pytest.mark.parametrize(("levels", "components", "name"), [(1, 1, "levels"), (2, 0, "components")])
def test_rejects_invalid_settings(levels: int, components: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected at least"):
        DiscretizedLogistics(levels, components)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("index", [0, 1])
def test_sampling_rejects_parameters_that_are_not_finite(bad: float, index: int, rng: np.random.Generator) -> None:
    parameters = np.zeros((1, 3))
    parameters[0, index] = bad
    with pytest.raises(ValueError, match="diverged"):
        DiscretizedLogistics(4, 1).sample(parameters, rng)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", range(2, 6))
def test_sampling_refuses_means_and_scales_that_are_not_finite(bad: float, position: int) -> None:
    """Also those of a component that is not drawn, and scales that would be clipped."""
    parameters = np.array([[0.0, -1000.0, 0.0, 0.0, 0.0, 0.0]])
    parameters[0, position] = bad
    with pytest.raises(ValueError, match="finite"):
        DiscretizedLogistics(256, 2).sample(parameters, np.random.default_rng(0))
