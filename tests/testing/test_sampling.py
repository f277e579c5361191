"""check_sampler accepts correct samplers and rejects samplers with one fault each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.discrete_model import DIMS, LEVELS, SUPPORT, log_prob, log_softmax, sample

from tinygen.autograd import Array, Tensor
from tinygen.testing import check_sampler, enumerate_support
from tinygen.testing.sampling import _chi_square_tail

Sampler = Callable[[int, np.random.Generator], Array]


def test_accepts_correct_samplers() -> None:
    for seed in range(20):
        check_sampler(sample, log_prob, SUPPORT, rng=np.random.default_rng(seed))
    check_sampler(lambda n, rng: Tensor(1.0 * sample(n, rng)), log_prob, SUPPORT, rng=np.random.default_rng(0))


WRONG_SAMPLERS: dict[str, tuple[Sampler, str]] = {
    "temperature 1.05": (lambda n, rng: sample(n, rng, 1.05), "A wrong temperature"),
    "temperature 0.95": (lambda n, rng: sample(n, rng, 0.95), "A wrong temperature"),
    "scaled to 0 … 1": (lambda n, rng: sample(n, rng) / 2, "not in the support"),
    "variables reversed": (lambda n, rng: sample(n, rng)[:, ::-1], "conditioning on the wrong pixels"),
    "mode": (lambda n, rng: sample(n, rng, 1e-9), "another seed gives the same|A wrong temperature"),
    "uniform": (lambda n, rng: rng.integers(0, LEVELS, (n, DIMS)), "χ²"),
    "2 % replaced by zeros": (lambda n, rng: np.where(rng.random((n, 1)) < 0.02, 0, sample(n, rng)), "χ²"),
}


@pytest.mark.parametrize("name", WRONG_SAMPLERS)
def test_rejects_wrong_samplers(name: str, rng: np.random.Generator) -> None:
    wrong, message = WRONG_SAMPLERS[name]
    with pytest.raises(AssertionError, match=message):
        check_sampler(wrong, log_prob, SUPPORT, 100_000, rng=rng)


# 4096 values in two classes: the first 3000 are expected 3.85 times in 20,000 samples, the others 7.7 times.
MANY = enumerate_support(2, (12,))
RARE, WEIGHTS = 3000, np.where(np.arange(4096) < 3000, 1.0, 2.0) / 5192
WRONG_RARE: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "one value instead of all rare ones": lambda i, rng: np.where(i < RARE, 7, i),
    "every other rare value": lambda i, rng: np.where(i < RARE, i // 2 * 2, i),
    "the first half of the rare values": lambda i, rng: np.where(i < RARE, i // 2, i),
    "0.2 % are one rare value": lambda i, rng: np.where(rng.random(len(i)) < 0.002, 7, i),
}


def many(wrong: Callable[[Array, np.random.Generator], Array]) -> Sampler:
    return lambda n, rng: MANY[wrong(rng.choice(4096, n, p=WEIGHTS), rng)]


def many_log_prob(x: Array) -> Array:
    return np.asarray(np.log(WEIGHTS)[x @ (1 << np.arange(12)[::-1])])


@pytest.mark.parametrize("name", WRONG_RARE)
def test_rejects_wrong_samplers_of_rare_values(name: str, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"P\(χ² larger\).* The least likely count is that of \["):
        check_sampler(many(WRONG_RARE[name]), many_log_prob, MANY, rng=rng)


def test_rejects_a_value_that_is_never_drawn(rng: np.random.Generator) -> None:
    """It is expected 40 times; the other 999 values hide it in χ²."""
    with pytest.raises(AssertionError, match=r"\[7\]: drawn 0 times, expected 40"):
        check_sampler(
            lambda n, rng: (rng.integers(0, 999, n)[:, None] + 8) % 1000,
            lambda x: np.full(len(x), -math.log(1000)),
            np.arange(1000)[:, None],
            40_000,
            rng=rng,
        )


def test_accepts_correct_samplers_of_rare_values() -> None:
    """All of 4096 equally likely values are expected fewer than 5 times in 20,000 samples."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        check_sampler(many(lambda i, rng: i), many_log_prob, MANY, rng=rng)
        check_sampler(
            lambda n, rng: rng.integers(0, 2, (n, 12)), lambda x: np.full(len(x), -12 * math.log(2)), MANY, rng=rng
        )


def test_rejects_a_biased_coin_with_one_degree_of_freedom(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="with 1 degrees of freedom"):
        check_sampler(
            lambda n, rng: (rng.random((n, 1)) < 0.45).astype(int),
            lambda x: np.full(len(x), -math.log(2)),
            enumerate_support(2, (1,)),
            rng=rng,
        )


def test_rejects_samples_of_probability_zero(rng: np.random.Generator) -> None:
    def never_two(x: Array) -> Array:
        return np.where(x[:, 0] == 2, -np.inf, -math.log(2))

    support = enumerate_support(3, (1,))
    check_sampler(lambda n, rng: rng.integers(0, 2, (n, 1)), never_two, support, rng=rng)
    with pytest.raises(AssertionError, match=r"\[2\] was drawn, but its probability is 0"):
        check_sampler(lambda n, rng: rng.integers(0, 3, (n, 1)), never_two, support, rng=rng)


def test_rejects_an_unnormalised_density_and_too_few_samples(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"log_prob sums to .*; see check_normalised"):
        check_sampler(sample, lambda x: log_prob(x) / 2, SUPPORT, rng=rng)
    with pytest.raises(ValueError, match="too few"):
        check_sampler(sample, log_prob, SUPPORT, n=3, rng=rng)


# A fair coin, a biased one for which χ² is below 0 by rounding, and rare values with frequent ones.
EXACT_COUNTS = {
    "fair coin": [10_000, 10_000],
    "biased coin": [5_700, 14_300],
    "four pairs of rare values": [3] * 8 + [19_976],
    "fifty values": [400] * 50,
}


@pytest.mark.parametrize("name", EXACT_COUNTS)
def test_exact_counts_are_rejected_only_if_they_are_improbable(name: str, rng: np.random.Generator) -> None:
    """The coins have them with a probability of 0.6 %, the rare values in pairs with 0.07 %, fifty values never."""
    counts = np.array(EXACT_COUNTS[name])
    support, log_p = np.arange(len(counts))[:, None], np.log(counts / counts.sum())
    arguments = (lambda n, rng: rng.permutation(np.repeat(support, counts, 0)), lambda x: log_p[x[:, 0]], support)
    if name == "fifty values":
        with pytest.raises(AssertionError, match="too close to the expected ones"):
            check_sampler(*arguments, rng=rng)
    else:
        check_sampler(*arguments, rng=rng)


@pytest.mark.parametrize("freedom", [2, 4, 10, 80, 1000])
@pytest.mark.parametrize("ratio", [0.01, 0.5, 0.9, 1.0, 1.1, 2.0, 5.0, 100.0])
def test_chi_square_tail_matches_a_poisson_sum(freedom: int, ratio: float) -> None:
    """For an even number of degrees of freedom, the tail is a sum of Poisson probabilities."""
    half = ratio * freedom / 2
    exact = math.fsum(math.exp(k * math.log(half) - half - math.lgamma(k + 1)) for k in range(freedom // 2))
    assert _chi_square_tail(ratio * freedom, freedom) == pytest.approx(exact, rel=0, abs=1e-12)


def test_chi_square_tail_of_one_degree_of_freedom() -> None:
    for z in (0.1, 1.0, 2.0, 5.0, 10.0, 1e4):
        assert _chi_square_tail(z * z, 1) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0, abs=1e-12)
    assert _chi_square_tail(0.0, 3) == 1


def test_rejects_a_density_with_a_softmax_over_the_batch(rng: np.random.Generator) -> None:
    """The samples follow this density; only evaluating an example alone reveals the fault."""

    def over_the_batch(x: Array) -> Array:
        return log_softmax(x @ np.array([0.5, -1.0, 2.0, 0.1]), axis=0)

    def sample(n: int, rng: np.random.Generator) -> Array:
        return SUPPORT[rng.choice(len(SUPPORT), n, p=np.exp(over_the_batch(SUPPORT)))]

    with pytest.raises(AssertionError, match=r"in the batch but .* alone"):
        check_sampler(sample, over_the_batch, SUPPORT, rng=rng)


def test_samplers_of_pytorch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    logits = torch.tensor([0.3, -1.0, 1.0])
    support = enumerate_support(3, (1,))

    def draw(n: int, rng: np.random.Generator, temperature: float = 1.0) -> Any:
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        return torch.multinomial(torch.softmax(logits / temperature, 0), n, True, generator=generator)[:, None]

    def log_prob(x: Any) -> Any:
        return torch.log_softmax(logits, 0)[x[:, 0]]

    check_sampler(draw, log_prob, support, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="A wrong temperature"):
        check_sampler(lambda n, rng: draw(n, rng, 1.2), log_prob, support, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="the same seed gives different samples"):
        check_sampler(lambda n, rng: torch.randint(3, (n, 1)), log_prob, support, rng=rng, convert=torch.from_numpy)


@pytest.mark.parametrize("dtypes", [(np.float32, np.float64), (np.float64, np.float32)])
def test_levels_are_the_same_in_another_precision(dtypes: tuple[Any, Any], rng: np.random.Generator) -> None:
    levels = np.linspace(0, 1, 4)[:, None]
    support = levels.astype(dtypes[0])
    sample = lambda n, rng: rng.choice(levels[:, 0], (n, 1)).astype(dtypes[1])
    check_sampler(sample, lambda x: np.full(len(x), -math.log(4)), support, rng=rng)
