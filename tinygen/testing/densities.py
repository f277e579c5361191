"""Does my density sum to one? Does my sampler draw from it?

Checked by: tests/testing/test_densities.py
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ..autograd import Array, Tensor

LogProb = Callable[[Array], Array | Tensor]


def enumerate_support(levels: int, shape: tuple[int, ...], limit: int = 1 << 20) -> Array:
    """List all arrays of a shape with entries 0 … levels − 1. Shape: (levels ** entries, *shape), in counting order.

    Raises ValueError if there are more than `limit`.
    """
    entries = math.prod(shape)
    if levels < 1 or entries * math.log(levels) > math.log(limit) + 1e-9:
        raise ValueError(
            f"enumerate_support: {levels} levels on shape {shape} are {levels}^{entries} arrays, the limit is {limit}; "
            f"check a smaller model of the same kind"
        )
    counted = np.arange(levels**entries)[:, None] // levels ** np.arange(entries)[::-1] % levels
    return counted.reshape(-1, *shape)


def check_normalised(log_prob: LogProb, support: Array, *, tolerance: float = 1e-12) -> None:
    """Check that a discrete density sums to one.

        Σ_x exp log_prob(x) = 1 over the support

    Shapes: support (N, …), all values of x, each once; log_prob(support) (N,), in nats per example.
    Raises AssertionError otherwise; float64 is needed for the tolerance, float32 reaches 10⁻⁶ or so.
    Checked by: tests/testing/test_densities.py
    """
    if len(np.unique(support.reshape(len(support), -1), axis=0)) != len(support):
        raise ValueError("check_normalised: the support lists some values more than once")
    values = _log_prob("check_normalised", log_prob, support)
    total = _total(values)
    if not abs(total - 1) <= tolerance:
        dims = math.prod(support.shape[1:])
        others = {
            "log_prob is in bits: multiply it by ln 2": values * math.log(2),
            "log_prob is per dimension: multiply it by their number": values * dims,
            "log_prob is in bits per dimension": values * dims * math.log(2),
            "log_prob is a negative log-likelihood: flip its sign": -values,
            "log_prob is a negative log-likelihood in bits per dimension": -values * dims * math.log(2),
            "log_prob is a probability: take its logarithm": np.log(np.maximum(values, 1e-300)),
        }
        causes = [cause for cause, other in others.items() if abs(_total(other) - 1) < 1e-6]
        if abs(total - 1) < 1e-4:
            causes.append("Is it float32 (model.astype(np.float64), or a tolerance of 1e-6)?")
        causes.append(
            "A softmax over the wrong axis, a conditional that sees its own target, a term twice, part of a support?"
        )
        raise AssertionError(
            f"check_normalised: Σ exp log_prob = {total:.15g} over {len(values)} values, it should be 1; the error is "
            f"{abs(total - 1):.3g}, allowed is {tolerance:g}. {causes[0]}"
        )


def check_normalised_density(
    log_prob: LogProb, low: Sequence[float], high: Sequence[float], *, points: int = 513, tolerance: float = 1e-6
) -> None:
    """Check that a density in one or two dimensions integrates to one over a box that holds all of its mass.

        ∫ exp log_prob(x) dx = 1 by the trapezoidal rule, which for a smooth density that has died away at the edges
                                converges faster than any power of the step

    The default tolerance is what the mass outside a box of ±5 standard deviations leaves room for.

    Shapes: low and high (D,), D = 1 or 2; log_prob takes (N, D) to (N,); `points` along each axis, an odd number.
    Raises AssertionError if the integral is not 1, or if half of the points give another one.
    Checked by: tests/testing/test_densities.py
    """
    if len(low) != len(high) or not 1 <= len(low) <= 2 or points % 2 == 0:
        raise ValueError(f"check_normalised_density: low {low}, high {high}: 1 or 2 axes and an odd number of points")
    lines = [np.linspace(a, b, points) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)  # (points, …, D)
    values = np.exp(_log_prob("check_normalised_density", log_prob, grid.reshape(-1, len(lines))))
    density = values.reshape(grid.shape[:-1])
    halved = (slice(None, None, 2),) * len(lines)
    total, coarse = _trapezoidal(density, lines), _trapezoidal(density[halved], [line[::2] for line in lines])
    if not abs(total - 1) <= tolerance:
        settled = (
            "A log-determinant with the wrong sign or a missing term, or mass outside the box?"
            if abs(total - coarse) <= tolerance
            else "It has not converged: the density is too sharp or not smooth; take more points or a smaller box."
        )
        raise AssertionError(
            f"check_normalised_density: ∫ exp log_prob = {total:.12g} with {points} points an axis, {coarse:.12g} with "
            f"half of them, it should be 1 to {tolerance:g}. {settled}"
        )


def check_sampler(
    sample: Callable[[int, np.random.Generator], Array | Tensor],
    log_prob: LogProb,
    support: Array,
    n: int = 20_000,
    *,
    rng: np.random.Generator,
    p_value: float = 1e-6,
) -> None:
    """Check that samples follow a density, by Pearson's χ² over its whole support.

        χ² = Σ (observed − expected)² / expected,   expected = n exp log_prob(x)

    Values expected fewer than 5 times are counted together. Too even a sample (χ² too small) is as suspicious as too
    uneven a one: either tail below `p_value` is an error, so a right sampler fails twice in a million. A probability p
    off by a factor 1 + δ is found when n p δ² is above about 40 for few values. Besides, the same seed gives the same
    bits, another seed other ones, and NumPy's global state is not touched.

    Shapes: sample(n, rng) (n, …) like support (values, …), which lists every value once; log_prob (values,), in nats.
    Raises AssertionError otherwise, or if a sample is not in the support.
    Checked by: tests/testing/test_densities.py
    """
    seeds = rng.integers(1 << 62, size=2)
    before = np.random.get_state()  # noqa: NPY002  to see that nobody else uses it
    first, again, other = (_samples(sample, n, seed, support) for seed in (seeds[0], *seeds))
    if not all(map(np.array_equal, before, np.random.get_state())):  # noqa: NPY002
        raise AssertionError(
            "check_sampler: sample uses NumPy's global random state; all randomness comes from its rng"
        )
    if not np.array_equal(first, again):
        raise AssertionError(
            "check_sampler: the same seed gives other samples; randomness comes from elsewhere than rng"
        )
    probabilities = np.exp(_log_prob("check_sampler", log_prob, support))
    if np.count_nonzero(probabilities > 0) > 1 and np.array_equal(first, other):
        raise AssertionError("check_sampler: another seed gives the same samples; rng is ignored")
    if not abs(math.fsum(probabilities) - 1) < 1e-5:  # as much as float32 and the power of the test need
        raise AssertionError(
            f"check_sampler: log_prob sums to {math.fsum(probabilities):.9g}; see check_normalised first"
        )

    observed = _count(first, support)
    impossible = np.flatnonzero((probabilities == 0) & (observed > 0))
    if len(impossible):
        raise AssertionError(f"check_sampler: {support[impossible[0]].tolist()} was drawn, its probability is 0")
    expected = n * probabilities / probabilities.sum()
    rare = expected < 5
    if expected[rare].sum() < 5:  # together still too few: with the rarest of the others
        rare[np.argmin(np.where(rare, np.inf, expected))] = True
    counts = np.append(observed[~rare], observed[rare].sum())
    means = np.append(expected[~rare], expected[rare].sum())
    if len(means) < 2:
        raise ValueError(f"check_sampler: {n} samples of {len(support)} values are too few, or there is only one value")
    terms = (counts - means) ** 2 / means
    statistic, freedom = float(terms.sum()), len(means) - 1
    upper = chi_square_tail(statistic, freedom)
    if not p_value <= upper <= 1 - p_value:
        worst = int(np.argmax(terms))
        value = support[~rare][worst].tolist() if worst < len(means) - 1 else f"the {rare.sum()} rarest values"
        cause = (
            f"The largest term is {value}: drawn {counts[worst]:g} times, expected {means[worst]:.6g}. Another "
            f"temperature, shifted levels, or a condition on the wrong pixels?"
            if upper < 0.5
            else "The counts are too even: are the samples independent?"
        )
        raise AssertionError(
            f"check_sampler: χ² = {statistic:.6g} with {freedom} degrees of freedom, P(χ² larger) = {upper:.3g}, "
            f"allowed is {p_value:g} … 1 − {p_value:g}. {cause}"
        )


def chi_square_tail(statistic: float, freedom: int) -> float:
    """P(χ² > statistic), the regularised incomplete gamma function Q(freedom / 2, statistic / 2).

        Q(a, x) = 1 − xᵃ e⁻ˣ / Γ(a + 1) Σₖ xᵏ / ((a + 1) … (a + k))             where x < a + 1
        Q(a, x) = xᵃ e⁻ˣ / Γ(a) · 1 / (x + 1 − a − 1(1 − a) / (x + 3 − a − …))    elsewhere

    Accurate to 10⁻¹⁰, relative in the upper tail. Source: Press et al., "Numerical Recipes", section 6.2.
    Checked by: tests/testing/test_densities.py
    """
    a, x = freedom / 2, statistic / 2
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for k in itertools.count(1):
            term *= x / (a + k)
            total += term
            if term < total * 1e-16:
                return 1 - front * total
    b = x + 1 - a
    c, d = math.inf, 1 / b
    fraction = d
    for k in itertools.count(1):
        numerator, b = k * (a - k), b + 2
        c, d = b + numerator / c, 1 / (b + numerator * d)
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def _log_prob(checker: str, log_prob: LogProb, x: Array) -> Array:
    result = log_prob(x)
    values = result.value if isinstance(result, Tensor) else np.asarray(result)
    if values.shape != (len(x),):
        raise AssertionError(
            f"{checker}: log_prob takes x {x.shape} to {values.shape}, it should be ({len(x)},), one number per "
            f"example; a mean or sum over the batch, or a missing sum over dimensions?"
        )
    if np.any(np.isnan(values)) or np.any(values == np.inf):
        raise AssertionError(f"{checker}: log_prob is NaN or inf at {x[~(values < np.inf)][0].tolist()}")
    for i in {0, len(x) // 2, len(x) - 1} if len(x) > 1 else ():
        single = log_prob(x[i : i + 1])
        alone = float(np.squeeze(single.value if isinstance(single, Tensor) else single))
        # The order of a sum may depend on the size of the batch: a few last places may differ.
        if not np.isclose(
            alone, values[i], rtol=1e3 * np.finfo(values.dtype).eps, atol=1e3 * np.finfo(values.dtype).eps
        ):
            raise AssertionError(
                f"{checker}: log_prob of example {i} is {values[i]:.9g} among the others and {alone:.9g} alone; "
                f"a softmax, a mean or a normalisation over the batch?"
            )
    return values.astype(np.float64)


def _total(log_probs: Array) -> float:
    return math.fsum(np.exp(np.minimum(log_probs, 700)))


def _trapezoidal(density: Array, lines: list[Array]) -> float:
    for line in reversed(lines):
        density = np.trapezoid(density, line, axis=-1)
    return float(density)


def _samples(sample: Callable[[int, np.random.Generator], Array | Tensor], n: int, seed: int, support: Array) -> Array:
    drawn = sample(n, np.random.default_rng(seed))
    drawn = drawn.value if isinstance(drawn, Tensor) else np.asarray(drawn)
    if drawn.shape != (n, *support.shape[1:]):
        raise AssertionError(f"check_sampler: sample({n}) has shape {drawn.shape}, not {(n, *support.shape[1:])}")
    return drawn


def _count(samples: Array, support: Array) -> Array:
    """Count how often each value of the support was drawn."""
    both = np.concatenate([support, samples]).reshape(len(support) + len(samples), -1)
    _, which = np.unique(both, axis=0, return_inverse=True)
    which = which.reshape(-1)
    counts = np.bincount(which, minlength=which.max() + 1) - np.bincount(
        which[: len(support)], minlength=which.max() + 1
    )
    outside = np.setdiff1d(which, which[: len(support)])
    if len(outside):
        stray = both[np.flatnonzero(which == outside[0])[0]].reshape(support.shape[1:])
        raise AssertionError(
            f"check_sampler: {counts[outside].sum()} of {len(samples)} samples are not in the support, e.g. "
            f"{stray.tolist()}; shifted levels, or a scale like 0 … 255 against 0 … 1?"
        )
    return counts[which[: len(support)]]
