"""Networks for coupling layers: map the unchanged part a of the input to parameters of the transform of the rest.

A coupling never inverts its network, so any network can be used. The last layer of each network is initialised to zero,
so that a coupling starts as the identity. To test a flow, randomise the parameters first.

Checked by: tests/nn/networks/test_couplings.py
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ...autograd import Parameter, Tensor, TensorLike, relu, taps
from ...checks import at_least, check_context
from ..init import he_normal, hyperplane_bias, zeros
from ..layers import Activation, Conv, Linear
from ..mlp import perceptron
from ..module import Module

Rng = np.random.Generator


class CouplingNetwork(Module):
    """Base class. Adds a linear function of the context (N, C) to the output of the first layer.

    Raises: ValueError if a size is below 1, or if the context is missing, unexpected or of the wrong shape.
    """

    def __init__(self, hidden: int, depth: int, context: int, activation: Activation, rng: Rng) -> None:
        at_least(1, hidden=hidden, depth=depth)
        at_least(0, context=context)
        self.context, self.activation = context, activation
        self.context_layer = Linear(context, hidden, rng, bias=False) if context else None

    def _context(self, context: TensorLike | None, x: Tensor) -> TensorLike:
        """Return the context's term, shaped to broadcast over all pixels; 0 without a context."""
        check_context(context, len(x), self.context)
        if self.context_layer is None or context is None:
            return 0.0
        added = self.context_layer(context)
        return added.reshape(len(x), *(1,) * (x.ndim - 2), added.shape[1])


class CouplingMLP(CouplingNetwork):
    """Multilayer perceptron: a (N, n_in) to (N, n_out), with `depth` hidden layers.

    The biases of the first layer spread its units over the data (`hyperplane_bias`). This matters most when a is a
    scalar, as in the couplings of two-dimensional flows.
    """

    def __init__(
        self, n_in: int, n_out: int, rng: Rng, *, hidden: int, depth: int, context: int = 0, activation: Activation
    ) -> None:
        super().__init__(hidden, depth, context, activation, rng)
        self.layers = [Linear(a, b, rng, init=he_normal) for a, b in pairwise([n_in, *[hidden] * depth])]
        self.layers[0].b = Parameter(hyperplane_bias(self.layers[0].w.value, rng))
        self.last = Linear(hidden, n_out, rng, init=zeros)

    def __call__(self, a: Tensor, context: TensorLike | None = None) -> Tensor:
        added = self._context(context, a)
        if self.context_layer is None:
            return perceptron(a, [*self.layers, self.last], self.activation)
        h = self.activation(self.layers[0](a) + added)
        return perceptron(h, [*self.layers[1:], self.last], self.activation)


class ResidualNet(CouplingNetwork):
    """Residual network: a 3×3 convolution, `depth` blocks h + conv(act(conv(act(h)))) and a 1×1 convolution.

    Source: He, Zhang, Ren & Sun, "Identity mappings in deep residual networks", 2016, without batch normalisation.
    """

    def __init__(
        self, n_in: int, n_out: int, rng: Rng, *, hidden: int, depth: int, context: int = 0, activation: Activation
    ) -> None:
        super().__init__(hidden, depth, context, activation, rng)
        square = taps.square(3)
        self.first = Conv(n_in, hidden, square, rng)
        self.blocks = [
            (Conv(hidden, hidden, square, rng, init=he_normal), Conv(hidden, hidden, square, rng, init=zeros))
            for _ in range(depth)
        ]
        self.last = Conv(hidden, n_out, taps.point(), rng, init=zeros)

    def __call__(self, a: Tensor, context: TensorLike | None = None) -> Tensor:
        h = self.first(a, residual=self._context(context, a))
        for inner, outer in self.blocks:
            # Fuse the activation before the last layer with the last block's convolution.
            activation = self.activation if outer is self.blocks[-1][1] else None
            h = outer(inner(self.activation(h), activation=self.activation), residual=h, activation=activation)
        return self.last(h)


class GlowNet(CouplingNetwork):
    """The network of Glow's couplings: 3×3, 1×1 and 3×3 convolutions with activations between them."""

    def __init__(
        self, n_in: int, n_out: int, rng: Rng, *, hidden: int, context: int = 0, activation: Activation = relu
    ) -> None:
        super().__init__(hidden, 1, context, activation, rng)
        self.first = Conv(n_in, hidden, taps.square(3), rng, init=he_normal)
        self.middle = Conv(hidden, hidden, taps.point(), rng, init=he_normal)
        self.last = Conv(hidden, n_out, taps.square(3), rng, init=zeros)

    def __call__(self, a: Tensor, context: TensorLike | None = None) -> Tensor:
        h = self.first(a, residual=self._context(context, a), activation=self.activation)
        return self.last(self.middle(h, activation=self.activation))
