"""Where a variable stands in its event, as numbers that a network can be told.

Checked by: tests/models/autoregressive/test_coordinates.py
"""

import math

import numpy as np

from ...autograd import Array
from ...checks import check_counts


def raster_coordinates(shape: tuple[int, ...]) -> Array:
    """Coordinates of every variable of an event, evenly from −1 to 1 along each axis that is longer than 1.

        c_a(i) = 2 i_a / (n_a − 1) − 1        for the place i = (i_1, i_2, …) and the lengths n_a of the axes a

    An axis of length 1 has none: a number that is the same everywhere tells no place from another.

    Shapes: result (variables, axes longer than 1), the variables in raster order, the last axis fastest.
    Raises ValueError if the shape has no axis, or one of length below 1.
    """
    check_counts("shape", shape)
    lines = [np.linspace(-1, 1, n) for n in shape if n > 1]
    grid = np.array(np.meshgrid(*lines, indexing="ij"))  # (axes, *lengths)
    return grid.reshape(len(lines), math.prod(shape)).T
