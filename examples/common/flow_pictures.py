"""Pictures of flows in the plane: density and samples beside the data; the grid of the noise, carried to the data."""

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
    """Show data, samples and exp log_prob over one box. Shapes: data, samples (n, 2), log_prob (n, 2) → (n,) nats."""
    x1, x2 = (a + (np.arange(250) + 0.5) / 250 * (b - a) for a, b in (box[:2], box[2:]))
    with no_grad():
        log_p = np.asarray(log_prob(np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)), np.float64)
    figure, (*scatter, image) = _panels(["data", "samples", "density of the model"], box)
    for panel, points in zip(scatter, (data, samples), strict=True):
        panel.plot(*points.T, ".", color="#08306B", markersize=2.2, alpha=0.45, mew=0)
    image.imshow(np.exp(log_p).reshape(250, 250), extent=box, origin="lower", cmap="Blues", vmin=0)
    return figure


def pulled_back(bijection: Bijection, z: Reals) -> list[Reals]:
    """Carry points z (…, 2) of the noise to the data; list where they are after every map, z itself first."""
    stages, layers = [z], bijection.bijections if isinstance(bijection, Chain) else [bijection]
    with no_grad():
        for layer in reversed(layers):
            stages.append(layer.inverse(stages[-1].reshape(-1, 2))[0].value.reshape(z.shape))
    return stages


def noise_grid(reach: float = 3.0, lines: int = 25) -> Reals:
    """List the lines of a square grid as polylines (2 · lines, 2000, 2), the upright ones first."""
    upright = np.stack(np.meshgrid(*(np.linspace(-reach, reach, n) for n in (lines, 2000)), indexing="ij"), axis=-1)
    return np.concatenate([upright, upright[..., ::-1]])


def latent_grid(stages: Sequence[Reals], box: Box, panels: int = 4) -> Figure:
    """Draw the grid at evenly chosen stages, from the noise to the data, whose box it ends in."""
    chosen = np.linspace(0, len(stages) - 1, panels).round()
    figure, axes = _panels([f"after {i:.0f} of {len(stages) - 1} maps" for i in chosen], box)
    for i, panel in zip(chosen, axes, strict=True):
        _draw(panel, stages, box, i)
    return figure


def latent_grid_gif(stages: Sequence[Reals], box: Box, path: Path, between: int = 4) -> None:
    """Animate the grid from the noise to the data, `between` frames from one stage to the next; the last is held."""
    (figure, (panel,)), writer, last = _panels([""], box), PillowWriter(fps=15), len(stages) - 1
    with writer.saving(figure, str(path), dpi=80):
        for time in [*np.linspace(0, last, between * last + 1), *[float(last)] * 15]:
            panel.clear()
            _draw(panel, stages, box, time)
            writer.grab_frame()


def _draw(panel: Any, stages: Sequence[Reals], box: Box, time: float) -> None:
    i, reach, whole = min(int(time), len(stages) - 2), float(np.abs(stages[0]).max()), time / (len(stages) - 1)
    view = (1 - whole) * np.array([-reach, reach, -reach, reach]) + whole * np.array(box)
    for j, line in enumerate(stages[i] + (time - i) * (stages[i + 1] - stages[i])):
        panel.plot(*line.T, color=plot.COLOURS[int(j < len(stages[0]) / 2)], linewidth=0.6, alpha=0.8)
    panel.set(xlim=view[:2], ylim=view[2:], aspect="auto", xticks=[], yticks=[])


def _panels(titles: Sequence[str], box: Box) -> tuple[Figure, list[Any]]:
    size = 3.1 * len(titles), 3.1 * (box[3] - box[2]) / (box[1] - box[0]) + 0.3
    figure = Figure(figsize=size, dpi=plot.DPI, facecolor="white", layout="constrained")
    axes = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for panel, title in zip(axes, titles, strict=True):
        panel.set(xlim=box[:2], ylim=box[2:], aspect="equal", xticks=[], yticks=[])
        panel.set_title(title, fontsize=10, color=plot.INK, loc="left")
    return figure, axes
