"""Check that two linear maps are adjoint."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..autograd import Array
from ..checks import at_least, check_counts, check_rng, require
from .calls import Convert, Function, check_positive, record, resolution

Map = Callable[..., Any]
Shape = tuple[int, ...]


def check_adjoint(
    forward: Map,
    adjoint: Map,
    x_shape: Shape,
    y_shape: Shape,
    *,
    rng: np.random.Generator,
    tolerance: float | None = None,
    draws: int = 3,
    dtype: DTypeLike = np.float64,
    convert: Convert = None,
) -> None:
    """Check that two maps are linear and adjoint, for random inputs.

        ⟨A x, y⟩ = ⟨x, Aᵀ y⟩,   A(α u + β v) = α A u + β A v, and likewise for Aᵀ

    Args:
        forward: A, maps arrays of shape x_shape to y_shape.
        adjoint: Aᵀ, maps arrays of shape y_shape to x_shape.
        tolerance: relative to the magnitudes of the terms in each equation; by default 5000 ε, that is 1e-12, or 6e-4
            for float32.
        dtype: of the random inputs, float64 or float32.
        convert: maps the inputs to what the functions take, such as torch.from_numpy.

    Raises: AssertionError if an equation does not hold, or if A or Aᵀ maps a random input to 0.
    Checked by: tests/testing/test_adjoint.py

    Example:
        >>> rng = np.random.default_rng(0)
        >>> check_adjoint(lambda x: np.roll(x, 1), lambda y: np.roll(y, -1), (4,), (4,), rng=rng)
        >>> check_adjoint(lambda x: np.roll(x, 1), lambda y: np.roll(y, 1), (4,), (4,), rng=rng)
        Traceback (most recent call last):
        AssertionError: check_adjoint: ⟨A x, y⟩ = ..., but ⟨x, Aᵀ y⟩ = ...
    """
    check_rng(rng)
    check_positive(tolerance=tolerance)
    at_least(1, draws=draws)
    kind = np.dtype(dtype)
    require(kind in (np.float32, np.float64), "dtype", "float64 or float32", kind)
    for name, shape in (("x_shape", x_shape), ("y_shape", y_shape)):
        if shape != ():
            check_counts(name, shape)
    maps = [Function("check_adjoint", *named, ["x"], convert) for named in (("forward", forward), ("adjoint", adjoint))]
    for _ in range(draws):
        x, ax = _linear(maps[0], tuple(x_shape), tuple(y_shape), rng, tolerance, kind)
        y, aty = _linear(maps[1], tuple(y_shape), tuple(x_shape), rng, tolerance, kind)
        one, other = ax * y.astype(np.float64), x * aty.astype(np.float64)
        left, right, scale = float(one.sum()), float(other.sum()), float(np.abs(one).sum() + np.abs(other).sum())
        allowed = (tolerance or 5000 * resolution(ax, aty)) * scale
        record(f"⟨A x, y⟩ − ⟨x, Aᵀ y⟩ = {left - right:.2g}, tolerance {allowed:.2g}")
        if not abs(left - right) <= allowed:
            raise AssertionError(
                f"check_adjoint: ⟨A x, y⟩ = {left:.15g}, but ⟨x, Aᵀ y⟩ = {right:.15g}; they differ by "
                f"{abs(left - right):.3g}, more than {allowed:.3g}. Both maps are linear, so one is the adjoint of a "
                f"different map: a wrong transpose, an offset with the wrong sign, or a missing factor?"
            )


def _linear(
    f: Function, x_shape: Shape, y_shape: Shape, rng: np.random.Generator, tolerance: float | None, dtype: np.dtype[Any]
) -> tuple[Array, Array]:
    """Check that a map is linear and has the right shapes; return a random input and its image."""
    # Coefficients that are powers of two are exact, so that the inputs have no rounding errors of their own.
    a, b = 2.0 ** rng.integers(-2, 3, 2) * rng.choice([-1.0, 1.0], 2)
    u, v = (rng.normal(size=x_shape).astype(dtype) for _ in range(2))
    au, av, both = (f(x) for x in (u, v, (a * u + b * v).astype(dtype)))
    if au.shape != y_shape:
        raise AssertionError(f"check_adjoint: {f.name}: expected an output of shape {y_shape}, got {au.shape}")
    if au.dtype != dtype and not (f.convert is not None and au.dtype == np.float32):
        raise AssertionError(
            f"check_adjoint: {f.name}: expected an output of {dtype}, as its input, got {au.dtype}; pass "
            f"dtype=np.float32 to check float32 code"
        )
    f.require_deterministic([f.finite(au)], u)
    if not np.any(au):
        raise AssertionError(f"check_adjoint: {f.name} maps a random input to 0, so nothing is checked")
    scaled, other = a * au.astype(np.float64), b * av.astype(np.float64)
    error = float(np.max(np.abs(both - (scaled + other))))
    allowed = (tolerance or 5000 * resolution(both)) * float(np.max(np.abs(scaled) + np.abs(other)))
    if not error <= allowed:
        raise AssertionError(
            f"check_adjoint: {f.name} is not linear: A(α u + β v) and α A u + β A v differ by {error:.3g}, more than "
            f"{allowed:.3g}. Is there a bias, a nonlinearity or lower precision inside it?"
        )
    return u, au
