"""Plots: grids of samples, training curves and two-dimensional densities.

Every function returns a new Matplotlib `Figure`, and `save` writes it to a file. Neither pyplot nor rcParams is used.
The colours are those of Okabe & Ito, which colour-blind readers can distinguish.

Checked by: tests/test_plot.py
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import explained
from .checks import as_reals, at_least, require
from .files import import_optional, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, FAINT = "#333333", "#8C8C8C"
DPI = 200


@explained
def sample_grid(
    images: ArrayLike,
    *,
    levels: int = 2,
    columns: int | None = None,
    row_labels: Sequence[str] = (),
    title: str | None = None,
) -> Figure:
    """Plot images in a grid. Images are enlarged by an integer factor, so nothing is interpolated.

    Args:
        images: (N, H, W), (N, H, W, 1) or (N, H, W, 3), N ≥ 1.
        levels: grey = value / (levels − 1): use 2 for binary images and values in [0, 1], 256 for bytes. 0 is black.
        columns: by default the grid has one row per label, or is as square as possible without labels.

    Raises ValueError for other shapes, values not real or outside [0, levels − 1], or a wrong number of labels.
    """
    grey = _grey(images, levels)
    n, height, width = grey.shape[:3]
    if columns is None:
        columns = math.ceil(n / len(row_labels)) if row_labels else math.ceil(math.sqrt(n))
    at_least(1, columns=columns)
    rows = math.ceil(n / columns)
    require(len(row_labels) in (0, rows), "row_labels", f"one label for each of {rows} rows", len(row_labels))

    zoom, gap, margin = max(1, round(84 / max(height, width))), 6, 20  # in screen pixels
    tile_height, tile_width = zoom * height + gap, zoom * width + gap
    canvas = np.ones((rows * tile_height - gap, columns * tile_width - gap, 3))
    for i, image in enumerate(grey):
        top, left = i // columns * tile_height, i % columns * tile_width
        canvas[top : top + zoom * height, left : left + zoom * width] = image.repeat(zoom, axis=0).repeat(zoom, axis=1)

    figure = _figure(1, 1)
    labels = [figure.text(0, 0, label, ha="right", va="center", fontsize=8, color=INK) for label in row_labels]
    heading = figure.text(0, 0, title or "", ha="left", va="top", fontsize=10, color=INK)
    extents = [text.get_window_extent() for text in (heading, *labels)]
    left_margin = margin + max((math.ceil(extent.width) + margin for extent in extents[1:]), default=0)
    top_margin = margin + (math.ceil(extents[0].height) + margin if title else 0)
    total_width = left_margin + max(canvas.shape[1], math.ceil(extents[0].width)) + margin
    total_height = top_margin + canvas.shape[0] + margin
    figure.set_size_inches(total_width / DPI, total_height / DPI)
    figure.figimage(canvas, xo=left_margin, yo=margin, origin="upper")
    heading.set_position((left_margin / total_width, 1 - margin / total_height))
    for row, label in enumerate(labels):
        middle = margin + canvas.shape[0] - row * tile_height - zoom * height / 2
        label.set_position(((left_margin - margin) / total_width, middle / total_height))
    return figure


@explained
def curves(
    history: Mapping[str, ArrayLike],
    *,
    x: str,
    ylabel: str,
    baselines: Mapping[str, float] | None = None,
    ylim: tuple[float, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Plot every other column of a history against column `x`. Each line is labelled at its right end.

    Args:
        history: name → values (T,). NaNs are skipped, for example at steps without validation.
        ylabel: should name the unit, as in "negative log-likelihood (nats per image)".
        baselines: name → value of a horizontal line; a NaN is skipped.

    Raises ValueError if there is no column `x`, no other column, their lengths differ, or a value is not a real number.
    """
    columns = {name: as_reals(f"history[{name!r}]", values) for name, values in history.items()}
    got = ", ".join(map(repr, columns))
    require(x in columns and len(columns) > 1, "history and x", f"a column x={x!r} and another", got)
    positions = columns.pop(x)
    for name, values in columns.items():
        fits = values.shape == positions.shape and positions.ndim == 1
        got = f"{values.shape} for {positions.shape}"
        require(fits, f"history[{name!r}]", f"one number for each of {x}", got)

    figure = _figure(6.4, 4.0, layout="constrained")
    axes = figure.subplots()
    ends: list[tuple[float, str, str]] = []
    for i, (name, values) in enumerate(columns.items()):
        colour, known = COLOURS[i % len(COLOURS)], ~np.isnan(values)
        marker = "o" if known.sum() == 1 else None  # a line through a single point is invisible
        axes.plot(positions[known], values[known], color=colour, linewidth=1.6, marker=marker, markersize=4, zorder=3)
        if known.any():
            ends.append((float(values[known][-1]), name, colour))
    for name, value in (baselines or {}).items():
        if math.isnan(value):
            continue
        axes.axhline(value, color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
        ends.append((value, name, FAINT))
    axes.margins(x=0)
    axes.locator_params(axis="x", integer=bool(np.all(positions == np.round(positions))))  # no ticks between steps
    if ylim:
        axes.set_ylim(*ylim)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(ylabel, fontsize=9, color=INK)
    _style(axes, title)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    # Labels in order of their values and a line apart: the mean of pushing them up and of pushing them down.
    ends.sort()
    low, high = axes.get_ylim()
    spacing = 0.055 * np.arange(len(ends))
    wanted = np.clip((np.array([value for value, *_ in ends]) - low) / (high - low), 0, 1) - spacing
    pushed = np.maximum.accumulate(wanted) + np.minimum.accumulate(wanted[::-1])[::-1]
    for height, (_, name, colour) in zip(np.maximum(pushed / 2, 0) + spacing, ends, strict=True):
        axes.text(1.02, height, name, transform=axes.transAxes, color=colour, fontsize=8, va="center")
    return figure


@explained
def density(
    log_prob: Callable[[NDArray[np.float64]], ArrayLike],
    box: tuple[float, float, float, float],
    *,
    samples: ArrayLike | None = None,
    resolution: int = 200,
    title: str | None = None,
) -> Figure:
    """Plot exp(log_prob) over a box, and samples (m, 2) in a second panel with the same axis limits.

    Args:
        log_prob: (n, 2) → (n,), evaluated at the centres of resolution² cells.
        box: (x₁ from, x₁ to, x₂ from, x₂ to).
        samples: the panel's title gives their number, and how many are outside the box.

    Raises ValueError for other shapes, values that are not real numbers, an empty box or resolution < 1.
    """
    x1_from, x1_to, x2_from, x2_to = box
    wanted = "(x₁ from, x₁ to, x₂ from, x₂ to) with from < to"
    require(x1_from < x1_to and x2_from < x2_to, "box", wanted, box)
    at_least(1, resolution=resolution)
    centres = (np.arange(resolution) + 0.5) / resolution
    x1, x2 = x1_from + centres * (x1_to - x1_from), x2_from + centres * (x2_to - x2_from)
    log_p = as_reals("log_prob", log_prob(np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)))
    n = resolution**2
    require(log_p.shape == (n,), "log_prob", f"a function from ({n}, 2) to ({n},)", log_p.shape)

    panels = 1 if samples is None else 2
    aspect = (x2_to - x2_from) / (x1_to - x1_from)
    figure = _figure(3.5 * panels + 0.9, 3.1 * aspect + 1.0, layout="constrained")
    grid = figure.subplots(1, panels, squeeze=False, sharex=True, sharey=True)[0]
    p = np.exp(log_p).reshape(resolution, resolution)
    image = grid[0].imshow(p, extent=box, origin="lower", interpolation="nearest", cmap="Blues", vmin=0)
    _style(grid[0], title or "density")
    bar = figure.colorbar(image, cax=grid[0].inset_axes((1.02, 0, 0.025, 1)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=0, labelcolor=INK)
    if samples is not None:
        points = _draw_points(grid[1], samples)
        inside = ((points >= [x1_from, x2_from]) & (points <= [x1_to, x2_to])).all(axis=1)
        outside = np.count_nonzero(~inside)
        grid[1].set(xlim=box[:2], ylim=box[2:], aspect="equal")
        _style(grid[1], f"{len(points)} samples" + (f", {outside} of them outside" if outside else ""))
    return figure


@explained
def points(samples: ArrayLike, *, title: str | None = None) -> Figure:
    """Plot points (m, 2) in the plane. Raises ValueError for other shapes or values that are not real numbers."""
    figure = _figure(4.0, 4.0, layout="constrained")
    axes = figure.subplots()
    _draw_points(axes, samples)
    axes.set_aspect("equal")
    _style(axes, title)
    return figure


@explained
def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as a PNG file, creating its folder, and return the path. Equal figures give equal bytes.

    Raises ValueError unless the path ends in .png.
    """
    require(hasattr(figure, "savefig"), "figure", "a figure of Matplotlib", type(figure).__name__)
    path = Path(path)
    require(path.suffix.lower() == ".png", "path", "one that ends in .png", repr(os.fspath(path)))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the layout would move with every drawing
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=figure.dpi, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())
    return path


def _grey(images: ArrayLike, levels: int) -> NDArray[np.float64]:
    """Return images as (N, H, W, 3) in [0, 1]."""
    values = as_reals("images", images)
    values = values[..., None] if values.ndim == 3 else values
    fits = values.ndim == 4 and values.shape[3] in (1, 3) and 0 not in values.shape
    require(fits, "images", "(N, H, W), (N, H, W, 1) or (N, H, W, 3)", f"shape {values.shape}")
    at_least(2, levels=levels)
    low, high = values.min(), values.max()
    wanted = f"values within 0 … {levels - 1} for levels={levels}"
    require(low >= 0 and high <= levels - 1, "images", wanted, f"{low:g} … {high:g}")  # NaN fails too
    return np.broadcast_to(values / (levels - 1), (*values.shape[:3], 3))


def _figure(width: float, height: float, **options: Any) -> Figure:
    """Return an empty white figure of this size in inches."""
    figure_class = import_optional("matplotlib.figure", "tinygen.plot").Figure
    return figure_class(figsize=(width, height), dpi=DPI, facecolor="white", **options)  # type: ignore[no-any-return]


def _draw_points(axes: Axes, samples: ArrayLike) -> NDArray[np.float64]:
    points = as_reals("samples", samples)
    require(points.ndim == 2 and points.shape[1] == 2, "samples", "(m, 2)", points.shape)
    alpha = min(1, 30 / math.sqrt(len(points) + 1))
    axes.plot(*points.T, ".", color="#08306B", markersize=2, alpha=alpha, mew=0)
    return points


def _style(axes: Axes, title: str | None) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(FAINT)
    axes.tick_params(labelsize=8, color=FAINT, labelcolor=INK, length=3)
    axes.set_title(title or "", fontsize=10, color=INK, loc="left")
