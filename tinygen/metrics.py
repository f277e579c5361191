"""Sample quality of models without a likelihood: the Inception Score and the Fréchet distance of features (FID).

Both use a classifier: the score uses its class probabilities, the distance uses the features of its last hidden layer.
Compare values only for the same classifier and the same number of samples, since both are biased for few samples.

Checked by: tests/test_metrics.py
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import explained
from .checks import as_reals, as_returned_number, at_least, require

Reals = NDArray[np.float64]


@explained
def inception_score(probabilities: ArrayLike) -> float:
    """Return exp of the mutual information of image and class: K if predictions are certain and classes balanced.

        IS = exp(E_x KL(p(y|x) ‖ p(y))) = exp(H(y) − E_x H(y|x)),   p(y) = E_x p(y|x),   1 ≤ IS ≤ K

    Shapes: probabilities (N, K), each row a distribution over K classes.
    Raises ValueError if there are no rows, or a row is not of finite real numbers ≥ 0 whose sum is 1.
    Source: Salimans et al., "Improved techniques for training GANs", 2016.

    Example:
        >>> round(inception_score([[1, 0, 0], [0, 1, 0], [0, 0, 1]]), 6), inception_score([[0.5, 0.5]] * 3)
        (3.0, 1.0)
    """
    p = _check_samples("probabilities", probabilities, least=1)
    sums = p.sum(1)
    # The sum of a float32 softmax over many classes can differ from 1 by up to this tolerance.
    if np.any(p < 0) or np.any(np.abs(sums - 1) > 1e-3):
        got = f"a minimum of {p.min():.3g} and sums {sums.min():.4g}…{sums.max():.4g}"
        raise ValueError(f"probabilities: expected rows that are ≥ 0 and sum to 1, got {got}; apply softmax to logits")
    p = p / p.sum(1, keepdims=True)
    return float(np.exp(_entropy(p.mean(0)) - _entropy(p).mean()))


@explained
def frechet_distance(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """Return the squared 2-Wasserstein distance between two Gaussians.

        d² = ‖m_a − m_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a^½ Σ_b Σ_a^½)^½)

    Σ_a^½ Σ_b Σ_a^½ is symmetric, unlike Σ_a Σ_b, so its eigenvalues are real and, up to rounding, nonnegative. If a
    covariance is singular, the rounding error of the result is up to √ε ‖Σ‖.

    Shapes: means (D,), covariances (D, D).
    Raises ValueError for wrong shapes, numbers that are not real and finite, or a covariance that is not symmetric
    positive semidefinite.
    Source: Dowson & Landau, "The Fréchet distance between multivariate normal distributions", 1982.
    """
    m_a, m_b = as_reals("mean_a", mean_a), as_reals("mean_b", mean_b)
    s_a, s_b = as_reals("cov_a", cov_a), as_reals("cov_b", cov_b)
    d = m_a.size
    shapes = [("mean_a", m_a, (d,)), ("mean_b", m_b, (d,)), ("cov_a", s_a, (d, d)), ("cov_b", s_b, (d, d))]
    for name, array, shape in shapes:
        require(array.shape == shape, name, f"finite numbers {shape}", f"shape {array.shape}")
        require(np.all(np.isfinite(array)), name, f"finite numbers {shape}", "NaN or infinity")
    for name, s in {"cov_a": s_a, "cov_b": s_b}.items():
        tolerance = 1e-6 * np.abs(s).max(initial=0)  # for rounding, also of covariances computed in float32
        symmetric = np.all(np.abs(s - s.T) <= tolerance)
        require(symmetric, name, "a symmetric matrix", "one that differs from its transpose")
        least = np.linalg.eigvalsh(s)[:1]
        if np.any(least < -tolerance):
            raise ValueError(f"{name}: expected a covariance, got a matrix with the eigenvalue {least[0]:.3g}")
    scales = [np.abs(s).max(initial=0) or 1.0 for s in (s_a, s_b)]  # so that their product is in range
    values, vectors = np.linalg.eigh(s_a / scales[0])
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    with np.errstate(over="ignore", invalid="ignore"):  # the result is checked instead
        roots = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ (s_b / scales[1]) @ root), 0))
        cross = math.sqrt(scales[0]) * math.sqrt(scales[1]) * roots.sum()
        distance = float(np.sum((m_a - m_b) ** 2) + np.trace(s_a) + np.trace(s_b) - 2 * cross)
    require(distance < np.inf, "mean_a, mean_b, cov_a, cov_b", "those of a finite distance", "an overflow")
    return max(0.0, distance)


@explained
def fid(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Return the Fréchet distance between Gaussians with the means and covariances of two sets of features.

    Shapes: features (N, D) and (M, D).
    Raises ValueError if a number is not real and finite, or N or M ≤ D, since the covariance is then always singular.
    Source: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 2))
        >>> round(fid(x, x + [3, 4]), 6)
        25.0
    """
    a, b = _check_samples("features_a", features_a, least=2), _check_samples("features_b", features_b, least=2)
    d = a.shape[1]
    require(b.shape[1] == d, "features_b", f"{d} features, as in features_a", b.shape[1])
    for name, x in {"features_a": a, "features_b": b}.items():
        require(len(x) > d, name, f"more than {d} samples for a covariance", len(x))
    cov_a, cov_b = (np.cov(x, rowvar=False).reshape(d, d) for x in (a, b))
    return frechet_distance(a.mean(0), cov_a, b.mean(0), cov_b)


class Estimate(NamedTuple):
    """A bias-corrected value of a statistic and its confidence interval."""

    value: float
    low: float
    high: float


@explained
def bootstrap(
    statistic: Callable[..., float],
    *samples: ArrayLike,
    rng: np.random.Generator,
    rounds: int = 200,
    coverage: float = 0.95,
) -> Estimate:
    """Estimate a statistic of the distribution of one or several sets of samples, with a basic bootstrap interval.

        value = 2 θ̂ − mean θ*,   low, high = 2 θ̂ − (upper quantile of θ*, lower quantile of θ*)

    θ̂ is the statistic of the samples, θ* the statistics of `rounds` resamples of equal size with replacement. FID and
    Inception Score have a bias of order 1/N. θ̂ contains it once and θ* twice, so it cancels in 2 θ̂ − θ*. A percentile
    interval, which consists of quantiles of θ*, is off by twice the bias.

    Args:
        statistic: maps the sets of samples, (N, …) each with its own N, to a number.
        coverage: probability that the interval contains the value for infinitely many samples.

    Raises ValueError if a set is empty, a statistic is not real and finite, rounds < 2 or coverage is not in (0, 1).
    Source: Davison & Hinkley, "Bootstrap methods and their application", 1997; for the bias, Chong & Forsyth,
    "Effectively unbiased FID and Inception Score and where to find them", 2020.
    """
    arrays = [np.asarray(sample) for sample in samples]
    sets = all(array.ndim and np.isfinite(array).all() for array in arrays)
    require(sets, "samples", "sets of finite numbers", " and ".join(f"shape {array.shape}" for array in arrays))
    at_least(2, rounds=rounds)
    require(0 < coverage < 1, "coverage", "a number in (0, 1)", coverage)
    lengths = [len(array) for array in arrays]
    require(len(lengths) > 0 and all(lengths), "samples", "one or more sets, none of them empty", f"lengths {lengths}")

    def evaluate(*sets: NDArray[Any]) -> float:
        return as_returned_number("statistic", statistic(*sets))

    estimate = evaluate(*arrays)
    resampled = [evaluate(*(a[rng.integers(len(a), size=len(a))] for a in arrays)) for _ in range(rounds)]
    require(bool(np.isfinite([estimate, *resampled]).all()), "statistic", "finite values", "NaN or infinity")
    high, low = 2 * estimate - np.quantile(resampled, [(1 - coverage) / 2, (1 + coverage) / 2])
    return Estimate(2 * estimate - float(np.mean(resampled)), float(low), float(high))


def _entropy(p: Reals) -> Reals:
    """Return −Σ p ln p along the last axis in nats, with 0 ln 0 = 0."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)  # type: ignore[no-any-return]


def _check_samples(name: str, x: ArrayLike, least: int) -> Reals:
    array = as_reals(name, x)
    fits = array.ndim == 2 and len(array) >= least and array.shape[1] > 0
    require(fits, name, f"shape (N, D) with N at least {least}", array.shape)
    bad = np.count_nonzero(~np.isfinite(array))
    require(bad == 0, name, "finite numbers", f"{bad} that are NaN or infinite")
    return array
