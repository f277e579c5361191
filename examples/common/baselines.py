"""The test loss of a model in nats, and that of simple models that are fitted exactly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tinygen import no_grad


def mean_nll(model: Any, *batch: Any) -> float:
    """Return the mean negative log-likelihood in nats per example. `batch`: the examples, then labels if any."""
    with no_grad():
        return float(-model.log_prob(*batch).value.mean())


def binary_baselines(train: NDArray[np.uint8], test: NDArray[np.uint8]) -> dict[str, float]:
    """Return the mean −ln p(x) on binary test images under three models fitted to the training images.

    - uniform: p = ½ for every pixel.
    - independent Bernoulli: each pixel's frequency, with add-½ smoothing.
    - logistic regression: each pixel given all earlier pixels in raster order (scikit-learn's L2 penalty, C = 0.3).

    Shapes: train, test (N, …) of 0 and 1.
    """
    x, y = train.reshape(len(train), -1), test.reshape(len(test), -1)
    frequency = (x.sum(0) + 0.5) / (len(x) + 1)
    independent = -np.where(y, np.log(frequency), np.log1p(-frequency)).mean(0)
    conditional = independent.copy()
    for i in range(1, x.shape[1]):
        if 0 < x[:, i].mean() < 1:
            model = LogisticRegression(C=0.3, solver="newton-cholesky").fit(x[:, :i], x[:, i])
            conditional[i] = -model.predict_log_proba(y[:, :i])[np.arange(len(y)), y[:, i]].mean()
    return {
        "uniform": x.shape[1] * math.log(2),
        "independent Bernoulli": float(independent.sum()),
        "logistic regression on earlier pixels": float(conditional.sum()),
    }


def sequence_baselines(train: NDArray[np.int64], test: NDArray[np.int64], levels: int) -> dict[str, float]:
    """Return the mean −ln p per time step of test sequences under three models fitted to the training sequences.

    - uniform: p = 1/levels.
    - histogram: the frequency of each level, with add-½ smoothing.
    - Markov chain: the frequency of each level given the previous one, with 20 pseudo-counts from the histogram.

    Shapes: train, test (N, T) of 0…levels−1.
    """
    histogram = (np.bincount(train.ravel(), minlength=levels) + 0.5) / (train.size + 0.5 * levels)
    pairs = np.bincount((train[:, :-1] * levels + train[:, 1:]).ravel(), minlength=levels**2).reshape(levels, levels)
    transition = (pairs + 20 * histogram) / (pairs.sum(1, keepdims=True) + 20)
    markov = -np.log(histogram[test[:, 0]]).sum() - np.log(transition[test[:, :-1], test[:, 1:]]).sum()
    return {
        "uniform": math.log(levels),
        "histogram of codes": float(-np.log(histogram[test]).mean()),
        "Markov chain of order 1": float(markov / test.size),
    }
