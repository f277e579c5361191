"""How similar two sounds are: the cosine between their short-time spectra, which ignores phases and loudness."""

import numpy as np
from numpy.typing import NDArray


def spectral_similarity(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the mean cosine between the magnitudes of the short-time spectra of the waves a and b (n, T)."""
    size = 128  # samples in a window

    def magnitudes(waves: NDArray[np.float64]) -> NDArray[np.float64]:
        windows = np.lib.stride_tricks.sliding_window_view(waves, size, axis=1)[:, :: size // 2]
        return np.abs(np.fft.rfft(windows * np.hanning(size), axis=2))

    x, y = magnitudes(a), magnitudes(b)
    norms = np.linalg.norm(x, axis=2) * np.linalg.norm(y, axis=2)
    return float(((x * y).sum(2) / np.maximum(norms, 1e-12)).mean())
