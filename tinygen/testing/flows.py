"""Is my bijection invertible, and is its log-determinant that of its Jacobian?

Checked by: tests/testing/test_flows.py
"""

from __future__ import annotations

import math

import numpy as np

from ..autograd import Array, Tensor
from ..bijections import Bijection

# Of fourth-order central differences: truncation is of order step⁴ ≈ 2·10⁻¹⁶, rounding ε/step ≈ 2·10⁻¹².
_STEP = 2.0**-13


def check_invertible(
    bijection: Bijection, x: Array, *, context: Array | None = None, rng: np.random.Generator, tolerance: float = 1e-9
) -> None:
    """Check that forward and inverse undo each other, from either side.

        inverse(forward(x)) = x,   forward(inverse(z)) = z,   and the log_dets of there and back add up to 0

    z are points halfway between the images of two examples, so the range is to be convex, as are all numbers and the
    cube. The errors allowed are `tolerance` · max(1, |x|), and that of the log_det times the number of dimensions.
    That the log_det is right it cannot see: with the wrong sign in both directions it adds up to 0 as well, see
    `check_log_det`.

    Refused is what would hold of anything: a map that leaves x as it is, a parameter that changes nothing (those
    behind a layer initialised to zero: randomise the parameters first), a context that changes nothing. Nor may one
    example of the batch change another by more than the tolerance.

    Shapes: x (N, …) of float64, N ≥ 2, inside the map's domain; context (N, C), not all rows alike; log_det (N,).
    Raises AssertionError with the likely fault; ValueError if the request makes no sense.
    Checked by: tests/testing/test_flows.py
    """
    name = "check_invertible"
    z, _ = _checked_map(name, bijection, x, context, rng)
    between = (z + np.roll(z, 1, 0)) / 2
    for start, there, back in ((x, "forward", "inverse"), (between, "inverse", "forward")):
        image, out = _apply(name, bijection, there, start, context)
        returned, home = _apply(name, bijection, back, image, context)
        if returned.shape != start.shape:
            raise AssertionError(f"{name}: {back}({there}(·)) takes {start.shape} to {returned.shape}")
        error = np.abs(returned - start) / np.maximum(1, np.abs(start))
        if not error.max() <= tolerance:
            place = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
            raise AssertionError(
                f"{name}: {back}({there}(·)) is {returned[place]:.9g} instead of {start[place]:.9g} at {place}, "
                f"wrong at {np.count_nonzero(error > tolerance)} of {error.size} entries; allowed is {tolerance:g}. "
                + _round_trip_hint(bijection, image, returned, there, context)
            )
        gap = np.abs(out + home)
        if not np.all(gap <= tolerance * max(1, math.prod(x.shape[1:])) * np.maximum(1, np.abs(out))):
            i = int(gap.argmax())
            raise AssertionError(
                f"{name}: the log_dets of {there} and {back} should be opposite, at example {i} they are {out[i]:.9g} "
                f"and {home[i]:.9g}. "
                + (
                    "One of them is that of the other direction?"
                    if np.allclose(out, home)
                    else "Is a term in one only?"
                )
            )


def check_log_det(
    bijection: Bijection,
    x: Array,
    *,
    context: Array | None = None,
    rng: np.random.Generator,
    tolerance: float = 1e-6,
    step: float = _STEP,
) -> None:
    """Hold the log-determinants of forward and inverse against Jacobians of finite differences.

        log_det = ln|det ∂z/∂x| of the flattened map,   ∂z/∂xⱼ ≈ (8 [f(x + h eⱼ) − f(x − h eⱼ)]
                                                                 − f(x + 2h eⱼ) + f(x − 2h eⱼ)) / 12 h

    The engine has no part in it. Of forward at x and of inverse at forward(x), each by itself, sign included. What
    would hold of anything is refused, as by `check_invertible`. The step may be greater where f is solved for rather
    than computed, and then so must be the tolerance.

    Shapes: x (N, …) of float64, N ≥ 2, two steps inside the map's domain; context (N, C), not all rows alike.
    Raises AssertionError with the likely fault; ValueError if the request makes no sense.
    Checked by: tests/testing/test_flows.py
    """
    name = "check_log_det"
    z, log_det = _checked_map(name, bijection, x, context, rng)
    back, inverse_log_det = _apply(name, bijection, "inverse", z, context)
    for direction, start, image, claimed in (("forward", x, z, log_det), ("inverse", z, back, inverse_log_det)):
        measured, coarse = _measured(bijection, direction, start, context, step)
        error = np.abs(claimed - measured)
        if np.all(error <= tolerance * np.maximum(1, np.abs(measured))):
            continue
        i = int(error.argmax())
        doubt = float(np.abs(measured - coarse)[i])
        raise AssertionError(
            f"{name}: the log_det of {direction} is {claimed[i]:.9g} at example {i}, the Jacobian by differences has "
            f"ln|det| = {measured[i]:.9g}; allowed is {tolerance:g}. "
            + (
                f"The differences have not settled, to {doubt:.2g}: a kink, or an inverse that has not converged?"
                if not doubt < error[i] / 10
                else _log_det_hint(claimed, measured, start, image)
            )
        )


def _checked_map(
    name: str, bijection: Bijection, x: Array, context: Array | None, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return forward(x), having refused what makes a check of it vacuous, and examples that influence each other."""
    if x.dtype != np.float64 or x.ndim < 1 or len(x) < 2 or not np.all(np.isfinite(x)):
        raise ValueError(f"{name}: x: expected at least 2 examples of finite float64, got {x.dtype} of {x.shape}")
    for path, parameter in bijection.named_parameters().items():
        if parameter.dtype != np.float64:
            raise ValueError(f"{name}: parameter {path} is {parameter.dtype}, too coarse: .astype(np.float64) first")
    z, log_det = _apply(name, bijection, "forward", x, context)
    if z.shape == x.shape and np.abs(z - x).max() <= 1e-3 * np.abs(x).max():
        raise AssertionError(
            f"{name}: the map is the identity to within 1e-3, of which any check holds. Is it initialised to that? "
            f"Randomise its parameters first"
        )
    for path, parameter in bijection.named_parameters().items():
        value = parameter.value
        parameter.assign(value + 1e-3 * rng.normal(size=value.shape))
        try:
            moved, moved_log_det = _apply(name, bijection, "forward", x, context)
        finally:
            parameter.assign(value)
        if value.size and np.array_equal(moved, z) and np.array_equal(moved_log_det, log_det):
            raise AssertionError(
                f"{name}: parameter {path} changes nothing. Is a layer after it initialised to zero, so that part of "
                f"the map is the identity? Randomise the parameters first; or it is not used"
            )
    if context is not None:
        if len(context) != len(x) or np.array_equal(context, np.roll(context, 1, 0)):
            raise ValueError(f"{name}: context: expected {len(x)} rows, not all alike, got {context.shape}")
        if np.array_equal(_apply(name, bijection, "forward", x, np.roll(context, 1, 0))[0], z):
            raise AssertionError(f"{name}: forward ignores its context; is it passed on to every layer?")
    others = x.copy()
    others[0] = (x[0] + x[1]) / 2  # another one, certainly inside of a convex domain
    moved, moved_log_det = _apply(name, bijection, "forward", others, context)
    # Not bit for bit: an iteration for the whole batch may take a step more.
    if not (np.allclose(moved[1:], z[1:], 1e-9, 1e-9) and np.allclose(moved_log_det[1:], log_det[1:], 1e-9, 1e-9)):
        raise AssertionError(
            f"{name}: examples 1… change when only example 0 is changed; a mean or a normalisation over the batch?"
        )
    return z, log_det


def _apply(name: str, bijection: Bijection, direction: str, x: Array, context: Array | None) -> tuple[Array, Array]:
    """Apply forward or inverse to a copy of x; check what can be said of the result without knowing it."""
    given = x.copy()
    z, log_det = (t.value if isinstance(t, Tensor) else t for t in getattr(bijection, direction)(given, context))
    if not np.array_equal(given, x):
        raise AssertionError(f"{name}: {direction} writes into its argument")
    if z.dtype != np.float64:
        raise AssertionError(f"{name}: {direction} takes float64 to {z.dtype}; model.astype(np.float64) first")
    if len(z) != len(x) or z.size != x.size:
        raise AssertionError(f"{name}: {direction} takes {x.shape} to {z.shape}; a bijection keeps the dimensions")
    if log_det.shape != (len(x),):
        cause = "one number per example, not summed over the batch" if not log_det.ndim else "summed over dimensions"
        raise AssertionError(f"{name}: the log_det of {direction} is {log_det.shape}, not ({len(x)},): {cause}")
    if not (np.all(np.isfinite(z)) and np.all(np.isfinite(log_det))):
        raise AssertionError(f"{name}: {direction} gives NaN or inf; is x inside of its domain?")
    return z, log_det


def _measured(
    bijection: Bijection, direction: str, x: Array, context: Array | None, step: float
) -> tuple[Array, Array]:
    """ln|det| of each example's Jacobian, of fourth and of second order in the step. Shapes: (N,), (N,)"""
    n, dims = len(x), math.prod(x.shape[1:])
    tiled = None if context is None else np.repeat(context, dims, 0)

    def difference(h: float) -> Array:
        """(f(x + h eⱼ) − f(x − h eⱼ)) / 2h for all j at once. Shape: (N, j, dims)"""
        moves = h * np.eye(dims)
        ends = [(x.reshape(n, 1, dims) + sign * moves).reshape(n * dims, *x.shape[1:]) for sign in (1, -1)]
        high, low = (_apply("check_log_det", bijection, direction, end, tiled)[0] for end in ends)
        return (high - low).reshape(n, dims, dims) / (2 * h)

    fine, coarse = difference(step), difference(2 * step)
    return np.linalg.slogdet((4 * fine - coarse) / 3)[1], np.linalg.slogdet(fine)[1]


def _round_trip_hint(bijection: Bijection, image: Array, returned: Array, there: str, context: Array | None) -> str:
    if image.shape == returned.shape:
        again, _ = _apply("check_invertible", bijection, there, image, context)
        if again.shape == returned.shape and np.allclose(again, returned, rtol=1e-6):
            return f"It is {there} applied twice: both methods compute the same map."
    return (
        "Are the parts inverted in the reverse order, scale and shift undone in theirs, and is the network of a "
        "coupling given what has not changed?"
    )


def _log_det_hint(claimed: Array, measured: Array, x: Array, z: Array) -> str:
    """Name the fault that explains every example's number, if there is one."""
    dims, off = math.prod(x.shape[1:]), claimed - measured

    def explains(other: Array) -> bool:
        return np.allclose(claimed, other, rtol=1e-5, atol=1e-5)

    if explains(-measured):
        return "The sign is flipped: is it that of the other direction?"
    if explains(measured / dims):
        return "It is a mean over dimensions, where the sum belongs."
    if explains(np.full_like(claimed, measured.mean())) or explains(np.full_like(claimed, measured.sum())):
        return "It is the same for all examples: a mean or a sum over the batch?"
    if explains(measured / math.log(2)):
        return "It is in bits: multiply it by ln 2."
    if explains(np.exp(measured)):
        return "It is the determinant: take its logarithm."
    for what, term in _logistic_terms(x, z).items():
        for sign, word in ((1, "too much"), (-1, "missing")):
            if explains(measured + sign * term):
                return f"{what} is {word}: the Jacobian of a sigmoid or logit, of which it is half or all?"
            if explains(measured - sign * 2 * term):
                return f"{what} has the wrong sign: the Jacobian of a sigmoid or logit?"
    if np.allclose(off, off[0], rtol=1e-5):
        return (
            f"It is off by {off[0]:.6g} at every example, a factor of {math.exp(off[0] / dims):.6g} per dimension: a "
            f"constant scaling left out, or something added twice?"
        )
    return "Is a layer's log_det left out, or taken at the wrong point, before its map instead of after?"


def _logistic_terms(x: Array, z: Array) -> dict[str, Array]:
    """The terms that the log-derivatives of sigmoid and logit consist of, for both ends of the map."""
    terms: dict[str, Array] = {}
    for name, v in (("input", x.reshape(len(x), -1)), ("output", z.reshape(len(z), -1))):
        if np.all((v > 0) & (v < 1)):
            terms |= {f"Σ ln {name}": np.log(v).sum(1), f"Σ ln(1 − {name})": np.log1p(-v).sum(1)}
            terms[f"Σ ln {name} (1 − {name})"] = np.log(v * (1 - v)).sum(1)
        left, right = -np.logaddexp(0, -v).sum(1), -np.logaddexp(0, v).sum(1)
        terms |= {f"Σ ln σ({name})": left, f"Σ ln σ(−{name})": right, f"Σ ln σ′({name})": left + right}
    return terms
