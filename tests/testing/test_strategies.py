"""Tests of the Hypothesis strategies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tinygen.autograd import Array
from tinygen.autograd.taps import Taps
from tinygen.bijections import Bijection
from tinygen.testing import strategies as draws
from tinygen.testing.strategies import Shape


@given(x=draws.arrays())
def test_arrays_are_float64_and_of_order_one(x: Array) -> None:
    assert x.dtype == np.float64
    assert np.all(np.abs(x) <= 2)


@given(x=draws.arrays((2, 3), dtype=np.float32))
def test_arrays_have_the_requested_shape_and_dtype(x: Array) -> None:
    assert x.shape == (2, 3)
    assert x.dtype == np.float32


@given(x=draws.separated(draws.shapes(1, 3)), gap=st.just(0.2))
def test_separated_entries_differ_from_each_other_and_from_zero(x: Array, gap: float) -> None:
    ordered = np.sort(x.ravel())
    assert np.all(np.diff(ordered) >= gap * (1 - 1e-12))
    assert np.all(np.abs(ordered) >= gap / 2 * (1 - 1e-12))


@given(shapes=draws.broadcastable_shapes(3))
def test_broadcastable_shapes_broadcast(shapes: tuple[Shape, ...]) -> None:
    assert np.broadcast_shapes(*shapes) in shapes


@given(data=st.data(), x=draws.arrays())
def test_layouts_keep_dtype_and_values(data: st.DataObject, x: Array) -> None:
    y = data.draw(draws.layouts(x))
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, x)


@given(a=draws.regular_matrices((2, 3, 3)))
def test_regular_matrices_are_well_conditioned(a: Array) -> None:
    assert np.all(np.linalg.cond(a) <= 4 * (1 + 1e-9))


@given(taps=draws.taps())
def test_taps_are_distinct_offsets(taps: Taps) -> None:
    assert taps
    assert len(set(taps)) == len(taps)
    assert len({len(tap) for tap in taps}) == 1


@given(mask=draws.masks(draws.shapes(1)))
def test_masks_are_boolean_with_a_true_entry(mask: Array) -> None:
    assert mask.dtype == bool
    assert mask.any()


@given(order=draws.orders(5))
def test_orders_are_permutations(order: Array) -> None:
    np.testing.assert_array_equal(np.sort(order), np.arange(5))


@given(data=st.data(), ndim=st.integers(0, 3))
def test_axes_are_valid_for_reductions(data: st.DataObject, ndim: int) -> None:
    np.sum(np.ones((2,) * ndim), axis=data.draw(draws.axes_of(ndim)))


@given(table=draws.probability_tables((2, 3)))
def test_probability_tables_are_positive_and_sum_to_one(table: Array) -> None:
    assert np.all(table > 0.01)
    np.testing.assert_allclose(table.sum(-1), 1, rtol=1e-15)


@given(bijection=draws.bijections(3), seed=st.integers(0, 2**32))
def test_bijections_have_an_inverse_and_a_log_det(bijection: Bijection, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(2, 3))
    z, log_det = bijection.forward(x)
    returned, back = bijection.inverse(z)
    np.testing.assert_allclose(returned.value, x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(log_det.value, -back.value, rtol=1e-9, atol=1e-9)


def shrunk(strategy: SearchStrategy[Any], condition: Callable[[Any], bool]) -> Any:
    return find(strategy, condition, settings=settings(database=None, max_examples=500), random=Random(0))


def test_failing_examples_shrink_to_something_readable() -> None:
    np.testing.assert_allclose(shrunk(draws.arrays((4,)), lambda x: True), [-1.3, -0.3, 0.7, 1.7])
    assert shrunk(draws.arrays(), lambda x: x.ndim == 2).shape == (1, 1)
    assert shrunk(draws.tensors((2,)), lambda x: True).value.tolist() == pytest.approx([-0.6, 1.4])
    assert shrunk(draws.probability_tables((2,)), lambda t: True).tolist() == [0.5, 0.5]
    assert shrunk(draws.probability_tables((3,)), lambda t: t[0] > 0.5).tolist() == [0.6, 0.2, 0.2]
    assert shrunk(draws.masks((2, 2)), lambda m: True).tolist() == [[True, False], [False, False]]
    assert shrunk(draws.masks((2, 2)), lambda m: m[1, 1]).tolist() == [[False, False], [False, True]]
    assert shrunk(draws.regular_matrices((2, 2, 2)), lambda a: True).tolist() == [np.eye(2).tolist()] * 2
    flipped = shrunk(draws.regular_matrices((3, 3)), lambda a: np.linalg.det(a) < 0)
    assert sorted(np.diag(flipped)) == [-1, 1, 1]
    assert np.count_nonzero(flipped) == 3
    np.testing.assert_allclose(shrunk(draws.separated((4,)), lambda x: True), [-0.6, -0.2, 0.2, 0.6])
    np.testing.assert_allclose(shrunk(draws.separated((4,)), lambda x: x[0] > x[1]), [-0.2, -0.6, 0.2, 0.6])
    assert shrunk(draws.broadcastable_shapes(), lambda s: s[0] != s[1]) in (((2,), (1,)), ((1,), ()))
    assert shrunk(draws.taps(), lambda t: len(t) == 2) == ((0,), (1,))
    assert shrunk(draws.orders(4), lambda order: True).tolist() == [0, 1, 2, 3]
    (layer,) = shrunk(draws.bijections(), lambda b: True).bijections
    assert type(layer).__name__ == "Affine"
    np.testing.assert_allclose(np.diff(layer.shift), 1.5 / 8)


KINDS: dict[str, tuple[SearchStrategy[Any], Callable[[Any], bool]]] = {
    "shapes that broadcast": (draws.broadcastable_shapes(), lambda s: s[0] != s[1] and () not in s),
    "not contiguous": (draws.layouts(np.ones((2, 2))), lambda x: not x.flags.c_contiguous),
    "reversed": (draws.layouts(np.ones(3)), lambda x: x.strides[0] < 0),
    "read-only": (draws.layouts(np.ones(3)), lambda x: not x.flags.writeable),
    "dilated taps": (draws.taps(2), lambda t: all(i % 2 == 0 for tap in t for i in tap) and len(t) > 2),
    "taps in one axis": (draws.taps(), lambda t: len(t[0]) == 1),
    "taps out of order": (draws.taps(2), lambda t: list(t) != sorted(t)),
    "balanced masks": (draws.masks((8,)), lambda m: m.sum() == 4),
    "irregular gaps": (draws.separated((5,)), lambda x: np.ptp(np.diff(np.sort(x))) > 0.01),
    "full matrices": (draws.regular_matrices((3, 3)), lambda a: np.abs(a).min() > 0.01),
    "determinants of both signs": (draws.regular_matrices((2, 2)), lambda a: bool(np.linalg.det(a) < 0)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_strategies_draw_every_kind_of_example(kind: str) -> None:
    strategy, condition = KINDS[kind]
    find(strategy, condition, settings=settings(database=None, max_examples=500))  # raises if there is none


def test_checkers_do_not_require_hypothesis() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import tinygen.testing as t; t.check_grads"
    subprocess.run([sys.executable, "-c", code], check=True)
