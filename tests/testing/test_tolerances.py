"""Every checker accepts an error of a third of its default tolerance and rejects one of four times its tolerance.

Most other tests of the checkers use large faults, which a tolerance that is a hundred times too wide still rejects.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array, Parameter, Tensor, TensorLike, node
from tinygen.autograd.tensor import array_of
from tinygen.bijections import Affine, Bijection
from tinygen.testing import (
    check_adjoint,
    check_autoregressive,
    check_bound,
    check_conditional,
    check_equivariant,
    check_gradient,
    check_grads,
    check_invertible,
    check_jvp,
    check_kl,
    check_log_det,
    check_normalised,
    check_normalised_density,
    check_parameter_grads,
    check_sampler,
    check_vjp,
    enumerate_support,
)

X = np.random.default_rng(0).uniform(0.1, 0.9, (4, 1))
SUPPORT = enumerate_support(2, (3,))
Check = Callable[[float, np.random.Generator], None]


class Wrong(Bijection):
    """z = x + 2 in one dimension, with an error in one part of it."""

    def __init__(self, **errors: float) -> None:
        self.errors = {"inverse": 0.0, "log_det": 0.0, "inverse log_det": 0.0, "batch": 0.0, **errors}

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        v = array_of(x)
        return Tensor(v + 2 + self.errors["batch"] * v[0]), Tensor(np.full(len(v), self.errors["log_det"]))

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        v = array_of(z)
        return Tensor(v - 2 + self.errors["inverse"]), Tensor(np.full(len(v), self.errors["inverse log_det"]))


def wrong_square(x: Tensor, error: float) -> Tensor:
    """Return x² with a VJP that is too large by a factor of 1 + error."""
    return node("square", x.value**2, (x, lambda g, y: g * 2 * x * (1 + error)))


def parameter_grads(error: float, rng: np.random.Generator) -> None:
    parameter = Parameter([0.7], np.float64)
    check_parameter_grads(lambda: wrong_square(parameter, error), [parameter], rng=rng)


def normal(x: Array) -> Array:
    return np.asarray(-0.5 * x[:, 0] ** 2 - 0.5 * math.log(2 * math.pi))


def uniform(x: Array) -> Array:
    return np.full(len(x), -3 * math.log(2))


def depends_on_the_batch(x: Array, error: float) -> Array:
    """The log-density of each example, and `error` if it is not alone."""
    return uniform(x) + error * (len(x) > 1)


def leaks(x: Array, error: float, between_examples: bool) -> Array:
    """Sums of the earlier variables, plus the next variable or the last example times `error`."""
    later = np.roll(x, 1, 0) if between_examples else np.roll(x, -1, 1)
    return np.asarray(x @ np.triu(np.ones((4, 4)), 1) + error * later)


def derivative(check: Any, x: Array) -> Check:
    """Check x² with its VJP 2 c x, its JVP 2 v x or its gradient 2 x, times 1 + error."""
    return lambda error, rng: check(lambda x: x * x, lambda *factors: 2 * math.prod(factors) * (1 + error), x, rng=rng)


ONE, SINGLE = np.array(0.7), np.array(0.7, np.float32)
CHECKS: dict[str, tuple[Check, float]] = {  # a checker of a function with an error of the given size, its tolerance
    "invertible": (lambda error, rng: check_invertible(Wrong(inverse=error), X, rng=rng), 1e-9),
    "invertible, log_det": (lambda e, rng: check_invertible(Wrong(**{"inverse log_det": e}), X, rng=rng), 1e-9),
    "log_det, forward": (lambda e, rng: check_log_det(Wrong(log_det=e), X, rng=rng), 1e-6),
    "log_det, inverse": (lambda e, rng: check_log_det(Wrong(**{"inverse log_det": e}), X, rng=rng), 1e-6),
    "normalised": (lambda e, rng: check_normalised(lambda x: uniform(x) + e, SUPPORT), 1e-12),
    "density": (lambda e, rng: check_normalised_density(lambda x: normal(x) + e, [-8], [8]), 1e-6),
    "sampler, sum": (
        lambda e, rng: check_sampler(
            lambda n, rng: rng.integers(0, 2, (n, 3)), lambda x: uniform(x) + e, SUPPORT, rng=rng
        ),
        1e-5,
    ),
    "grads": (lambda e, rng: check_grads(lambda x: wrong_square(x, e), ONE, rng=rng), 1e-8),
    "parameter_grads": (parameter_grads, 1e-8),
    "vjp": (derivative(check_vjp, ONE), 2e-8),
    "vjp in float32": (derivative(check_vjp, SINGLE), 4e-4),
    "jvp": (derivative(check_jvp, ONE), 2e-8),
    "gradient": (derivative(check_gradient, ONE), 2e-8),
    "adjoint": (lambda e, rng: check_adjoint(lambda x: x, lambda y: y * (1 + 2 * e), (1,), (1,), rng=rng), 1e-12),
    "normalised, alone": (
        lambda e, rng: check_normalised(lambda x: depends_on_the_batch(x, e), SUPPORT, tolerance=1),
        80 * np.finfo(float).eps * (1 + 3 * math.log(2)),
    ),
    "normalised in float32": (
        lambda e, rng: check_normalised(lambda x: (uniform(x) + e).astype(np.float32), SUPPORT),
        1e-5,
    ),
    "equivariant": (
        lambda e, rng: check_equivariant(lambda x: x + e * np.arange(4), lambda x: np.roll(x, 1, 1), X.T, rng=rng),
        1e-9 / 3,  # the largest difference of neighbours
    ),
    "conditional": (
        lambda e, rng: check_conditional(lambda x, c: c + e * c[::-1] + 0 * x, X, np.eye(4), rng=rng),
        1e-9,
    ),
}


@pytest.mark.parametrize("name", CHECKS)
def test_default_tolerance(name: str, rng: np.random.Generator) -> None:
    check, tolerance = CHECKS[name]
    check(tolerance / 3, rng)
    with pytest.raises(AssertionError):
        check(4 * tolerance, rng)


def test_default_p_value_of_check_sampler(rng: np.random.Generator) -> None:
    """The number of heads is z standard deviations above n/2, so P(χ² larger) = erfc(z / √2) is 1e-6 at z = 4.89."""
    n, log_half = 10**5, -math.log(2)

    def coin(z: float) -> Callable[[int, np.random.Generator], Array]:
        heads = n // 2 + round(z * math.sqrt(n) / 2)
        return lambda n, rng: rng.permutation((np.arange(n) < heads).astype(int))[:, None]

    coins = enumerate_support(2, (1,))
    check_sampler(coin(4.8), lambda x: np.full(len(x), log_half), coins, n, rng=rng)
    with pytest.raises(AssertionError, match="χ²"):
        check_sampler(coin(5.0), lambda x: np.full(len(x), log_half), coins, n, rng=rng)


def test_default_p_value_of_check_sampler_for_a_rare_value(rng: np.random.Generator) -> None:
    """A Poisson variable of mean 5 is at least 16 with a probability of 7e-5, and at least 21 with one of 1e-7."""
    n = 10**5
    log_probs = np.log([5 / n, 1 - 5 / n])

    def draws(count: int) -> Callable[[int, np.random.Generator], Array]:
        return lambda n, rng: rng.permutation((np.arange(n) >= count).astype(int))[:, None]

    check_sampler(draws(16), lambda x: log_probs[x[:, 0]], enumerate_support(2, (1,)), n, rng=rng)
    with pytest.raises(AssertionError, match=r"\[0\]: drawn 21 times, expected 5\."):
        check_sampler(draws(21), lambda x: log_probs[x[:, 0]], enumerate_support(2, (1,)), n, rng=rng)


def test_default_p_value_of_check_kl(rng: np.random.Generator) -> None:
    """The two-sided probability of 1e-6 is 4.89 standard errors; the samples are fixed, so that the mean is known."""
    x = np.random.default_rng(1).normal(size=10_000)

    def log_q(x: Array) -> Array:
        return np.asarray(-(x**2) / 2)

    def log_p(x: Array) -> Array:
        return np.asarray(-(x**2) / 8 - math.log(2))

    q, terms = (lambda n, rng: x, log_q), log_q(x) - log_p(x)
    error = terms.std() / math.sqrt(len(x))
    for z in (-4.7, 4.7):
        check_kl(terms.mean() + z * error, q, log_p, n=len(x), rng=rng)
    for z in (-5.1, 5.1):
        with pytest.raises(AssertionError, match="check_kl: kl is"):
            check_kl(terms.mean() + z * error, q, log_p, n=len(x), rng=rng)


def test_default_p_value_of_check_bound(rng: np.random.Generator) -> None:
    """The one-sided probability of 1e-6 is 4.75 standard errors. The estimates are ±1, as many of each sign."""
    n = 1000
    error = 1 / math.sqrt(n - 1)

    def bound(z: float) -> Callable[[Array, np.random.Generator], Array]:
        return lambda x, rng: z * error + (-1.0) ** np.arange(len(x))

    check_bound(bound(4.6), lambda x: 0 * x[:, 0], X[:1], draws=n, rng=rng)
    with pytest.raises(AssertionError, match="above ln p"):
        check_bound(bound(4.9), lambda x: 0 * x[:, 0], X[:1], draws=n, rng=rng)


def test_check_sampler_rejects_counts_that_are_too_close(rng: np.random.Generator) -> None:
    """Of 5 equally likely values, the counts of two are off by a: χ² = 2 a²/m, and P(χ² smaller) ≈ χ⁴/8 is 1e-6."""
    m, fifths = 20_000, enumerate_support(5, (1,))

    def values(a: int) -> Callable[[int, np.random.Generator], Array]:
        return lambda n, rng: rng.permutation(np.repeat(np.arange(5), [m - a, m, m, m, m + a]))[:, None]

    check_sampler(values(8), lambda x: np.full(len(x), -math.log(5)), fifths, 5 * m, rng=rng)
    with pytest.raises(AssertionError, match="too close"):
        check_sampler(values(3), lambda x: np.full(len(x), -math.log(5)), fifths, 5 * m, rng=rng)


def test_check_sampler_pools_no_value_that_is_expected_five_times(rng: np.random.Generator) -> None:
    """Each of 20 values is expected 6 times; odd ones are never drawn."""
    with pytest.raises(AssertionError, match="with 19 degrees of freedom"):
        check_sampler(
            lambda n, rng: 2 * rng.integers(0, 10, (n, 1)),
            lambda x: np.full(len(x), -math.log(20)),
            enumerate_support(20, (1,)),
            n=120,
            rng=rng,
        )


def test_allowance_for_rounding_does_not_hide_an_error(rng: np.random.Generator) -> None:
    """The values of f are 10⁶ times as large as its gradient: finite differences round to about 1e-6 of it."""
    check_gradient(lambda x: 1e6 + x, lambda x: np.ones(()), ONE, rng=rng)
    with pytest.raises(AssertionError, match="finite differences give"):
        check_gradient(lambda x: 1e6 + x, lambda x: np.full((), 1 + 2e-5), ONE, rng=rng)


SHORT = np.linspace(0.5, 1.5, 3)
HIDDEN: dict[str, tuple[Check, float]] = {  # a check of x² plus a constant, and the constant whose rounding hides 2 x
    "gradient": (
        lambda c, rng: check_gradient(
            lambda x: np.float32(c) + (x**2).sum(), lambda x: 2 * x, SHORT.astype(np.float32), rng=rng
        ),
        3e4,
    ),
    "vjp": (lambda c, rng: check_vjp(lambda x: c + x**2, lambda g, x: 2 * g * x, SHORT, rng=rng), 4e11),
    "jvp": (lambda c, rng: check_jvp(lambda x: c + x**2, lambda v, x: 2 * v * x, SHORT, rng=rng), 4e11),
    "grads": (
        lambda c, rng: check_grads(
            lambda x: node("f", c + x.value**2, (x, lambda g, y: g * 2 * x)), SHORT, order=1, rng=rng
        ),
        4e11,
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_refuses_functions_whose_rounding_errors_hide_the_derivative(name: str, rng: np.random.Generator) -> None:
    check, constant = HIDDEN[name]
    for _ in range(20):
        check(constant / 4, rng)
        with pytest.raises(ValueError, match="f: expected finite differences with a rounding error of at most"):
            check(4 * constant, rng)


@pytest.mark.parametrize("factor", [-1.0, 0.01, 2.5])
def test_float32_losses_are_checked_up_to_that_limit(factor: float) -> None:
    """One draw in 5 may miss a derivative of 0 at the limit, so two draws see at least 18 of 20."""
    seen = 0
    for seed in range(20):
        try:
            check_gradient(
                lambda x: np.float32(2.9e4) + (x**2).sum(), lambda x: np.float32(2 * factor) * x,
                SHORT.astype(np.float32), rng=np.random.default_rng(seed),
            )  # fmt: skip
        except AssertionError:
            seen += 1
        except ValueError:  # the smaller derivative is below the limit
            assert factor == 0.01
            seen += 1
    assert seen >= 18


@pytest.mark.parametrize("between_examples", [False, True])
def test_check_autoregressive_tolerates_no_leak(between_examples: bool, rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 4))
    check_autoregressive(lambda x: leaks(x, 0.0, between_examples), x, rng=rng)
    with pytest.raises(AssertionError, match="other outputs" if between_examples else "must not see"):
        check_autoregressive(lambda x: leaks(x, 1e-13, between_examples), x, rng=rng)


@pytest.mark.parametrize("check", [check_invertible, check_log_det])
def test_flows_tolerate_no_dependence_on_the_batch(check: Any, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="changing example 0 changes other outputs"):
        check(Wrong(batch=1e-6), X, rng=rng)


@pytest.mark.parametrize("check", [check_invertible, check_log_det])
def test_the_identity_is_recognised_within_a_thousandth(check: Any, rng: np.random.Generator) -> None:
    check(Affine(1.003), X, rng=rng)
    with pytest.raises(AssertionError, match="identity"):
        check(Affine(1.0003), X, rng=rng)
