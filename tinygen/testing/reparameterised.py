"""Check that a sampler is reparameterised: its pathwise gradient against the score-function estimate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NoReturn

import numpy as np

from ..autograd import Array
from ..checks import at_least, check_rng, require
from .calls import Convert, Function, check_input, check_p_value, record, resolution

_TESTS = ("1", "w·x", "(w·x)²", "cos w·x")  # w·x is standardised


def check_reparameterised(
    sample: Callable[..., Any],
    log_prob: Callable[..., Any],
    theta: Array,
    *,
    n: int = 20_000,
    rng: np.random.Generator,
    p_value: float = 1e-6,
    convert: Convert = None,
) -> None:
    """Check that differentiating samples x(θ, ε) with respect to θ gives the gradient of their expectations.

        ∂/∂θ E f(x) = E f′(x) ∂x/∂θ (pathwise) = E f(x) ∂/∂θ ln p(x; θ) (score function),   f = 1, w·x, (w·x)², cos w·x

    Both derivatives are finite differences: of the samples for a fixed seed, and of the log-density for fixed samples.
    Automatic differentiation has no part in them. Check a gradient of `sample` itself, such as one cut by detach(), by
    `check_vjp(lambda θ: sample(θ, n, np.random.default_rng(0)), vjp, θ, rng=rng)`.

    Args:
        sample: called as sample(theta, n, rng), returns (n, …); the same seed must give the same noise ε for every θ.
        log_prob: called as log_prob(x, theta), returns (n,), in nats.
        theta: the parameters, float64; each must have an effect on the samples.
        n: the number of samples. Errors of the gradient of about 5 standard errors are seen, a few per cent for a
            parameter of few dimensions. A parameter that scales all D dimensions needs more samples as D grows.
        p_value: the probability of rejecting a correct sampler.
        convert: maps theta and samples to what the functions take, such as torch.from_numpy.

    Raises: AssertionError with the parameter and the likely fault; ValueError or TypeError for unsuitable arguments;
        ValueError if n samples are too few to see a factor of 3.
    Checked by: tests/testing/test_reparameterised.py

    Example:
        >>> rng, theta = np.random.default_rng(0), np.array([0.3, -0.5])  # mean, logarithm of the standard deviation
        >>> def log_prob(x, theta):
        ...     return -0.5 * ((x - theta[0]) / np.exp(theta[1])) ** 2 - theta[1] - 0.5 * np.log(2 * np.pi)
        >>> sample = lambda theta, n, rng: theta[0] + np.exp(theta[1]) * rng.normal(size=n)
        >>> check_reparameterised(sample, log_prob, theta, rng=rng)
        >>> check_reparameterised(lambda t, n, rng: sample([t[0], t[1] / 2], n, rng), log_prob, theta, rng=rng)
        Traceback (most recent call last):
        AssertionError: check_reparameterised: theta[1]: the score ∂/∂θ ln p(x; θ) has the mean ...
    """
    check_rng(rng)
    check_p_value(p_value)
    at_least(100, n=n)
    check_input("theta", np.atleast_1d(theta) if isinstance(theta, np.ndarray) else theta)
    require(theta.dtype == np.float64, "theta", "float64", theta.dtype)
    draw = Function("check_reparameterised", "sample", sample, ["theta", "n", "rng"], convert)
    density = Function("check_reparameterised", "log_prob", log_prob, ["x", "theta"], convert)
    seed = int(rng.integers(1 << 62))
    x = _samples(draw, theta, n, seed)
    _check_log_prob(density, x, theta)
    step = 1e-4 if resolution(x) < 1e-10 else 2.0**-6
    flat, spread = x.reshape(n, -1), x.std()
    require(spread > 0, "sample", "samples that differ", "a constant")
    centre, random = flat.mean(0), rng.normal(size=flat.shape[1])

    def tests(x: Array, w: Array) -> Array:
        u = (x.reshape(n, -1) - centre) @ w
        return np.stack([np.ones(n), u, u**2, np.cos(u)])

    quantile = NormalDist().inv_cdf(1 - p_value / 2 / (theta.size * len(_TESTS)))
    found = []
    for place in np.ndindex(theta.shape):
        move = np.zeros_like(theta)
        move[place] = step
        ends, near = ([_samples(draw, theta + sign * move / d, n, seed) for sign in (1, -1)] for d in (1, 4))
        # A jump changes a sample by the same amount for any step; a smooth path, in proportion to the step.
        jumps = np.abs((ends[0] - ends[1]) - 4 * (near[0] - near[1])).reshape(n, -1).max(1) > 0.01 * spread
        # A random w may miss the parameter, unlike its effect on the first sample, which the averages leave out.
        moved = (ends[0] - ends[1])[0].reshape(-1).astype(np.float64)
        w = random / np.std(flat @ random) + (2 * moved / np.std(flat @ moved) if np.ptp(flat @ moved) > 0 else 0)
        values, high, low = (tests(y, w / np.std(flat @ w)) for y in (x, *ends))
        path = (high - low) / (2 * step)
        logs = [density(x, theta + sign * move).astype(np.float64) for sign in (1, -1)]
        score = density.finite((logs[0] - logs[1]) / (2 * step))
        values[1:] -= values[1:].mean(1, keepdims=True)  # a baseline for all but f = 1
        name = f"theta[{', '.join(map(str, place))}]" if place else "theta"
        found.append(_Gradients(name, path[:, 1:], (values * score)[:, 1:], int(jumps[1:].sum()), quantile))
    for check in (_Gradients.require_smooth, _Gradients.require_density, _Gradients.compare, _Gradients.require_power):
        for gradients in found:
            check(gradients)


@dataclass(frozen=True)
class _Gradients:
    """Two estimates of ∂/∂θ E f for one parameter, as terms whose mean is the estimate. Shapes: (tests, n)"""

    name: str
    path: Array
    score: Array
    jumps: int
    quantile: float

    def allowed(self, terms: Array) -> Array:
        rounding = 1e-6 * np.abs(terms).mean(1) + 1e-9
        return np.asarray(self.quantile * terms.std(1) / math.sqrt(terms.shape[1]) + rounding)

    def fail(self, message: str) -> NoReturn:
        raise AssertionError(f"check_reparameterised: {self.name}: {message}")

    def require_smooth(self) -> None:
        if self.jumps:
            self.fail(
                f"the sample jumps within a small step in {self.jumps} of {self.path.shape[1]} samples, so its "
                f"derivative is not that of the expectation: is there an argmax, a rounding, a rejection or a discrete "
                f"variable?"
            )

    def require_density(self) -> None:
        mean, allowed = self.score[0].mean(), self.allowed(self.score)[0]
        if abs(mean) > allowed:
            self.fail(
                f"the score ∂/∂θ ln p(x; θ) has the mean {mean:.4g} over the samples, but should have 0 within "
                f"{allowed:.2g}: log_prob is not the density of sample. Is its normaliser missing, or is one "
                f"parametrised by a variance and the other by a standard deviation or its logarithm?"
            )

    def compare(self) -> None:
        ignored = not np.any(self.path)
        if ignored and np.all(np.abs(self.score.mean(1)) <= self.allowed(self.score)):
            self.fail("it changes neither the samples nor their density; remove it, or use more samples")
        paths, scores = self.path.mean(1), self.score.mean(1)
        allowed = self.allowed(self.path - self.score)
        ratios = np.abs(paths - scores) / allowed
        record(f"{self.name}: pathwise and score-function gradients differ by {ratios.max():.2g} of the tolerance")
        if ratios.max() <= 1:
            return
        worst = int(np.argmax(ratios))
        a, b = paths[worst], scores[worst]
        cause = (
            "The sample ignores it: does it use a constant, or another noise for each θ?"
            if ignored
            else "The density ignores it."
            if not np.any(self.score)
            else "The sign is flipped: is it subtracted in sample and added in log_prob?"
            if np.isclose(a, -b, rtol=0.05)
            else "Is sample parametrised differently from log_prob, such as by a variance instead of its logarithm?"
        )
        self.fail(
            f"the gradient of E {_TESTS[worst]} is {a:.4g} pathwise, but {b:.4g} by the score function; they differ by "
            f"{abs(a - b):.2g}, more than {allowed[worst]:.2g}. {cause}"
        )

    def require_power(self) -> None:
        largest = np.maximum(np.abs(self.path.mean(1)), np.abs(self.score.mean(1)))
        n = self.path.shape[1] + 1
        if np.any(self.score) and np.all(self.allowed(self.path - self.score) > largest * 2 / 3):
            raise ValueError(
                f"n: expected more than {n}, as {n} samples do not show a factor of 3 for {self.name}; leave it out if "
                f"it does not change the distribution"
            )


def _samples(f: Function, theta: Array, n: int, seed: int) -> Array:
    x = f(theta, n, np.random.default_rng(seed))
    if x.ndim == 0 or len(x) != n or x.dtype.kind != "f":
        raise AssertionError(
            f"check_reparameterised: sample(theta, {n}, rng): expected floating-point numbers of shape ({n}, …), got "
            f"{x.dtype} of shape {x.shape}"
        )
    if not np.array_equal(x, f(theta, n, np.random.default_rng(seed)), equal_nan=True):
        raise AssertionError(
            "check_reparameterised: the same seed gives different samples; does sample use another generator than rng?"
        )
    return f.finite(x).astype(np.float64) if resolution(x) < 1e-10 else f.finite(x)


def _check_log_prob(f: Function, x: Array, theta: Array) -> None:
    values = f(x, theta)
    if values.shape != (len(x),):
        raise AssertionError(
            f"check_reparameterised: log_prob(x, theta): expected shape ({len(x)},), one per sample, got "
            f"{values.shape}; sum over dimensions, not over samples"
        )
    f.require_deterministic([f.finite(values)], x, theta)
