"""The discretised mixture of logistics: right to the last digit, normalised, stable where a difference would be 0."""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, log, sigmoid, value_and_grad
from tinygen.distributions import DiscretizedLogistics
from tinygen.testing import check_grads, check_normalised, check_sampler

EXTREMES = [-1e4, -40.0, -1.0, 0.0, 1.0, 40.0, 1e4]


def precisely(parameters: Array, k: int, levels: int, digits: int = 100) -> float:
    """ln p(k) by the definition, in so many digits that the difference of two sigmoids may lose most of them."""
    with localcontext() as context:
        context.prec = digits
        weights, means, log_scales = ([Decimal(float(v)) for v in part] for part in np.split(parameters, 3))
        total, last = Decimal(0), levels - 1
        for weight, mean, log_scale in zip(weights, means, log_scales, strict=True):
            at = [(Decimal(numerator) / last - 1 - mean) / log_scale.exp() for numerator in (2 * k - 1, 2 * k + 1)]
            lower, upper = (1 / (1 + (-x).exp()) for x in at)
            total += weight.exp() * ((upper if k < last else 1) - (lower if k > 0 else 0))
        return float((total / sum(weight.exp() for weight in weights)).ln())


def all_log_probs(output: DiscretizedLogistics, parameters: Array) -> Array:
    shape = parameters.shape[:-1]
    return np.stack([output.log_prob(parameters, np.full(shape, k)).value for k in range(output.levels)])


@given(levels=st.integers(2, 6), components=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_it_is_the_definition_in_high_precision(levels: int, components: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    output = DiscretizedLogistics(levels, components)
    parameters = rng.normal(size=3 * components) * 2
    parameters[2 * components :] = np.clip(parameters[2 * components :], np.log(2 / (levels - 1)) - 4, 7)
    for k in range(levels):
        got = output.log_prob(parameters[None], np.array([k])).item()
        assert got == pytest.approx(precisely(parameters, k, levels), rel=1e-12, abs=1e-14)


def test_far_away_it_is_still_the_definition() -> None:
    output = DiscretizedLogistics(5, 1)
    for mean, log_scale in ((30.0, -4.0), (-30.0, -4.0), (1.0, 7.0), (-200.0, -2.0)):
        parameters = np.array([0.3, mean, log_scale])
        for k in range(5):
            got = output.log_prob(parameters[None], np.array([k])).item()
            assert got == pytest.approx(precisely(parameters, k, 5, digits=1000), rel=1e-12, abs=1e-14)


def test_the_difference_of_sigmoids_fails_there() -> None:
    """The negative control of the test above: the definition, in float64, is ln 0."""
    with np.errstate(divide="ignore"):
        naive = log(sigmoid((0.25 - 30) / np.exp(-4.0)) - sigmoid((-0.25 - 30) / np.exp(-4.0)))
    assert naive.item() == -np.inf


@given(levels=st.integers(2, 20), components=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_its_probabilities_sum_to_one(levels: int, components: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    output = DiscretizedLogistics(levels, components)
    parameters = rng.normal(size=3 * components) * 3

    def log_prob(x: Array) -> Array:
        return output.log_prob(np.broadcast_to(parameters, (len(x), len(parameters))), x[:, 0]).value

    check_normalised(log_prob, np.arange(levels)[:, None])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes_are_finite_and_normalised(dtype: type) -> None:
    output = DiscretizedLogistics(256, 2)
    grid = np.meshgrid(EXTREMES, EXTREMES, EXTREMES)
    one = np.stack([part.ravel() for part in grid], -1)  # (343, 3): weight, mean, log-scale of the one component
    other = np.array([0.0, 0.1, -2.0])
    parameters: Array = np.stack([one, np.broadcast_to(other, one.shape)], -1).reshape(len(one), 6).astype(dtype)
    log_probs = all_log_probs(output, parameters)
    assert log_probs.dtype == dtype
    assert np.all(np.isfinite(log_probs))
    tolerance = 1e-12 if dtype is np.float64 else 2e-4  # 256 levels, each boundary to 10⁻⁷ in units of a small scale
    np.testing.assert_allclose(np.exp(log_probs.astype(np.float64)).sum(0), 1, atol=tolerance)


def test_gradients(rng: np.random.Generator) -> None:
    output, k = DiscretizedLogistics(4, 2), np.array([0, 1, 3])
    check_grads(lambda parameters: output.log_prob(parameters, k), rng.normal(size=(3, 6)), rng=rng)


def test_gradients_are_finite_at_extremes() -> None:
    output = DiscretizedLogistics(256, 1)
    parameters = np.stack([part.ravel() for part in np.meshgrid([0.0], EXTREMES, EXTREMES)], -1).astype(np.float32)
    for k in (0, 100, 255):
        _, gradient = value_and_grad(lambda p, k=k: output.log_prob(p, np.full(len(p), k)).sum())(parameters)
        assert np.all(np.isfinite(gradient.value))


def test_samples_follow_its_probabilities(rng: np.random.Generator) -> None:
    output = DiscretizedLogistics(6, 2)
    parameters = np.array([0.5, -0.3, -0.9, 0.4, -1.0, -2.0])

    def sample(n: int, rng: np.random.Generator) -> Array:
        return output.sample(np.broadcast_to(parameters, (n, 1, 6)), rng)

    def log_prob(x: Array) -> Array:
        return output.log_prob(np.broadcast_to(parameters, (len(x), 6)), x[:, 0]).value

    check_sampler(sample, log_prob, np.arange(6)[:, None], rng=rng)
    with pytest.raises(AssertionError, match="χ²"):  # rounded down, not to the nearest: half a level too low
        check_sampler(lambda n, rng: np.maximum(sample(n, rng) - 1, 0), log_prob, np.arange(6)[:, None], rng=rng)


@pytest.mark.parametrize(
    ("k", "width"),
    [
        (np.array([-1]), 6), (np.array([4]), 6), (np.array([1.0]), 6), (np.array([[1]]), 6), (np.array([True]), 6),
        (np.array([1]), 5),
    ],
)  # fmt: skip
def test_what_is_no_level(k: Any, width: int) -> None:
    with pytest.raises(ValueError, match=r"k: expected integers 0…3|parameters: expected \(…, 6\)"):
        DiscretizedLogistics(4, 2).log_prob(np.zeros((1, width)), k)


def test_a_scale_may_be_so_small_that_one_level_has_all() -> None:
    """However small it is told to be; the floor is in units of a level, whatever number of levels there are."""
    for levels in (2, 17, 256):
        middle = levels // 2
        parameters = np.array([0.0, 2 * middle / (levels - 1) - 1, -50.0])
        assert DiscretizedLogistics(levels, 1).log_prob(parameters, np.array(middle)).item() > -1e-9


def test_settings_that_make_no_distribution() -> None:
    for levels, components, name in ((1, 1, "levels"), (2, 0, "components")):
        with pytest.raises(ValueError, match=f"{name}: expected at least"):
            DiscretizedLogistics(levels, components)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nothing_is_drawn_from_what_is_no_distribution(bad: float, rng: np.random.Generator) -> None:
    for place in range(2):
        parameters = np.zeros((1, 3))
        parameters[0, place] = bad
        with pytest.raises(ValueError, match="diverged"):
            DiscretizedLogistics(4, 1).sample(parameters, rng)
