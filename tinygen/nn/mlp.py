"""The multilayer perceptron: linear layers with an activation between.

Checked by: tests/nn/test_mlp.py
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..autograd import Tensor, TensorLike, relu
from .init import Initialiser, he_normal
from .layers import Activation, Linear
from .module import Module


class MLP(Module):
    """y = a(… a(a(x w₁ + b₁) w₂ + b₂) …) wₙ + bₙ, with hidden layers of so many units and an activation a.

    The last layer, after which there is no activation, starts as a `Linear` does, whatever `init` the others have.

    Shapes: x (…, n_in), y (…, n_out).  Raises ValueError if a size is below 1.
    """

    def __init__(
        self,
        n_in: int,
        hidden: Sequence[int],
        n_out: int,
        rng: np.random.Generator,
        *,
        activation: Activation = relu,
        init: Initialiser = he_normal,
    ) -> None:
        sizes = [n_in, *hidden]
        self.layers = [Linear(a, b, rng, init=init) for a, b in pairwise(sizes)]
        self.activation = activation
        self.last = Linear(sizes[-1], n_out, rng)

    def __call__(self, x: TensorLike) -> Tensor:
        for layer in self.layers:
            x = layer(x, self.activation)
        return self.last(x)
