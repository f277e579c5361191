"""Check that two maps are inverses of each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from ..autograd import Array
from .calls import Convert, check_positive, record, resolution
from .maps import Maps

Map = Callable[..., Any]


@overload
def check_invertible(
    bijection: Any,
    x: Array,
    /,
    *,
    context: Array | None = None,
    rng: np.random.Generator,
    tolerance: float | None = None,
    convert: Convert = None,
) -> None: ...


@overload
def check_invertible(
    forward: Map,
    inverse: Map,
    x: Array,
    /,
    *,
    context: Array | None = None,
    rng: np.random.Generator,
    tolerance: float | None = None,
    convert: Convert = None,
) -> None: ...


def check_invertible(
    forward: Any,
    inverse: Any,
    x: Any = None,
    /,
    *,
    context: Array | None = None,
    rng: np.random.Generator,
    tolerance: float | None = None,
    convert: Convert = None,
) -> None:
    """Check that forward and inverse are inverses of each other.

        inverse(forward(x)) = x,   forward(inverse(z)) = z,   and the log_dets of the two directions add up to 0

    Call it as check_invertible(forward, inverse, x, rng=rng), or as check_invertible(bijection, x, rng=rng) with an
    object that has both methods.

    The points z are halfway between the images of two examples, so the range of the bijection must be convex, like
    ℝᴰ or a cube. A log_det with the wrong sign in both directions passes; `check_log_det` rejects it.
    Examples of the batch must not affect each other. Vacuous checks are rejected: checks of the identity, or with
    parameters of a tinygen module or a context that have no effect, such as the parameters before a layer initialised
    to zero.

    Args:
        forward, inverse: called as forward(x) and inverse(z), or with the context as the second argument; each returns
            its image, or (image, log_det). A tinygen module must be float64; randomise its parameters first.
        x: at least two examples in the domain, float64 or float32.
        context: one row for each example, not all equal.
        tolerance: relative to max(1, |x|), by default 1e-9, or 4e-4 for float32; for log_det, it is multiplied by the
            number of dimensions. If it is passed, examples may affect each other by as much.
        convert: maps the arrays to what the functions take, such as torch.from_numpy.

    Shapes: x (N, …), context (N, …), log_det (N,).
    Raises: AssertionError with the likely fault; ValueError or TypeError if the arguments are unsuitable.
    Checked by: tests/testing/test_flows.py, tests/testing/test_flow_functions.py

    Example:
        >>> rng, x = np.random.default_rng(0), np.linspace(0.5, 2.0, 12).reshape(4, 3)
        >>> check_invertible(np.exp, np.log, x, rng=rng)
        >>> check_invertible(np.exp, np.exp, x, rng=rng)
        Traceback (most recent call last):
        AssertionError: ... inverse(forward(·)) is ... It is forward applied twice: both methods compute the same map.
    """
    if x is None:
        x, inverse = inverse, None
        if hasattr(forward, "forward") and not hasattr(forward, "inverse"):
            raise TypeError(f"forward: expected an object with a method inverse, got {type(forward).__name__}")
        if not hasattr(forward, "forward"):
            raise TypeError(
                "check_invertible: expected (forward, inverse, x), or (bijection, x) with an object that has forward "
                f"and inverse, got {type(forward).__name__} and {type(x).__name__}"
            )
    elif not callable(inverse):
        raise TypeError(f"inverse: expected a function, got {'None' if inverse is None else type(inverse).__name__}")
    check_positive(tolerance=tolerance)
    name, maps = "check_invertible", Maps("check_invertible", forward, inverse, x, context, rng, convert)
    z, _ = maps.prepare(tolerance)
    if tolerance is None:
        tolerance = 1e-9 if resolution(z, x) < 1e-10 else 4e-4
    between = (z + np.roll(z, 1, 0)) / 2
    for start, there, back in ((x, "forward", "inverse"), (between, "inverse", "forward")):
        image, log_det = maps.apply(there, start, context)
        returned, log_det_back = maps.apply(back, image, context)
        if returned.shape != start.shape:
            raise AssertionError(f"{name}: {back}({there}(·)): expected shape {start.shape}, got {returned.shape}")
        error = np.abs(returned - start) / np.maximum(1, np.abs(start))
        record(f"{back}({there}(·)): largest error {error.max():.2g}, tolerance {tolerance:g}")
        if not error.max() <= tolerance:
            place = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
            raise AssertionError(
                f"{name}: {back}({there}(·)) is {returned[place]:.9g} instead of {start[place]:.9g} at {place}; "
                f"{np.count_nonzero(error > tolerance)} of {error.size} entries are wrong by more than {tolerance:g}. "
                + _round_trip_hint(maps, image, returned, there)
            )
        if log_det is not None and log_det_back is not None:
            _compare_log_dets(name, there, back, log_det, log_det_back, tolerance * max(1, math.prod(x.shape[1:])))


def _compare_log_dets(name: str, there: str, back: str, log_det: Array, other: Array, tolerance: float) -> None:
    gap = np.abs(log_det + other)
    if not np.all(gap <= tolerance * np.maximum(1, np.abs(log_det))):
        i = int(gap.argmax())
        same = np.allclose(log_det, other)
        cause = "Do both return the log_det of the same direction?" if same else "Is a term missing in one of them?"
        raise AssertionError(
            f"{name}: the log_dets of {there} and {back} should add up to 0, but at example {i} they are "
            f"{log_det[i]:.9g} and {other[i]:.9g}. {cause}"
        )


def _round_trip_hint(maps: Maps, image: Array, returned: Array, there: str) -> str:
    if image.shape == returned.shape:
        again, _ = maps.apply(there, image, maps.context)
        if again.shape == returned.shape and np.allclose(again, returned, rtol=1e-6):
            return f"It is {there} applied twice: both methods compute the same map."
    return (
        "Are the layers inverted in reverse order, scale and shift undone in reverse order, and is the network of a "
        "coupling layer applied to the part that does not change?"
    )
