"""Two-dimensional toy densities, each with its sampler, log-density and entropy, in float64.

    H = −∫ p(x) log p(x) dx    (nats per point, for both coordinates together)

The expected negative log-likelihood of any model is at least H; the gap is KL(p‖model).

Checked by: tests/data/test_toy.py
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import Explained
from ..checks import as_reals, at_least, check_positive, require

Reals: TypeAlias = NDArray[np.float64]
Box: TypeAlias = tuple[float, float, float, float]  # x₁ from, x₁ to, x₂ from, x₂ to: Matplotlib's `extent`


class ToyDensity(Protocol):
    """A two-dimensional density with known entropy.

    Raises ValueError if n is not an integer ≥ 0 or x does not have real numbers of shape (n, 2).
    """

    @property
    def entropy(self) -> float:
        """H in nats per point."""

    @property
    def box(self) -> Box:
        """A box (x₁ from, x₁ to, x₂ from, x₂ to) that contains all but 1e-8 of the mass."""

    def sample(self, n: int, rng: np.random.Generator) -> Reals:
        """Draw n independent points, (n, 2)."""

    def log_prob(self, x: ArrayLike) -> Reals:
        """Return log p of each point, (n, 2) → (n,) nats."""


@dataclass(frozen=True)
class Checkerboard(Explained):
    """The uniform density on the cells of one parity of a 4×4 checkerboard, with side 2 and total area 32.

        x = 2u,   u₁ ~ U[−2, 2),   u₂ = U[0, 1) − 2·Bernoulli(½) + (⌊u₁⌋ mod 2),   H = ln 32

    The cells are half-open, and ⌊u₁⌋ + ⌊u₂⌋ is even in them. Outside, log p = −∞.

    Source: Grathwohl et al., "FFJORD", 2019 (the accompanying code).

    Example:
        >>> Checkerboard().log_prob([[0.5, 0.5], [0.5, 2.5]]), Checkerboard().entropy
        (array([-3.4657359,       -inf]), 3.4657359027997265)
    """

    @property
    def entropy(self) -> float:
        """H = ln 32 nats per point."""
        return math.log(32)

    @property
    def box(self) -> Box:
        """The bounding box of the checkerboard."""
        return -4.0, 4.0, -4.0, 4.0

    def sample(self, n: int, rng: np.random.Generator) -> Reals:
        """Draw n independent points, (n, 2)."""
        at_least(0, n=n)
        u1 = rng.uniform(-2, 2, n)
        u2 = rng.random(n) - 2 * rng.integers(0, 2, n) + np.floor(u1) % 2
        return 2 * np.stack([u1, u2], axis=1)

    def log_prob(self, x: ArrayLike) -> Reals:
        """Return −ln 32 in the cells, −∞ elsewhere and NaN for NaN, (n, 2) → (n,) nats."""
        u = _points(x) / 2
        on_board = ((u >= -2) & (u < 2)).all(axis=1)
        # The remainder of an infinite u is NaN and would warn; such a u is off the board.
        with np.errstate(invalid="ignore"):
            on_cell = on_board & (np.floor(u).sum(axis=1) % 2 == 0)
        return np.where(np.isnan(u).any(axis=1), np.nan, np.where(on_cell, -self.entropy, -np.inf))


@dataclass(frozen=True, eq=False)
class GaussianMixture(Explained):
    """A mixture of K isotropic Gaussians with equal widths and weights.

        p(x) = 1/K Σₖ N(x; cₖ, σ²I)

    The entropy is computed by quadrature with an error below 1e-6. For distant centres it is ln K + ln(2πeσ²).

    Shapes: centres (K, 2).
    Raises ValueError unless K ≥ 1, the centres are finite and real and σ > 0; for the entropy, unless σ ≥ 10⁻⁹ max |c|.
    """

    centres: Reals
    sigma: float

    def __post_init__(self) -> None:
        check_positive(sigma=self.sigma)
        object.__setattr__(self, "centres", as_reals("centres", self.centres).copy())
        shape = self.centres.shape
        require(len(shape) == 2 and shape[0] > 0 and shape[1] == 2, "centres", "(K, 2) with K ≥ 1", f"shape {shape}")
        require(np.isfinite(self.centres).all(), "centres", "finite numbers", "NaN or infinite ones")

    @cached_property
    def entropy(self) -> float:
        """H in nats per point."""
        least = 1e-9 * float(np.abs(self.centres).max())  # below this, centre + σ/4 has too few digits
        require(self.sigma >= least, "sigma", f"at least {least:.3g} for the entropy, for these centres", self.sigma)
        centres: Reals = self.centres / self.sigma  # in units of σ, whose square may be out of range
        near = np.stack(np.meshgrid(*[np.arange(-25, 26)] * 2), axis=-1).reshape(-1, 2)
        cells = np.rint(4 * centres[:, None]) + near  # the other cells of the grid have a mass below 1e-8
        points: Reals = np.unique(cells.reshape(-1, 2), axis=0) / 4
        return _entropy(_log_mixture(points, centres, 1.0), 1 / 16) + 2 * math.log(self.sigma)

    @property
    def box(self) -> Box:
        """The bounding box of the centres, extended by 6σ."""
        return _around(self.centres, self.sigma)

    def sample(self, n: int, rng: np.random.Generator) -> Reals:
        """Draw n independent points, (n, 2)."""
        at_least(0, n=n)
        return self.centres[rng.integers(0, len(self.centres), n)] + self.sigma * rng.standard_normal((n, 2))

    def log_prob(self, x: ArrayLike) -> Reals:
        """Return log p of each point, (n, 2) → (n,) nats."""
        return _log_mixture(_points(x), self.centres, self.sigma)


def eight_gaussians() -> GaussianMixture:
    """Return eight overlapping Gaussians on a circle: radius 4/1.414, at multiples of 45°, σ = 0.5/1.414, H ≈ 2.833.

    Source: Grathwohl et al., "FFJORD", 2019 (the accompanying code, hence 1.414 for √2).
    """
    return GaussianMixture(_circle(4 / 1.414), 0.5 / 1.414)


def ring_of_gaussians() -> GaussianMixture:
    """Return eight narrow Gaussians on a circle: radius 2, at multiples of 45°, σ = 0.02.

    Source: Metz et al., "Unrolled generative adversarial networks", 2017.
    """
    return GaussianMixture(_circle(2), 0.02)


def grid_of_gaussians() -> GaussianMixture:
    """Return 25 narrow Gaussians on a 5×5 grid: coordinates of the centres −4, −2, 0, 2 and 4, σ = 0.05.

    Source: the mode-counting experiments of the GAN literature; spacings and widths vary among papers.
    """
    line = np.linspace(-4, 4, 5)
    return GaussianMixture(np.stack(np.meshgrid(line, line), axis=-1).reshape(25, 2), 0.05)


@dataclass(frozen=True)
class TwoMoons(Explained):
    """Two interleaved half circles with Gaussian noise.

        c(t) = (cos t, sin t)  or  (1 − cos t, ½ − sin t),  each with probability ½;  t ~ U[0, π];  x = c(t) + N(0, σ²I)

    There is no closed form. log p integrates over t by Gauss–Legendre quadrature; the relative error of p is below
    1e-9. H is computed by quadrature with an error below 1e-6; it is 1.0076 nats for σ = 0.1.

    Raises ValueError unless σ > 0; for the entropy, unless σ ≥ 0.002: its grid has steps of σ/4.
    Source: scikit-learn's `make_moons`, where t is equally spaced instead of random.
    """

    sigma: float = 0.1

    def __post_init__(self) -> None:
        check_positive(sigma=self.sigma)

    @cached_property
    def entropy(self) -> float:
        """H in nats per point."""
        require(self.sigma >= 0.002, "sigma", "at least 0.002 for the entropy", self.sigma)
        box = self.box
        x1, x2 = (np.linspace(a, b, math.ceil(4 * (b - a) / self.sigma) + 1) for a, b in (box[:2], box[2:]))
        area = (x1[1] - x1[0]) * (x2[1] - x2[0])
        rows = np.array_split(x2, math.ceil(len(x1) * len(x2) / 2**17))  # the grid may not fit in memory
        return sum(_entropy(self.log_prob(np.stack(np.meshgrid(x1, row), -1).reshape(-1, 2)), area) for row in rows)

    @property
    def box(self) -> Box:
        """The bounding box of the two curves, extended by 6σ."""
        return _around(np.array([[-1.0, -0.5], [2.0, 1.0]]), self.sigma)

    def sample(self, n: int, rng: np.random.Generator) -> Reals:
        """Draw n independent points, (n, 2)."""
        at_least(0, n=n)
        t, lower = rng.uniform(0, np.pi, n), rng.integers(0, 2, n)
        return _moons(t, lower) + self.sigma * rng.standard_normal((n, 2))

    def log_prob(self, x: ArrayLike) -> Reals:
        """Return log p of each point, (n, 2) → (n,) nats."""
        points = _points(x)
        upper, lower = (_log_half_circle(each, self.sigma) for each in (points, np.array([1.0, 0.5]) - points))
        with np.errstate(invalid="ignore"):  # NaN for NaN
            return np.logaddexp(upper, lower) - math.log(2)


def _moons(t: Reals, lower: NDArray[np.int64] | int) -> Reals:
    """Return points (n, 2) at angles t of the upper moon (0) or the lower one (1), rotated by 180° about (½, ¼)."""
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    return np.where(np.reshape(lower, (-1, 1)) == 1, np.array([1.0, 0.5]) - upper, upper)


def _log_half_circle(x: Reals, sigma: float) -> Reals:
    """Return log p of c(t) + N(0, σ²I), t ~ U[0, π], c(t) = (cos t, sin t); (n, 2) → (n,).

        p(x) = e^(−(r − 1)²/2σ²) / (2π²σ²) ∫ e^(−2κ sin²(u/2)) du,    r = |x|,  κ = r/σ²,  u = angle from x to c(t)

    On each side of x, u increases from `near` to `far`. The integral ends where the integrand is e⁻⁴⁰ of its maximum,
    so that its nodes are as dense as σ requires.
    """
    nodes, weights = np.polynomial.legendre.leggauss(24)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # p(∞) = 0 and log p(∞) = −∞
        r, angle = np.sqrt((x * x).sum(axis=1)), np.arctan2(x[:, 1], x[:, 0])
        kappa, end = r / sigma**2, np.abs(angle)
        log_integral = np.full(len(x), -np.inf)
        for to_end in (end, np.pi - end):  # the ends of the half circle, at t = 0 and t = π
            near, far = np.where(angle < 0, (to_end, np.full_like(end, np.pi)), (np.zeros_like(end), to_end))
            start, change = np.sin(near / 2) ** 2, 20 / kappa  # of sin²(u/2), at the maximum and up to e⁻⁴⁰
            width = 2 * np.arcsin(np.sqrt(np.minimum(1, start + change))) - near
            half = np.minimum(far - near, np.maximum(width, 2 * change)) / 2  # width ≥ 2 · change, up to rounding
            total = np.zeros(len(x))
            for node, weight in zip(nodes, weights, strict=True):
                u = near + half * (1 + node)
                total += weight * np.exp(-2 * kappa * np.sin((u + near) / 2) * np.sin((u - near) / 2))
            log_integral = np.logaddexp(log_integral, np.log(half * total) - 2 * kappa * start)
        exponent = ((r - 1) / sigma) ** 2 / 2
        log_p = log_integral - exponent - math.log(2 * math.pi**2) - 2 * math.log(sigma)
        return np.where(np.isinf(exponent), -np.inf, log_p)


def _circle(radius: float) -> Reals:
    angle = np.arange(8) * np.pi / 4
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _around(points: Reals, sigma: float) -> Box:
    low, high = points.min(axis=0) - 6 * sigma, points.max(axis=0) + 6 * sigma
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def _log_mixture(x: Reals, centres: Reals, sigma: float) -> Reals:
    """Return log 1/K Σₖ N(x; cₖ, σ²I), (n, 2) → (n,)."""
    log_norm = math.log(2 * math.pi * len(centres)) + 2 * math.log(sigma)
    log_p, rows = np.empty(len(x)), max(1, 2**18 // len(centres))
    for start in range(0, len(x), rows):  # in blocks, since an (n, K) array may not fit in memory
        block = slice(start, start + rows)
        with np.errstate(over="ignore", divide="ignore"):  # p(∞) = 0 and log p(∞) = −∞
            dx, dy = ((x[block, i, None] - centres[:, i]) / sigma for i in (0, 1))
            terms = (dx * dx + dy * dy) / -2 - log_norm  # (block, K)
            top = terms.max(axis=1)
            top = np.where(np.isinf(top), 0, top)
            log_p[block] = top + np.log(np.exp(terms - top[:, None]).sum(axis=1))
    return log_p


def _entropy(log_p: Reals, area: float) -> float:
    """Return −∫ p log p by the trapezoidal rule, which is nearly exact for a smooth p that vanishes at the edges."""
    return float(-np.sum(np.exp(log_p) * log_p) * area)


def _points(x: ArrayLike) -> Reals:
    points = as_reals("x", x)
    require(points.ndim == 2 and points.shape[1] == 2, "x", "(n, 2)", f"shape {points.shape}")
    return points
