"""check_reparameterised accepts reparameterised samplers and rejects those with one fault each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array
from tinygen.testing import check_reparameterised

Rng = np.random.Generator
THETA = np.array([[0.3, -0.5], [0.4, -0.3]])  # means and logarithms of standard deviations in two dimensions


def sample(theta: Array, n: int, rng: Rng) -> Array:
    return np.asarray(theta[0] + np.exp(theta[1]) * rng.normal(size=(n, 2)))


def log_prob(x: Array, theta: Array) -> Array:
    return np.asarray((-0.5 * ((x - theta[0]) / np.exp(theta[1])) ** 2 - theta[1] - 0.5 * math.log(2 * math.pi)).sum(1))


def test_accepts_reparameterised_samplers() -> None:
    for seed in range(10):
        check_reparameterised(sample, log_prob, THETA, rng=np.random.default_rng(seed))
    # A logistic by the inverse of its distribution function, with a scalar parameter.
    check_reparameterised(
        lambda t, n, rng: t * np.log(1 / rng.uniform(size=n) - 1),
        lambda x, t: -x / t - np.log(t) - 2 * np.logaddexp(0, -x / t),
        np.array(0.7),
        rng=np.random.default_rng(0),
    )


def mixed(theta: Array, n: int, rng: Rng) -> Array:
    """A mixture of two components, whose choice depends on theta[0, 0]: not reparameterised."""
    choice = rng.uniform(size=(n, 1)) < 1 / (1 + np.exp(-theta[0, 0]))
    return np.asarray(np.where(choice, 2.0, -2.0) + np.exp(theta[1]) * rng.normal(size=(n, 2)) + theta[0] * [0, 1])


def mixed_log_prob(x: Array, theta: Array) -> Array:
    scale = np.exp(theta[1])
    logs = []
    for centre, weight in ((2.0, -np.logaddexp(0, -theta[0, 0])), (-2.0, -np.logaddexp(0, theta[0, 0]))):
        u = (x - centre - theta[0] * [0, 1]) / scale
        logs.append(weight + (-0.5 * u**2 - theta[1] - 0.5 * math.log(2 * math.pi)).sum(1))
    return np.asarray(np.logaddexp(*logs))


WRONG: dict[str, tuple[Callable[..., Any], Callable[..., Any], str]] = {
    "normaliser missing": (
        sample,
        lambda x, t: log_prob(x, t) + t[1].sum(),
        r"theta\[1, 0\].*Is its normaliser missing",
    ),
    "detached": (lambda t, n, rng: sample(THETA, n, rng), log_prob, r"theta\[0, 0\].*The sample ignores it"),
    "mixture with a discrete choice": (mixed, mixed_log_prob, r"theta\[0, 0\]: .*(jumps|The sample ignores)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_rejects_wrong_samplers(name: str, rng: Rng) -> None:
    draw, density, message = WRONG[name]
    with pytest.raises(AssertionError, match=message):
        check_reparameterised(draw, density, THETA, rng=rng)


def wide(power: float, dims: int = 500) -> Callable[[Array, int, Rng], Array]:
    """Samples of N(0, e²ᵗ) for power = 1; at t = 0, other powers have the same samples with another gradient."""
    return lambda t, n, rng: np.exp(power * t[0]) * rng.normal(size=(n, dims))


def wide_log_prob(x: Array, t: Array) -> Array:
    return np.asarray((-0.5 * (x / np.exp(t[0])) ** 2 - t[0] - 0.5 * math.log(2 * math.pi)).sum(1))


@pytest.mark.parametrize(("power", "n"), [(-1.0, 2000), (0.25, 20_000), (1.0, 2000)])
def test_refuses_samples_that_do_not_show_an_error(power: float, n: int, rng: Rng) -> None:
    with pytest.raises(ValueError, match=rf"n: expected more than {n}, .* a factor of 3 for theta\[0\]"):
        check_reparameterised(wide(power), wide_log_prob, np.array([0.0]), n=n, rng=rng)


def test_enough_samples_show_an_error_in_many_dimensions(rng: Rng) -> None:
    check_reparameterised(wide(1.0, 50), wide_log_prob, np.array([0.0]), n=50_000, rng=rng)
    with pytest.raises(AssertionError, match="by the score function; they differ by"):
        check_reparameterised(wide(0.25, 50), wide_log_prob, np.array([0.0]), n=50_000, rng=rng)


def test_every_parameter_of_many_dimensions_is_checked() -> None:
    """In 30 dimensions, a random direction may miss a parameter: a mean with half of its effect mostly passed."""
    theta, where = np.zeros(30), np.arange(30) == 7
    log_prob = lambda x, t: -0.5 * ((x - t) ** 2).sum(1) - 15 * math.log(2 * math.pi)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        check_reparameterised(lambda t, n, rng: t + rng.normal(size=(n, 30)), log_prob, theta, n=5000, rng=rng)
        with pytest.raises(AssertionError, match=r"theta\[7\]: the gradient of E"):
            check_reparameterised(
                lambda t, n, rng: t * (1 - 0.5 * where) + rng.normal(size=(n, 30)), log_prob, theta, n=5000, rng=rng
            )


def test_parameters_without_effect_are_named(rng: Rng) -> None:
    with pytest.raises(AssertionError, match=r"theta\[2, 0\]: it changes neither the samples nor their density"):
        check_reparameterised(sample, log_prob, np.concatenate([THETA, [[1.0, 1.0]]]), rng=rng)


def test_accepts_a_parameter_that_does_not_change_the_distribution(rng: Rng) -> None:
    """A rotation of normal noise: it moves the samples, and the gradients of all expectations are 0."""

    def rotated(theta: Array, n: int, rng: Rng) -> Array:
        c, s = np.cos(theta[0]), np.sin(theta[0])
        return np.asarray(rng.normal(size=(n, 2)) @ np.array([[c, s], [-s, c]]))

    check_reparameterised(rotated, lambda x, theta: (-0.5 * x**2).sum(1), np.array([0.3]), rng=rng)


def test_samplers_of_pytorch(rng: Rng) -> None:
    torch = pytest.importorskip("torch")

    def draw(theta: Any, n: int, rng: Rng) -> Any:
        noise = torch.from_numpy(rng.normal(size=(n, 2)))
        return theta[0] + torch.exp(theta[1].requires_grad_(False)) * noise

    def density(x: Any, theta: Any, factor: float = 1.0) -> Any:
        return torch.distributions.Normal(theta[0], torch.exp(factor * theta[1])).log_prob(x).sum(1)

    check_reparameterised(draw, density, THETA, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="is not the density of sample"):
        check_reparameterised(draw, lambda x, t: density(x, t, 0.5), THETA, rng=rng, convert=torch.from_numpy)
    fixed = torch.from_numpy(THETA)
    with pytest.raises(AssertionError, match="The sample ignores it"):
        check_reparameterised(lambda t, n, rng: draw(fixed, n, rng), density, THETA, rng=rng, convert=torch.from_numpy)
