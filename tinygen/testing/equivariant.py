"""Check that a function commutes with a transform of its input, or does not change under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Array
from ..checks import check_rng
from .calls import Convert, Function, check_input, check_positive, record, resolution


def check_equivariant(
    f: Callable[..., Any],
    transform: Callable[..., Any],
    x: Array,
    *,
    output_transform: Callable[..., Any] | None = None,
    rng: np.random.Generator,
    tolerance: float | None = None,
    convert: Convert = None,
) -> None:
    """Check that f is equivariant under a transform T, or invariant if `output_transform` is the identity.

        f(T x) = T′ f(x),   T′ = T by default;   invariant: T′ y = y

    Examples: a convolution and a shift, a network for sets and a permutation, a density and a rotation. Vacuous checks
    are rejected: T must change x and T′ the output, and f must depend on x.

    Args:
        f: called as f(x), returns an array.
        transform: called as transform(x), returns the transformed inputs, of the shape of x.
        output_transform: T′, called as output_transform(y) with an output of f; pass `lambda y: y` for invariance.
        tolerance: relative to |f(x)|, or to the largest |f(x)| if that is below 1; by default 1e-9, or 1e-4 for
            float32.
        convert: maps the arrays to what f takes, such as torch.from_numpy; the transforms take NumPy arrays.

    Raises: AssertionError with the likely fault; ValueError or TypeError if the arguments are unsuitable.
    Checked by: tests/testing/test_equivariant.py

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, shift = rng.normal(size=(2, 6)), lambda x: np.roll(x, 1, 1)
        >>> check_equivariant(lambda x: x - np.roll(x, 1, 1), shift, x, rng=rng)
        >>> check_equivariant(lambda x: np.diff(x, axis=1, prepend=0.0), shift, x, rng=rng)
        Traceback (most recent call last):
        AssertionError: ... is wrong by ... in 4 of 12 entries, the worst at ... Only a few entries are wrong: ...
    """
    name = "check_equivariant"
    check_rng(rng)
    check_positive(tolerance=tolerance)
    check_input("x", x, kinds="fiub")
    function = Function(name, "f", f, ["x"], convert)
    move = Function(name, "transform", transform, ["x"])
    move_output = move if output_transform is None else Function(name, "output_transform", output_transform, ["y"])
    moved = move.finite(move(x), remedy="it must map inputs to inputs")
    if moved.shape != x.shape or moved.dtype != x.dtype:
        raise AssertionError(
            f"{name}: transform: expected {x.dtype} of shape {x.shape}, as x, got {moved.dtype} of shape {moved.shape}"
        )
    move.require_deterministic([moved], x)
    if np.array_equal(moved, x):
        raise ValueError("transform: expected a transform that changes x, got one that does not")
    y, after = function.finite(function(x)), function.finite(function(moved))
    function.require_deterministic([y], x)
    expected = move_output(y)
    if expected.shape != after.shape:
        raise AssertionError(f"{name}: f(T x): expected shape {expected.shape}, that of T′ f(x), got {after.shape}")
    tolerance = tolerance or (1e-9 if resolution(y) < 1e-10 else 1e-4)
    _require_dependence(function, x, y, expected, output_transform is None, tolerance, rng)
    scale = min(1.0, float(np.abs(expected).max()))
    error = np.abs(after.astype(np.float64) - expected) / np.maximum(np.abs(expected), scale)
    record(f"largest error {error.max():.2g}, tolerance {tolerance:g}")
    if not error.max() <= tolerance:
        wrong = error > tolerance
        place = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
        raise AssertionError(
            f"{name}: f(T x) = {after[place]:.9g}, but T′ f(x) = {expected[place]:.9g}; f(T x) is wrong by more than "
            f"{tolerance:g} in {np.count_nonzero(wrong)} of {wrong.size} entries, the worst at {place}. "
            + _hint(after, expected, y, move_output, tolerance)
        )


def _require_dependence(
    f: Function, x: Array, y: Array, expected: Array, equivariant: bool, tolerance: float, rng: np.random.Generator
) -> None:
    """Reject checks that would pass for any function, or for one that is constant within the tolerance."""
    near = tolerance * min(1.0, float(np.abs(expected).max()))
    if equivariant and np.allclose(expected, y, tolerance, near):
        raise AssertionError(
            "check_equivariant: the transform does not change f(x), so nothing is checked; choose another x, or pass "
            "output_transform=lambda y: y if f should be invariant"
        )
    flat = x.reshape(-1).copy()
    others = rng.permutation(flat).reshape(x.shape) if len(np.unique(flat)) > 1 else np.zeros_like(x)
    noisy = x + rng.normal(size=x.shape).astype(x.dtype) if x.dtype.kind == "f" else others
    if np.allclose(f(noisy), y, tolerance, near):
        raise AssertionError("check_equivariant: f(x) does not depend on x beyond the tolerance; is a layer 0?")


def _hint(after: Array, expected: Array, y: Array, move: Function, tolerance: float) -> str:
    near = max(tolerance, 1e-6)
    if after.shape == y.shape and np.allclose(after, y, near, near):
        return "f(T x) = f(x): f is invariant instead."
    moved_back = move(after)
    if moved_back.shape == y.shape and np.allclose(moved_back, y, near, near):
        return "f(T x) moves in the opposite direction, by T′⁻¹."
    if after.shape == y.shape and np.allclose(move(expected), after, near, near):
        return "f(T x) moves twice as far as T′ f(x)."
    wrong = ~np.isclose(after, expected, near, near)
    if wrong.mean() < 0.4:
        return "Only a few entries are wrong: is it a border, padding, a stride, or a dependence on the position?"
    return "Does f have parameters that depend on the position, an order of its inputs, or a preferred axis?"
