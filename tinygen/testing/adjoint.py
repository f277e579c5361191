"""Check that two linear maps are adjoint."""

from collections.abc import Callable

import numpy as np

from ..autograd import Array, Tensor
from ..autograd.tensor import array_of

Map = Callable[[Array], Array | Tensor]
Shape = tuple[int, ...]


def check_adjoint(
    forward: Map,
    adjoint: Map,
    x_shape: Shape,
    y_shape: Shape,
    *,
    rng: np.random.Generator,
    tolerance: float = 1e-12,
    draws: int = 3,
) -> None:
    """Check that two maps are linear and adjoint, for random inputs.

        ⟨A x, y⟩ = ⟨x, Aᵀ y⟩,   A(α u + β v) = α A u + β A v, and likewise for Aᵀ

    Args:
        forward: A, maps arrays of shape x_shape to y_shape.
        adjoint: Aᵀ, maps arrays of shape y_shape to x_shape.
        tolerance: relative to the magnitudes of the terms in each equation.

    Raises: AssertionError if an equation does not hold, or if A or Aᵀ maps a random input to 0.
    Checked by: tests/testing/test_adjoint.py

    Example:
        >>> rng = np.random.default_rng(0)
        >>> check_adjoint(lambda x: np.roll(x, 1), lambda y: np.roll(y, -1), (4,), (4,), rng=rng)
        >>> check_adjoint(lambda x: np.roll(x, 1), lambda y: np.roll(y, 1), (4,), (4,), rng=rng)
        Traceback (most recent call last):
        AssertionError: check_adjoint: ⟨A x, y⟩ = ..., but ⟨x, Aᵀ y⟩ = ...
    """
    for _ in range(draws):
        x, ax = _linear("forward", forward, x_shape, y_shape, rng, tolerance)
        y, aty = _linear("adjoint", adjoint, y_shape, x_shape, rng, tolerance)
        left, right = float(np.sum(ax * y)), float(np.sum(x * aty))
        allowed = tolerance * float(np.sum(np.abs(ax * y)) + np.sum(np.abs(x * aty)))
        if not abs(left - right) <= allowed:
            raise AssertionError(
                f"check_adjoint: ⟨A x, y⟩ = {left:.15g}, but ⟨x, Aᵀ y⟩ = {right:.15g}; they differ by "
                f"{abs(left - right):.3g}, more than {allowed:.3g}. Both maps are linear, so one is the adjoint of a "
                f"different map: a wrong transpose, an offset with the wrong sign, or a missing factor?"
            )


def _linear(
    name: str, linear: Map, x_shape: Shape, y_shape: Shape, rng: np.random.Generator, tolerance: float
) -> tuple[Array, Array]:
    """Check that a map is linear and has the right shapes; return a random input and its image."""
    u, v, (a, b) = rng.normal(size=x_shape), rng.normal(size=x_shape), rng.normal(size=2)
    au, av, both = (array_of(linear(x)) for x in (u, v, a * u + b * v))
    if au.shape != y_shape:
        raise AssertionError(f"check_adjoint: {name}: expected an output of shape {y_shape}, got {au.shape}")
    if not np.any(au):
        raise AssertionError(f"check_adjoint: {name} maps a random input to 0, so nothing is checked")
    error = float(np.max(np.abs(both - (a * au + b * av))))
    allowed = tolerance * float(np.max(np.abs(a * au) + np.abs(b * av)))
    if not error <= allowed:
        raise AssertionError(
            f"check_adjoint: {name} is not linear: A(α u + β v) and α A u + β A v differ by {error:.3g}, more than "
            f"{allowed:.3g}. Is there a bias, a nonlinearity or float32 arithmetic, or is its input modified in place?"
        )
    return u, au
