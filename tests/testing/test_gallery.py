"""Faults found in real repositories, reduced to a few lines of NumPy: docs/checking.md says what the checks say of "
"them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tinygen.autograd import Array
from tinygen.testing import (
    check_autoregressive,
    check_invertible,
    check_kl,
    check_log_det,
    check_normalised_density,
    check_vjp,
)

PAGE = Path(__file__).parents[2] / "docs" / "checking.md"
ROWS = re.findall(
    r"^\| ([^|]+) \| \[([^\]]+)\]\(([^)]+)\) \| `(\w+)` \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE
)
X = np.random.default_rng(1).normal(size=(4, 4))
MEAN, LOG_VAR = np.random.default_rng(2).normal(size=(2, 3, 4))
Rng = np.random.Generator


def forward(x: Array, sign: float = 1.0) -> tuple[Array, Array]:
    return np.sinh(x), sign * np.log(np.cosh(x)).sum(1)


def inverse(z: Array, sign: float = 1.0) -> tuple[Array, Array]:
    return np.arcsinh(z), -sign * 0.5 * np.log1p(z**2).sum(1)


def row_of_pixels(mask: Array, layers: int = 1) -> Callable[[Array], Array]:
    """Return convolutions along a row: the first sees the pixel to the left, the others are masked."""
    first = np.eye(4, k=-1)
    return lambda x: np.asarray(x @ first.T @ np.linalg.matrix_power(mask, layers).T)


def kl_terms(mean: Array, log_var: Array) -> Array:
    return np.asarray(0.5 * (np.exp(log_var) + mean**2 - 1 - log_var))


def gaussians(mean: Array, log_var: Array) -> tuple[Callable[..., Array], Callable[..., Array]]:
    def sample(n: int, rng: Rng) -> Array:
        return np.asarray(mean + np.exp(log_var / 2) * rng.normal(size=(n, *mean.shape)))

    def log_prob(x: Array) -> Array:
        return np.asarray(-0.5 * ((x - mean) ** 2 / np.exp(log_var) + log_var + math.log(2 * math.pi)).sum(-1))

    return sample, log_prob


def kl_against_prior(kl: Array, rng: Rng) -> None:
    check_kl(kl, gaussians(MEAN, LOG_VAR), gaussians(0 * MEAN, 0 * LOG_VAR), rng=rng)


def uniform_prior_without_logarithm(rng: Rng) -> None:
    q = np.array([0.2, 0.3, 0.5])
    draw = lambda n, rng: rng.choice(3, n, p=q)
    check_kl(
        np.sum(q * (np.log(q) - 1 / 3)), (draw, lambda k: np.log(q)[k]), lambda k: np.log(1 / 3) + 0.0 * k, rng=rng
    )


def stored_intermediate(rng: Rng) -> None:
    """The backward pass of y = (2x)² uses 2x as it was stored, so its own derivative with respect to x is lost."""
    check_vjp(lambda c, x: 8 * c * x, lambda g, c, x: (8 * g * x, 0 * x), X, X + 3, rng=rng)


FAULTS: dict[str, Callable[[Rng], None]] = {
    "flowjax 208": lambda rng: check_log_det(
        SimpleNamespace(forward=forward, inverse=lambda z: inverse(z, -1.0)), X, rng=rng
    ),
    "normalizing-flows 27": lambda rng: check_log_det(lambda x: forward(x, -1.0), X, rng=rng),
    "NuX 10": lambda rng: check_invertible(forward, lambda z: inverse(z, -1.0), X, rng=rng),
    "semi-supervised-pytorch 21": lambda rng: check_log_det(lambda x: (forward(x)[0], forward(x)[1].sum()), X, rng=rng),
    "PixelCNN 3": lambda rng: check_autoregressive(row_of_pixels(np.eye(4)), X, rng=rng),
    "Conditional-PixelCNN-decoder 9": lambda rng: check_autoregressive(row_of_pixels(np.zeros((4, 4))), X, rng=rng),
    "grammarVAE 2": lambda rng: kl_against_prior(kl_terms(MEAN, LOG_VAR).mean(1), rng),
    "GNTPP 4": lambda rng: kl_against_prior(kl_terms(MEAN, LOG_VAR).sum(), rng),
    "model-zoo 147": lambda rng: kl_against_prior(
        0.5 * (np.exp(LOG_VAR) + MEAN**2 - 1 + (LOG_VAR / 2) ** 2).sum(1), rng
    ),
    "draw 2": lambda rng: kl_against_prior(kl_terms(MEAN, LOG_VAR).sum(1) + 0.5 * (4 - 1), rng),
    "Gumbel_Softmax_VAE 1": uniform_prior_without_logarithm,
    "margarine 38": lambda rng: check_normalised_density(
        lambda x: np.logaddexp(-0.5 * x[:, 0] ** 2, -0.5 * (x[:, 0] - 1) ** 2) - 0.5 * math.log(2 * math.pi), [-9], [9]
    ),
    "pytorch 58509": stored_intermediate,
}


def test_the_page_and_the_faults_agree() -> None:
    assert [name for _, name, *_ in ROWS] == list(FAULTS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_check_says_what_the_page_says(row: tuple[str, ...], rng: Rng) -> None:
    _, name, _, checker, says = row
    with pytest.raises(AssertionError) as caught:
        FAULTS[name](rng)
    for quoted in re.findall(r"`([^`]+)`", says):
        assert quoted in str(caught.value)
    assert str(caught.value).startswith(checker)
