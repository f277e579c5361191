"""Check that a density sums or integrates to one."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import Array
from ..checks import at_least, check_counts, require
from .calls import Convert, Function, check_input, check_positive, record

LogProb = Callable[..., Any]


def enumerate_support(levels: int, shape: tuple[int, ...], limit: int = 1 << 20) -> Array:
    """Return all arrays of this shape with entries 0 … levels − 1, in counting order. Shape: (levels ** size, *shape)

    Raises: ValueError if there are more than `limit`.

    Example:
        >>> enumerate_support(2, (2,)).tolist()
        [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    at_least(1, levels=levels)
    if shape != ():
        check_counts("shape", shape)
    entries = math.prod(shape)
    if entries * math.log(levels) > math.log(limit) + 1e-9:
        raise ValueError(
            f"enumerate_support: expected at most {limit} arrays, got {levels}^{entries}; use a smaller model"
        )
    counted = np.arange(levels**entries)[:, None] // levels ** np.arange(entries)[::-1] % levels
    return counted.reshape(-1, *shape)


def check_normalised(
    log_prob: LogProb, support: Array, *, tolerance: float | None = None, convert: Convert = None
) -> None:
    """Check that a discrete density sums to one.

        Σ_x exp log_prob(x) = 1 over the support

    Args:
        log_prob: maps examples (N, …) to their log-probabilities (N,), in nats.
        support: all values of x, each once, as from `enumerate_support`.
        tolerance: of the sum; by default 1e-12, or 1e-5 if log_prob returns float32, and 0.08 for float16.
        convert: maps support to what log_prob takes, such as torch.from_numpy.

    Raises: AssertionError with the likely fault if the sum is not 1; ValueError if `support` repeats a value.
    Checked by: tests/testing/test_densities.py

    Example:
        >>> support = enumerate_support(2, (3,))
        >>> check_normalised(lambda x: np.full(len(x), -3 * math.log(2)), support)
        >>> check_normalised(lambda x: np.full(len(x), -3.0), support)
        Traceback (most recent call last):
        AssertionError: check_normalised: Σ exp log_prob = 0.398... over 8 values, ... log_prob is in bits: ...
    """
    check_positive(tolerance=tolerance)
    check_input("support", support, kinds="fiub")
    if len(np.unique(support.reshape(len(support), -1), axis=0)) != len(support):
        raise ValueError("support: expected each value once, got some more than once")
    values, dtype = evaluate("check_normalised", log_prob, support, convert)
    tolerance = tolerance or (max(1e-12, 84 * float(np.finfo(dtype).eps)) if dtype.kind == "f" else 1e-12)
    total = _total(values)
    record(f"sum over {len(values)} values: 1 {total - 1:+.2g}, tolerance {tolerance:g}")
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
            causes.append("Is a part of it computed in float32? Use float64, or a tolerance of 1e-5.")
        causes.append(
            "A softmax over the wrong axis, a conditional that sees its own target, a term counted twice, or an "
            "incomplete support?"
        )
        raise AssertionError(
            f"check_normalised: Σ exp log_prob = {total:.15g} over {len(values)} values, but it should be 1; the error "
            f"is {abs(total - 1):.3g}, more than {tolerance:g}. {causes[0]}"
        )


def check_normalised_density(
    log_prob: LogProb,
    low: Sequence[float],
    high: Sequence[float],
    *,
    points: int = 513,
    tolerance: float | None = None,
    convert: Convert = None,
) -> None:
    """Check that a density in one or two dimensions integrates to one over a box that contains all of its mass.

        ∫ exp log_prob(x) dx = 1, by the trapezoidal rule

    For a smooth density that vanishes at the edges, the rule converges faster than any power of the step. The default
    tolerance allows for the mass of a normal distribution outside ±5 standard deviations.

    Args:
        log_prob: maps points (N, D) to their log-densities (N,), in nats.
        low, high: two corners of the box, D = 1 or 2 numbers each.
        points: the number of points along each axis, odd.
        tolerance: of the integral, by default 1e-6. If it is passed, log_prob of an example may differ by as much
            between a batch and the example alone, as it does with an adaptive solver.
        convert: maps the points, in float64, to what log_prob takes, such as torch.from_numpy.

    Raises: AssertionError if the integral is not 1, with its value for half of the points, to show its convergence.
    Checked by: tests/testing/test_densities.py

    Example:
        >>> check_normalised_density(lambda x: -0.5 * x[:, 0] ** 2 - 0.5 * math.log(2 * math.pi), [-8.0], [8.0])
        >>> check_normalised_density(lambda x: -0.5 * x[:, 0] ** 2, [-8.0], [8.0])
        Traceback (most recent call last):
        AssertionError: check_normalised_density: ∫ exp log_prob = 2.506... It is √(2π) to the power 1: ...
    """
    check_positive(tolerance=tolerance)
    at_least(3, points=points)
    corners = [np.atleast_1d(np.asarray(corner)) for corner in (low, high)]
    for name, corner in zip(("low", "high"), corners, strict=True):
        require(
            corner.dtype.kind in "fiu" and np.all(np.isfinite(corner)), name, "finite numbers", f"{low!r}, {high!r}"
        )
    valid = corners[0].shape == corners[1].shape in ((1,), (2,)) and points % 2 == 1
    wanted = "1 or 2 axes and an odd number of points"
    require(valid, "low, high, points", wanted, f"{corners[0].size} and {corners[1].size} axes and {points} points")
    require(bool(np.all(corners[0] < corners[1])), "low", "numbers below high", f"{low!r}, high {high!r}")
    lines = [np.linspace(a, b, points) for a, b in zip(*corners, strict=True)]
    grid = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)  # (points, …, D)
    flat = grid.reshape(-1, len(lines))
    values = np.exp(np.minimum(evaluate("check_normalised_density", log_prob, flat, convert, tolerance)[0], 700))
    tolerance = tolerance or 1e-6
    density = values.reshape(grid.shape[:-1])

    def integral(step: int) -> float:
        result = density[(slice(None, None, step),) * len(lines)]
        for line in reversed(lines):
            result = np.trapezoid(result, line[::step], axis=-1)
        return float(result)

    total, coarse = integral(1), integral(2)
    record(f"integral: 1 {total - 1:+.2g}, with half of the points 1 {coarse - 1:+.2g}, tolerance {tolerance:g}")
    if not abs(total - 1) <= tolerance:
        power = 2 * math.log(max(total, 1e-300)) / math.log(2 * math.pi)
        cause = (
            f"It is √(2π) to the power {round(power)}: is the normaliser of a Gaussian missing, or counted twice?"
            if round(power) and abs(power - round(power)) < 1e-5
            else "A log-determinant with the wrong sign or a missing term, or mass outside the box?"
            if abs(total - coarse) <= tolerance
            else "It has not converged: the density is too sharp or not smooth; use more points or a smaller box."
        )
        raise AssertionError(
            f"check_normalised_density: ∫ exp log_prob = {total:.12g} with {points} points per axis and {coarse:.12g} "
            f"with half of them, but it should be 1 within {tolerance:g}. {cause}"
        )


def evaluate(
    checker: str, log_prob: LogProb, x: Array, convert: Convert = None, tolerance: float | None = None
) -> tuple[Array, np.dtype[Any]]:
    """Return log_prob(x) in float64 and its dtype, after checking its shape and values.

    It must be deterministic, and must not depend on the other examples by more than the tolerance, if there is one.
    """
    f = Function(checker, "log_prob", log_prob, ["x"], convert)
    values = f(x)
    if values.shape != (len(x),):
        raise AssertionError(
            f"{checker}: log_prob(x): expected shape ({len(x)},), one per example, got {values.shape}; is there a mean "
            f"or sum over the batch, or is a sum over dimensions missing?"
        )
    if np.any(np.isnan(values)) or np.any(values == np.inf):
        raise AssertionError(f"{checker}: log_prob is NaN or infinite at {x[~(values < np.inf)][0].tolist()}")
    f.require_deterministic([values], x)
    # The order of a sum may depend on the size of the batch: allow 80 ε, that is 1e-5 in float32.
    rounding = max(80 * float(np.finfo(values.dtype if values.dtype.kind == "f" else float).eps), tolerance or 0.0)
    for i in {0, len(x) // 2, len(x) - 1} if len(x) > 1 else ():
        alone = f(x[i : i + 1]).reshape(-1)
        if alone.shape != (1,) or not np.isclose(alone[0], values[i], rtol=rounding, atol=rounding):
            raise AssertionError(
                f"{checker}: log_prob of example {i} is {values[i]:.9g} in the batch but {alone[:3]} alone; is there a "
                f"softmax, a mean or a normalisation over the batch?"
            )
    return values.astype(np.float64), values.dtype


def _total(log_probs: Array) -> float:
    return math.fsum(np.exp(np.minimum(log_probs, 700)))
