"""A χ² test of samples in the plane against a continuous density, over the cells of a grid."""

from __future__ import annotations

import numpy as np

from tinygen.autograd import Array
from tinygen.bijections import Flow
from tinygen.testing import check_sampler

CELLS = 5  # along each side
FINE = 40  # points along each side of a cell, over which the density is averaged


def check_plane_sampler(
    drawn: Flow, density: Flow, reach: float, *, rng: np.random.Generator, context: Array | None = None
) -> None:
    """Check that samples of one flow follow the density of another, in the cells of [−reach, reach]² and outside."""

    def repeated_context(n: int) -> Array | None:
        return None if context is None else np.tile(context, (n, 1))

    centres = reach * (2 * (np.arange(CELLS * FINE) + 0.5) / (CELLS * FINE) - 1)
    points = np.stack(np.meshgrid(centres, centres, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(density.log_prob(points, repeated_context(len(points))).value).reshape(CELLS, FINE, CELLS, FINE)
    mass = p.sum((1, 3)) * (2 * reach / (CELLS * FINE)) ** 2

    def cell(n: int, rng: np.random.Generator) -> Array:
        i, j = np.floor((drawn.sample(n, rng, repeated_context(n)) / reach + 1) / 2 * CELLS).astype(int).T
        inside = (np.minimum(i, j) >= 0) & (np.maximum(i, j) < CELLS)
        return np.where(inside, i * CELLS + j, CELLS**2)

    log_mass = np.log(np.append(mass.ravel(), 1 - mass.sum()))
    check_sampler(cell, lambda k: log_mass[k], np.arange(CELLS**2 + 1), rng=rng)
