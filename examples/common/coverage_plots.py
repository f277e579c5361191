"""Figures of GANs on mixtures of Gaussians: samples, and modes covered against quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from common.mode_coverage import Points
from common.report import Report
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinygen import plot
from tinygen.data.toy import GaussianMixture


def plot_coverage(report: Report, densities: Mapping[str, GaussianMixture], objectives: Sequence[str]) -> Figure:
    """Plot one row per density: data, samples of every objective, and modes covered against quality for all seeds."""
    columns = len(objectives) + 2
    size = 2.1 * columns + 0.6, 2.5 * len(densities)
    figure = Figure(figsize=size, dpi=plot.DPI, facecolor="white", layout="constrained")
    grid = figure.subplots(len(densities), columns, squeeze=False)
    samples = report.first("samples")
    for row, (name, density) in zip(grid, densities.items(), strict=True):
        extent = 1.25 * np.abs(density.centres).max()
        _scatter(row[0], density.sample(5000, np.random.default_rng(0)), extent, plot.INK, f"{name}: data")
        for i, objective in enumerate(objectives):
            setting = f"{name}, {objective}"
            if setting not in samples:
                row[1 + i].set_visible(False)
                continue
            _scatter(row[1 + i], samples[setting], extent, plot.COLOURS[i], objective)
            # Open markers of different shapes and sizes, so that equal results of several seeds or objectives show.
            modes, quality = report.values("modes", setting), report.values("high_quality_percent", setting)
            style = {"marker": "osD^"[i % 4], "s": 25 + 30 * i, "facecolor": "none", "edgecolor": plot.COLOURS[i]}
            jitter = np.linspace(-0.012, 0.012, len(modes)) * len(density.centres)
            row[-1].scatter(modes + jitter, quality, linewidth=0.9, **style)
        k = len(density.centres)
        row[-1].set(xlim=(-0.1 * k, 1.1 * k), ylim=(-5, 105), box_aspect=1, xticks=[0, k // 2, k])
        row[-1].set_xlabel(f"modes covered (of {k})", fontsize=8)
        row[-1].set_ylabel("high-quality samples (%)", fontsize=8)
        row[-1].tick_params(labelsize=8)
        row[-1].spines[["top", "right"]].set_visible(False)
        row[-1].set_title("one marker per seed", fontsize=9, color=plot.INK, loc="left")
    return figure


def _scatter(axes: Axes, x: Points, extent: float, colour: str, title: str) -> None:
    axes.plot(x[:, 0], x[:, 1], ".", color=colour, markersize=1.5, alpha=0.3, mew=0)
    ticks = np.round([-extent, extent], 1)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal", xticks=ticks, yticks=ticks)
    axes.set_xlabel("x₁", fontsize=8, labelpad=-6)
    axes.set_ylabel("x₂", fontsize=8, labelpad=-12)
    axes.tick_params(labelsize=7)
    axes.set_title(title, fontsize=9, color=colour, loc="left")
