"""Taps against pictures of the kernels and the masks of the papers."""

from __future__ import annotations

import pytest

from tinygen.autograd import taps
from tinygen.autograd.taps import Taps


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


def test_errors_name_the_function_and_the_value() -> None:
    with pytest.raises(ValueError, match="square: expected an odd size, got 4, which has no centre; pass start"):
        taps.square(4)
    with pytest.raises(ValueError, match="square: expected size of at least 1, got 0"):
        taps.square(0, 0)
    with pytest.raises(ValueError, match="vertical: expected an odd size of at least 3, got 4"):
        taps.vertical(4)
    with pytest.raises(ValueError, match="vertical: expected an odd size of at least 3, got 1"):
        taps.vertical(1)
    with pytest.raises(ValueError, match="horizontal: expected an odd size of at least 3, got -1"):
        taps.horizontal(-1)
    with pytest.raises(ValueError, match="dilated: expected dilation of at least 1, got 0"):
        taps.dilated(2, 0)
