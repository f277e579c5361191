"""MADE: an autoregressive distribution from one pass through a fully connected network with masks.

    p(x) = Πᵢ p(x_o(i) | x_o(1), …, x_o(i−1))         for an order o of the variables

An autoencoder whose output for a variable depends on the variables before it alone: masks take away all other paths
(see `tinygen.nn.masks`). Nothing ties it to one order. One set of weights, trained under a random one of k orders and
masks at each step, is k models, whose mean is a better one:

    p(x) = 1/k Σₒ p(x | o)

Source: Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015.
Checked by: tests/models/autoregressive/test_made.py
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ...autograd import Array, Tensor, logsumexp, stack
from ...checks import at_least, check_labels, check_rng
from ...distributions import Bernoulli, Categorical, Output, event_log_prob
from ...nn import MaskedMLP
from .base import Autoregressive

Rng = np.random.Generator


class MADE(Autoregressive):
    """A distribution over examples of any shape whose variables take `levels` values.

    With one of `orders` it is raster order; of several, all are drawn at random, and it is their mean. Two levels have
    a Bernoulli output, more a categorical one, unless another `output` is given. More than two levels are read as one
    number between −1 and 1, not as one of `levels` inputs: the first layer stays as small for 256 levels as for two.
    `direct` connects inputs to outputs also without a hidden layer between.

    Shapes and errors as in `Autoregressive`: x (N, *shape) of integers, log_prob (N,) in nats per example.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int,
        rng: Rng,
        *,
        hidden: Sequence[int] = (500, 500),
        orders: int = 1,
        classes: int = 0,
        output: Output | None = None,
        direct: bool = False,
    ) -> None:
        output = output or (Bernoulli() if levels == 2 else Categorical(levels))
        super().__init__(shape, output, classes)
        at_least(1, orders=orders)
        if output.levels != levels:
            raise ValueError(f"output: expected one of {levels} levels, got {output.levels}")
        variables = math.prod(shape)
        permutations = [rng.permutation(variables) for _ in range(orders)] if orders > 1 else None
        self.orders = orders
        self.net = MaskedMLP(
            variables, output.width, rng, hidden=hidden, orders=permutations, context=classes, direct=direct
        )

    def __call__(self, x: Array, labels: Array | None = None, *, order: int = 0) -> Tensor:
        """Parameters of every variable's distribution, (N, *shape, output.width), under one of the orders."""
        self._check_order(order)
        return self.evaluate(self.checked(x, labels), labels, None, order)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None, order: int = 0) -> Tensor:
        y = self.net(self.scaled(x).reshape(len(x), self.net.variables), self._context(labels), order)
        return y.reshape(*x.shape, self.output.width)

    def log_prob(self, x: Array, labels: Array | None = None, *, order: int | None = None) -> Tensor:
        """ln p(x | labels) in nats per example, (N,): of the mean over all orders or, if one is given, under it."""
        self._check_order(order or 0)
        x = self.checked(x, labels)
        each = [
            event_log_prob(self.output, self.evaluate(x, labels, None, one), x)
            for one in (range(self.orders) if order is None else [order])
        ]
        return each[0] if len(each) == 1 else logsumexp(stack(each), 0) - math.log(len(each))

    def loss(self, x: Array, labels: Array | None = None, *, rng: Rng | None = None) -> Tensor:
        """Mean of −ln p in nats per example, to be minimised; with an rng, under an order that it draws.

        Its expectation over the orders is an upper bound on what it is without: −ln is convex.
        """
        order = None if rng is None else int(rng.integers(self.orders))
        return -self.log_prob(x, labels, order=order).mean()

    def draw(self, x: Array, rng: Rng, labels: Array | None = None, *, order: int = 0) -> Iterator[Array]:
        """Fill x (n, *shape) in place, under one of the orders, and yield each variable's parameters (n, width).

        Every hidden unit is evaluated once, so it costs about as much as one evaluation of the network.
        """
        self.check_canvas(x, labels)
        self._check_order(order)
        indices = list(np.ndindex(self.shape))
        canvas = np.zeros((len(x), self.net.variables), self.dtype)
        for variable, parameters in self.net.one_by_one(canvas, self._context(labels), order):
            drawn = self.output.sample(parameters, rng)
            x[(slice(None), *indices[variable])] = drawn
            canvas[:, variable] = self.scaled(drawn, canvas.dtype)
            yield parameters

    def sample(self, n: int, rng: Rng, labels: Array | None = None) -> Array:
        """Draw n examples (n, *shape), each in one of the orders, given their labels (n,) if the model has classes."""
        at_least(0, n=n)
        check_labels(labels, n, self.classes)
        check_rng(rng)
        x, orders = np.zeros((n, *self.shape), np.int64), rng.integers(self.orders, size=n)
        for order in np.unique(orders):
            chosen = orders == order
            part = x[chosen]
            for _ in self.draw(part, rng, None if labels is None else labels[chosen], order=order):
                pass
            x[chosen] = part
        return x

    def _check_order(self, order: int) -> None:
        if not 0 <= order < self.orders:
            raise ValueError(f"order: expected 0…{self.orders - 1}, got {order}")

    def _context(self, labels: Array | None) -> Array | None:
        return None if labels is None else np.eye(self.classes, dtype=self.dtype)[labels]
