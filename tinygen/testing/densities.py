"""Check that a density sums or integrates to one."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..autograd import Array, Tensor
from ..autograd.tensor import array_of
from ..checks import at_least, require

LogProb = Callable[[Array], Array | Tensor]


def enumerate_support(levels: int, shape: tuple[int, ...], limit: int = 1 << 20) -> Array:
    """Return all arrays of this shape with entries 0 … levels − 1, in counting order. Shape: (levels ** size, *shape)

    Raises: ValueError if there are more than `limit`.

    Example:
        >>> enumerate_support(2, (2,)).tolist()
        [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    at_least(1, levels=levels)
    entries = math.prod(shape)
    if entries * math.log(levels) > math.log(limit) + 1e-9:
        raise ValueError(
            f"enumerate_support: expected at most {limit} arrays, got {levels}^{entries}; use a smaller model"
        )
    counted = np.arange(levels**entries)[:, None] // levels ** np.arange(entries)[::-1] % levels
    return counted.reshape(-1, *shape)


def check_normalised(log_prob: LogProb, support: Array, *, tolerance: float = 1e-12) -> None:
    """Check that a discrete density sums to one.

        Σ_x exp log_prob(x) = 1 over the support

    Args:
        log_prob: maps examples (N, …) to their log-probabilities (N,), in nats.
        support: all values of x, each once, as from `enumerate_support`.
        tolerance: of the sum; the default needs float64 (float32 reaches about 1e-6).

    Raises: AssertionError with the likely fault if the sum is not 1; ValueError if `support` repeats a value.
    Checked by: tests/testing/test_densities.py

    Example:
        >>> support = enumerate_support(2, (3,))
        >>> check_normalised(lambda x: np.full(len(x), -3 * math.log(2)), support)
        >>> check_normalised(lambda x: np.full(len(x), -3.0), support)
        Traceback (most recent call last):
        AssertionError: check_normalised: Σ exp log_prob = 0.398... over 8 values, ... log_prob is in bits: ...
    """
    if len(np.unique(support.reshape(len(support), -1), axis=0)) != len(support):
        raise ValueError("support: expected each value once, got some more than once")
    values = evaluate("check_normalised", log_prob, support)
    total = _total(values)
    if not abs(total - 1) <= tolerance:
        dims = math.prod(support.shape[1:])
        others = {
            "log_prob is in bits: multiply it by ln 2.": values * math.log(2),
            "log_prob is per dimension: multiply it by the number of dimensions.": values * dims,
            "log_prob is in bits per dimension.": values * dims * math.log(2),
            "log_prob is a negative log-likelihood: flip its sign.": -values,
            "log_prob is a negative log-likelihood in bits per dimension.": -values * dims * math.log(2),
            "log_prob is a probability: take its logarithm.": np.log(np.maximum(values, 1e-300)),
        }
        causes = [cause for cause, other in others.items() if abs(_total(other) - 1) < 1e-6]
        if abs(total - 1) < 1e-4:
            causes.append("Is it computed in float32? Use model.astype(np.float64), or a tolerance of 1e-6.")
        causes.append(
            "A softmax over the wrong axis, a conditional that sees its own target, a term counted twice, or an "
            "incomplete support?"
        )
        raise AssertionError(
            f"check_normalised: Σ exp log_prob = {total:.15g} over {len(values)} values, but it should be 1; the error "
            f"is {abs(total - 1):.3g}, more than {tolerance:g}. {causes[0]}"
        )


def check_normalised_density(
    log_prob: LogProb, low: Sequence[float], high: Sequence[float], *, points: int = 513, tolerance: float = 1e-6
) -> None:
    """Check that a density in one or two dimensions integrates to one over a box that contains all of its mass.

        ∫ exp log_prob(x) dx = 1, by the trapezoidal rule

    For a smooth density that vanishes at the edges, the rule converges faster than any power of the step. The default
    tolerance allows for the mass of a normal distribution outside ±5 standard deviations.

    Args:
        log_prob: maps points (N, D) to their log-densities (N,), in nats.
        low, high: two corners of the box, D = 1 or 2 numbers each.
        points: the number of points along each axis, odd.

    Raises: AssertionError if the integral is not 1, with its value for half of the points, to show its convergence.
    Checked by: tests/testing/test_densities.py
    """
    valid = len(low) == len(high) in (1, 2) and points % 2 == 1
    wanted = "1 or 2 axes and an odd number of points"
    require(valid, "low, high, points", wanted, f"{len(low)} and {len(high)} axes and {points} points")
    lines = [np.linspace(a, b, points) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)  # (points, …, D)
    values = np.exp(evaluate("check_normalised_density", log_prob, grid.reshape(-1, len(lines))))
    density = values.reshape(grid.shape[:-1])

    def integral(step: int) -> float:
        result = density[(slice(None, None, step),) * len(lines)]
        for line in reversed(lines):
            result = np.trapezoid(result, line[::step], axis=-1)
        return float(result)

    total, coarse = integral(1), integral(2)
    if not abs(total - 1) <= tolerance:
        cause = (
            "A log-determinant with the wrong sign or a missing term, or mass outside the box?"
            if abs(total - coarse) <= tolerance
            else "It has not converged: the density is too sharp or not smooth; use more points or a smaller box."
        )
        raise AssertionError(
            f"check_normalised_density: ∫ exp log_prob = {total:.12g} with {points} points per axis and {coarse:.12g} "
            f"with half of them, but it should be 1 within {tolerance:g}. {cause}"
        )


def evaluate(checker: str, log_prob: LogProb, x: Array) -> Array:
    """Return log_prob(x) in float64, after checking its shape, its values, and that examples are independent."""
    values = array_of(log_prob(x))
    if values.shape != (len(x),):
        raise AssertionError(
            f"{checker}: log_prob(x): expected shape ({len(x)},), one per example, got {values.shape}; is there a mean "
            f"or sum over the batch, or is a sum over dimensions missing?"
        )
    if np.any(np.isnan(values)) or np.any(values == np.inf):
        raise AssertionError(f"{checker}: log_prob is NaN or infinite at {x[~(values < np.inf)][0].tolist()}")
    rounding = 1e3 * np.finfo(values.dtype).eps  # the order of a sum may depend on the size of the batch
    for i in {0, len(x) // 2, len(x) - 1} if len(x) > 1 else ():
        alone = float(np.squeeze(array_of(log_prob(x[i : i + 1]))))
        if not np.isclose(alone, values[i], rtol=rounding, atol=rounding):
            raise AssertionError(
                f"{checker}: log_prob of example {i} is {values[i]:.9g} in the batch but {alone:.9g} alone; is there a "
                f"softmax, a mean or a normalisation over the batch?"
            )
    return values.astype(np.float64)


def _total(log_probs: Array) -> float:
    return math.fsum(np.exp(np.minimum(log_probs, 700)))
