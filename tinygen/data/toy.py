"""Densities in the plane to try a model on, each with its sampler, its log-density and its entropy.

    H = −∫ p(x) log p(x) dx    (nats per point, both coordinates together)

No model has an expected negative log-likelihood below H; the gap is KL(p‖model). Everything is float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import at_least

Reals: TypeAlias = NDArray[np.float64]
Box: TypeAlias = tuple[float, float, float, float]  # x₁ from, x₁ to, x₂ from, x₂ to: Matplotlib's `extent`


class ToyDensity(Protocol):
    """A density in the plane whose entropy is known.

    Shapes: sample (n, 2); log_prob (n, 2) → (n,), in nats.  `box` holds all but 1e-8 of the mass.
    Raises ValueError if n is not an integer ≥ 0 or x is not (n, 2).
    """

    @property
    def entropy(self) -> float:
        """H in nats per point."""

    @property
    def box(self) -> Box:
        """Where to look: (x₁ from, x₁ to, x₂ from, x₂ to)."""

    def sample(self, n: int, rng: np.random.Generator) -> Reals:
        """Draw n independent points, (n, 2)."""

    def log_prob(self, x: ArrayLike) -> Reals:
        """Return log p of each point, (n, 2) → (n,) nats."""


@dataclass(frozen=True)
class Checkerboard:
    """The uniform density on every other cell of a 4×4 board with cells of side 2, area 32 in all.

        x = 2u,   u₁ ~ U[−2, 2),   u₂ = U[0, 1) − 2·Bernoulli(½) + (⌊u₁⌋ mod 2),   H = ln 32

    The cells are those where ⌊u₁⌋ + ⌊u₂⌋ is even, each half-open; outside log p = −∞.
    Source: Grathwohl et al., "FFJORD", 2019 (the accompanying code).
    Checked by: tests/data/test_toy.py
    """

    @property
    def entropy(self) -> float:
        """H = ln 32 nats, exactly."""
        return math.log(32)

    @property
    def box(self) -> Box:
        """The board."""
        return -4.0, 4.0, -4.0, 4.0

    def sample(self, n: int, rng: np.random.Generator) -> Reals:
        """Draw n independent points, (n, 2)."""
        at_least(0, n=n)
        u1 = rng.uniform(-2, 2, n)
        u2 = rng.random(n) - 2 * rng.integers(0, 2, n) + np.floor(u1) % 2
        return 2 * np.stack([u1, u2], axis=1)

    def log_prob(self, x: ArrayLike) -> Reals:
        """Return −ln 32 on the board's cells and −∞ elsewhere, (n, 2) → (n,) nats; NaN stays NaN."""
        u = _points(x) / 2
        on_board = ((u >= -2) & (u < 2)).all(axis=1)
        # For an infinite u the remainder is an invalid operation, and its NaN is off the board all the same.
        with np.errstate(invalid="ignore"):
            on_cell = on_board & (np.floor(u).sum(axis=1) % 2 == 0)
        return np.where(np.isnan(u).any(axis=1), np.nan, np.where(on_cell, -self.entropy, -np.inf))


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """K round Gaussians of one width and equal weight.

        p(x) = 1/K Σₖ N(x; cₖ, σ²I)

    The entropy is a quadrature, good to 1e-6; for far-apart centres it is ln K + ln 2πeσ².

    Shapes: centres (K, 2).  Raises ValueError unless K ≥ 1, the centres are finite and σ > 0.
    Checked by: tests/data/test_toy.py
    """

    centres: Reals
    sigma: float

    def __post_init__(self) -> None:
        _check_width("sigma", self.sigma)
        object.__setattr__(self, "centres", np.asarray(self.centres, np.float64))
        if self.centres.ndim != 2 or self.centres.shape[1] != 2 or not len(self.centres):
            raise ValueError(f"centres: expected (K, 2) with K ≥ 1, got shape {self.centres.shape}")
        if not np.isfinite(self.centres).all():
            raise ValueError("centres: expected finite numbers, got NaN or infinite ones")

    @cached_property
    def entropy(self) -> float:
        """H in nats per point, by quadrature."""
        return _entropy(self.log_prob, self.box, step=self.sigma / 4)

    @property
    def box(self) -> Box:
        """Six σ around the centres."""
        return _around(self.centres, self.sigma)

    def sample(self, n: int, rng: np.random.Generator) -> Reals:
        """Draw n independent points, (n, 2)."""
        at_least(0, n=n)
        return self.centres[rng.integers(0, len(self.centres), n)] + self.sigma * rng.standard_normal((n, 2))

    def log_prob(self, x: ArrayLike) -> Reals:
        """Return log p of each point, (n, 2) → (n,) nats."""
        weights = np.full(len(self.centres), 1 / len(self.centres))
        return _log_mixture(_points(x), self.centres, weights, self.sigma)


def eight_gaussians() -> GaussianMixture:
    """Eight Gaussians on a circle that overlap a little: radius 4/1.414, at multiples of 45°, σ = 0.5/1.414; H ≈ 2.833.

    Source: Grathwohl et al., "FFJORD", 2019 (the accompanying code, hence 1.414 for √2).
    Checked by: tests/data/test_toy.py
    """
    return GaussianMixture(_circle(4 / 1.414), 0.5 / 1.414)


def ring_of_gaussians() -> GaussianMixture:
    """Eight narrow Gaussians on a circle, far apart in units of σ: radius 2, at multiples of 45°, σ = 0.02.

    Source: Metz et al., "Unrolled generative adversarial networks", 2017.
    Checked by: tests/data/test_toy.py
    """
    return GaussianMixture(_circle(2), 0.02)


def grid_of_gaussians() -> GaussianMixture:
    """Twenty-five narrow Gaussians on a 5×5 grid: both coordinates of the centres in {−4, −2, 0, 2, 4}, σ = 0.05.

    Source: the mode-counting experiment of the GAN literature, which has several spacings and widths; this is one.
    Checked by: tests/data/test_toy.py
    """
    at = np.linspace(-4, 4, 5)
    return GaussianMixture(np.stack(np.meshgrid(at, at), axis=-1).reshape(25, 2), 0.05)


@dataclass(frozen=True)
class TwoMoons:
    """Two interleaved half circles, blurred.

        c(t) = (cos t, sin t)  or  (1 − cos t, ½ − sin t),  evens;   t ~ U[0, π];   x = c(t) + N(0, σ²I)

    There is no closed form. log p integrates t out by Gauss–Legendre quadrature, with a relative error of p below 1e-9
    on `box`; H, a quadrature again, is good to 1e-6: 1.0076 nats at σ = 0.1.

    Raises ValueError unless σ > 0.
    Source: scikit-learn's `make_moons`, with t drawn where it is equally spaced there.
    Checked by: tests/data/test_toy.py
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        _check_width("sigma", self.sigma)

    @cached_property
    def entropy(self) -> float:
        """H in nats per point, by quadrature."""
        return _entropy(self.log_prob, self.box, step=self.sigma / 4)

    @property
    def box(self) -> Box:
        """Six σ around the two curves."""
        return _around(np.array([[-1.0, -0.5], [2.0, 1.0]]), self.sigma)

    def sample(self, n: int, rng: np.random.Generator) -> Reals:
        """Draw n independent points, (n, 2)."""
        at_least(0, n=n)
        t, lower = rng.uniform(0, np.pi, n), rng.integers(0, 2, n)
        return _moons(t, lower) + self.sigma * rng.standard_normal((n, 2))

    def log_prob(self, x: ArrayLike) -> Reals:
        """Return log p of each point, (n, 2) → (n,) nats: a mixture of Gaussians at the nodes of the quadrature."""
        # Seen from x, t is a Gaussian of width about σ/√|x|; 16/σ nodes stand at most 0.31 σ apart.
        nodes, weights = np.polynomial.legendre.leggauss(math.ceil(16 + 16 / self.sigma))
        t = np.pi / 2 * (nodes + 1)
        centres = np.concatenate([_moons(t, 0), _moons(t, 1)])
        return _log_mixture(_points(x), centres, np.concatenate([weights, weights]) / 4, self.sigma)


def _moons(t: Reals, lower: NDArray[np.int64] | int) -> Reals:
    """Return the points (n, 2) at angles t of the upper moon (0) or the lower one (1), its half-turn about (½, ¼)."""
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    return np.where(np.reshape(lower, (-1, 1)) == 1, np.array([1.0, 0.5]) - upper, upper)


def _circle(radius: float) -> Reals:
    angle = np.arange(8) * np.pi / 4
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _around(points: Reals, sigma: float) -> Box:
    low, high = points.min(axis=0) - 6 * sigma, points.max(axis=0) + 6 * sigma
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def _log_mixture(x: Reals, centres: Reals, weights: Reals, sigma: float) -> Reals:
    """Return log Σₖ wₖ N(x; cₖ, σ²I), (n, 2) → (n,)."""
    log_weights = np.log(weights) - math.log(2 * math.pi * sigma**2)
    log_p = np.empty(len(x))
    for start in range(0, len(x), 1024):  # in blocks: (n, K) at once would not fit for a large n
        block = slice(start, start + 1024)
        with np.errstate(over="ignore", divide="ignore"):  # at infinity p is 0 and log p is −∞
            squares = sum((x[block, i, None] - centres[:, i]) ** 2 for i in (0, 1))
            terms = log_weights - squares / (2 * sigma**2)  # (block, K)
            top = terms.max(axis=1)
            top = np.where(np.isinf(top), 0, top)
            log_p[block] = top + np.log(np.exp(terms - top[:, None]).sum(axis=1))
    return log_p


def _entropy(log_prob: Callable[[Reals], Reals], box: Box, step: float) -> float:
    """Return −∫ p log p by the trapezoidal rule, which for a smooth p that vanishes at the edges is all but exact."""
    x1, x2 = (np.linspace(a, b, math.ceil((b - a) / step) + 1) for a, b in (box[:2], box[2:]))
    log_p = log_prob(np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2))
    return float(-np.sum(np.exp(log_p) * log_p) * (x1[1] - x1[0]) * (x2[1] - x2[0]))


def _check_width(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name}: expected a positive and finite number, got {value!r}")


def _points(x: ArrayLike) -> Reals:
    points = np.asarray(x, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"x: expected (n, 2), got shape {points.shape}")
    return points
