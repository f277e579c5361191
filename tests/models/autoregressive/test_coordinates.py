"""Coordinates: their values, range and sequence, and none along an axis that says nothing; wrong ones are found out."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from tinygen.autograd import Array
from tinygen.models.autoregressive.coordinates import raster_coordinates

SHAPES = [(4,), (3, 4, 1), (1, 5, 1), (2, 3, 2), (1, 1, 3), (3, 3), (1, 1, 1)]


def check(coordinates: Callable[[tuple[int, ...]], Array]) -> None:
    """Hold them against a loop over the places, the last axis fastest, with a line from −1 to 1 for every axis."""
    for shape in SHAPES:
        lines = [np.linspace(-1, 1, n) for n in shape]
        places = np.ndindex(shape)
        expected = [[line[i] for line, i in zip(lines, place, strict=True) if len(line) > 1] for place in places]
        np.testing.assert_allclose(coordinates(shape), np.array(expected), rtol=0, atol=1e-15, strict=True)


def test_they_are_those_of_the_places_in_raster_order() -> None:
    check(raster_coordinates)
    assert raster_coordinates((2, 3, 1)).tolist() == [[-1, -1], [-1, 0], [-1, 1], [1, -1], [1, 0], [1, 1]]


@pytest.mark.parametrize("shape", SHAPES)
def test_they_tell_every_place_from_every_other(shape: tuple[int, ...]) -> None:
    found = raster_coordinates(shape)
    assert len(np.unique(found, axis=0)) == math.prod(shape)
    assert all(line.min() == -1 and line.max() == 1 for line in found.T)


def by_columns(shape: tuple[int, ...]) -> Array:
    right = raster_coordinates(shape)
    return right[np.arange(len(right)).reshape(shape).ravel(order="F")]


def of_every_axis(shape: tuple[int, ...]) -> Array:
    return np.asarray(np.indices(shape).reshape(len(shape), -1).T * 2 / np.maximum(np.array(shape) - 1, 1) - 1)


WRONG: dict[str, Callable[[tuple[int, ...]], Array]] = {
    "down the columns": by_columns,
    "the last axis first": lambda shape: raster_coordinates(shape)[:, ::-1],
    "backwards": lambda shape: raster_coordinates(shape)[::-1],
    "from 0 to 1": lambda shape: (raster_coordinates(shape) + 1) / 2,
    "an axis of length 1": of_every_axis,
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_are_found_out(name: str) -> None:
    with pytest.raises(AssertionError):
        check(WRONG[name])


@pytest.mark.parametrize("shape", [(), (0, 3), (3, -1)])
def test_shapes_that_are_none(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^shape: expected one or more integers of at least 1"):
        raster_coordinates(shape)
