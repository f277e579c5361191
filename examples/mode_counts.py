"""Samples of a mixture of narrow Gaussians: how many of its modes they catch, and how they look beside the data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tinygen import plot
from tinygen.data.toy import GaussianMixture

Points = NDArray[np.float32]


def caught_and_good(density: GaussianMixture, x: Points) -> tuple[int, float]:
    """Count the modes that are caught; the share of good samples. Shapes: x (n, 2).

    A sample is good within 3 σ of a centre (98.9 % of the data are). A mode is caught if the good samples there are at
    least a quarter of its share of all samples, n/K.
    """
    distances = np.linalg.norm(x[:, None] - density.centres, axis=-1)  # (n, K)
    good = np.bincount(distances.argmin(1)[distances.min(1) < 3 * density.sigma], minlength=len(density.centres))
    return int((good >= 0.25 * len(x) / len(density.centres)).sum()), float(good.sum() / len(x))


def picture(rows: Mapping[str, tuple[GaussianMixture, Mapping[str, Points]]]) -> Figure:
    """Draw a row for each density: its data, then samples by the name of what drew them."""
    columns = 1 + max(len(drawn) for _, drawn in rows.values())
    figure = Figure(figsize=(2.3 * columns, 2.5 * len(rows)), dpi=plot.DPI, facecolor="white", layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for row, (density, drawn) in zip(panels, rows.values(), strict=True):
        data, reach = density.sample(5000, np.random.default_rng(0)), 1.25 * np.abs(density.centres).max()
        for panel, (name, x) in zip(row, [("data", data.astype(np.float32)), *drawn.items()], strict=True):
            panel.plot(*x.T, ".", color="#08306B", markersize=1.5, alpha=0.3, mew=0)
            panel.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
            panel.set_title(name, fontsize=10, color=plot.INK, loc="left")
    return figure
