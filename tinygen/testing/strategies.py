"""Hypothesis strategies for numerical properties. Needs hypothesis (the extra `test`); nothing else here does.

Shapes, axes and positions are Hypothesis's own and shrink to the smallest that fails. The numbers come from a seeded
generator: they are of O(1), any two are different, and none is special. Adversarial floats (1e-308, NaN) belong into
tests of their own, where finite differences are not asked to resolve them.

Checked by: tests/testing/test_strategies.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from numpy.typing import DTypeLike

from ..autograd import Array, Tensor
from ..autograd.taps import Taps

Shape = tuple[int, ...]
ShapeLike = Shape | SearchStrategy[Shape]
Sides = SearchStrategy[int]

SIDES = st.integers(1, 4)


def rngs() -> SearchStrategy[np.random.Generator]:
    """Seeded random generators."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


def shapes(min_dims: int = 0, max_dims: int = 3, sides: Sides = SIDES) -> SearchStrategy[Shape]:
    """Shapes, () among them; `sides` draws the length of an axis."""
    return st.lists(sides, min_size=min_dims, max_size=max_dims).map(tuple)


def empty_shapes(max_dims: int = 3) -> SearchStrategy[Shape]:
    """Shapes with a zero in them."""
    return shapes(1, max_dims, st.integers(0, 2)).map(lambda shape: shape if 0 in shape else (0, *shape[1:]))


@st.composite
def broadcastable_shapes(draw: DrawFn, number: int = 2, max_dims: int = 3, sides: Sides = SIDES) -> tuple[Shape, ...]:
    """Several shapes that broadcast together: with ones in them, and with axes missing in front."""
    whole = draw(shapes(max_dims=max_dims, sides=sides))
    found = []
    for _ in range(number):
        stretched = [n if draw(st.booleans()) else 1 for n in whole]
        found.append(tuple(stretched[draw(st.integers(0, len(whole))) :]))
    found[draw(st.integers(0, number - 1))] = whole
    return tuple(found)


def arrays(
    shape: ShapeLike | None = None, low: float = -2.0, high: float = 2.0, dtype: DTypeLike = np.float64
) -> SearchStrategy[Array]:
    """Uniform numbers in [low, high)."""
    return _filled(shape, lambda rng, size: rng.uniform(low, high, size), dtype)


def tensors(shape: ShapeLike | None = None, dtype: DTypeLike = np.float64) -> SearchStrategy[Tensor]:
    """Draw tensors of uniform numbers in [-2, 2)."""
    return arrays(shape, dtype=dtype).map(Tensor)


def separated(shape: ShapeLike | None = None, gap: float = 0.2, dtype: DTypeLike = np.float64) -> SearchStrategy[Array]:
    """Numbers at least `gap` from each other and gap / 2 from 0: clear of the kinks of max, relu, abs, by construction.

    They are (k + ½ + u) · 2 gap for different integers k around 0 and |u| < ¼, in random order.
    """

    def fill(rng: np.random.Generator, size: Shape) -> Array:
        n = math.prod(size)
        cells = rng.permutation(n) - n // 2
        return ((cells + 0.5 + rng.uniform(-0.25, 0.25, n)) * 2 * gap).reshape(size)

    return _filled(shape, fill, dtype)


def regular_matrices(shape: ShapeLike) -> SearchStrategy[Array]:
    """Square matrices (…, n, n) with singular values in [½, 2] and determinants of either sign."""

    def fill(rng: np.random.Generator, size: Shape) -> Array:
        left, right = (np.linalg.qr(rng.normal(size=size))[0] for _ in range(2))
        stretch = rng.uniform(0.5, 2, size[:-1]) * rng.choice([-1, 1], size[:-1])
        return np.asarray(left * stretch[..., None, :] @ right)

    return _filled(shape, fill, np.float64)


@st.composite
def layouts(draw: DrawFn, x: Array) -> Array:
    """Lay the same numbers out otherwise in memory: Fortran order, every other entry, reversed, or read-only."""
    kind = draw(st.sampled_from(["fortran", "strided", "reversed", "read-only"]))
    if kind == "fortran":
        return np.asarray(x, order="F")
    if kind == "strided":
        wide = np.full((*x.shape, 2), np.nan, x.dtype)
        wide[..., 0] = x
        return wide[..., 0]
    if kind == "reversed" and x.ndim:
        return x[::-1].copy()[::-1]
    copy = x.copy()
    copy.flags.writeable = False
    return copy


@st.composite
def taps(draw: DrawFn, axes: int | None = None, reach: int = 2, max_size: int = 5) -> Taps:
    """Sets of different offsets along one or two axes, in any order, mostly not square, now and then dilated."""
    axes = draw(st.integers(1, 2)) if axes is None else axes
    offset = st.tuples(*[st.integers(-reach, reach)] * axes)
    dilation = draw(st.sampled_from([1, 1, 1, 2]))
    chosen = draw(st.lists(offset, min_size=1, max_size=max_size, unique=True))
    return tuple(tuple(dilation * i for i in tap) for tap in chosen)


def masks(shape: ShapeLike) -> SearchStrategy[Array]:
    """Boolean arrays, half of them true on average and at least one."""

    def fill(rng: np.random.Generator, size: Shape) -> Array:
        mask = rng.uniform(size=size) < 0.5
        if mask.size:
            mask.flat[rng.integers(mask.size)] = True
        return mask

    return _filled(shape, fill, bool)


def orders(n: int) -> SearchStrategy[Array]:
    """Permutations of 0 … n − 1."""
    return st.permutations(range(n)).map(lambda order: np.array(order, dtype=int))


def axes_of(ndim: int) -> SearchStrategy[Any]:
    """What NumPy takes as an axis to sum over: None, an axis, a tuple of them, counted from either end."""
    if not ndim:
        return st.none()
    single = st.integers(-ndim, ndim - 1)
    several = st.lists(st.integers(0, ndim - 1), unique=True, min_size=1).map(tuple)
    return st.none() | single | several


def _filled(
    shape: ShapeLike | None, fill: Callable[[np.random.Generator, Shape], Array], dtype: DTypeLike
) -> SearchStrategy[Array]:
    size = shapes() if shape is None else st.just(shape) if isinstance(shape, tuple) else shape
    return st.builds(lambda rng, size: np.asarray(fill(rng, size)).astype(dtype), rngs(), size)
