"""The slow sampler of autoregressive models, which every fast one must equal.

Checked by: tests/models/autoregressive/test_gated_pixelcnn.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..autograd import Array, Tensor, no_grad
from ..distributions import Output


def draw_naively(
    net: Callable[[Array], Tensor], output: Output, x: Array, rng: np.random.Generator, order: Array | None = None
) -> Iterator[Array]:
    """Fill x (N, *shape) in place, evaluating the whole network anew for every variable.

    Shapes: net(x) (N, *shape, output.width); yields what each variable was drawn from, (N, output.width). The
    variables are drawn in raster order or, with `order` (D,), a permutation of their indices, as it says.
    """
    indices = list(np.ndindex(x.shape[1:]))
    for variable in range(len(indices)) if order is None else order:
        here = (slice(None), *indices[variable])
        with no_grad():
            parameters = net(x)[here]
        x[here] = output.sample(parameters, rng)
        yield parameters.value
