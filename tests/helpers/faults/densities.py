"""Faults of densities, samplers, KL divergences and bounds."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygen.testing import (
    check_bound,
    check_kl,
    check_normalised,
    check_normalised_density,
    check_reparameterised,
    check_sampler,
    enumerate_support,
)

from .table import Fault, Right, Table, after, narrow, noise, of

LN2, LOG_2PI = math.log(2), math.log(2 * math.pi)
SUPPORT = enumerate_support(3, (2,))
TABLES = np.random.default_rng(1).dirichlet(np.full(9, 5.0), size=2)
Rng = np.random.Generator


def softmax_terms(xp: Any, x: Any, axis: int = 1) -> Any:
    """ln softmax over three levels of two variables, whose logits depend on x₀. Shape: (N, 2)"""
    logits = xp.stack([0 * x + 0.5 * k + 0.1 * k * k * xp.stack([0 * x[:, 0], x[:, 0]], 1) for k in range(3)], axis=1)
    terms = logits - xp.log(xp.exp(logits).sum(axis))[:, None] if axis == 1 else logits - xp.log(xp.exp(logits).sum(0))
    return xp.stack([terms[range(len(x)), x[:, i], i] for i in range(2)], 1)


def tabulated(which: int) -> Right:
    """Two variables with three levels, whose probabilities are in a table."""

    def right(xp: Any) -> dict[str, Any]:
        logs = of(xp, np.log(TABLES[which]))

        def sample(n: int, rng: Rng) -> Any:
            return of(xp, SUPPORT[rng.choice(9, n, p=TABLES[which])])

        return {"log_prob": lambda x: logs[3 * x[:, 0] + x[:, 1]], "sample": sample, "support": SUPPORT}

    return right


def over_the_batch(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    return {"log_prob": lambda x: a.log_prob(x) - xp.log(xp.exp(a.log_prob(x)).sum())}


def run_normalised(log_prob: Any, support: Any, rng: Rng, sample: Any = None, **settings: Any) -> None:
    check_normalised(log_prob, support, **settings)


SHAPES: dict[str, Fault] = {
    "is there a mean or sum over the batch, or is a sum over": after("log_prob", lambda v: v.sum()),
    "log_prob is NaN or infinite at": after("log_prob", lambda v: v * math.nan),
    "is there a softmax, a mean or a normalisation over": over_the_batch,
    "two calls of log_prob with the same arguments differ": after("log_prob", lambda v: v + noise()),
}
NORMALISED = Table(
    run_normalised,
    (tabulated(0), tabulated(1)),
    SHAPES
    | {
        "Σ exp log_prob =": after("log_prob", lambda v: v + 0.01),
        "log_prob is in bits: multiply": after("log_prob", lambda v: v / LN2),
        "log_prob is per dimension: multiply": after("log_prob", lambda v: v / 2),
        "log_prob is in bits per dimension": after("log_prob", lambda v: v / 2 / LN2),
        "log_prob is a negative log-likelihood: flip": after("log_prob", lambda v: -v),
        "a negative log-likelihood in bits per dimension": after("log_prob", lambda v: -v / 2 / LN2),
        "log_prob is a probability: take its logarithm": after("log_prob", lambda v: math.e**v),
        "Is a part of it computed in float32": after("log_prob", lambda v: narrow(narrow(v), "float64")),
        "A softmax over the wrong axis, a conditional": after("log_prob", lambda v: 1.1 * v),
    },
)


def too_close(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    """Each value is drawn exactly as often as expected."""

    def sample(n: int, rng: Rng) -> Any:
        counts = np.floor(n * np.exp(np.asarray(a.log_prob(of(xp, SUPPORT))))).astype(int)
        counts[0] += n - counts.sum()
        return of(xp, rng.permutation(np.repeat(SUPPORT, counts, axis=0)))

    return {"sample": sample}


def global_state(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    return {"sample": lambda n, rng: a.sample(n, np.random.default_rng(np.random.randint(9)))}  # noqa: NPY002  the fault


def never_the_last(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    """The density is 0 for a value that is drawn."""
    last = of(xp, np.arange(9) == 8)
    lost = float(math.e ** a.log_prob(of(xp, SUPPORT))[8])

    def log_prob(x: Any) -> Any:
        place = 3 * x[:, 0] + x[:, 1]
        return xp.where(last[place], -math.inf, a.log_prob(x) - math.log1p(-lost))

    return {"log_prob": log_prob}


OTHER = np.random.default_rng(5)
SAMPLER = Table(
    lambda sample, log_prob, support, **settings: check_sampler(sample, log_prob, support, **settings),
    (tabulated(0), tabulated(1)),
    {
        "another seed gives the same samples": lambda xp, a: {
            "sample": lambda n, rng: a.sample(n, np.random.default_rng(7))
        },
        "see check_normalised": after("log_prob", lambda v: v / 2),
        "was drawn, but its probability is 0": never_the_last,
        "The counts are too close to the expected ones": too_close,
        "A wrong temperature, shifted levels, or conditioning": after("sample", lambda x: (x + 1) % 3),
        "outside 1e-06 … 1 − 1e-06": lambda xp, a: after("sample", lambda x: xp.flip(x, (1,)))(xp, a),
        "sample uses NumPy's global random state": global_state,
        "sample(20000, rng): expected shape (20000, 2)": after("sample", lambda x: x[1:]),
        "has the model diverged": after("sample", lambda x: x * math.nan),
        "does sample use another generator": lambda xp, a: {"sample": lambda n, rng: a.sample(n, OTHER)},
        "samples are not in the support": after("sample", lambda x: x + 1),
    },
)


def normal_density(xp: Any) -> dict[str, Any]:
    return {"log_prob": lambda x: -0.5 * x[:, 0] ** 2 - 0.5 * LOG_2PI, "low": [-8.0], "high": [8.0]}


def logistic_density(xp: Any) -> dict[str, Any]:
    return {"log_prob": lambda x: -x[:, 0] - 2 * xp.logaddexp(0 * x[:, 0], -x[:, 0]), "low": [-30.0], "high": [30.0]}


DENSITY = Table(
    lambda log_prob, low, high, rng, **settings: check_normalised_density(log_prob, low, high, **settings),
    (normal_density, logistic_density),
    SHAPES
    | {
        "∫ exp log_prob =": after("log_prob", lambda v: v + 0.01),
        "is the normaliser of a Gaussian missing, or counted": after("log_prob", lambda v: v + 0.5 * LOG_2PI),
        "A log-determinant with the wrong sign or a missing": after("log_prob", lambda v: v + LN2),
        "the density is too sharp or not smooth": lambda xp, a: {"log_prob": lambda x: a.log_prob(300 * x) + 5.0},
    },
)


def gaussians(seed: int) -> Right:
    """KL(q ‖ p) of three diagonal Gaussians in four dimensions and standard normal distributions."""
    mean, log_var = np.random.default_rng(seed).normal(size=(2, 3, 4))

    def right(xp: Any) -> dict[str, Any]:
        q, p = ((of(xp, m), of(xp, v)) for m, v in ((mean, log_var), (0 * mean, 0 * log_var)))
        kl_terms = 0.5 * (xp.exp(q[1]) + q[0] ** 2 - 1 - q[1])

        def distribution(m: Any, v: Any) -> Any:
            def sample(n: int, rng: Rng) -> Any:
                return m + xp.exp(v / 2) * of(xp, rng.normal(size=(n, 3, 4)))

            return sample, lambda x: -0.5 * ((x - m) ** 2 / xp.exp(v) + v + LOG_2PI).sum(-1)

        return {"kl": kl_terms.sum(1), "q": distribution(*q), "p": distribution(*p), "terms": kl_terms, "of_q": q}

    return right


def changed_kl(change: Any) -> Fault:
    return lambda xp, a: {"kl": change(a.kl)}


def closed_form(formula: Any) -> Fault:
    """A fault that replaces kl by the sum of a formula of the mean and the logarithm of the variance."""
    return lambda xp, a: {"kl": formula(xp, *a.of_q).sum(1)}


def narrower_support(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    sample, log_prob = a.p
    return {"p": (sample, lambda x: xp.where(x[..., 0] > 0, log_prob(x), -math.inf))}


KL = Table(
    lambda kl, q, p, terms, of_q, **settings: check_kl(kl, q, p, n=20_000, **settings),
    (gaussians(1), gaussians(2)),
    {
        "but the mean of ln q − ln p over 20000 samples": changed_kl(lambda kl: 1.1 * kl),
        "It is KL(p ‖ q): the arguments are exchanged": closed_form(
            lambda xp, m, v: 0.5 * (xp.exp(-v) * (1 + m**2) - 1 + v)
        ),
        "The sign is flipped": changed_kl(lambda kl: -kl),
        "It is in bits: multiply it by ln 2": changed_kl(lambda kl: kl / LN2),
        "is the factor ½ missing": changed_kl(lambda kl: 2 * kl),
        "is a factor ½ superfluous": changed_kl(lambda kl: kl / 2),
        "It is the cross-entropy −E_q ln p": closed_form(lambda xp, m, v: 0.5 * (xp.exp(v) + m**2 + LOG_2PI)),
        "the negative entropy of q: subtract E_q ln p": closed_form(lambda xp, m, v: -0.5 * (1 + v + LOG_2PI)),
        "It is a mean over the 4 dimensions": changed_kl(lambda kl: kl / 4),
        "or is a variance taken for a standard deviation": closed_form(
            lambda xp, m, v: 0.5 * (xp.exp(2 * v) + m**2 - 1 - 2 * v)
        ),
        "q and p agree on every sample": lambda xp, a: {"p": a.q},
        "kl: expected finite numbers": changed_kl(lambda kl: kl * math.nan),
        "log_prob of q and of p: expected one shape": lambda xp, a: {"p": lambda x: a.p[1](x).sum(1)},
        "return one per distribution, not their sum or mean": changed_kl(lambda kl: kl.sum()),
        "(3,), one KL per distribution, got (3, 4)": lambda xp, a: {"kl": a.terms},
        "sample of q: expected 20000 samples along axis 0": lambda xp, a: {
            "q": (lambda n, rng: a.q[0](9, rng), a.q[1])
        },
        "log_prob of p: expected one number per sample": lambda xp, a: {"p": lambda x: a.p[1](x).sum(0)},
        "is the support of q inside that of p": narrower_support,
    },
)

PLACES = np.random.default_rng(2).normal(size=(6, 2)) * 1.5


def normal(x: Any, variance: float) -> Any:
    return -0.5 * (x**2 / variance + math.log(2 * math.pi * variance)).sum(1)


def elbo(variance: float) -> Right:
    """In two dimensions: p(z) = N(0, 1), p(x|z) = N(z, 1), so p(x) = N(0, 2); q(z|x) = N(x/2, variance)."""

    def right(xp: Any) -> dict[str, Any]:
        def bound(x: Any, rng: Rng, sign: float = 1.0) -> Any:
            z = x / 2 + math.sqrt(variance) * of(xp, rng.normal(size=x.shape))
            return normal(x - z, 1.0) - sign * 0.5 * (variance + x**2 / 4 - 1 - math.log(variance)).sum(1)

        return {"bound": bound, "log_prob": lambda x: normal(x, 2.0), "x": PLACES}

    return right


BOUND = Table(
    lambda bound, log_prob, x, gap=None, **settings: check_bound(bound, log_prob, x, gap=gap, **settings),
    (elbo(0.5), elbo(0.6)),
    {
        "above ln p(x) =": after("bound", lambda b: b + 0.5),
        "Is the KL added instead of subtracted": lambda xp, a: {"bound": lambda x, rng: a.bound(x, rng, -1.0)},
        "the normaliser of a Gaussian missing": after("bound", lambda b: b + 10.5 * LOG_2PI - 10 * LOG_2PI),
        "is it a loss, −ELBO": after("bound", lambda b: -b),
        "is it a mean over dimensions": after("bound", lambda b: b / 2),
        "the same for all examples although": after("bound", lambda b: 0 * b - 100),
        "is a term subtracted twice, or is q(z|x) far": lambda xp, a: {
            **after("bound", lambda b: b - 3)(xp, a),
            "gap": 2.0,
        },
        "bound(x, rng): expected shape (6,)": after("bound", lambda b: b.sum()),
        "the same seed gives different bounds": lambda xp, a: {"bound": lambda x, rng: a.bound(x, OTHER)},
    },
)

THETA = np.array([[0.3, -0.5], [0.4, -0.3]])  # locations and logarithms of scales in two dimensions


def location_scale(noise: str) -> Right:
    """x = θ₀ + exp(θ₁) ε with normal or logistic noise ε."""

    def right(xp: Any) -> dict[str, Any]:
        def sample(theta: Any, n: int, rng: Rng) -> Any:
            return theta[0] + xp.exp(theta[1]) * of(xp, getattr(rng, noise)(size=(n, 2)))

        def log_prob(x: Any, theta: Any) -> Any:
            u = (x - theta[0]) / xp.exp(theta[1])
            logs = -0.5 * u**2 - 0.5 * LOG_2PI if noise == "normal" else -u - 2 * xp.log1p(xp.exp(-u))
            return (logs - theta[1]).sum(1)

        return {"sample": sample, "log_prob": log_prob, "theta": THETA}

    return right


def with_theta(name: str, change: Any) -> Fault:
    """A fault that passes other parameters on; of(xp, THETA) are those at which the gradient is checked."""

    def fault(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
        def stacked(theta: Any) -> Any:
            return xp.stack(change(*theta, *of(xp, THETA)))

        if name == "sample":
            return {"sample": lambda theta, n, rng: a.sample(stacked(theta), n, rng)}
        return {"log_prob": lambda x, theta: a.log_prob(x, stacked(theta))}

    return fault


def unused_parameter(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    return {"theta": np.concatenate([THETA, np.ones((1, 2))])}


REPARAMETERISED = Table(
    lambda sample, log_prob, theta, **settings: check_reparameterised(sample, log_prob, theta, n=5000, **settings),
    (location_scale("normal"), location_scale("logistic")),
    {
        "by the score function; they differ by": with_theta("sample", lambda m, s, m0, s0: [1.5 * m - 0.5 * m0, s]),
        "The sample ignores it: does it use a constant": with_theta("sample", lambda m, s, m0, s0: [m, s0]),
        "The density ignores it": with_theta("log_prob", lambda m, s, m0, s0: [m, s0]),
        "is it subtracted in sample and added": with_theta("sample", lambda m, s, m0, s0: [2 * m0 - m, s]),
        "Is sample parametrised differently from": with_theta("sample", lambda m, s, m0, s0: [2 * m - m0, s]),
        "log_prob is not the density of sample": with_theta("log_prob", lambda m, s, m0, s0: [m, s / 2]),
        "the sample jumps within a small step": after("sample", lambda x: x.round(decimals=1)),
        "it changes neither the samples nor their density": unused_parameter,
        "expected floating-point numbers of shape": after("sample", lambda x: narrow(x, "int64")),
        "does sample use another generator than rng": lambda xp, a: {"sample": lambda t, n, rng: a.sample(t, n, OTHER)},
        "sum over dimensions, not over samples": after("log_prob", lambda v: v[:, None]),
    },
)
