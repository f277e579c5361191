"""Check that a log-determinant is that of the map's Jacobian."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Array
from .calls import Convert, check_positive, record, resolution
from .maps import Maps

# Step of the finite differences in float64: truncation error of order step⁴ ≈ 2·10⁻¹⁶, rounding error ε/step ≈ 2·10⁻¹².
# In float32: 10⁻⁶ and 4·10⁻⁶.
_STEPS = {np.dtype(np.float64): 2.0**-13, np.dtype(np.float32): 2.0**-5}
_TOLERANCES = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-3}
_BLOCK = 512  # examples in one call


def check_log_det(
    forward: Any,
    x: Array,
    *,
    context: Array | None = None,
    rng: np.random.Generator,
    tolerance: float | None = None,
    step: float | None = None,
    convert: Convert = None,
) -> None:
    """Compare the log-determinants of a map with its Jacobians from finite differences.

        log_det = ln|det ∂z/∂x|,   ∂z/∂xⱼ ≈ (8 [f(x + h eⱼ) − f(x − h eⱼ)] − f(x + 2h eⱼ) + f(x − 2h eⱼ)) / 12 h

    No automatic differentiation is involved. If `forward` is an object whose inverse returns a log_det, that is checked
    too, at forward(x) and with its own sign. The cost is 4 D evaluations of each example and direction, in calls of at
    most 512 examples, and a determinant in D dimensions: a few hundred dimensions are practical.

    Args:
        forward: called as forward(x), or forward(x, context), returns (z, log_det); or an object with this method. A
            tinygen module must be float64; randomise its parameters first.
        x: at least two examples, two steps inside the domain, float64 or float32. If the inverse is checked, forward(x)
            must be two steps inside the range.
        context: one row for each example, not all equal.
        tolerance: relative to max(1, |log_det|); by default 1e-6, or 1e-3 for float32.
        step: h, by default 2⁻¹³, or 2⁻⁵ for float32; a map that is computed by an iterative solver needs a larger step
            and tolerance.
        convert: maps the arrays to what the functions take, such as torch.from_numpy.

    Shapes: x (N, …), context (N, …), log_det (N,).
    Raises: AssertionError with the likely fault; ValueError or TypeError if the arguments are unsuitable.
    Checked by: tests/testing/test_flows.py, tests/testing/test_flow_functions.py

    Example:
        >>> rng, x = np.random.default_rng(0), np.linspace(-1.0, 1.0, 12).reshape(4, 3)
        >>> check_log_det(lambda x: (np.exp(x), x.sum(1)), x, rng=rng)
        >>> check_log_det(lambda x: (np.exp(x), -x.sum(1)), x, rng=rng)
        Traceback (most recent call last):
        AssertionError: check_log_det: the log_det of forward is ... but finite differences ... The sign is flipped: ...
    """
    check_positive(tolerance=tolerance, step=step)
    name, maps = "check_log_det", Maps("check_log_det", forward, None, x, context, rng, convert)
    z, log_det = maps.prepare(tolerance)
    if log_det is None:
        raise AssertionError(
            f"{name}: forward: expected (z, log_det), got z only; use check_invertible for the round trip"
        )
    precision = np.dtype(np.float64) if resolution(x, z) < 1e-10 else np.dtype(np.float32)
    step, tolerance = step or _STEPS[precision], tolerance or _TOLERANCES[precision]
    directions = [("forward", x, z, log_det)]
    if maps.inverse is not None:
        back, inverse_log_det = maps.apply("inverse", z, context)
        if inverse_log_det is not None:
            directions.append(("inverse", z, back, inverse_log_det))
    for direction, start, image, claimed in directions:
        measured, coarse = _measured(maps, direction, start, context, step)
        error = np.abs(claimed - measured)
        record(f"log_det of {direction}: largest error {error.max():.2g}, tolerance {tolerance:g}")
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


def _measured(maps: Maps, direction: str, x: Array, context: Array | None, step: float) -> tuple[Array, Array]:
    """Return ln|det ∂z/∂x| of each example, from differences of fourth and of second order. Shapes: (N,), (N,)"""
    n, dims = len(x), math.prod(x.shape[1:])
    flat, unit = x.reshape(n, dims), np.eye(dims)
    fine, coarse = np.empty((2, n * dims, dims))
    for start in range(0, n * dims, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, n * dims))
        example, axis = np.divmod(rows, dims)
        given = None if context is None else context[example]

        def difference(h: float, example: Array = example, axis: Array = axis, given: Array | None = given) -> Array:
            """Return (f(x + h eⱼ) − f(x − h eⱼ)) / 2h for the examples and axes j of this block. Shape: (rows, dims)"""
            ends = [(flat[example] + sign * h * unit[axis]).astype(x.dtype) for sign in (1, -1)]
            high, low = (maps.apply(direction, end.reshape(-1, *x.shape[1:]), given)[0] for end in ends)
            return np.asarray((high.astype(np.float64) - low).reshape(-1, dims) / (2 * h))

        fine[rows], coarse[rows] = difference(step), difference(2 * step)
    blocks = ((4 * fine - coarse) / 3, fine)
    accurate, rough = (np.linalg.slogdet(rows.reshape(n, dims, dims))[1] for rows in blocks)
    return accurate, rough


def _log_det_hint(claimed: Array, measured: Array, x: Array, z: Array) -> str:
    """Describe the fault that explains the log_det of every example, or the most likely faults."""
    dims, off = math.prod(x.shape[1:]), claimed - measured

    near = 1e-5 if claimed.dtype == np.float64 else 2e-3

    def explains(other: Array) -> bool:
        return np.allclose(claimed, other, rtol=near, atol=near)

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
    if np.allclose(off, off[0], rtol=near):
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
