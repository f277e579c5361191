"""Hypothesis strategies for property tests of numerical code.

Hypothesis draws shapes, axes, indices, masks, orders and matrices, and shrinks them to the smallest failing ones. The
entries of `arrays` and `tensors` come from a seeded generator: they are distinct generic numbers of order 1, for which
finite differences are accurate. The seed shrinks to 0, for which they are evenly spaced. Special values such as NaN and
1e-308 need separate tests. This module requires Hypothesis.

Example:
    >>> from hypothesis import given
    >>> @given(x=tensors((2, 3)), order=orders(3), mask=masks((2, 3)))
    ... def test_my_layer(x, order, mask):
    ...     assert x.shape == mask.shape
    >>> test_my_layer()

Checked by: tests/testing/test_strategies.py
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from numpy.typing import ArrayLike, DTypeLike

from ..autograd import Array, Tensor, tanh
from ..autograd.taps import Taps
from ..bijections import Affine, AffineCoupling, Bijection, Chain, Mask, Permute
from ..nn.networks.couplings import CouplingMLP

Shape = tuple[int, ...]
ShapeLike = Shape | SearchStrategy[Shape]
Sides = SearchStrategy[int]

SIDES = st.integers(1, 4)


def rngs() -> SearchStrategy[np.random.Generator]:
    """Seeded random generators."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


def shapes(min_dims: int = 0, max_dims: int = 3, sides: Sides = SIDES) -> SearchStrategy[Shape]:
    """Shapes, including (); `sides` draws the size of an axis."""
    return st.lists(sides, min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def broadcastable_shapes(draw: DrawFn, number: int = 2, max_dims: int = 3, sides: Sides = SIDES) -> tuple[Shape, ...]:
    """Several shapes that broadcast together: some axes have size 1, and leading axes may be missing."""
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
    """Arrays of uniform random numbers in [low, high)."""

    def fill(seed: int, size: Shape) -> Array:
        if seed:
            return np.random.default_rng(seed).uniform(low, high, size)
        n = math.prod(size)  # what a failing example shrinks to; no entry is 0 if low = −high
        return (low + (high - low) * (np.arange(n) + 0.7) / max(n, 1)).reshape(size)

    sizes = shapes() if shape is None else st.just(shape) if isinstance(shape, tuple) else shape
    return st.builds(lambda seed, size: np.asarray(fill(seed, size)).astype(dtype), st.integers(0, 2**32 - 1), sizes)


def tensors(
    shape: ShapeLike | None = None, low: float = -2.0, high: float = 2.0, dtype: DTypeLike = np.float64
) -> SearchStrategy[Tensor]:
    """Tensors with the entries of `arrays`."""
    return arrays(shape, low, high, dtype).map(Tensor)


def probability_tables(shape: ShapeLike) -> SearchStrategy[Array]:
    """Arrays of positive numbers that sum to 1 along the last axis, none of them tiny. They shrink to equal numbers."""
    weights = _filled(shape, lambda draw, n: [draw(st.integers(1, 10)) for _ in range(n)], np.float64)
    return weights.map(lambda table: table / table.sum(-1, keepdims=True))


def separated(shape: ShapeLike | None = None, gap: float = 0.2, dtype: DTypeLike = np.float64) -> SearchStrategy[Array]:
    """Arrays whose entries are at least `gap` apart and gap / 2 from 0: away from the kinks of max, relu and abs.

    The entries are (k + ½ + u) · 2 gap for distinct integers k around 0 and |u| < ¼, in random order. They shrink to
    u = 0 and ascending order.
    """

    def fill(draw: DrawFn, n: int) -> Array:
        order, seed = draw(st.permutations(range(n))), draw(st.integers(0, 2**32 - 1))
        jitter = np.random.default_rng(seed).uniform(-0.25, 0.25, n) if seed else 0.0
        return np.asarray((np.array(order) - n // 2 + 0.5 + jitter) * 2 * gap)

    return _filled(shape, fill, dtype)


@st.composite
def regular_matrices(draw: DrawFn, shape: ShapeLike) -> Array:
    """Square matrices (…, n, n) with singular values in [½, 2] and determinants of either sign.

    A product of rotations of two adjacent axes each, a diagonal matrix, and more rotations. It shrinks to the identity.
    """
    *batch, n, _ = shape if isinstance(shape, tuple) else draw(shape)
    found = np.zeros((math.prod(batch), n, n))
    for matrix in found:
        for i in range(n):
            matrix[i, i] = draw(st.sampled_from([1, -1])) * 2.0 ** (draw(st.integers(-9, 9)) / 9)
        for i in range(n - 1):
            for axes in (matrix[i : i + 2], matrix.T[i : i + 2]):
                angle = draw(st.integers(-9, 9)) / 4
                c, s = math.cos(angle), math.sin(angle)
                axes[:] = np.array([[c, -s], [s, c]]) @ axes
    return found.reshape(*batch, n, n)


@st.composite
def bijections(draw: DrawFn, dims: int = 4) -> Bijection:
    """Chains of one to three affine maps, permutations and affine couplings of rows (N, dims), in float64."""
    layers = list[Bijection]()
    for kind in draw(st.lists(st.sampled_from(["affine", "permute", "coupling"]), min_size=1, max_size=3)):
        if kind == "affine":
            scale, shift = draw(arrays((2, dims), 0.5, 2.0))
            layers.append(Affine(scale * (-1.0) ** np.arange(dims), shift))
        elif kind == "permute":
            layers.append(Permute(draw(orders(dims))))
        else:
            mask = Mask("half", (dims,))
            a, b = mask.shapes[0][0], mask.shapes[1][0]
            net = CouplingMLP(a, 2 * b, draw(rngs()), hidden=5, depth=1, activation=tanh)
            layers.append(AffineCoupling(mask, net).astype(np.float64))
    return Chain(*layers)


@st.composite
def layouts(draw: DrawFn, x: Array) -> Array:
    """Copies of x in Fortran order, strided, reversed or read-only."""
    kind = draw(st.sampled_from(["fortran", "strided", "reversed", "read-only"]))
    if kind == "fortran":
        return np.asarray(x, order="F")
    if kind == "strided":
        wide = np.full((*x.shape, 2), np.nan if x.dtype.kind in "fc" else 1, x.dtype)
        wide[..., 0] = x
        return wide[..., 0]
    if kind == "reversed" and x.ndim:
        return x[::-1].copy()[::-1]
    copy = x.copy()
    copy.flags.writeable = False
    return copy


@st.composite
def taps(draw: DrawFn, axes: int | None = None, reach: int = 2, max_size: int = 5) -> Taps:
    """Sets of distinct offsets in one or two dimensions, in any order and shape, sometimes dilated."""
    axes = draw(st.integers(1, 2)) if axes is None else axes
    offset = st.tuples(*[st.integers(-reach, reach)] * axes)
    dilation = draw(st.sampled_from([1, 1, 1, 2]))
    chosen = draw(st.lists(offset, min_size=1, max_size=max_size, unique=True))
    return tuple(tuple(dilation * i for i in tap) for tap in chosen)


def masks(shape: ShapeLike) -> SearchStrategy[Array]:
    """Boolean arrays in which about half of the entries, and at least one, are true; they shrink to one true entry."""

    def fill(draw: DrawFn, n: int) -> list[bool]:
        entries = [draw(st.booleans()) for _ in range(n)]
        return entries if any(entries) else [True, *entries][:n]

    return _filled(shape, fill, bool)


def orders(n: int) -> SearchStrategy[Array]:
    """Permutations of 0 … n − 1."""
    return st.permutations(range(n)).map(lambda order: np.array(order, dtype=int))


def axes_of(ndim: int) -> SearchStrategy[Any]:
    """Axis arguments of reductions: None, an axis (possibly negative) or a tuple of axes."""
    if not ndim:
        return st.none()
    single = st.integers(-ndim, ndim - 1)
    several = st.lists(st.integers(0, ndim - 1), unique=True, min_size=1).map(tuple)
    return st.none() | single | several


@st.composite
def _filled(draw: DrawFn, shape: ShapeLike | None, fill: Callable[[DrawFn, int], ArrayLike], dtype: DTypeLike) -> Array:
    """Arrays whose entries, in raster order, are fill(draw, number of entries)."""
    size = shape if isinstance(shape, tuple) else draw(shapes() if shape is None else shape)
    return np.asarray(fill(draw, math.prod(size))).astype(dtype).reshape(size)
