"""Spectrograms: sound level over time and frequency, darker where it is louder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tinygen import plot

WINDOW, HOP = 256, 32  # samples


def spectrogram(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the level in dB relative to the maximum, (frequencies, times), of a wave (T,), with a Hann window."""
    padded = np.pad(wave, WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows, axis=1)).T ** 2
    return np.asarray(10 * np.log10(np.maximum(power / power.max(initial=1e-12), 1e-6)))


def plot_spectrograms(waves: Mapping[str, NDArray[np.float64]], rate: int) -> Figure:
    """Plot one panel per name, two per row, with its waves (n, T) concatenated; white is −60 dB and black 0 dB."""
    size = 7.2, 1.5 * len(waves) / 2 + 0.4
    figure = Figure(figsize=size, dpi=plot.DPI, facecolor="white", layout="constrained")
    grid = figure.subplots(len(waves) // 2, 2, sharex=True, sharey=True, squeeze=False)
    for axes, (name, several) in zip(grid.flat, waves.items(), strict=True):
        n, length = several.shape
        decibels = np.concatenate([spectrogram(wave) for wave in several], axis=1)
        extent = (0, n * length / rate, 0, rate / 2000)
        axes.imshow(decibels, cmap="Greys", vmin=-60, vmax=0, origin="lower", aspect="auto", extent=extent)
        for end in np.arange(1, n) * length / rate:
            axes.axvline(end, color=plot.FAINT, linewidth=0.6)
        axes.set_title(name, fontsize=9, loc="left", color=plot.INK)
        axes.set_xticks(np.arange(n + 1) * length / rate)
        axes.tick_params(labelsize=8, color=plot.FAINT, labelcolor=plot.INK, length=3)
        axes.spines[:].set_color(plot.FAINT)
    figure.supxlabel("time (s)", fontsize=9, color=plot.INK)
    figure.supylabel("frequency (kHz)", fontsize=9, color=plot.INK)
    return figure


def plot_completions(waves: NDArray[np.float64], kinds: Sequence[str], rate: int) -> Figure:
    """Plot the spectrograms of originals and completions (1 + completions, kinds, T), whose first half was given."""
    columns, rows, length = waves.shape
    figure = Figure(figsize=(7.2, 1.4 * rows + 0.4), dpi=plot.DPI, facecolor="white", layout="constrained")
    for i, axes in enumerate(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat):
        row, column = divmod(i, columns)
        extent, half = (0, length / rate, 0, rate / 2000), length / rate / 2
        decibels = spectrogram(waves[column, row])
        axes.imshow(decibels, cmap="Greys", vmin=-60, vmax=0, origin="lower", aspect="auto", extent=extent)
        if column:
            axes.axvspan(half, 2 * half, color=plot.COLOURS[0], alpha=0.12, linewidth=0)
        axes.axvline(half, color=plot.COLOURS[0], linewidth=1.2)
        source = f"completion {column}: first half given" if column else "original"
        axes.set_title(f"{kinds[row]}, {source}", fontsize=8, loc="left", color=plot.INK)
        axes.tick_params(labelsize=8, color=plot.FAINT, labelcolor=plot.INK, length=3)
        axes.spines[:].set_color(plot.FAINT)
    figure.supxlabel("time (s)", fontsize=9, color=plot.INK)
    figure.supylabel("frequency (kHz)", fontsize=9, color=plot.INK)
    return figure
