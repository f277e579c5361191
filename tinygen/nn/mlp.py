"""The multilayer perceptron: linear layers with an activation between.

Checked by: tests/nn/test_mlp.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from ..autograd import Tensor, TensorLike, relu
from .init import Initialiser, he_normal
from .layers import Linear, Sequential


class MLP(Sequential):
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
        activation: Callable[[TensorLike], Tensor] = relu,
        init: Initialiser = he_normal,
    ) -> None:
        sizes = [n_in, *hidden]
        before = [part for a, b in pairwise(sizes) for part in (Linear(a, b, rng, init=init), activation)]
        super().__init__(*before, Linear(sizes[-1], n_out, rng))
