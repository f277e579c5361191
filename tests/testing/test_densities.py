"""Negative controls: densities in the wrong unit, samplers slightly off, which the checkers must see and name."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tinygen.autograd import Array, Tensor
from tinygen.testing import (
    check_normalised,
    check_normalised_density,
    check_sampler,
    chi_square_tail,
    enumerate_support,
)

LogProb = Callable[[Array], Array | Tensor]
Sampler = Callable[[int, np.random.Generator], Array]

LEVELS, DIMS = 3, 4
SUPPORT = enumerate_support(LEVELS, (DIMS,))
WEIGHTS = np.random.default_rng(0).normal(size=(DIMS, DIMS + 1, LEVELS))


def logits_at(x: Array, i: int) -> Array:
    """Logits of entry i given the entries before it. Shape: (N, levels)"""
    seen = np.concatenate([x[:, :i], np.ones((len(x), 1))], 1)
    return np.asarray(seen @ WEIGHTS[i, : i + 1])


def log_softmax(logits: Array, axis: int = -1) -> Array:
    return np.asarray(logits - np.log(np.sum(np.exp(logits), axis, keepdims=True)))


def conditionals(x: Array, axis: int = -1) -> Array:
    """log p(xᵢ | x_<ᵢ). Shape: (N, dims)"""
    terms = [log_softmax(logits_at(x, i), axis)[np.arange(len(x)), x[:, i]] for i in range(DIMS)]
    return np.stack(terms, 1)


def log_prob(x: Array) -> Array:
    return np.asarray(conditionals(x).sum(1))


def sample(n: int, rng: np.random.Generator, temperature: float = 1.0) -> Array:
    x = np.zeros((n, DIMS), int)
    for i in range(DIMS):
        gumbel = rng.gumbel(size=(n, LEVELS))
        x[:, i] = np.argmax(logits_at(x, i) / temperature + gumbel, 1)
    return x


def sees_its_target(x: Array) -> Array:
    own = log_softmax(np.stack([logits_at(x, 0), 0.1 * x[:, :1] * np.ones(LEVELS)])[0] * (1 + x[:, :1]))
    return np.asarray(own[np.arange(len(x)), x[:, 0]] + conditionals(x)[:, 1:].sum(1))


def test_enumerate_support() -> None:
    np.testing.assert_array_equal(enumerate_support(2, (2,)), [[0, 0], [0, 1], [1, 0], [1, 1]])
    assert enumerate_support(3, (2, 1, 2)).shape == (81, 2, 1, 2)
    assert len(np.unique(SUPPORT, axis=0)) == LEVELS**DIMS
    assert len(enumerate_support(2, (20,))) == 1 << 20
    assert enumerate_support(1, (3,)).shape == (1, 3)
    with pytest.raises(ValueError, match=r"2\^21 arrays, the limit is 1048576"):
        enumerate_support(2, (21,))
    with pytest.raises(ValueError, match=r"256\^784 arrays"):
        enumerate_support(256, (28, 28))


def test_normalised_densities_pass() -> None:
    check_normalised(log_prob, SUPPORT)
    check_normalised(lambda x: Tensor(log_prob(x)), SUPPORT)
    check_normalised(lambda x: np.full(len(x), -math.log(81)), SUPPORT)


NOT_NORMALISED: dict[str, tuple[LogProb, str]] = {
    "bits": (lambda x: log_prob(x) / math.log(2), "in bits: multiply it by ln 2"),
    "nats per dimension": (lambda x: log_prob(x) / DIMS, "per dimension: multiply it by their number"),
    "bits per dimension": (lambda x: log_prob(x) / DIMS / math.log(2), "in bits per dimension"),
    "negative": (lambda x: -log_prob(x), "negative log-likelihood: flip its sign"),
    "negative bits per dimension": (lambda x: -log_prob(x) / DIMS / math.log(2), "likelihood in bits per dimension"),
    "not a logarithm": (lambda x: np.exp(log_prob(x)), "take its logarithm"),
    "softmax over the batch": (lambda x: conditionals(x, axis=0).sum(1), "normalisation over the batch"),
    "a term twice": (lambda x: log_prob(x) + conditionals(x)[:, 0], "a term twice"),
    "a term missing": (lambda x: conditionals(x)[:, 1:].sum(1), "it should be 1"),
    "its own target is seen": (sees_its_target, "sees its own target"),
    "off by 1e-11": (lambda x: log_prob(x) + 1e-11, "it should be 1; the error is 1e-11"),
    "per dimension, not summed": (conditionals, r"to \(81, 4\), it should be \(81,\)"),
    "summed over the batch": (lambda x: log_prob(x).sum(), r"to \(\), it should be \(81,\)"),
    "kept dimension": (lambda x: log_prob(x)[:, None], r"to \(81, 1\), it should be \(81,\)"),
    "NaN": (lambda x: log_prob(x) * np.nan, r"NaN or inf at \[0, 0, 0, 0\]"),
}


@pytest.mark.parametrize("name", NOT_NORMALISED)
def test_densities_that_are_not_normalised_are_rejected(name: str) -> None:
    wrong, message = NOT_NORMALISED[name]
    with pytest.raises(AssertionError, match=message):
        check_normalised(wrong, SUPPORT)


def test_a_support_with_repetitions_is_refused() -> None:
    with pytest.raises(ValueError, match="more than once"):
        check_normalised(log_prob, np.concatenate([SUPPORT, SUPPORT[:1]]))


def normal(x: Array) -> Array:
    return np.asarray(-0.5 * np.sum(x**2, 1) - 0.5 * x.shape[1] * math.log(2 * math.pi))


def shifted(x: Array, sign: float) -> Array:
    """The density of x where sinh x is normal; the log-determinant is ln cosh x."""
    return np.asarray(normal(np.sinh(x)) + sign * np.log(np.cosh(x)).sum(1))


def test_continuous_densities() -> None:
    check_normalised_density(normal, [-8], [8], tolerance=1e-12)
    check_normalised_density(normal, [-8, -8], [8, 8], points=129, tolerance=1e-12)
    check_normalised_density(lambda x: shifted(x, 1), [-3, -3], [3, 3], tolerance=1e-12)
    with pytest.raises(AssertionError, match="log-determinant with the wrong sign"):
        check_normalised_density(lambda x: shifted(x, -1), [-3, -3], [3, 3])
    with pytest.raises(AssertionError, match="mass outside the box"):
        check_normalised_density(normal, [-8, 0], [8, 8], tolerance=1e-4)
    with pytest.raises(AssertionError, match="has not converged"):
        check_normalised_density(lambda x: normal(300 * x) + math.log(300), [-3], [4.01])
    with pytest.raises(ValueError, match="1 or 2 axes"):
        check_normalised_density(normal, [0, 0, 0], [1, 1, 1])


def test_right_samplers_pass() -> None:
    for seed in range(20):
        check_sampler(sample, log_prob, SUPPORT, rng=np.random.default_rng(seed))
    check_sampler(lambda n, rng: Tensor(1.0 * sample(n, rng)), log_prob, SUPPORT, rng=np.random.default_rng(0))


def stuck(n: int, rng: np.random.Generator) -> Array:
    return sample(n, np.random.default_rng(7))


def global_state(n: int, rng: np.random.Generator) -> Array:
    return sample(n, rng) + int(np.random.random())  # noqa: NPY002  the fault


def too_even(n: int, rng: np.random.Generator) -> Array:
    """As many of each as expected: right on average, but not independent."""
    expected = np.round(n * np.exp(log_prob(SUPPORT))).astype(int)
    expected[np.argmax(expected)] += n - expected.sum()
    return np.asarray(rng.permutation(np.repeat(SUPPORT, expected, axis=0)))


ELSEWHERE = np.random.default_rng(5)
WRONG_SAMPLERS: dict[str, tuple[Sampler, str]] = {
    "temperature 1.05": (lambda n, rng: sample(n, rng, 1.05), "Another temperature"),
    "temperature 0.95": (lambda n, rng: sample(n, rng, 0.95), "Another temperature"),
    "levels shifted round": (lambda n, rng: (sample(n, rng) + 1) % LEVELS, "shifted levels"),
    "levels shifted out": (lambda n, rng: sample(n, rng) + 1, "not in the support"),
    "scaled to 0 … 1": (lambda n, rng: sample(n, rng) / 2, "not in the support"),
    "drawn backwards": (lambda n, rng: sample(n, rng)[:, ::-1], "condition on the wrong pixels"),
    "the mode": (lambda n, rng: sample(n, rng, 1e-9), "another seed gives the same|Another temperature"),
    "uniform": (lambda n, rng: rng.integers(0, LEVELS, (n, DIMS)), "χ²"),
    "one of 50 is the first": (lambda n, rng: np.where(rng.random((n, 1)) < 0.02, 0, sample(n, rng)), "χ²"),
    "rng ignored": (stuck, "another seed gives the same"),
    "randomness from elsewhere": (lambda n, rng: sample(n, ELSEWHERE), "the same seed gives other samples"),
    "the global state": (global_state, "global random state"),
    "too even": (too_even, "too even"),
    "one too many": (lambda n, rng: sample(n + 1, rng), r"sample\(100000\) has shape \(100001, 4\)"),
}


@pytest.mark.parametrize("name", WRONG_SAMPLERS)
def test_wrong_samplers_are_rejected(name: str, rng: np.random.Generator) -> None:
    wrong, message = WRONG_SAMPLERS[name]
    with pytest.raises(AssertionError, match=message):
        check_sampler(wrong, log_prob, SUPPORT, 100_000, rng=rng)


def test_two_values_leave_one_degree_of_freedom(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="with 1 degrees of freedom"):
        check_sampler(
            lambda n, rng: (rng.random((n, 1)) < 0.45).astype(int),
            lambda x: np.full(len(x), -math.log(2)),
            enumerate_support(2, (1,)),
            rng=rng,
        )


def test_what_has_probability_zero_is_not_drawn(rng: np.random.Generator) -> None:
    def never_two(x: Array) -> Array:
        return np.where(x[:, 0] == 2, -np.inf, -math.log(2))

    support = enumerate_support(3, (1,))
    check_sampler(lambda n, rng: rng.integers(0, 2, (n, 1)), never_two, support, rng=rng)
    with pytest.raises(AssertionError, match=r"\[2\] was drawn, its probability is 0"):
        check_sampler(lambda n, rng: rng.integers(0, 3, (n, 1)), never_two, support, rng=rng)


def test_sampler_checks_without_sense_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="see check_normalised first"):
        check_sampler(sample, lambda x: log_prob(x) / 2, SUPPORT, rng=rng)
    with pytest.raises(ValueError, match="too few"):
        check_sampler(sample, log_prob, SUPPORT, n=3, rng=rng)


@pytest.mark.parametrize("freedom", [2, 4, 10, 80, 1000])
@pytest.mark.parametrize("ratio", [0.01, 0.5, 0.9, 1.0, 1.1, 2.0, 5.0])
def test_chi_square_tail(freedom: int, ratio: float) -> None:
    """For an even number of degrees of freedom the tail is a sum of Poisson terms."""
    half = ratio * freedom / 2
    exact = math.fsum(math.exp(k * math.log(half) - half - math.lgamma(k + 1)) for k in range(freedom // 2))
    assert chi_square_tail(ratio * freedom, freedom) == pytest.approx(exact, rel=1e-10, abs=1e-300)


def test_chi_square_tail_of_one_is_twice_that_of_a_normal() -> None:
    for z in (0.1, 1.0, 2.0, 5.0, 10.0):
        assert chi_square_tail(z * z, 1) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-10)
    assert chi_square_tail(0.0, 3) == 1


def test_a_softmax_over_the_batch_is_rejected(rng: np.random.Generator) -> None:
    # It sums to one over the support, and a sampler that agrees with it exists: only one example alone tells.
    def over_the_batch(x: Array) -> Array:
        return log_softmax(x @ np.array([0.5, -1.0, 2.0, 0.1]), axis=0)

    def sample(n: int, rng: np.random.Generator) -> Array:
        return SUPPORT[rng.choice(len(SUPPORT), n, p=np.exp(over_the_batch(SUPPORT)))]

    with pytest.raises(AssertionError, match=r"among the others and .* alone"):
        check_normalised(over_the_batch, SUPPORT)
    with pytest.raises(AssertionError, match=r"among the others and .* alone"):
        check_sampler(sample, over_the_batch, SUPPORT, rng=rng)
