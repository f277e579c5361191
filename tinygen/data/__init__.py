"""Data as plain NumPy arrays: images in levels, toy densities whose entropy is known, and (in `audio`) sounds.

    train, test = digits("train", threshold=8), digits("test", threshold=8)    # offline
    binarized_mnist("valid").pixels                                            # (10000, 28, 28, 1), fetched once
    Checkerboard().entropy                                                     # ln 32 nats

No model of a density with entropy H has an expected negative log-likelihood below H; the gap is KL(p‖model).
"""

from .folder import DataFileError, data_folder
from .images import Images, binarized_mnist, digits, mnist
from .toy import (
    Checkerboard,
    GaussianMixture,
    ToyDensity,
    TwoMoons,
    eight_gaussians,
    grid_of_gaussians,
    ring_of_gaussians,
)

__all__ = [
    "Checkerboard", "DataFileError", "GaussianMixture", "Images", "ToyDensity", "TwoMoons", "binarized_mnist",
    "data_folder", "digits", "eight_gaussians", "grid_of_gaussians", "mnist", "ring_of_gaussians",
]  # fmt: skip
