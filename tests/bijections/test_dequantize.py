"""Uniform dequantisation: the bound against likelihoods known in closed form, and the sampler."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers.midpoints import MidpointRule

from tinygen.autograd import Array, Parameter
from tinygen.bijections import Affine, Chain, Dequantized, Flow, Inverse, Logit
from tinygen.distributions import StandardNormal, StandardUniform, bits_per_dim
from tinygen.testing import check_sampler

LEVELS, SCALE, SHIFT = 4, 1.5, -0.4


def logit_normal(*shape: int) -> Flow:
    """A density on (0, 1): z = SCALE · logit(y) + SHIFT is standard normal."""
    return Flow(Chain(Logit(), Affine(SCALE, SHIFT)), StandardNormal(shape))


def exact_probability(k: int) -> float:
    """Return P(k), a difference of the cumulative distribution function at the edges of bin k."""

    def cdf(y: float) -> float:
        if not 0 < y < 1:
            return float(y >= 1)
        return 0.5 * math.erfc(-(SCALE * math.log(y / (1 - y)) + SHIFT) / math.sqrt(2))

    return cdf((k + 1) / LEVELS) - cdf(k / LEVELS)


def expected_bound(model: Dequantized, k: int, n: int = 20_000) -> float:
    return float(model.log_prob_bound(np.full((n, 1), k), MidpointRule()).value.mean())


@pytest.mark.parametrize("k", range(LEVELS))
def test_expected_bound_is_below_log_likelihood(k: int) -> None:
    """The gap is positive because the density varies within each bin; it is large in the outer bins."""
    bound, log_p = expected_bound(Dequantized(logit_normal(1), LEVELS), k), math.log(exact_probability(k))
    assert bound < log_p - 1e-3
    if k in (1, 2):
        assert log_p - 0.2 < bound
        assert bound + math.log(LEVELS) > log_p  # without the bin width it would not be a bound


def test_bound_is_tight_for_piecewise_constant_density(rng: np.random.Generator) -> None:
    model = Dequantized(Flow(Affine(1.0), StandardUniform((2, 3))), LEVELS)
    x = rng.integers(0, LEVELS, (5, 2, 3))
    np.testing.assert_allclose(model.log_prob_bound(x, rng).value, -6 * math.log(LEVELS), rtol=1e-15)
    assert math.isclose(bits_per_dim(6 * math.log(LEVELS), 6), math.log2(LEVELS))


def test_bound_of_several_samples_is_their_mean(rng: np.random.Generator) -> None:
    model, x = Dequantized(logit_normal(2), LEVELS), rng.integers(0, LEVELS, (6, 2))
    same = np.random.default_rng(1)
    each = [model.log_prob_bound(x, same).value for _ in range(3)]
    assert np.ptp(each, 0).min() > 0
    np.testing.assert_allclose(model.log_prob_bound(x, np.random.default_rng(1), 3).value, np.mean(each, 0), rtol=1e-13)


def test_samples_follow_likelihood(rng: np.random.Generator) -> None:
    model = Dequantized(logit_normal(1), LEVELS)
    log_p = np.log([exact_probability(k) for k in range(LEVELS)])
    check_sampler(model.sample, lambda k: log_p[k[:, 0]], np.arange(LEVELS)[:, None], 5000, rng=rng)

    class Rounded(Dequantized):
        """Wrong: rounds to the nearest level instead of down."""

        def sample(self, n: int, rng: np.random.Generator, context: Any = None, **options: Any) -> Array:
            return np.asarray(np.clip(np.rint(self.flow.sample(n, rng) * LEVELS), 0, LEVELS - 1), int)

    wrong = Rounded(logit_normal(1), LEVELS)
    with pytest.raises(AssertionError, match="χ²"):
        check_sampler(wrong.sample, lambda k: log_p[k[:, 0]], np.arange(LEVELS)[:, None], 5000, rng=rng)


def test_dequantize_stays_within_bin(rng: np.random.Generator) -> None:
    model = Dequantized(Flow(Affine(Parameter([2.0])), StandardNormal((1,))), 256)
    y = model.dequantize(np.arange(256)[:, None], rng)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(np.floor(y * 256)[:, 0], np.arange(256))

    class Largest(np.random.Generator):
        def random(self, shape: Any = None, *_: Any) -> Any:  # type: ignore[override]
            return np.full(shape, 1 - 2.0**-53)

    assert model.dequantize(np.array([[255]]), Largest(np.random.PCG64())).max() < 1  # would round to 1 in float32


def test_sample_clips_values_outside_unit_interval(rng: np.random.Generator) -> None:
    wide = Dequantized(Flow(Affine(0.1), StandardNormal((1,))), LEVELS)
    assert set(np.unique(wide.sample(500, rng))) == set(range(LEVELS))


def test_sample_of_zero_examples(rng: np.random.Generator) -> None:
    assert Dequantized(Flow(Inverse(Logit()), StandardUniform((1,))), 2).sample(0, rng).shape == (0, 1)


def test_loss_is_negative_mean_bound(rng: np.random.Generator) -> None:
    model, x = Dequantized(logit_normal(3), LEVELS), rng.integers(0, LEVELS, (6, 3))
    a, b = model.loss(x, rng=np.random.default_rng(1)), model.log_prob_bound(x, np.random.default_rng(1))
    np.testing.assert_allclose(a.item(), -b.value.mean(), rtol=1e-14)


def test_rejects_invalid_arguments(rng: np.random.Generator) -> None:
    model = Dequantized(logit_normal(2), LEVELS)
    with pytest.raises(ValueError, match="levels: expected at least 2"):
        Dequantized(logit_normal(2), 1)
    with pytest.raises(ValueError, match="samples: expected at least 1"):
        model.log_prob_bound(np.zeros((1, 2), int), rng, 0)
    for x in (np.zeros((3, 2)), np.zeros((3, 3), int), np.full((3, 2), LEVELS), np.full((3, 2), -1)):
        with pytest.raises(ValueError, match="x: expected integers 0…3"):
            model.log_prob_bound(x, rng)
    with pytest.raises(ValueError, match="dims: expected at least 1"):
        bits_per_dim(1.0, 0)


def test_rejects_non_finite_samples(rng: np.random.Generator) -> None:
    diverged = Dequantized(Flow(Affine(Parameter([1e-45])), StandardNormal((1,))), 2)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="samples: expected finite numbers"):
        diverged.sample(5, rng)
