"""Figures that several examples share: white subplots, and validation losses over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from common.report import Report
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tinygen import plot
from tinygen.training import History


def subplots(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Figure, Any]:
    """Return a white figure of the given size in inches and its axes, without the top and right spines."""
    figure = Figure(figsize=(width, height), dpi=plot.DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for each in figure.axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def validation_curve(history: History) -> NDArray[np.float64]:
    """Return the recorded steps and validation losses, (2, T)."""
    return np.array([(record.step, record.valid) for record in history.records], np.float64).T


def plot_validation_curves(report: Report, name: str, settings: Mapping[str, str] | None = None) -> Figure:
    """Plot the result `name`, a validation curve (2, T), of the settings: the mean over seeds, and the range as a band.

    Args:
        settings: setting → label, by default all settings. Baselines are drawn if they are near the losses.
    """
    labels = settings or {setting: setting for setting in report.results}
    runs = {label: report.values(name, setting) for setting, label in labels.items() if setting in report.results}
    later = np.concatenate([each[:, 1, each.shape[2] // 5 :].ravel() for each in runs.values()])
    margin = 0.1 * np.ptp(later) + 0.01
    low, high = later.min() - margin, later.max() + margin  # without the first fifth, whose losses are much higher
    near = {name: value for name, value in report.baselines.items() if low - 5 * margin < value < high + 5 * margin}
    low, high = min(low, *near.values(), high) - margin, max(high, *near.values(), low) + margin
    seeds = max(map(len, runs.values()))
    steps = next(iter(runs.values()))[0, 0]
    figure = plot.curves(
        {"step": steps, **{label: each[:, 1].mean(0) for label, each in runs.items()}},
        x="step",
        ylabel=f"validation loss ({report.unit})",
        baselines=near,
        ylim=(low, high),
        title=f"lines: mean over {seeds} seeds; bands: range" if seeds > 1 else "one seed",
    )
    for each, colour in zip(runs.values(), plot.COLOURS, strict=False):
        figure.axes[0].fill_between(steps, each[:, 1].min(0), each[:, 1].max(0), color=colour, alpha=0.2, lw=0)
    return figure
