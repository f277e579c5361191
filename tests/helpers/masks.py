"""Masks of couplings for the tests: one case per name and event shape, and the definition of the split."""

import numpy as np

from tinygen.autograd import Array

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "half": [(2,), (5,), (4, 2, 1), (3, 2, 2)],
    "channel": [(3,), (2, 3, 2), (1, 2, 3)],
    "checkerboard": [(2,), (6,), (2, 4, 1), (4, 2, 2)],
}
MASKS = [(name, shape) for name, shapes in SHAPES.items() for shape in shapes]


def in_second_part(name: str, shape: tuple[int, ...]) -> Array:
    """Return, for every element of an event, whether the mask assigns it to the part that a coupling transforms."""
    indices = np.indices(shape)
    if name == "checkerboard":
        return np.asarray(indices[: 1 if len(shape) == 1 else 2].sum(0) % 2 == 1)
    axis = 0 if name == "half" else len(shape) - 1
    return np.asarray(indices[axis] >= shape[axis] // 2)
