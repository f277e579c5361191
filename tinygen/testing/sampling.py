"""The slow sampler of autoregressive models, which every fast one must equal.

Checked by: tests/models/test_pixelcnn.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..autograd import Array, Tensor, no_grad
from ..distributions import sample_categorical


def draw_naively(net: Callable[[Array], Tensor], x: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Fill x (N, *space, 1) in place, in raster order, evaluating the whole network anew for every position.

    Shapes: net(x) (N, *space, levels) are the logits of every position; yields those drawn from, (N, levels).
    """
    for position in np.ndindex(x.shape[1:-1]):
        here = (slice(None), *position)
        with no_grad():
            logits = net(x)[here]
        x[(*here, 0)] = sample_categorical(logits, rng)
        yield logits.value
