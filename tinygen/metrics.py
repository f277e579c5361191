"""How good are samples that have no likelihood? The Inception Score and the Fréchet distance of features (FID).

Both look through a classifier: the score at its class probabilities, the distance at features of its last hidden layer.
Numbers are comparable only under the same classifier and the same number of samples, since both are biased when few.

Checked by: tests/test_metrics.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import at_least

Reals = NDArray[np.float64]


def inception_score(probabilities: ArrayLike) -> float:
    """Exponential of the mutual information between an image and its class: sharp classes, and all of them.

        IS = exp(E_x KL(p(y|x) ‖ p(y))) = exp(H(y) − E_x H(y|x)),   p(y) = E_x p(y|x),   1 ≤ IS ≤ K

    Shapes: probabilities (N, K), each row a distribution over K classes; the result has no unit.
    Raises ValueError, naming what is wrong, if there are no rows or a row is not finite, negative or not of sum 1.
    Source: Salimans et al., "Improved techniques for training GANs", 2016.
    """
    p = _samples("probabilities", probabilities, least=1)
    if np.any(p < 0) or np.any(np.abs(p.sum(1) - 1) > 1e-3):  # what a float32 softmax of many classes may be off by
        raise ValueError(
            f"probabilities: expected rows that are ≥ 0 and sum to 1, got a least entry of {p.min():.3g} and sums "
            f"{p.sum(1).min():.4g}…{p.sum(1).max():.4g}; are they logits?"
        )
    p = p / p.sum(1, keepdims=True)
    return float(np.exp(_entropy(p.mean(0)) - _entropy(p).mean()))


def frechet_distance(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """Squared 2-Wasserstein distance between two Gaussians.

        d² = ‖m_a − m_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a^½ Σ_b Σ_a^½)^½)

    Inside the root stands a symmetric matrix, unlike in Σ_a Σ_b, so its eigenvalues are real and, but for rounding,
    not negative: no complex numbers to be thrown away. Rounding moves the result by up to √ε ‖Σ‖ where a covariance is
    singular.
    Shapes: means (D,), covariances (D, D), symmetric; the result is in squared units of the features.
    Raises ValueError, naming the argument, if a shape, symmetry or number is not so, or an eigenvalue negative.
    Source: Dowson & Landau, "The Fréchet distance between multivariate normal distributions", 1982.
    """
    m_a, m_b = (np.asarray(m, np.float64) for m in (mean_a, mean_b))
    s_a, s_b = (np.asarray(s, np.float64) for s in (cov_a, cov_b))
    for name, m in {"mean_a": m_a, "mean_b": m_b}.items():
        if m.shape != m_a.shape or m.ndim != 1 or not np.all(np.isfinite(m)):
            raise ValueError(f"{name}: expected finite numbers (D,), as mean_a {m_a.shape}, got shape {m.shape}")
    for name, s in {"cov_a": s_a, "cov_b": s_b}.items():
        if s.shape != (len(m_a), len(m_a)) or not np.all(np.isfinite(s)):
            raise ValueError(f"{name}: expected finite numbers ({len(m_a)}, {len(m_a)}), got shape {s.shape}")
        if not np.allclose(s, s.T, rtol=1e-8, atol=1e-8 * np.abs(s).max(initial=0)):
            raise ValueError(f"{name}: expected a symmetric matrix, got one that differs from its transpose")
        least = np.linalg.eigvalsh(s)[:1]
        if np.any(least < -1e-6 * np.abs(s).max()):  # rounding, also of covariances computed in float32
            raise ValueError(f"{name}: expected a covariance, got a matrix with the eigenvalue {least[0]:.3g}")
    values, vectors = np.linalg.eigh(s_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ s_b @ root), 0)).sum()
    return float(max(0.0, np.sum((m_a - m_b) ** 2) + np.trace(s_a) + np.trace(s_b) - 2 * cross))


def fid(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Fréchet distance between two sets of features, each taken for a Gaussian of its mean and covariance.

    Shapes: (N, D) and (M, D); the result is in squared units of the features.
    Raises ValueError, naming the argument, if a number is not finite or there are not more samples than features: a
    covariance from fewer is singular whatever the samples are.
    Source: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017.
    """
    a, b = _samples("features_a", features_a, least=2), _samples("features_b", features_b, least=2)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features_b: expected {a.shape[1]} features, as in features_a, got {b.shape[1]}")
    for name, x in {"features_a": a, "features_b": b}.items():
        if len(x) <= x.shape[1]:
            raise ValueError(f"{name}: expected more than {x.shape[1]} samples for a covariance, got {len(x)}")
    cov_a, cov_b = (np.cov(x, rowvar=False).reshape(x.shape[1], -1) for x in (a, b))
    return frechet_distance(a.mean(0), cov_a, b.mean(0), cov_b)


class Estimate(NamedTuple):
    """A statistic free of the bias that few samples give it, and an interval that it lies in."""

    value: float
    low: float
    high: float


def bootstrap(
    statistic: Callable[..., float],
    *samples: ArrayLike,
    rng: np.random.Generator,
    rounds: int = 200,
    coverage: float = 0.95,
) -> Estimate:
    """Estimate what a statistic of one or several sets of samples would be of infinitely many, with a basic interval.

        value = 2 θ̂ − mean θ*,   low, high = 2 θ̂ − (upper quantile of θ*, lower quantile of θ*)

    θ̂ is the statistic of the samples, θ* of as many drawn from them anew with replacement: from θ to θ̂ it is as far as
    from θ̂ to θ*. FID and Inception Score are biased, as 1/N, and every θ* is so once more: the quantiles of θ* as they
    stand, a percentile interval, lie beyond θ̂ on the wrong side of θ.
    Shapes: samples (N, …), each with its own N.
    Raises ValueError if a set is empty, rounds is below 2 or coverage is not within (0, 1).
    Source: Davison & Hinkley, "Bootstrap methods and their application", 1997; of the bias, Chong & Forsyth,
    "Effectively unbiased FID and Inception Score and where to find them", 2020.
    """
    arrays = [np.asarray(sample) for sample in samples]
    at_least(2, rounds=rounds)
    if not 0 < coverage < 1:
        raise ValueError(f"coverage: expected a number within (0, 1), got {coverage}")
    if not arrays or any(len(array) == 0 for array in arrays):
        raise ValueError(
            f"samples: expected one or more sets, none of them empty, got lengths {list(map(len, arrays))}"
        )
    found = statistic(*arrays)
    again = [statistic(*(a[rng.integers(len(a), size=len(a))] for a in arrays)) for _ in range(rounds)]
    high, low = 2 * found - np.quantile(again, [(1 - coverage) / 2, (1 + coverage) / 2])
    return Estimate(2 * found - float(np.mean(again)), float(low), float(high))


def _entropy(p: Reals) -> Reals:
    """Return −Σ p ln p along the last axis in nats, with 0 ln 0 = 0."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)  # type: ignore[no-any-return]


def _samples(name: str, x: ArrayLike, least: int) -> Reals:
    array = np.asarray(x, np.float64)
    if array.ndim != 2 or len(array) < least or array.shape[1] == 0:
        raise ValueError(f"{name}: expected shape (N, D) with N at least {least}, got {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name}: expected finite numbers, got {np.count_nonzero(~np.isfinite(array))} that are not")
    return array
