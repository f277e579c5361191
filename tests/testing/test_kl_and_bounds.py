"""check_kl and check_bound accept correct formulas and reject those with one fault each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array
from tinygen.testing import check_bound, check_kl
from tinygen.testing.calls import recorded_figures

LOG2PI = math.log(2 * math.pi)
MEANS, LOG_VARS = np.random.default_rng(1).normal(size=(2, 3, 4))  # three Gaussians in four dimensions


class Normal:
    """Diagonal Gaussians, a batch of them, with samples (n, batch, D) and log_prob (n, batch)."""

    def __init__(self, mean: Array, log_var: Array) -> None:
        self.mean, self.log_var = mean, log_var

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        return self.mean + np.exp(self.log_var / 2) * rng.normal(size=(n, *self.mean.shape))

    def log_prob(self, x: Array) -> Array:
        terms = (x - self.mean) ** 2 / np.exp(self.log_var) + self.log_var + LOG2PI
        return np.asarray(-0.5 * terms.sum(-1))


Q, P = Normal(MEANS, LOG_VARS), Normal(np.zeros((3, 4)), np.zeros((3, 4)))


def kl_terms(mean: Array, log_var: Array) -> Array:
    return np.asarray(0.5 * (np.exp(log_var) + mean**2 - 1 - log_var))


KL = kl_terms(MEANS, LOG_VARS).sum(1)


def test_accepts_correct_kls() -> None:
    for seed in range(10):
        check_kl(KL, Q, P, rng=np.random.default_rng(seed))
    rng = np.random.default_rng(0)
    check_kl(lambda: KL, (Q.sample, Q.log_prob), P.log_prob, rng=rng)
    one = Normal(MEANS[0], LOG_VARS[0])
    with recorded_figures() as figures:
        check_kl(float(KL[0]), one, lambda x: -0.5 * np.sum(x**2 + LOG2PI, -1), rng=rng)
    assert "from 100000 samples" in figures[0]


WRONG_KLS: dict[str, tuple[Any, str]] = {
    "mean not squared": (
        kl_terms(np.sqrt(np.abs(MEANS)), LOG_VARS).sum(1),
        r"kl is .* at \(\d,\), but the mean of ln q",
    ),
    "1 % too large": (1.02 * KL, "Is a term missing"),
    "one of the batch": (KL * [1, 1, 1.1], r"at \(2,\)"),
}


@pytest.mark.parametrize("name", WRONG_KLS)
def test_rejects_wrong_kls(name: str, rng: np.random.Generator) -> None:
    wrong, message = WRONG_KLS[name]
    with pytest.raises(AssertionError, match=message):
        check_kl(wrong, Q, P, n=400_000 if name == "1 % too large" else 100_000, rng=rng)


def test_rejects_vacuous_and_undecided_kls(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="q and p agree on every sample"):
        check_kl(np.zeros(3), P, P, rng=rng)
    with pytest.raises(ValueError, match="n: expected more than 100 samples, as 100 give"):
        check_kl(KL, Q, P, n=100, rng=rng)
    with pytest.raises(TypeError, match=r"q: expected a pair \(sample, log_prob\)"):
        check_kl(KL, Q.log_prob, P, rng=rng)
    with pytest.raises(AssertionError, match=r"log_prob of p: expected finite numbers.* is the support of q inside"):
        check_kl(KL, Q, lambda x: np.where(x[..., 0] > 0, P.log_prob(x), -np.inf), rng=rng)


def test_kl_of_pytorch_distributions(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    q, p = torch.distributions.Normal(0.5, 0.5), torch.distributions.Normal(0.0, 1.0)
    scale = torch.tensor(0.5, requires_grad=True)

    def draw(n: int, rng: np.random.Generator) -> Any:
        return 0.5 + scale * torch.from_numpy(rng.normal(size=n))

    def check(kl: Any) -> None:
        standard = lambda n, rng: torch.from_numpy(rng.normal(size=n))
        check_kl(kl, (draw, q.log_prob), (standard, p.log_prob), rng=rng, convert=torch.from_numpy)

    check(torch.distributions.kl_divergence(q, p))
    with pytest.raises(AssertionError, match=r"It is KL\(p ‖ q\): the arguments are exchanged"):
        check(torch.distributions.kl_divergence(p, q))
    with pytest.raises(AssertionError, match="The sign is flipped"):
        check(-torch.distributions.kl_divergence(q, p))


# In two dimensions: p(z) = N(0, 1), p(x|z) = N(z, 1), so p(x) = N(0, 2) and p(z|x) = N(x/2, 1/2). q(z|x) = N(x/2, 1).
X = np.random.default_rng(2).normal(size=(6, 2)) * 1.5


def log_normal(x: Any, variance: float) -> Any:
    return -0.5 * (x**2 / variance + math.log(2 * math.pi * variance)).sum(1)


def log_prob(x: Array) -> Array:
    return np.asarray(log_normal(x, 2.0))


def elbo(x: Array, rng: np.random.Generator, variance: float = 1.0, sign: float = 1.0) -> Array:
    z = x / 2 + math.sqrt(variance) * rng.normal(size=x.shape)
    kl = 0.5 * (variance + x**2 / 4 - 1 - math.log(variance)).sum(1)
    return np.asarray(log_normal(x - z, 1.0) - sign * kl)


def test_accepts_bounds() -> None:
    for seed in range(5):
        check_bound(elbo, log_prob, X, rng=np.random.default_rng(seed))
        check_bound(lambda x, rng: elbo(x, rng, 0.5), log_prob, X, gap=0.1, rng=np.random.default_rng(seed))  # tight
    check_bound(lambda x, rng: log_prob(x), log_prob, X, rng=np.random.default_rng(0))


def test_rejects_a_logarithm_of_mean_weights_that_is_biased_upwards(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="above ln p"):
        check_bound(lambda x, rng: log_prob(x) + 0.05 + rng.normal(size=len(x)), log_prob, X, draws=20_000, rng=rng)


def test_refuses_to_accept_a_bound_that_is_too_noisy(rng: np.random.Generator) -> None:
    for offset in (5.0, -5.0):  # of an error of 32
        with pytest.raises(ValueError, match=r"draws: expected more than 1000, for errors of at most 1 nat, got ± "):
            check_bound(
                lambda x, rng, offset=offset: log_prob(x) + offset + 1e3 * rng.normal(size=len(x)), log_prob, X,
                draws=1000, rng=rng,
            )  # fmt: skip


def test_refuses_noise_that_hides_an_error_of_a_large_log_likelihood(rng: np.random.Generator) -> None:
    """The bound is too high by 40 nats in 400 dimensions, where ln p is about −567."""
    x = rng.normal(size=(3, 400))
    with pytest.raises(ValueError, match=r"draws: expected more than 1000, .* got ± .* nats"):
        check_bound(
            lambda x, rng: log_normal(x, 1.0) + 40 + 500 * rng.normal(size=len(x)), lambda x: log_normal(x, 1.0), x,
            rng=rng,
        )  # fmt: skip
    with pytest.raises(AssertionError, match="above ln p"):
        check_bound(
            lambda x, rng: log_normal(x, 1.0) + 40 + 10 * rng.normal(size=len(x)),  # seen in spite of the noise
            lambda x: log_normal(x, 1.0),
            x,
            rng=rng,
        )


def test_refuses_examples_of_probability_zero(rng: np.random.Generator) -> None:
    """Any bound would be accepted there, and the limit of the noise would be infinite."""
    log_prob = lambda x: np.where(x == 0, -np.inf, -x)
    bound = lambda x, rng: np.where(x == 0, 50.0, -x - 1)
    with pytest.raises(ValueError, match=r"x: expected examples with a finite ln p\(x\), got −∞ at example 1"):
        check_bound(bound, log_prob, np.array([1.0, 0.0, 2.0]), rng=rng)
