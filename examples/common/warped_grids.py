"""Figures and animations of a flow: a grid of the noise space on its way to the data space."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from common.flow_plots import Box, new_axes, style_axes
from common.report import Report
from common.toy_densities import density_of
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tinygen import no_grad, plot
from tinygen.bijections import Bijection, Chain

Reals: TypeAlias = NDArray[np.floating]


def grid_lines(extent: float = 3.0, lines: int = 25, points: int = 500) -> Reals:
    """Return the lines of a square grid as polylines (2 · lines, points, 2), the vertical lines first."""
    vertical = np.stack(
        np.meshgrid(*(np.linspace(-extent, extent, n) for n in (lines, points)), indexing="ij"), axis=-1
    )
    return np.concatenate([vertical, vertical[..., ::-1]])


def inverse_stages(bijection: Bijection, z: Reals) -> list[Reals]:
    """Map noise points z (…, 2) to data space; return z, then the points after each bijection of the chain."""
    stages, layers = [z], bijection.bijections if isinstance(bijection, Chain) else [bijection]
    with no_grad():
        for layer in reversed(layers):
            stages.append(layer.inverse(stages[-1].reshape(-1, 2))[0].value.reshape(z.shape))
    return stages


def plot_grids(report: Report) -> Figure:
    """Plot the grid at up to four stages between noise and data, one row per setting."""
    settings = report.first("grids")
    figure, rows = new_axes(len(settings), 4)
    for axes, (setting, grids) in zip(rows, settings.items(), strict=True):
        chosen, box = report.first("stages")[setting], density_of(setting).box
        for each in axes[len(grids) :]:
            each.set_visible(False)
        for each, i, grid in zip(axes, chosen, grids, strict=False):
            fraction = i / chosen[-1]
            _draw(each, grid, _limits(fraction, grids[0], box))
            where = {0: f"{setting}: noise", chosen[-1]: "→ data"}.get(i, f"→ after {i} of {chosen[-1]} maps")
            each.set_title(where, fontsize=9, color=plot.INK, loc="left")
    return figure


def write_gif(stages: Sequence[Reals], box: Box, path: Path, frames: int = 4) -> None:
    """Animate the grid from noise to data, with `frames` frames per stage and a pause at the end."""
    (figure, rows), writer, last = new_axes(1, 1), PillowWriter(fps=15), len(stages) - 1
    with writer.saving(figure, str(path), dpi=80):
        for time in [*np.linspace(0, last, frames * last + 1), *[float(last)] * 4 * frames]:
            rows[0, 0].clear()
            i = min(int(time), last - 1)
            points = stages[i] + (time - i) * (stages[i + 1] - stages[i])
            _draw(rows[0, 0], points, _limits(time / last, stages[0], box))
            rows[0, 0].set_title(f"noise → data, step {time:.0f} of {last}", fontsize=9, color=plot.INK, loc="left")
            writer.grab_frame()


def _limits(fraction: float, noise: Reals, box: Box) -> Reals:
    """Interpolate the axis limits between those of the noise and those of the data."""
    extent = float(np.abs(noise).max())
    return np.asarray((1 - fraction) * np.array([-extent, extent, -extent, extent]) + fraction * np.array(box))


def _draw(axes: Any, lines: Reals, limits: Reals) -> None:
    for j, line in enumerate(lines):
        axes.plot(*line.T, color=plot.COLOURS[int(j < len(lines) / 2)], linewidth=0.6, alpha=0.8)
    style_axes(axes, "", tuple(limits))
