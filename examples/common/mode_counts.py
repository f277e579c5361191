"""Samples of a mixture of narrow Gaussians: how many of its modes they catch, and how they look beside the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tinygen import plot
from tinygen.data.toy import GaussianMixture

Points = NDArray[np.floating]


def caught_and_good(density: GaussianMixture, x: Points) -> tuple[int, float]:
    """Count the modes that are caught; the share of good samples. Shapes: x (n, 2).

    A sample is good within 3 σ of a centre (98.9 % of the data are). A mode is caught if the good samples there are at
    least a quarter of its share of all samples, n/K.
    """
    distances = np.linalg.norm(x[:, None] - density.centres, axis=-1)  # (n, K)
    nearest = distances.argmin(1)
    good = distances.min(1) < 3 * density.sigma
    count = np.bincount(nearest[good], minlength=len(density.centres))
    caught = count >= 0.25 * len(x) / len(density.centres)
    return int(caught.sum()), float(good.mean())


class Played(NamedTuple):
    """What one game came to: samples (n, 2) of its first seed; of every seed the modes caught, and the share good."""

    samples: Points
    modes: NDArray[np.float64]
    good: NDArray[np.float64]

    @classmethod
    def of(cls, density: GaussianMixture, samples: Sequence[Points]) -> Played:
        """Count in the samples of each seed."""
        counts = np.array([caught_and_good(density, x) for x in samples])
        return cls(samples[0], counts[:, 0], counts[:, 1])

    def __str__(self) -> str:
        modes = f"{self.modes.mean():.1f} modes ({self.modes.min():.0f}…{self.modes.max():.0f})"
        return f"{modes}, {self.good.mean():.0%} good samples ({self.good.min():.0%}…{self.good.max():.0%})"


def verdict(played: Mapping[str, Played], ours: str, theirs: str) -> str:
    """Say whether the one game catches more modes than the other at every seed, and what it gains over all of them."""
    gains = {game: played[ours].modes - result.modes for game, result in played.items() if game != ours}
    told = ", ".join(f"{gain.min():+.0f}…{gain.max():+.0f} against {game}" for game, gain in gains.items())
    word = "undecided"
    if gains[theirs].min() > 0:
        word = "reproduced"
    elif gains[theirs].max() <= 0:
        word = "not reproduced"
    return f"{word} with {len(gains[theirs])} seeds; {ours} gains in modes {told}"


def picture(rows: Mapping[str, tuple[GaussianMixture, Mapping[str, Played]]]) -> Figure:
    """Draw a row for each density: its data, then samples of every game; at the right, all seeds of all games."""
    games = len(next(iter(rows.values()))[1])
    figure = Figure(figsize=(2.1 * (games + 2), 2.4 * len(rows)), dpi=plot.DPI, facecolor="white", layout="compressed")
    panels = figure.subplots(len(rows), games + 2, squeeze=False)
    for row, (name, (density, played)) in zip(panels, rows.items(), strict=True):
        data = density.sample(5000, np.random.default_rng(0))
        reach = 1.25 * np.abs(density.centres).max()
        _scatter(row[0], data, reach, plot.INK, f"{name}: data")
        for panel, colour, (game, result) in zip(row[1:-1], plot.COLOURS, played.items(), strict=False):
            _scatter(panel, result.samples, reach, colour, game)
            row[-1].plot(result.modes, 100 * result.good, "o", color=colour, markersize=5, alpha=0.7, mew=0)
        modes = len(density.centres)
        row[-1].set(xlim=(-0.05 * modes, 1.05 * modes), ylim=(-5, 105), box_aspect=1, xticks=[0, modes // 2, modes])
        row[-1].set_xlabel(f"modes caught of {modes}", fontsize=8)
        row[-1].set_ylabel("good samples, %", fontsize=8)
        row[-1].tick_params(labelsize=8)
        row[-1].spines[["top", "right"]].set_visible(False)
        row[-1].set_title("each seed", fontsize=9, color=plot.INK, loc="left")
    return figure


def _scatter(panel: Axes, x: Points, reach: float, colour: str, title: str) -> None:
    panel.plot(x[:, 0], x[:, 1], ".", color=colour, markersize=1.5, alpha=0.3, mew=0)
    panel.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    panel.set_title(title, fontsize=9, color=colour, loc="left")
