"""Toy densities: normalisation and entropy against independent computations, and samplers against densities."""

import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from tinygen.data import (
    Checkerboard,
    GaussianMixture,
    ToyDensity,
    TwoMoons,
    eight_gaussians,
    grid_of_gaussians,
    ring_of_gaussians,
)
from tinygen.data.toy import Reals

DENSITIES: dict[str, Callable[[], ToyDensity]] = {
    "checkerboard": Checkerboard,
    "eight_gaussians": eight_gaussians,
    "ring_of_gaussians": ring_of_gaussians,
    "grid_of_gaussians": grid_of_gaussians,
    "two_moons": TwoMoons,
    "two_moons_wide": lambda: TwoMoons(0.4),
}
every_density = pytest.mark.parametrize("density", [make() for make in DENSITIES.values()], ids=list(DENSITIES))


def cell_masses(density: ToyDensity, cells: int, points: int) -> Reals:
    """Return the mass of each of cells² boxes by the midpoint rule with points² points per box; indices (x1, x2)."""
    x1_from, x1_to, x2_from, x2_to = density.box
    n = cells * points
    middles = (np.arange(n) + 0.5) / n
    x1, x2 = x1_from + middles * (x1_to - x1_from), x2_from + middles * (x2_to - x2_from)
    p = np.exp(density.log_prob(np.stack(np.meshgrid(x1, x2, indexing="ij"), axis=-1).reshape(-1, 2)))
    area = (x1_to - x1_from) * (x2_to - x2_from) / n**2
    masses: Reals = p.reshape(cells, points, cells, points).sum(axis=(1, 3)) * area
    return masses


def chi_square_score(x: Reals, density: ToyDensity, cells: int = 16) -> float:
    """Return (χ² − k) / √2k of sample counts on a grid: approximately standard normal if x follows the density."""
    box = density.box
    counts = np.histogram2d(x[:, 0], x[:, 1], bins=cells, range=[box[:2], box[2:]])[0]
    expected = len(x) * cell_masses(density, cells, points=40)
    large = expected >= 5
    # The cells with small expected counts and the outside form one more cell.
    e = np.append(expected[large], len(x) - expected[large].sum() + 1e-9)
    c = np.append(counts[large], len(x) - counts[large].sum())
    if e[-1] < 5:
        e, c = e[:-1], c[:-1]
    k = len(e) - 1
    return float((((c - e) ** 2 / e).sum() - k) / math.sqrt(2 * k))


def entropy_score(x: Reals, density: ToyDensity, entropy: float) -> float:
    """Return the distance of a claimed entropy from the mean of −log p over x, in standard errors."""
    nll = -density.log_prob(x)
    return float((nll.mean() - entropy) / (nll.std() / math.sqrt(len(nll)) + 1e-12))


@every_density
def test_density_integrates_to_one(density: ToyDensity) -> None:
    # The mass outside the box is at most 1e-8.
    assert cell_masses(density, cells=16, points=40).sum() == pytest.approx(1, abs=2e-8)


@every_density
def test_entropy_is_the_mean_of_minus_log_prob(density: ToyDensity) -> None:
    x = density.sample(40_000, np.random.default_rng(1))
    assert abs(entropy_score(x, density, density.entropy)) < 4


@every_density
def test_samples_follow_the_density(density: ToyDensity) -> None:
    x = density.sample(40_000, np.random.default_rng(2))
    assert np.isfinite(density.log_prob(x)).all()
    assert abs(chi_square_score(x, density)) < 4


@pytest.mark.parametrize(
    ("density", "entropy", "tolerance"),
    [
        (Checkerboard(), math.log(32), 0),
        (eight_gaussians(), 2.833, 0.002),
        (TwoMoons(), 1.00758, 0.0001),
        # These Gaussians do not overlap.
        (ring_of_gaussians(), math.log(8) + math.log(2 * math.pi * math.e * 0.02**2), 1e-6),
        (grid_of_gaussians(), math.log(25) + math.log(2 * math.pi * math.e * 0.05**2), 1e-6),
        (GaussianMixture(np.array([[3.0, -1.0]]), 0.7), math.log(2 * math.pi * math.e * 0.7**2), 1e-6),
    ],
)
def test_entropy_has_its_known_value(density: ToyDensity, entropy: float, tolerance: float) -> None:
    assert density.entropy == pytest.approx(entropy, rel=0, abs=tolerance)


@pytest.mark.parametrize(("density", "radius"), [(eight_gaussians(), 4 / 1.414), (ring_of_gaussians(), 2)])
def test_centres_are_at_multiples_of_45_degrees(density: GaussianMixture, radius: float) -> None:
    x, y = density.centres.T
    np.testing.assert_allclose(np.hypot(x, y), radius, rtol=1e-12)
    eighths = np.sort(np.arctan2(y, x) / (np.pi / 4) % 8)
    np.testing.assert_allclose(eighths, np.arange(8), atol=1e-12)


def test_mixture_copies_its_centres() -> None:
    centres = np.zeros((1, 2))
    mixture = GaussianMixture(centres, 1.0)
    centres[:] = 5
    assert mixture.log_prob(np.zeros((1, 2))).item() == pytest.approx(-math.log(2 * math.pi))


@pytest.mark.parametrize("ratio", [1e-6, 2e-9, 0.5e-9, 1e-12, 1e-17])
def test_entropy_of_a_narrow_mixture_is_right_or_refused(ratio: float) -> None:
    mixture = GaussianMixture(np.array([[3.3, 1.7]]), 3.3 * ratio)
    if ratio < 1e-9:
        with pytest.raises(ValueError, match=r"sigma: expected at least 3\.3e-09 for the entropy, for these centres"):
            _ = mixture.entropy
    else:
        assert abs(mixture.entropy - math.log(2 * math.pi * math.e * mixture.sigma**2)) < 1e-6


def test_two_moons_matches_brute_force_integration() -> None:
    # Integrate over t by the midpoint rule, then compute −∫ p log p on a different grid from the library's.
    sigma, n, middles = 0.1, 3000, (np.arange(3000) + 0.5) / 3000 * np.pi
    x1, x2 = np.linspace(-1.7, 2.7, 111), np.linspace(-1.2, 1.7, 73)
    p = np.zeros((111, 73))
    for a, b in ((np.cos(middles), np.sin(middles)), (1 - np.cos(middles), 0.5 - np.sin(middles))):
        g1 = np.exp(-((x1[:, None] - a) ** 2) / (2 * sigma**2))
        g2 = np.exp(-((x2[:, None] - b) ** 2) / (2 * sigma**2))
        p += g1 @ g2.T / (2 * n * 2 * np.pi * sigma**2)
    moons = TwoMoons(sigma)
    ours = np.exp(moons.log_prob(np.stack(np.meshgrid(x1, x2, indexing="ij"), axis=-1).reshape(-1, 2)))
    # The midpoint rule has an error of order n⁻² at the ends of the curves: 1.7e-5 at n = 600.
    np.testing.assert_allclose(ours, p.ravel(), rtol=0, atol=1e-6)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum() * (x1[1] - x1[0]) * (x2[1] - x2[0])
    assert moons.entropy == pytest.approx(entropy, abs=1e-5)


@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
def test_two_moons_is_a_mixture_of_gaussians_at_the_nodes_of_a_quadrature(sigma: float) -> None:
    """For 400 nodes in [0, π], at most 0.16 σ apart, the quadrature of the whole interval is exact to 1e-12."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    t = np.pi / 2 * (nodes + 1)
    x = np.random.default_rng(0).uniform(-4, 5, (300, 2))
    x[:4] = np.array([[0, 0], [1, 0.5], [-1, 0], [1, 0]])  # the centres of the half circles, and the ends of one
    terms = []
    for a, b in ((np.cos(t), np.sin(t)), (1 - np.cos(t), 0.5 - np.sin(t))):
        squares = (x[:, :1] - a) ** 2 + (x[:, 1:] - b) ** 2
        terms.append(np.log(weights / 4) - squares / (2 * sigma**2) - math.log(2 * math.pi * sigma**2))
    expected = np.logaddexp.reduce(np.concatenate(terms, axis=1), axis=1)
    np.testing.assert_allclose(TwoMoons(sigma).log_prob(x), expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("sigma", [1e-2, 1e-4, 1e-8])
def test_narrow_two_moons_have_the_density_of_a_curve(sigma: float) -> None:
    """Far from the ends, p = N(r − 1; 0, σ²) / (2π √r) up to a relative error of σ²/8r."""
    t = np.random.default_rng(0).uniform(0.5, 1.5, 100)
    r = 1 + sigma * np.linspace(-4, 4, 100)
    log_p = TwoMoons(sigma).log_prob(r[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1))
    normal = -(((r - 1) / sigma) ** 2) / 2 - math.log(sigma * math.sqrt(2 * math.pi))
    # Rounding r by 1e-16 changes the exponent by up to 4e-16 / σ.
    np.testing.assert_allclose(log_p, normal - np.log(2 * math.pi * np.sqrt(r)), atol=sigma**2 / 4 + 1e-14 / sigma)


@pytest.mark.parametrize("sigma", [1e-4, 1e-8])
@pytest.mark.parametrize("moon", ["upper", "lower"])
def test_narrow_two_moons_beyond_an_end_have_the_density_of_the_end(sigma: float, moon: str) -> None:
    """Beyond the left end (−1, 0) of the upper moon, at a distance d ≫ σ, p = e^(−d²/2σ²) / (4π² |x₂|) for σ → 0.

    Laplace's method: the exponent of the integral over t is largest at the end, where its slope is −|x₂|/σ². The lower
    moon is farther away and adds nothing.
    """
    rng = np.random.default_rng(0)
    left = 10 ** rng.uniform(-1, 4, 200)
    below = left * rng.uniform(0.1, 1, 200)
    squares = (left**2 + below**2) / (2 * sigma**2)
    x = np.stack([-1 - left, -below], axis=1)
    log_p = TwoMoons(sigma).log_prob(x if moon == "upper" else np.array([1.0, 0.5]) - x)
    expected = -squares - np.log(4 * np.pi**2 * below)
    # The exponent is rounded. The next term of Laplace's method is at most σ² r / x₂², r = |x|.
    tolerance = 1e-14 * squares + 2 * sigma**2 * np.hypot(1 + left, below) / below**2 + 1e-8
    assert np.all(np.abs(log_p - expected) <= tolerance)


def test_cost_does_not_grow_as_gaussians_become_narrow() -> None:
    for sigma in (1e-2, 1e-4, 1e-8):
        mixture = GaussianMixture(eight_gaussians().centres, sigma)
        expected = math.log(8) + math.log(2 * math.pi * math.e * sigma**2)
        assert mixture.entropy == pytest.approx(expected, rel=0, abs=1e-6)
    many = np.random.default_rng(0).uniform(-1, 1, (200_000, 2))
    assert GaussianMixture(many, 0.1).log_prob(np.zeros((20, 2))).shape == (20,)


def test_log_prob_of_a_mixture_takes_blocks_of_bounded_memory() -> None:
    rng = np.random.default_rng(0)
    mixture, x = GaussianMixture(rng.uniform(-1, 1, (2000, 2)), 0.1), rng.uniform(-1, 1, (3000, 2))
    tracemalloc.start()
    try:
        log_p = mixture.log_prob(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2000 * 3000 * 8 / 2  # half of an array of all points and centres
    np.testing.assert_array_equal(log_p, np.concatenate([mixture.log_prob(part) for part in np.array_split(x, 60)]))


def test_entropy_of_narrow_two_moons_is_right_or_refused() -> None:
    narrow = TwoMoons(0.02)
    x = narrow.sample(40_000, np.random.default_rng(0))
    assert abs(entropy_score(x, narrow, narrow.entropy)) < 4
    with pytest.raises(ValueError, match=r"sigma: expected at least 0\.002 for the entropy, got 0\.0001"):
        _ = TwoMoons(1e-4).entropy


def test_checkerboard_cells_are_half_open_and_nan_gives_nan() -> None:
    board, h = Checkerboard(), -math.log(32)
    x = np.array([[-4, -4], [0, 0], [2, 0], [0, 2], [4, 0], [3.9, 3.9], [np.inf, 0], [0, np.nan], [np.inf, -np.inf]])
    log_p = [h, h, -np.inf, -np.inf, -np.inf, h, -np.inf, np.nan, -np.inf]
    np.testing.assert_array_equal(board.log_prob(x), log_p)


@pytest.mark.parametrize("density", [eight_gaussians(), TwoMoons()])
def test_log_prob_is_minus_infinity_far_away_and_nan_gives_nan(density: ToyDensity) -> None:
    x = [[np.inf, 0], [1e200, 0], [np.nan, 0], [1e4, 0]]
    log_p = density.log_prob(x)
    np.testing.assert_array_equal(log_p[:3], [-np.inf, -np.inf, np.nan])
    assert -1e11 < log_p[3] < -1e8  # in the tail, without underflow to −∞


@every_density
def test_empty_samples_and_reproducibility(density: ToyDensity) -> None:
    assert density.sample(0, np.random.default_rng(0)).shape == (0, 2)
    assert density.log_prob(np.empty((0, 2))).shape == (0,)
    x = density.sample(5, np.random.default_rng(0))
    assert x.shape == (5, 2)
    assert x.dtype == np.float64
    np.testing.assert_array_equal(x, density.sample(5, np.random.default_rng(0)))


# Negative controls: each check above must reject a wrong density or sampler.


def test_wrong_entropy_is_rejected() -> None:
    moons = TwoMoons()
    x = moons.sample(40_000, np.random.default_rng(1))
    assert abs(entropy_score(x, moons, moons.entropy / 2)) > 50  # nats per dimension instead of nats per point
    assert abs(entropy_score(x, moons, moons.entropy + 0.02)) > 4


def test_wrong_samplers_are_rejected() -> None:
    rng = np.random.default_rng(2)
    circle = eight_gaussians()
    wider = GaussianMixture(circle.centres, 0.5)  # σ without the factor 1/√2
    assert chi_square_score(wider.sample(40_000, rng), circle) > 10
    assert chi_square_score(circle.sample(40_000, rng)[:, ::-1] * [1.05, 1], circle) > 10
    board = Checkerboard().sample(40_000, rng)
    assert chi_square_score(np.stack([board[:, 0] + 2, board[:, 1]], axis=1), Checkerboard()) > 10  # the other parity
    assert chi_square_score(board[board[:, 1] > -2], Checkerboard()) > 10  # one row is missing


def test_unnormalised_density_is_detected() -> None:
    class Doubled(Checkerboard):
        def log_prob(self, x: object) -> Reals:
            return super().log_prob(np.asarray(x)) + math.log(2)

    assert cell_masses(Doubled(), cells=16, points=4).sum() == pytest.approx(2)


@pytest.mark.parametrize("n", [-1, 2.0, "3", None])
@every_density
def test_sample_rejects_invalid_counts(density: ToyDensity, n: int) -> None:
    with pytest.raises(ValueError, match=r"n: expected (an integer|at least 0), got"):
        density.sample(n, np.random.default_rng(0))


@pytest.mark.parametrize("x", [0.0, [1.0, 2.0], [[1.0, 2.0, 3.0]]])
@every_density
def test_log_prob_rejects_invalid_points(density: ToyDensity, x: object) -> None:
    with pytest.raises(ValueError, match=r"x: expected \(n, 2\), got shape"):
        density.log_prob(np.asarray(x))


@pytest.mark.parametrize("sigma", [0, -1, math.inf, math.nan])
def test_rejects_invalid_widths(sigma: float) -> None:
    for make in (TwoMoons, lambda s: GaussianMixture(np.zeros((1, 2)), s)):
        with pytest.raises(ValueError, match="sigma: expected a positive number, got"):
            make(sigma)


@pytest.mark.parametrize("centres", [np.zeros((0, 2)), np.zeros(2), np.zeros((2, 3)), np.full((1, 2), np.nan)])
def test_mixture_rejects_invalid_centres(centres: Reals) -> None:
    with pytest.raises(ValueError, match="centres: expected"):
        GaussianMixture(centres, 1)


@pytest.mark.parametrize("sigma", [1e-300, 1e-160, 1e-3, 1e3, 1e160])
def test_entropy_of_a_mixture_grows_by_the_logarithm_of_the_unit(sigma: float) -> None:
    centres = np.array([[0.0, 0.0], [1.5, -0.5]])
    expected = GaussianMixture(centres, 1.0).entropy + 2 * math.log(sigma)
    assert GaussianMixture(centres * sigma, sigma).entropy == pytest.approx(expected, rel=1e-12, abs=1e-9)
