"""Mode coverage of samples from a mixture of narrow Gaussians: counting, summarising over seeds and plotting."""

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


def mode_coverage(density: GaussianMixture, x: Points) -> tuple[int, float]:
    """Return the number of modes covered by samples x (n, 2), and the fraction of high-quality samples.

    A sample is of high quality if it is within 3 σ of a centre (98.9 % of the data are). A mode is covered if at least
    a quarter of its expected number of samples, n/K, are of high quality and nearest to it.
    """
    distances = np.linalg.norm(x[:, None] - density.centres, axis=-1)  # (n, K)
    good = distances.min(1) < 3 * density.sigma
    counts = np.bincount(distances.argmin(1)[good], minlength=len(density.centres))
    covered = counts >= 0.25 * len(x) / len(density.centres)
    return int(covered.sum()), float(good.mean())


class Coverage(NamedTuple):
    """Results of one GAN setting: samples (n, 2) of the first seed; modes covered and quality per seed, (seeds,)."""

    samples: Points
    modes: NDArray[np.float64]
    quality: NDArray[np.float64]

    @classmethod
    def of(cls, density: GaussianMixture, samples: Sequence[Points]) -> Coverage:
        """Evaluate samples (n, 2) of each seed."""
        results = np.array([mode_coverage(density, x) for x in samples])
        return cls(samples[0], results[:, 0], results[:, 1])

    def __str__(self) -> str:
        modes = f"{self.modes.mean():.1f} modes ({self.modes.min():.0f}…{self.modes.max():.0f})"
        quality = f"{self.quality.mean():.0%} ({self.quality.min():.0%}…{self.quality.max():.0%})"
        return f"{modes}, {quality} high-quality samples"


def verdict(results: Mapping[str, Coverage], better: str, worse: str) -> str:
    """Describe whether `better` covers more modes than `worse` for every seed, and its gain over each setting."""
    gains = {name: results[better].modes - result.modes for name, result in results.items() if name != better}
    text = ", ".join(f"{gain.min():+.0f}…{gain.max():+.0f} over {name}" for name, gain in gains.items())
    word = "inconclusive"
    if gains[worse].min() > 0:
        word = "reproduced"
    elif gains[worse].max() <= 0:
        word = "not reproduced"
    return f"{word} with {len(gains[worse])} seeds; modes gained by {better}: {text}"


def plot_coverage(results: Mapping[str, tuple[GaussianMixture, Mapping[str, Coverage]]]) -> Figure:
    """Plot one row per density: data, samples of every setting, and modes covered against quality for all seeds."""
    settings = len(next(iter(results.values()))[1])
    size = 2.1 * (settings + 2), 2.4 * len(results)
    figure = Figure(figsize=size, dpi=plot.DPI, facecolor="white", layout="compressed")
    grid = figure.subplots(len(results), settings + 2, squeeze=False)
    for row, (density_name, (density, coverages)) in zip(grid, results.items(), strict=True):
        extent = 1.25 * np.abs(density.centres).max()
        _scatter(row[0], density.sample(5000, np.random.default_rng(0)), extent, plot.INK, f"{density_name}: data")
        for axes, colour, (name, coverage) in zip(row[1:-1], plot.COLOURS, coverages.items(), strict=False):
            _scatter(axes, coverage.samples, extent, colour, name)
            row[-1].plot(coverage.modes, 100 * coverage.quality, "o", color=colour, markersize=5, alpha=0.7, mew=0)
        modes = len(density.centres)
        row[-1].set(xlim=(-0.05 * modes, 1.05 * modes), ylim=(-5, 105), box_aspect=1, xticks=[0, modes // 2, modes])
        row[-1].set_xlabel(f"modes covered (of {modes})", fontsize=8)
        row[-1].set_ylabel("high-quality samples (%)", fontsize=8)
        row[-1].tick_params(labelsize=8)
        row[-1].spines[["top", "right"]].set_visible(False)
        row[-1].set_title("one dot per seed", fontsize=9, color=plot.INK, loc="left")
    return figure


def _scatter(axes: Axes, x: Points, extent: float, colour: str, title: str) -> None:
    axes.plot(x[:, 0], x[:, 1], ".", color=colour, markersize=1.5, alpha=0.3, mew=0)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title, fontsize=9, color=colour, loc="left")
