"""Figures of two-dimensional flows: data, samples and density; a grid of the latent space mapped to the data space."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from tinygen import no_grad, plot
from tinygen.bijections import Bijection, Chain

Box: TypeAlias = tuple[float, float, float, float]
Reals: TypeAlias = NDArray[np.float64]


def density_and_samples(log_prob: Callable[[Reals], ArrayLike], data: Reals, samples: Reals, box: Box) -> Figure:
    """Plot data, samples and the density exp log_prob. Shapes: data, samples (n, 2), log_prob (n, 2) → (n,) nats."""
    x1, x2 = (a + (np.arange(250) + 0.5) / 250 * (b - a) for a, b in (box[:2], box[2:]))
    with no_grad():
        log_p = np.asarray(log_prob(np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)), np.float64)
    figure, (*scatter, image) = _square_axes(["data", "samples", "model density"], box)
    for axes, points in zip(scatter, (data, samples), strict=True):
        axes.plot(*points.T, ".", color="#08306B", markersize=2.2, alpha=0.45, mew=0)
    image.imshow(np.exp(log_p).reshape(250, 250), extent=box, origin="lower", cmap="Blues", vmin=0)
    return figure


def grid_lines(extent: float = 3.0, lines: int = 25) -> Reals:
    """Return the lines of a square grid as polylines (2 · lines, 2000, 2), the vertical lines first."""
    vertical = np.stack(np.meshgrid(*(np.linspace(-extent, extent, n) for n in (lines, 2000)), indexing="ij"), axis=-1)
    return np.concatenate([vertical, vertical[..., ::-1]])


def inverse_stages(bijection: Bijection, z: Reals) -> list[Reals]:
    """Map latent points z (…, 2) to data space; return z, then the points after each bijection of the chain."""
    stages, layers = [z], bijection.bijections if isinstance(bijection, Chain) else [bijection]
    with no_grad():
        for layer in reversed(layers):
            stages.append(layer.inverse(stages[-1].reshape(-1, 2))[0].value.reshape(z.shape))
    return stages


def warped_grid(stages: Sequence[Reals], box: Box, columns: int = 4) -> Figure:
    """Plot the grid at `columns` evenly spaced stages between latent space and data space, whose extent is `box`."""
    chosen = np.linspace(0, len(stages) - 1, columns).round()
    figure, row = _square_axes([f"after {i:.0f} of {len(stages) - 1} bijections" for i in chosen], box)
    for i, axes in zip(chosen, row, strict=True):
        _draw(axes, stages, box, i)
    return figure


def warped_grid_gif(stages: Sequence[Reals], box: Box, path: Path, frames: int = 4) -> None:
    """Animate the grid from latent space to data space, with `frames` frames per stage and a pause at the end."""
    (figure, (axes,)), writer, last = _square_axes([""], box), PillowWriter(fps=15), len(stages) - 1
    with writer.saving(figure, str(path), dpi=80):
        for time in [*np.linspace(0, last, frames * last + 1), *[float(last)] * 15]:
            axes.clear()
            _draw(axes, stages, box, time)
            writer.grab_frame()


def _draw(axes: Any, stages: Sequence[Reals], box: Box, time: float) -> None:
    """Draw the grid at a fractional stage, interpolating points and axis limits linearly."""
    i, extent, fraction = min(int(time), len(stages) - 2), float(np.abs(stages[0]).max()), time / (len(stages) - 1)
    limits = (1 - fraction) * np.array([-extent, extent, -extent, extent]) + fraction * np.array(box)
    for j, line in enumerate(stages[i] + (time - i) * (stages[i + 1] - stages[i])):
        axes.plot(*line.T, color=plot.COLOURS[int(j < len(stages[0]) / 2)], linewidth=0.6, alpha=0.8)
    axes.set(xlim=limits[:2], ylim=limits[2:], aspect="auto", xticks=[], yticks=[])


def _square_axes(titles: Sequence[str], box: Box) -> tuple[Figure, list[Any]]:
    size = 3.1 * len(titles), 3.1 * (box[3] - box[2]) / (box[1] - box[0]) + 0.3
    figure = Figure(figsize=size, dpi=plot.DPI, facecolor="white", layout="constrained")
    row = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for axes, title in zip(row, titles, strict=True):
        axes.set(xlim=box[:2], ylim=box[2:], aspect="equal", xticks=[], yticks=[])
        axes.set_title(title, fontsize=10, color=plot.INK, loc="left")
    return figure, row
