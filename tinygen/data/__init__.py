"""Data sets as NumPy arrays: images, two-dimensional densities with known entropy, and (in `audio`) sounds.

    train, test = digits("train", threshold=8), digits("test", threshold=8)    # offline
    binarized_mnist("valid").pixels                                            # (10000, 28, 28, 1), downloaded once
    cifar10("train").pixels                                                    # (50000, 32, 32, 3), downloaded once
    images("photographs", size=32, resize=True, crop=True).pixels              # (N, 32, 32, 3), from PNG or JPEG files
    Checkerboard().entropy                                                     # ln 32 nats

The expected negative log-likelihood of any model is at least the entropy H of the data; the gap is KL(p‖model).
"""

from .folder import DataFileError, data_folder
from .image_folder import images
from .image_sets import Images, binarized_mnist, cifar10, digits, fashion_mnist, mnist
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
    "cifar10", "data_folder", "digits", "eight_gaussians", "fashion_mnist", "grid_of_gaussians", "images",
    "mnist", "ring_of_gaussians",
]  # fmt: skip
