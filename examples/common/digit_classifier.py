"""A small classifier of 8×8 digits, whose class probabilities and features are used to score generated samples.

    x → conv 3×3 → conv 4×4, stride 2 → linear → 16 features → linear → 10 logits

There are only 16 features, so that a few hundred images suffice to estimate their covariance. Training uses dropout
and random affine augmentation; both were chosen by 4-fold cross-validation on the training images.
"""

from __future__ import annotations

import math

import numpy as np
from common.training import Training
from numpy.typing import NDArray

from tinygen import no_grad
from tinygen.autograd import Array, Tensor, log_softmax, relu, softmax, take_along_axis, taps
from tinygen.nn import Conv, Linear, Module, dropout
from tinygen.nn.init import he_normal
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit


class DigitClassifier(Module):
    """Maps images (N, 8, 8, 1) of levels 0…16 to features (N, 16) and logits (N, 10)."""

    def __init__(self, rng: np.random.Generator, width: int = 32, features: int = 16) -> None:
        self.first = Conv(1, width, taps.square(3), rng, init=he_normal)
        self.second = Conv(width, 2 * width, taps.square(4, -1), rng, stride=2, init=he_normal)
        self.third = Linear(math.prod((4, 4, 2 * width)), features, rng, init=he_normal)
        self.last = Linear(features, 10, rng)

    def features(self, x: Array, rng: np.random.Generator | None = None) -> Tensor:
        """Return the features (N, 16) of images x; dropout is applied if rng is given."""
        h = relu(self.second(relu(self.first(x.astype(self.dtype) / 8 - 1))))
        return relu(self.third(dropout(h.reshape(len(h), -1), 0.5, rng)))

    def loss(self, x: Array, labels: Array, *, rng: np.random.Generator) -> Tensor:
        """Return the mean cross-entropy in nats on augmented images, with dropout."""
        log_p = log_softmax(self.last(self.features(augment(x, rng), rng)))
        return -take_along_axis(log_p, labels[:, None], 1).mean()

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return class probabilities (N, 10) and features (N, 16)."""
        with no_grad():
            features = self.features(x)
            return softmax(self.last(features)).value, features.value


def augment(x: Array, rng: np.random.Generator) -> Array:
    """Transform each image (N, 8, 8, 1) by a random affine map near the identity, with zeros outside the image."""
    n, size = x.shape[:2]
    grid = np.indices((size, size)).reshape(2, -1).T - (size - 1) / 2  # (64, 2), relative to the centre
    maps = np.eye(2) + 0.2 * rng.standard_normal((n, 2, 2))
    source = grid @ maps + rng.uniform(-1, 1, (n, 1, 2)) + (size - 1) / 2  # (n, 64, 2)
    # Bilinear interpolation: weight max(0, 1 − distance) along each axis.
    rows, columns = (np.maximum(0, 1 - np.abs(source[..., i, None] - np.arange(size))) for i in range(2))  # (n, 64, 8)
    return np.asarray(((rows @ x[..., 0]) * columns).sum(-1).reshape(x.shape))


def train_classifier(
    x: NDArray[np.uint8], labels: NDArray[np.int64], run: Training, rng: np.random.Generator
) -> DigitClassifier:
    """Return a classifier trained on images x with labels (N,)."""
    classifier = DigitClassifier(rng)
    optimizer = Adam(classifier.parameters(), cosine(3e-3, run.steps, warmup=run.steps // 20))
    ema = EMA(optimizer.parameters, 0.99)
    fit(classifier.loss, classifier, (x, labels), optimizer=optimizer, batch_size=64, rng=rng, ema=ema, **run.options())
    return classifier
