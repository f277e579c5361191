"""Figures of two-dimensional flows: data, samples and density."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from common.report import Report
from common.toy_densities import density_of
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tinygen import Tensor, no_grad, plot

Box: TypeAlias = tuple[float, float, float, float]
Reals: TypeAlias = NDArray[np.floating]


def arrays_to_plot(
    log_prob: Callable[[Reals], Tensor], samples: Reals, stages: Sequence[Reals], box: Box, cells: int = 200
) -> Any:
    """Return what the figures below need: samples (n, 2), the density on a grid (cells, cells), up to four stages."""
    x1, x2 = (a + (np.arange(cells) + 0.5) / cells * (b - a) for a, b in (box[:2], box[2:]))
    with no_grad():
        log_p = log_prob(np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)).value.astype(np.float64)
    chosen = np.unique(np.linspace(0, len(stages) - 1, 4).round().astype(int))
    grids = np.stack([stages[i] for i in chosen]).astype(np.float32)
    return {"samples": samples, "density": np.exp(log_p).reshape(cells, cells), "grids": grids, "stages": chosen}


def plot_densities(report: Report) -> Figure:
    """Plot data, samples and the density of the flow, one row per setting."""
    settings = report.first("samples")
    figure, rows = new_axes(len(settings), 3)
    for axes, (setting, samples) in zip(rows, settings.items(), strict=True):
        toy, density = density_of(setting), report.first("density")[setting]
        data = toy.sample(len(samples), np.random.default_rng(0))
        for each, points in zip(axes, (data, samples), strict=False):
            each.plot(*points.T, ".", color="#08306B", markersize=2.2, alpha=0.45, mew=0)
        axes[2].imshow(density, extent=toy.box, origin="lower", cmap="Blues", vmin=0)
        kl = report.first("KL")[setting]
        for each, title in zip(axes, (f"{setting}: data", f"samples, KL {kl:.3f} nats", "model density"), strict=True):
            style_axes(each, title, toy.box)
    return figure


def new_axes(rows: int, columns: int) -> tuple[Figure, NDArray[Any]]:
    """Return a figure with a grid of axes."""
    figure = Figure(figsize=(2.7 * columns, 2.7 * rows), dpi=plot.DPI, facecolor="white", layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def style_axes(axes: Any, title: str, box: Any) -> None:
    """Set the title, the limits and the labels of axes; the coordinates have no unit."""
    ticks = {"xticks": np.round(box[:2], 1), "yticks": np.round(box[2:], 1)}
    axes.set(xlim=box[:2], ylim=box[2:], aspect="auto", xlabel="x₁", ylabel="x₂", **ticks)
    axes.tick_params(labelsize=7)
    axes.set_title(title, fontsize=9, color=plot.INK, loc="left")
