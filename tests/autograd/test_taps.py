"""Taps against pictures of the kernels and the masks of the papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import taps
from tinygen.autograd.taps import Taps
from tinygen.autograd.taps.windows import as_taps


def parse_picture(picture: str) -> Taps:
    """Parse the offsets from a picture: x is a tap, o the centre, X a tap at the centre."""
    marks = [(y, x, mark) for y, row in enumerate(picture.split()) for x, mark in enumerate(row)]
    (cy, cx) = next((y, x) for y, x, mark in marks if mark in "oX")
    return tuple((y - cy, x - cx) for y, x, mark in marks if mark in "xX")


PICTURES = {
    "xxx xXx xxx": taps.square(3),
    "Xx xx": taps.square(2, 0),
    "xx xX": taps.square(2, -1),
    "xxx xo.": taps.causal(3),
    "xxx xX.": taps.causal(3, centre=True),
    "xxxxx xxxxx xxo..": taps.causal(5),
    "xxxxx xxxxx xxX..": taps.causal(5, centre=True),
    "xxx .o.": taps.vertical(3),
    "xxx xXx": taps.vertical(3, centre=True),
    "X": taps.vertical(1, centre=True),
    "xxxxx xxxxx ..o..": taps.vertical(5),
    "xxxxx xxxxx xxXxx": taps.vertical(5, centre=True),
    "xo": taps.horizontal(3),
    "xX": taps.horizontal(3, centre=True),
    "xxX": taps.horizontal(5, centre=True),
    "xx oo": taps.rectangle(range(-1, 0), range(2)),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_taps_match_their_pictures(picture: str) -> None:
    assert PICTURES[picture] == parse_picture(picture)


def test_dilated_and_point() -> None:
    assert taps.dilated(2) == ((-1,), (0,))
    assert taps.dilated(3, 4) == ((-8,), (-4,), (0,))
    assert taps.dilated(2, 4, centre=False) == ((-8,), (-4,))
    assert taps.dilated(1) == taps.point(1) == ((0,),)
    assert taps.point() == ((0, 0),)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_masks_a_and_b_differ_only_in_the_centre(size: int) -> None:
    assert taps.causal(size, centre=True) == (*taps.causal(size), (0, 0))
    assert 2 * len(taps.causal(size)) + 1 == len(taps.square(size))


@pytest.mark.parametrize("size", [3, 5, 7])
def test_vertical_and_horizontal_stacks_together_are_mask_a(size: int) -> None:
    assert {*taps.vertical(size), *taps.horizontal(size)} == set(taps.causal(size))
    assert taps.horizontal(size, centre=True) == (*taps.horizontal(size), (0, 0))
    assert set(taps.vertical(size, centre=True)) - set(taps.vertical(size)) == {
        tap for tap in taps.square(size) if not tap[0]
    }


@pytest.mark.parametrize("offsets", [*PICTURES.values(), taps.dilated(4, 3)])
def test_taps_are_distinct_hashable_and_in_raster_order(offsets: Taps) -> None:
    assert list(offsets) == sorted(set(offsets))
    hash(offsets)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (taps.square, (4,), "square: expected an odd size, got 4, which has no centre; pass start"),
        (taps.square, (0, 0), "square: size: expected an integer from 1 to 1024, got 0"),
        (taps.square, (2**70,), "square: size: expected an integer from 1 to 1024, got 1180591620717411303424"),
        (taps.square, (3, 0.5), "square: start: expected an integer, got 0.5"),
        (taps.causal, (float("nan"),), "square: size: expected an integer, got nan"),
        (taps.vertical, (4,), "vertical: expected an odd size of at least 3, got 4"),
        (taps.vertical, (1,), "vertical: size: expected an integer from 3 to 1024, got 1"),
        (taps.horizontal, (-1,), "horizontal: size: expected an integer from 3 to 1024, got -1"),
        (taps.horizontal, (1.5,), "horizontal: size: expected an integer, got 1.5"),
        (taps.dilated, (2, 0), "dilated: dilation: expected an integer from 1 to 2097152, got 0"),
        (taps.dilated, (2, 1.5), "dilated: dilation: expected an integer, got 1.5"),
        (taps.dilated, (2.0,), "dilated: size: expected an integer, got 2.0"),
        (taps.point, (0.5,), "point: axes: expected an integer, got 0.5"),
    ],
)
def test_errors_name_the_function_and_the_value(function: Callable[..., Taps], arguments: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("given", [[[0, -1], [0, 0]], [(0, -1), (0, 0)], np.array([[0, -1], [0, 0]])])
def test_as_taps_accepts_sequences_of_integers(given: Any) -> None:
    result = as_taps("conv", given)
    assert result == ((0, -1), (0, 0))
    assert all(type(offset) is int for tap in result for offset in tap)


def test_as_taps_keeps_tuples_of_int() -> None:
    offsets = taps.square(3)
    assert as_taps("conv", offsets) is offsets


@pytest.mark.parametrize("given", [((0.0, 0.0),), ((0, float("nan")),), ((0, 1.5),), (0, 1), 3, "x", None])
def test_as_taps_rejects_what_is_not_integers(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^conv: taps: expected tuples of integers, got "):
        as_taps("conv", given)


def test_as_taps_rejects_offsets_whose_addresses_overflow() -> None:
    with pytest.raises(ValueError, match=r"^conv: taps: expected offsets below 2\*\*31, got \(\(0,\), \(-1180591"):
        as_taps("conv", ((0,), (-(2**70),)))
