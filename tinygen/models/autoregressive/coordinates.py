"""Coordinates of the variables of an image, as network input.

Checked by: tests/models/autoregressive/test_coordinates.py
"""

import math

import numpy as np

from ...autograd import Array
from ...checks import check_counts


def raster_coordinates(shape: tuple[int, ...]) -> Array:
    """Return the coordinates of every variable in raster order (last axis fastest), scaled to −1…1 along each axis.

        c_a(i) = 2 i_a / (n_a − 1) − 1        for index i = (i_1, i_2, …) and axis lengths n_a

    Axes of length 1 are left out: their coordinate would be constant.

    Shapes: result (prod(shape), number of axes longer than 1).
    Raises: ValueError if the shape is empty or has a length below 1.
    """
    check_counts("shape", shape)
    lines = [np.linspace(-1, 1, n) for n in shape if n > 1]
    grid = np.array(np.meshgrid(*lines, indexing="ij"))  # (axes, *lengths)
    return grid.reshape(len(lines), math.prod(shape)).T
