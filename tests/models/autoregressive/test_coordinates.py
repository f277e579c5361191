"""Raster coordinates: values, range and order, checked against a plain loop; wrong implementations are rejected."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from tinygen.autograd import Array
from tinygen.models.autoregressive.coordinates import raster_coordinates

SHAPES = [(4,), (3, 4, 1), (1, 5, 1), (2, 3, 2), (1, 1, 3), (3, 3), (1, 1, 1)]


def check(coordinates: Callable[[tuple[int, ...]], Array]) -> None:
    """Compare with a loop over the indices in raster order."""
    for shape in SHAPES:
        lines = [np.linspace(-1, 1, n) for n in shape]
        indices = np.ndindex(shape)
        expected = [[line[i] for line, i in zip(lines, index, strict=True) if len(line) > 1] for index in indices]
        np.testing.assert_allclose(coordinates(shape), np.array(expected), rtol=0, atol=1e-15, strict=True)


def test_coordinates_match_loop_in_raster_order() -> None:
    check(raster_coordinates)
    assert raster_coordinates((2, 3, 1)).tolist() == [[-1, -1], [-1, 0], [-1, 1], [1, -1], [1, 0], [1, 1]]


@pytest.mark.parametrize("shape", SHAPES)
def test_coordinates_are_unique_and_span_minus_one_to_one(shape: tuple[int, ...]) -> None:
    found = raster_coordinates(shape)
    assert len(np.unique(found, axis=0)) == math.prod(shape)
    assert all(line.min() == -1 and line.max() == 1 for line in found.T)


def column_major(shape: tuple[int, ...]) -> Array:
    right = raster_coordinates(shape)
    return right[np.arange(len(right)).reshape(shape).ravel(order="F")]


def with_axes_of_length_one(shape: tuple[int, ...]) -> Array:
    return np.asarray(np.indices(shape).reshape(len(shape), -1).T * 2 / np.maximum(np.array(shape) - 1, 1) - 1)


WRONG: dict[str, Callable[[tuple[int, ...]], Array]] = {
    "column-major": column_major,
    "axes reversed": lambda shape: raster_coordinates(shape)[:, ::-1],
    "order reversed": lambda shape: raster_coordinates(shape)[::-1],
    "from 0 to 1": lambda shape: (raster_coordinates(shape) + 1) / 2,
    "with axes of length 1": with_axes_of_length_one,
}


@pytest.mark.parametrize("name", WRONG)
def test_check_rejects_wrong_coordinates(name: str) -> None:
    with pytest.raises(AssertionError):
        check(WRONG[name])


@pytest.mark.parametrize("shape", [(), (0, 3), (3, -1)])
def test_rejects_invalid_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^shape: expected one or more integers of at least 1"):
        raster_coordinates(shape)
