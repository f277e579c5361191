"""What a sound looks like: time to the right, frequency upwards, loudness as darkness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW, HOP = 256, 32  # samples


def spectrogram(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Loudness in dB below the loudest, (frequencies, times), of a wave (T,), by a Hann window's Fourier transform."""
    padded = np.pad(wave, WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows, axis=1)).T ** 2
    return np.asarray(10 * np.log10(np.maximum(power / power.max(initial=1e-12), 1e-6)))


def spectrograms(waves: Mapping[str, NDArray[np.float64]], rate: int) -> Figure:
    """Draw several waves (n, T) of each name one after another, two names in a row, 0 to −60 dB as black to white."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.5 * len(waves) / 2 + 0.4), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(waves) // 2, 2, sharex=True, sharey=True, squeeze=False)
    for axes, (name, several) in zip(grid.flat, waves.items(), strict=True):
        n, length = several.shape
        decibels = np.concatenate([spectrogram(wave) for wave in several], axis=1)
        extent = (0, n * length / rate, 0, rate / 2000)
        axes.imshow(decibels, cmap="Greys", vmin=-60, vmax=0, origin="lower", aspect="auto", extent=extent)
        for end in np.arange(1, n) * length / rate:
            axes.axvline(end, color="#8C8C8C", linewidth=0.6)
        axes.set_title(name, fontsize=9, loc="left", color="#333333")
        axes.set_xticks(np.arange(n + 1) * length / rate)
        axes.tick_params(labelsize=8, color="#8C8C8C", labelcolor="#333333", length=3)
        axes.spines[:].set_color("#8C8C8C")
    figure.supxlabel("seconds", fontsize=9, color="#333333")
    figure.supylabel("kHz", fontsize=9, color="#333333")
    return figure
