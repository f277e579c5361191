"""Check that a bijection is invertible, and that its log-determinant is that of its Jacobian."""

import math

import numpy as np

from ..autograd import Array
from ..autograd.tensor import array_of
from ..bijections import Bijection
from ..checks import require

# Step of the finite differences: truncation error of order step⁴ ≈ 2·10⁻¹⁶, rounding error ε/step ≈ 2·10⁻¹².
_STEP = 2.0**-13


def check_invertible(
    bijection: Bijection, x: Array, *, context: Array | None = None, rng: np.random.Generator, tolerance: float = 1e-9
) -> None:
    """Check that forward and inverse are inverses of each other.

        inverse(forward(x)) = x,   forward(inverse(z)) = z,   and the log_dets of the two directions add up to 0

    The points z are halfway between the images of two examples, so the range of the bijection must be convex, like
    ℝᴰ or a cube. A log_det with the wrong sign in both directions passes; `check_log_det` rejects it.
    Examples of the batch must not affect each other. Vacuous checks are rejected: checks of the identity, or with
    parameters or a context that have no effect, such as the parameters before a layer initialised to zero.

    Args:
        bijection: float64; randomise its parameters first.
        x: at least two examples in its domain, float64.
        context: one row for each example, not all equal.
        tolerance: relative to max(1, |x|); for log_det, it is multiplied by the number of dimensions.

    Shapes: x (N, …), context (N, C), log_det (N,).
    Raises: AssertionError with the likely fault; ValueError if the arguments are unsuitable.
    Checked by: tests/testing/test_flows.py

    Example:
        >>> from tinygen.bijections import Affine
        >>> rng, x = np.random.default_rng(0), np.linspace(-1.0, 1.0, 12).reshape(4, 3)
        >>> check_invertible(Affine(2.0), x, rng=rng)
        >>> check_invertible(Affine(1.0), x, rng=rng)
        Traceback (most recent call last):
        AssertionError: check_invertible: the map is the identity to within 1e-3, for which every check passes. ...
    """
    name = "check_invertible"
    z, _ = _checked_map(name, bijection, x, context, rng)
    between = (z + np.roll(z, 1, 0)) / 2
    for start, there, back in ((x, "forward", "inverse"), (between, "inverse", "forward")):
        image, log_det = _apply(name, bijection, there, start, context)
        returned, log_det_back = _apply(name, bijection, back, image, context)
        if returned.shape != start.shape:
            raise AssertionError(f"{name}: {back}({there}(·)): expected shape {start.shape}, got {returned.shape}")
        error = np.abs(returned - start) / np.maximum(1, np.abs(start))
        if not error.max() <= tolerance:
            place = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
            raise AssertionError(
                f"{name}: {back}({there}(·)) is {returned[place]:.9g} instead of {start[place]:.9g} at {place}; "
                f"{np.count_nonzero(error > tolerance)} of {error.size} entries are wrong by more than {tolerance:g}. "
                + _round_trip_hint(bijection, image, returned, there, context)
            )
        gap = np.abs(log_det + log_det_back)
        if not np.all(gap <= tolerance * max(1, math.prod(x.shape[1:])) * np.maximum(1, np.abs(log_det))):
            i = int(gap.argmax())
            same = np.allclose(log_det, log_det_back)
            cause = "Do both return the log_det of the same direction?" if same else "Is a term missing in one of them?"
            raise AssertionError(
                f"{name}: the log_dets of {there} and {back} should add up to 0, but at example {i} they are "
                f"{log_det[i]:.9g} and {log_det_back[i]:.9g}. {cause}"
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
    """Compare the log-determinants of forward and inverse with Jacobians from finite differences.

        log_det = ln|det ∂z/∂x|,   ∂z/∂xⱼ ≈ (8 [f(x + h eⱼ) − f(x − h eⱼ)] − f(x + 2h eⱼ) + f(x − 2h eⱼ)) / 12 h

    No automatic differentiation is involved. forward is checked at x and inverse at forward(x), each with its sign.

    Args:
        bijection, x, context: as for `check_invertible`; x must be at least two steps inside the domain.
        tolerance: relative to max(1, |log_det|).
        step: h; a bijection that is computed by an iterative solver needs a larger step and tolerance.

    Shapes: x (N, …), context (N, C), log_det (N,).
    Raises: AssertionError with the likely fault; ValueError if the arguments are unsuitable.
    Checked by: tests/testing/test_flows.py

    Example:
        >>> from tinygen.bijections import Affine
        >>> class WrongSign(Affine):
        ...     def forward(self, x, context=None):
        ...         z, log_det = super().forward(x, context)
        ...         return z, -log_det
        >>> rng, x = np.random.default_rng(0), np.linspace(-1.0, 1.0, 12).reshape(4, 3)
        >>> check_log_det(Affine(2.0), x, rng=rng)
        >>> check_log_det(WrongSign(2.0), x, rng=rng)
        Traceback (most recent call last):
        AssertionError: check_log_det: the log_det of forward is -2.07... at example 0, but ... The sign is flipped: ...
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
        uncertainty = float(np.abs(measured - coarse)[i])
        raise AssertionError(
            f"{name}: the log_det of {direction} is {claimed[i]:.9g} at example {i}, but finite differences give "
            f"{measured[i]:.9g}; the relative tolerance is {tolerance:g}. "
            + (
                f"The finite differences have converged only to within {uncertainty:.2g}: is there a kink, or an "
                f"inverse that has not converged?"
                if not uncertainty < error[i] / 10
                else _log_det_hint(claimed, measured, start, image)
            )
        )


def _checked_map(
    name: str, bijection: Bijection, x: Array, context: Array | None, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return forward(x), after rejecting vacuous checks and maps whose examples affect each other."""
    valid = x.dtype == np.float64 and x.ndim >= 1 and len(x) >= 2 and bool(np.all(np.isfinite(x)))
    require(valid, "x", "at least 2 examples of finite float64", f"{x.dtype} of shape {x.shape}")
    if context is not None:
        valid = len(context) == len(x) and not np.array_equal(context, np.roll(context, 1, 0))
        require(valid, "context", f"{len(x)} rows that are not all equal", f"shape {context.shape}")
    parameters = bijection.named_parameters()
    for path, parameter in parameters.items():
        hint = "; use bijection.astype(np.float64)"
        require(parameter.dtype == np.float64, f"parameter {path}", "float64", f"{parameter.dtype}{hint}")
    z, log_det = _apply(name, bijection, "forward", x, context)
    if z.shape == x.shape and np.abs(z - x).max() <= 1e-3 * np.abs(x).max():
        raise AssertionError(
            f"{name}: the map is the identity to within 1e-3, for which every check passes. Randomise its parameters "
            f"first if it is initialised to the identity"
        )
    for path, parameter in parameters.items():
        value = parameter.value
        parameter.assign(value + 1e-3 * rng.normal(size=value.shape))
        try:
            moved, moved_log_det = _apply(name, bijection, "forward", x, context)
        finally:
            parameter.assign(value)
        if value.size and np.array_equal(moved, z) and np.array_equal(moved_log_det, log_det):
            raise AssertionError(
                f"{name}: parameter {path} changes nothing. Is it unused, or is a layer after it initialised to zero, "
                f"so that part of the map is the identity? Randomise the parameters first"
            )
    if context is not None and np.array_equal(_apply(name, bijection, "forward", x, np.roll(context, 1, 0))[0], z):
        raise AssertionError(f"{name}: forward ignores its context; is it passed on to every layer?")
    others = x.copy()
    others[0] = (x[0] + x[1]) / 2  # inside the domain if it is convex
    moved, moved_log_det = _apply(name, bijection, "forward", others, context)
    # Not bitwise: an iterative solver may take one more step for the whole batch.
    if not (np.allclose(moved[1:], z[1:], 1e-9, 1e-9) and np.allclose(moved_log_det[1:], log_det[1:], 1e-9, 1e-9)):
        raise AssertionError(f"{name}: changing example 0 changes other outputs; is there an average over the batch?")
    return z, log_det


def _apply(name: str, bijection: Bijection, direction: str, x: Array, context: Array | None) -> tuple[Array, Array]:
    """Apply forward or inverse to a copy of x, and check the dtypes, shapes and finiteness of the results."""
    given = x.copy()
    z, log_det = map(array_of, getattr(bijection, direction)(given, context))
    if not np.array_equal(given, x):
        raise AssertionError(f"{name}: {direction} modifies its argument in place")
    if z.dtype != np.float64:
        raise AssertionError(f"{name}: {direction}: expected float64, got {z.dtype}; use bijection.astype(np.float64)")
    if len(z) != len(x) or z.size != x.size:
        raise AssertionError(f"{name}: {direction} maps {x.shape} to {z.shape}; a bijection preserves the dimension")
    if log_det.shape != (len(x),):
        cause = "sum over dimensions" if log_det.ndim else "return one number per example, not a sum over the batch"
        raise AssertionError(f"{name}: log_det of {direction}: expected ({len(x)},), got {log_det.shape}; {cause}")
    if not (np.all(np.isfinite(z)) and np.all(np.isfinite(log_det))):
        raise AssertionError(f"{name}: {direction} returns NaN or infinity; is x inside its domain?")
    return z, log_det


def _measured(
    bijection: Bijection, direction: str, x: Array, context: Array | None, step: float
) -> tuple[Array, Array]:
    """Return ln|det ∂z/∂x| of each example, from differences of fourth and of second order. Shapes: (N,), (N,)"""
    n, dims = len(x), math.prod(x.shape[1:])
    tiled = None if context is None else np.repeat(context, dims, 0)

    def difference(h: float) -> Array:
        """Return (f(x + h eⱼ) − f(x − h eⱼ)) / 2h for all j. Shape: (N, j, dims)"""
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
        "Are the layers inverted in reverse order, scale and shift undone in reverse order, and is the network of a "
        "coupling layer applied to the part that does not change?"
    )


def _log_det_hint(claimed: Array, measured: Array, x: Array, z: Array) -> str:
    """Describe the fault that explains the log_det of every example, or the most likely faults."""
    dims, off = math.prod(x.shape[1:]), claimed - measured

    def explains(other: Array) -> bool:
        return np.allclose(claimed, other, rtol=1e-5, atol=1e-5)

    if explains(-measured):
        return "The sign is flipped: is it the log_det of the other direction?"
    if explains(measured / dims):
        return "It is a mean over dimensions instead of a sum."
    if explains(np.full_like(claimed, measured.mean())) or explains(np.full_like(claimed, measured.sum())):
        return "It is the same for all examples: is it a mean or a sum over the batch?"
    if explains(measured / math.log(2)):
        return "It is in bits: multiply it by ln 2."
    if explains(np.exp(measured)):
        return "It is the determinant: take its logarithm."
    for what, term in _logistic_terms(x, z).items():
        for sign, fault in ((1, "is superfluous"), (-1, "is missing")):
            if explains(measured + sign * term):
                return f"The term {what} {fault}: is it part of the Jacobian of a sigmoid or logit?"
            if explains(measured - sign * 2 * term):
                return f"The term {what} has the wrong sign: is it part of the Jacobian of a sigmoid or logit?"
    if np.allclose(off, off[0], rtol=1e-5):
        return (
            f"It is off by {off[0]:.6g} at every example, a factor of {math.exp(off[0] / dims):.6g} per dimension: a "
            f"constant scale left out, or a term added twice?"
        )
    return (
        "Is the log_det of a layer missing, or evaluated at the wrong point, such as its input instead of its output?"
    )


def _logistic_terms(x: Array, z: Array) -> dict[str, Array]:
    """Return the terms of the log-derivatives of sigmoid and logit, at the input and at the output of the map."""
    terms: dict[str, Array] = {}
    for name, v in (("input", x.reshape(len(x), -1)), ("output", z.reshape(len(z), -1))):
        if np.all((v > 0) & (v < 1)):
            terms |= {f"Σ ln {name}": np.log(v).sum(1), f"Σ ln(1 − {name})": np.log1p(-v).sum(1)}
            terms[f"Σ ln {name} (1 − {name})"] = np.log(v * (1 - v)).sum(1)
        left, right = -np.logaddexp(0, -v).sum(1), -np.logaddexp(0, v).sum(1)
        terms |= {f"Σ ln σ({name})": left, f"Σ ln σ(−{name})": right, f"Σ ln σ′({name})": left + right}
    return terms
