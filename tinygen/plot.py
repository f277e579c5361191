"""Pictures: grids of samples, training curves, densities in the plane.

Every function returns a new Matplotlib `Figure`; `save` writes one. No window, no global state: neither pyplot nor
rcParams is touched. Colours are Okabe & Ito's, which stay apart for colour-blind eyes.
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

from .checks import at_least
from .files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, FAINT = "#333333", "#8C8C8C"
DPI = 200


def sample_grid(
    images: ArrayLike,
    *,
    levels: int = 2,
    columns: int | None = None,
    row_labels: Sequence[str] = (),
    title: str | None = None,
) -> Figure:
    """Lay images out in rows, each pixel a square of whole screen pixels.

        grey = value / (levels − 1)

    so that levels=2 is right for binary images and for values in [0, 1], levels=256 for bytes. 0 is black.

    Without `columns` the grid has a row per label, or else is as square as can be; the last row may be short.

    Shapes: images (N, H, W), (N, H, W, 1) or (N, H, W, 3), N ≥ 1.
    Raises ValueError for another shape, values outside [0, levels − 1], or as many labels as do not fit the rows.
    Checked by: tests/test_plot.py
    """
    grey = _grey(images, levels)
    n, height, width = grey.shape[:3]
    if columns is None:
        columns = math.ceil(n / len(row_labels)) if row_labels else math.ceil(math.sqrt(n))
    at_least(1, columns=columns)
    rows = math.ceil(n / columns)
    if row_labels and len(row_labels) != rows:
        raise ValueError(f"row_labels: expected one label for each of {rows} rows, got {len(row_labels)}")

    zoom, gap = max(1, round(84 / max(height, width))), 6  # in screen pixels
    tile_height, tile_width = zoom * height + gap, zoom * width + gap
    canvas = np.ones((rows * tile_height - gap, columns * tile_width - gap, 3))
    for i, image in enumerate(grey):
        top, left = i // columns * tile_height, i % columns * tile_width
        canvas[top : top + zoom * height, left : left + zoom * width] = image.repeat(zoom, axis=0).repeat(zoom, axis=1)

    figure = _figure(1, 1)
    labels = [figure.text(0, 0, label, ha="right", va="center", fontsize=8, color=INK) for label in row_labels]
    heading = figure.text(0, 0, title, ha="left", va="top", fontsize=10, color=INK) if title else None
    margin = 20
    left_margin = margin + max((math.ceil(_extent(label)[0]) + margin for label in labels), default=0)
    top_margin = margin + (math.ceil(_extent(heading)[1]) + margin if heading else 0)
    grid_width = max(canvas.shape[1], math.ceil(_extent(heading)[0]) if heading else 0)
    total_width, total_height = left_margin + grid_width + margin, top_margin + canvas.shape[0] + margin

    figure.set_size_inches(total_width / DPI, total_height / DPI)
    # figimage draws the array as it is, one value to one screen pixel, so that nothing is resampled.
    figure.figimage(canvas, xo=left_margin, yo=margin, origin="upper")
    for row, label in enumerate(labels):
        middle = margin + canvas.shape[0] - row * tile_height - zoom * height / 2
        label.set_position(((left_margin - margin) / total_width, middle / total_height))
    if heading:
        heading.set_position((left_margin / total_width, 1 - margin / total_height))
    return figure


def curves(
    history: Mapping[str, ArrayLike],
    *,
    x: str,
    ylabel: str,
    yardsticks: Mapping[str, float] | None = None,
    ylim: tuple[float, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw every other column of a history against column `x`, each named at its right end.

    A NaN is a value not recorded there, as where validation is rarer than training: its neighbours are joined.
    `yardsticks` are horizontal lines, name → value in the unit of `ylabel`, which should name its unit, as in
    "negative log-likelihood (nats per image)".

    Shapes: the columns are (T,), all of one length.
    Raises ValueError if `x` is not a column, is the only one, or lengths differ.
    Checked by: tests/test_plot.py
    """
    columns = {name: np.asarray(values, np.float64) for name, values in history.items()}
    if x not in columns or len(columns) < 2:
        raise ValueError(f"history: expected a column x={x!r} and another, got {', '.join(map(repr, columns))}")
    at = columns.pop(x)
    for name, values in columns.items():
        if values.shape != at.shape or at.ndim != 1:
            raise ValueError(
                f"history[{name!r}]: expected one number for each of {x}, got {values.shape} for {at.shape}"
            )

    figure = _figure(6.4, 4.0, layout="constrained")
    axes = figure.subplots()
    ends: list[tuple[float, str, str]] = []
    for i, (name, values) in enumerate(columns.items()):
        colour, known = COLOURS[i % len(COLOURS)], ~np.isnan(values)
        marker = "o" if known.sum() == 1 else None  # a line through one point would not be seen
        axes.plot(at[known], values[known], color=colour, linewidth=1.6, marker=marker, markersize=4, zorder=3)
        if known.any():
            ends.append((float(values[known][-1]), name, colour))
    for name, value in (yardsticks or {}).items():
        axes.axhline(value, color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
        ends.append((value, name, FAINT))
    axes.margins(x=0)
    if ylim:
        axes.set_ylim(*ylim)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(ylabel, fontsize=9, color=INK)
    _plain(axes, title)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    _name_ends(axes, ends)
    return figure


def density(
    log_prob: Callable[[NDArray[np.float64]], ArrayLike],
    box: tuple[float, float, float, float],
    *,
    samples: ArrayLike | None = None,
    resolution: int = 200,
    title: str | None = None,
) -> Figure:
    """Show exp log_prob over a box of the plane, and samples beside it on the same axes.

    Shapes: log_prob (n, 2) → (n,) nats, asked at resolution² cell middles; box (x₁ from, x₁ to, x₂ from, x₂ to);
    samples (m, 2). Samples outside the box are counted in their panel's heading, not hidden.
    Raises ValueError for other shapes, an empty box or a resolution < 1.
    Checked by: tests/test_plot.py
    """
    x1_from, x1_to, x2_from, x2_to = box
    if not (x1_from < x1_to and x2_from < x2_to):
        raise ValueError(f"box: expected (x₁ from, x₁ to, x₂ from, x₂ to) with from < to, got {box}")
    at_least(1, resolution=resolution)
    middles = (np.arange(resolution) + 0.5) / resolution
    x1, x2 = x1_from + middles * (x1_to - x1_from), x2_from + middles * (x2_to - x2_from)
    log_p = np.asarray(log_prob(np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)), np.float64)
    if log_p.shape != (resolution**2,):
        raise ValueError(f"log_prob: expected a map of ({resolution**2}, 2) to ({resolution**2},), got {log_p.shape}")

    panels = 1 if samples is None else 2
    aspect = (x2_to - x2_from) / (x1_to - x1_from)
    figure = _figure(3.5 * panels + 0.9, 3.1 * aspect + 1.0, layout="constrained")
    grid = figure.subplots(1, panels, squeeze=False, sharex=True, sharey=True)[0]
    image = grid[0].imshow(
        np.exp(log_p).reshape(resolution, resolution),
        extent=box, origin="lower", interpolation="nearest", cmap="Blues", vmin=0,
    )  # fmt: skip
    _plain(grid[0], title or "density")
    bar = figure.colorbar(image, cax=grid[0].inset_axes((1.02, 0, 0.025, 1)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=0, labelcolor=INK)
    if samples is not None:
        points = np.asarray(samples, np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"samples: expected (m, 2), got {points.shape}")
        inside = ((points >= [x1_from, x2_from]) & (points <= [x1_to, x2_to])).all(axis=1).sum()
        outside = f", {len(points) - inside} of them outside" if inside < len(points) else ""
        grid[1].plot(
            *points.T, ".", color="#08306B", markersize=2, alpha=min(1, 30 / math.sqrt(len(points) + 1)), mew=0
        )
        grid[1].set(xlim=box[:2], ylim=box[2:], aspect="equal")
        _plain(grid[1], f"{len(points)} samples{outside}")
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as a PNG, whole or not at all, making the folders on the way; return the path.

    The same figure gives the same bytes. Raises ValueError unless the path ends in .png.
    Checked by: tests/test_plot.py
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path: expected one that ends in .png, got {os.fspath(path)!r}")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=figure.dpi, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())
    return path


def _grey(images: ArrayLike, levels: int) -> NDArray[np.float64]:
    """Return images as (N, H, W, 3) in [0, 1]."""
    values = np.asarray(images)
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or values.shape[3] not in (1, 3) or 0 in values.shape:
        raise ValueError(f"images: expected (N, H, W), (N, H, W, 1) or (N, H, W, 3), got shape {values.shape}")
    at_least(2, levels=levels)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= levels - 1):  # NaN fails both
        raise ValueError(f"images: expected values within 0 … {levels - 1} for levels={levels}, got {low:g} … {high:g}")
    return np.broadcast_to(values.astype(np.float64) / (levels - 1), (*values.shape[:3], 3))


def _figure(width: float, height: float, **options: Any) -> Figure:
    """Return an empty white figure, in inches, whose canvas draws into memory."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('tinygen.plot needs matplotlib; install it with: pip install "tinygen[examples]"') from error
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", **options)
    FigureCanvasAgg(figure)
    return figure


def _extent(text: Any) -> tuple[float, float]:
    """Return the width and height of a text in screen pixels."""
    box = text.get_window_extent(text.figure.canvas.get_renderer())
    return box.width, box.height


def _plain(axes: Axes, title: str | None) -> None:
    """Take away the frame's upper and right sides, soften what is left, set the sizes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(FAINT)
    axes.tick_params(labelsize=8, color=FAINT, labelcolor=INK, length=3)
    if title:
        axes.set_title(title, fontsize=10, color=INK, loc="left")


def _name_ends(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write each (value, name, colour) to the right of the axes at its height, or as near as keeps the names apart."""
    low, high = axes.get_ylim()
    line = 0.055  # of the height of the axes
    # The heights closest to the wanted ones, in squares, that are a line apart: isotonic regression of wanted − i·line.
    pools: list[list[float]] = []
    for i, (value, _, _) in enumerate(sorted(ends)):
        pools.append([min(max((value - low) / (high - low), 0), 1) - i * line])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    heights = np.clip([np.mean(pool) for pool in pools for _ in pool], 0, max(0, 1 - (len(ends) - 1) * line))
    for i, (_, name, colour) in enumerate(sorted(ends)):
        axes.text(1.02, heights[i] + i * line, name, transform=axes.transAxes, color=colour, fontsize=8, va="center")
