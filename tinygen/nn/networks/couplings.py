"""The networks inside couplings: functions of one half that nobody has to invert.

The last layer of each starts at zero, so every coupling, and with it the flow, starts as the identity (of the rest of
its layers): training departs from the base distribution. A check of a flow in that state checks nothing.

Checked by: tests/models/flows/test_realnvp.py, tests/models/flows/test_glow.py
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ...autograd import Parameter, Tensor, TensorLike, relu, taps
from ...checks import at_least, check_context
from ..init import he_normal, hyperplane_bias, zeros
from ..layers import Activation, Conv, Linear
from ..module import Module

Rng = np.random.Generator


class CouplingNetwork(Module):
    """What all of them do with the context (N, C): it adds a linear function of itself to the first layer's output.

    Raises ValueError if depth is below 1, or if a context of another shape is given, or none where one is expected.
    """

    def __init__(self, hidden: int, depth: int, context: int, activation: Activation, rng: Rng) -> None:
        at_least(1, hidden=hidden, depth=depth)
        at_least(0, context=context)
        self.context = context
        self.context_layer = Linear(context, hidden, rng, bias=False) if context else None
        self.activation = activation

    def _context(self, context: TensorLike | None, x: Tensor) -> TensorLike:
        """Return what the context adds, with ones for the axes between: (N, 1, 1, hidden) beside images."""
        check_context(context, len(x), self.context)
        if self.context_layer is None or context is None:
            return 0.0
        added = self.context_layer(context)
        return added.reshape(len(x), *(1,) * (x.ndim - 2), added.shape[1])


class CouplingMLP(CouplingNetwork):
    """Fully connected layers: a (N, n_in) to (N, n_out).

    In the plane a half is one number: what bends a function of it is where the units' kinks are, see `hyperplane_bias`.
    """

    def __init__(
        self, n_in: int, n_out: int, rng: Rng, *, hidden: int, depth: int, context: int = 0, activation: Activation
    ) -> None:
        super().__init__(hidden, depth, context, activation, rng)
        sizes = [n_in, *[hidden] * depth]
        self.layers = [Linear(a, b, rng, init=he_normal) for a, b in pairwise(sizes)]
        self.layers[0].b = Parameter(hyperplane_bias(self.layers[0].w.value, rng))
        self.last = Linear(hidden, n_out, rng, init=zeros)

    def __call__(self, a: Tensor, context: TensorLike | None = None) -> Tensor:
        added = self._context(context, a)
        first, *others = self.layers
        h = first(a, self.activation) if self.context_layer is None else self.activation(first(a) + added)
        for layer in others:
            h = layer(h, self.activation)
        return self.last(h)


class ResidualNet(CouplingNetwork):
    """A small residual network: a 3×3 convolution, `depth` blocks h + conv(relu(conv(relu(h)))), a 1×1 one.

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
            then = self.activation if outer is self.blocks[-1][1] else None  # which the last layer sees
            h = outer(inner(self.activation(h), activation=self.activation), residual=h, activation=then)
        return self.last(h)


class GlowNet(CouplingNetwork):
    """3×3, 1×1 and 3×3 convolutions with relus between: the network of Glow's couplings."""

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
