"""MADE masks: outputs are connected to all earlier variables and to no others."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array
from tinygen.nn.made_masks import made_degrees, made_masks

ORDERS = st.integers(1, 7).flatmap(lambda variables: st.permutations(range(variables)))


def count_paths(
    order: Any, hidden: Any, width: int = 1, rng: np.random.Generator | None = None, lowest: int = 1
) -> Array:
    """Return the number of paths from each input to each output, (D, D · width)."""
    paths = np.eye(len(order), dtype=int)
    for mask in made_masks(made_degrees(order, hidden, rng, lowest), width):
        paths = paths @ mask
    return paths


def is_earlier(order: Any) -> Array:
    """Return a matrix that is true at [i, j] if variable i comes before variable j."""
    rank = np.argsort(order)
    return np.asarray(rank[:, None] < rank[None, :])


@given(
    order=ORDERS,
    hidden=st.lists(st.integers(1, 9), max_size=3),
    width=st.integers(1, 3),
    lowest=st.integers(0, 1),
    seed=st.none() | st.integers(0, 2**32),
)
def test_no_path_to_the_same_or_an_earlier_variable(
    order: list[int], hidden: list[int], width: int, lowest: int, seed: int | None
) -> None:
    rng = None if seed is None else np.random.default_rng(seed)
    connected = count_paths(order, hidden, width, rng, lowest) > 0
    assert not np.any(connected & ~np.repeat(is_earlier(order), width, axis=1))


@given(
    order=ORDERS, layers=st.integers(0, 3), width=st.integers(1, 3), extra=st.integers(0, 3), lowest=st.integers(0, 1)
)
def test_enough_units_connect_every_earlier_to_every_later_variable(
    order: list[int], layers: int, width: int, extra: int, lowest: int
) -> None:
    hidden = [max(1, len(order) - lowest) + extra] * layers
    connected = count_paths(order, hidden, width, lowest=lowest) > 0
    np.testing.assert_array_equal(connected, np.repeat(is_earlier(order), width, 1))


@given(order=ORDERS, hidden=st.lists(st.integers(1, 9), min_size=1, max_size=3), seed=st.none() | st.integers(0, 2**32))
def test_every_hidden_unit_has_an_input(order: list[int], hidden: list[int], seed: int | None) -> None:
    degrees = made_degrees(order, hidden, None if seed is None else np.random.default_rng(seed))
    for each in degrees[1:]:
        assert each.min() >= min(1, len(order) - 1)
        assert each.max() <= max(0, len(order) - 1)
    if len(order) > 1:
        assert all(mask.any(0).all() for mask in made_masks(degrees)[:-1])


def test_degrees_are_evenly_spread() -> None:
    inputs, six_units, two_units = made_degrees([2, 0, 3, 1], [6, 2])
    np.testing.assert_array_equal(inputs, [2, 4, 1, 3])
    np.testing.assert_array_equal(six_units, [1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(two_units, [1, 3])
    np.testing.assert_array_equal(made_degrees(range(4), [8], lowest=0)[1], [0, 0, 1, 1, 2, 2, 3, 3])
