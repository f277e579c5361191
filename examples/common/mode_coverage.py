"""Mode coverage: how many modes of a mixture of narrow Gaussians receive samples."""

import numpy as np
from numpy.typing import NDArray

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
