"""A substitute for a random generator that makes samples exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.autograd import Array


class MidpointRule(np.random.Generator):
    """A generator whose n numbers are the quantiles at the midpoints of n equal intervals of probability.

    A mean over them is an integral by the midpoint rule, and the frequency of an event is within 1/n of its probability
    if it is an interval.
    """

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, shape: Any = None, *_: Any) -> Array:  # type: ignore[override]
        n = math.prod(shape)
        return np.reshape((np.arange(n) + 0.5) / n, shape)

    def logistic(self, *, size: Any) -> Array:  # type: ignore[override]
        u = self.random(size)
        return np.asarray(np.log(u) - np.log1p(-u))
