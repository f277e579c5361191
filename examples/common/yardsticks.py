"""What simple models reach, exactly: the numbers a deeper model is held against, in nats."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression


def yardsticks(train: NDArray[np.uint8], test: NDArray[np.uint8]) -> dict[str, float]:
    """Mean −ln p(image) over the test images of three models fitted to the training images, both (N, …) of 0 and 1.

    uniform: every pixel ½. Bernoulli: every pixel by itself, its frequency smoothed by half a count of each. Logistic
    regression: every pixel from all pixels before it in raster order, with sklearn's L2 penalty at C = 0.3.
    """
    x, y = train.reshape(len(train), -1), test.reshape(len(test), -1)
    frequency = (x.sum(0) + 0.5) / (len(x) + 1)
    alone = -np.where(y, np.log(frequency), np.log1p(-frequency)).mean(0)
    given_earlier = alone.copy()
    for i in range(1, x.shape[1]):
        if 0 < x[:, i].mean() < 1:
            model = LogisticRegression(C=0.3, solver="newton-cholesky").fit(x[:, :i], x[:, i])
            given_earlier[i] = -model.predict_log_proba(y[:, :i])[np.arange(len(y)), y[:, i]].mean()
    return {
        "uniform": x.shape[1] * math.log(2),
        "independent Bernoulli": float(alone.sum()),
        "logistic regression on earlier pixels": float(given_earlier.sum()),
    }


def code_yardsticks(train: NDArray[np.int64], test: NDArray[np.int64], levels: int) -> dict[str, float]:
    """Mean −ln p of a test variable in nats, of three models fitted to training sequences, both (N, T) of 0…levels−1.

    uniform. Histogram: by its frequency, smoothed by half a count of each. Markov chain: by its frequency after the
    variable before it, smoothed by 20 counts shared out as in the histogram.
    """
    histogram = (np.bincount(train.ravel(), minlength=levels) + 0.5) / (train.size + 0.5 * levels)
    pairs = np.bincount((train[:, :-1] * levels + train[:, 1:]).ravel(), minlength=levels**2).reshape(levels, levels)
    after = (pairs + 20 * histogram) / (pairs.sum(1, keepdims=True) + 20)
    order_1 = -np.log(histogram[test[:, 0]]).sum() - np.log(after[test[:, :-1], test[:, 1:]]).sum()
    return {
        "uniform": math.log(levels),
        "histogram of codes": float(-np.log(histogram[test]).mean()),
        "Markov chain of order 1": float(order_1 / test.size),
    }
