"""check_kl and check_bound accept correct formulas and reject those with one fault each."""

from __future__ import annotations

import math
from collections.abc import Callable
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


REVERSE = 0.5 * (np.exp(-LOG_VARS) * (1 + MEANS**2) - 1 + LOG_VARS).sum(1)
ENTROPY = 0.5 * (LOG_VARS + 1 + LOG2PI).sum(1)
WRONG_KLS: dict[str, tuple[Any, str]] = {
    "wrong direction": (REVERSE, r"It is KL\(p ‖ q\): the arguments are exchanged"),
    "sign": (-KL, "The sign is flipped"),
    "factor ½ missing": (2 * KL, "is the factor ½ missing"),
    "factor ½ twice": (KL / 2, "is a factor ½ superfluous"),
    "mean over dimensions": (KL / 4, "a mean over the 4 dimensions instead of a sum"),
    "bits": (KL / math.log(2), "in bits: multiply it by ln 2"),
    "cross-entropy": (KL + ENTROPY, "the cross-entropy −E_q ln p: subtract the entropy"),
    "negative entropy": (-ENTROPY, "the negative entropy of q: subtract"),
    "variance taken for its logarithm": (kl_terms(MEANS, np.log(np.abs(LOG_VARS) + 0.1)).sum(1), "Is a term missing"),
    "mean not squared": (
        kl_terms(np.sqrt(np.abs(MEANS)), LOG_VARS).sum(1),
        r"kl is .* at \(\d,\), but the mean of ln q",
    ),
    "1 % too large": (1.02 * KL, "Is a term missing"),
    "one of the batch": (KL * [1, 1, 1.1], r"at \(2,\)"),
    "sum over the batch": (KL.sum(), r"expected shape \(3,\), one KL per distribution, got \(\); return one per"),
    "not summed": (kl_terms(MEANS, LOG_VARS), r"expected shape \(3,\), .* got \(3, 4\); sum over dimensions"),
    "NaN": (KL * np.nan, "kl: expected finite numbers"),
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


WRONG_BOUNDS: dict[str, tuple[Callable[..., Any], str]] = {
    "KL added": (lambda x, rng: elbo(x, rng, 0.5, -1.0), "Is the KL added instead of subtracted"),
    "loss": (lambda x, rng: -elbo(x, rng), r"is it a loss, −ELBO\? Flip its sign"),
    "mean over dimensions": (lambda x, rng: elbo(x, rng) / 2, "is it a mean over dimensions"),
    "normaliser missing": (lambda x, rng: elbo(x, rng, 0.5) + LOG2PI, "too high by 2 × ½ ln 2π everywhere"),
    "log of the mean weight, biased upwards": (
        lambda x, rng: log_prob(x) + 0.05 + rng.normal(size=len(x)),
        "above ln p",
    ),
    "summed over the batch": (lambda x, rng: elbo(x, rng).sum(), r"expected shape \(6,\), one per example, got \(\)"),
    "same for all examples": (lambda x, rng: np.full(len(x), -100.0), "the same for all examples"),
    "too low": (lambda x, rng: elbo(x, rng) - 3, r"nats below ln p\(x\) = .*, more than gap=2"),
    "another generator": (lambda x, rng: elbo(x, np.random.default_rng()), "the same seed gives different bounds"),
    "NaN": (lambda x, rng: elbo(x, rng) * np.nan, "the result of bound: expected finite numbers"),
}


@pytest.mark.parametrize("name", WRONG_BOUNDS)
def test_rejects_wrong_bounds(name: str, rng: np.random.Generator) -> None:
    wrong, message = WRONG_BOUNDS[name]
    with pytest.raises(AssertionError, match=message):
        check_bound(wrong, log_prob, X, gap=2.0, draws=20_000 if "biased" in name else 1000, rng=rng)


def test_bounds_of_pytorch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")

    def torch_elbo(x: Any, rng: np.random.Generator, sign: float = 1.0) -> Any:
        z = x / 2 + math.sqrt(0.5) * torch.from_numpy(rng.normal(size=x.shape)).requires_grad_()
        return log_normal(x - z, 1.0) - sign * 0.5 * (0.5 + x**2 / 4 - 1 - math.log(0.5)).sum(1)

    check_bound(torch_elbo, log_normal_2, X, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="Is the KL added"):
        check_bound(lambda x, rng: torch_elbo(x, rng, -1.0), log_normal_2, X, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="Flip its sign"):
        check_bound(lambda x, rng: -torch_elbo(x, rng), log_normal_2, X, rng=rng, convert=torch.from_numpy)


def log_normal_2(x: Any) -> Any:
    return log_normal(x, 2.0)
