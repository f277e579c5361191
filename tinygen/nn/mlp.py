"""The multilayer perceptron.

Checked by: tests/nn/test_mlp.py
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..autograd import Tensor, TensorLike, mlp, relu
from ..checks import check_counts
from .init import Initialiser, he_normal
from .layers import Activation, Linear, cast_integers
from .module import Module


class MLP(Module):
    """Multilayer perceptron: y = a(… a(a(x w₁ + b₁) w₂ + b₂) …) wₙ + bₙ, with activation a.

    Args:
        hidden: number of units in each hidden layer; () gives a single linear layer.
        activation: applied after every layer except the last.
        init: initialiser of the hidden layers. The last layer has the default initialisation of `Linear`.

    Shapes: x (…, n_in), y (…, n_out).
    Raises: ValueError if a size is below 1.

    Example:
        >>> net = MLP(784, (128, 64), 10, np.random.default_rng(0))
        >>> net(np.zeros((5, 784))).shape
        (5, 10)
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
        check_counts("hidden", hidden, least=0)
        sizes = [n_in, *hidden]
        self.layers = [Linear(a, b, rng, init=init) for a, b in pairwise(sizes)]
        self.activation = activation
        self.last = Linear(sizes[-1], n_out, rng)

    def __call__(self, x: TensorLike) -> Tensor:
        return perceptron(x, [*self.layers, self.last], self.activation)


def perceptron(x: TensorLike, layers: Sequence[Linear], activation: Activation) -> Tensor:
    """Return the output of a multilayer perceptron with these layers. All must have biases."""
    biases: list[Any] = [layer.b for layer in layers]
    return mlp(cast_integers(x, layers[0].w.dtype), [layer.w for layer in layers], biases, activation)
