"""MADE: an autoregressive model that computes all conditionals in one pass through a masked MLP.

    p(x) = Πᵢ p(x_o(i) | x_o(1), …, x_o(i−1))         for an order o of the variables

MADE is an autoencoder whose weights are masked so that each output depends only on the variables that precede its own
in the order (see `tinygen.nn.made_masks`). The masks can change between training steps: one set of weights, trained
with a random one of k orders at each step, defines k models. Their mean usually has a higher likelihood than each:

    p(x) = 1/k Σₒ p(x | o)

Source: Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015.
Checked by: tests/models/autoregressive/test_made.py
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ...autograd import Array, Tensor, logsumexp, no_grad, stack
from ...checks import at_least, require
from ...distributions import Bernoulli, Categorical, Output, event_log_prob, sample_categorical
from ...distributions.discrete import sample_tempered
from ...distributions.distribution import mean_loss
from ...nn import MaskedMLP
from .base import Autoregressive, Rng, drawn


class MADE(Autoregressive):
    """MADE over integer arrays with values 0…levels−1, under one order or averaged over several.

    Each input is a number in −1…1, not a one-hot vector, so the first layer does not grow with `levels`.

    Args:
        orders: number of orders: 1 is raster order, more are random permutations.
        output: distribution of one variable; by default Bernoulli for two levels, Categorical for more.
        direct: whether to add a masked linear map from the inputs to the outputs.

    Shapes, Raises: as in `Autoregressive`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> model = MADE((8, 8), 2, rng, hidden=(32,), orders=4)
        >>> x = model.sample(3, rng)
        >>> model.log_prob(x).shape, model.log_prob(x, order=1).shape  # averaged over the orders, under one order
        ((3,), (3,))
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
        require(output.levels == levels, "output", f"a distribution over {levels} levels", output.levels)
        variables = math.prod(shape)
        permutations = [rng.permutation(variables) for _ in range(orders)] if orders > 1 else None
        self.orders = orders
        self.net = MaskedMLP(
            variables, output.width, rng, hidden=hidden, orders=permutations, context=classes, direct=direct
        )

    def __call__(self, x: Array, labels: Array | None = None, *, order: int = 0) -> Tensor:
        """Return the parameters of every variable's distribution under one order, (N, *shape, output.width)."""
        self._check_order(order)
        return self.evaluate(self.check_inputs(x, labels), labels, None, order)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None, order: int = 0) -> Tensor:
        flat = self.rescale(x).reshape(len(x), self.net.variables)  # (N, V)
        y = self.net(flat, self._one_hot(labels), order)  # (N, V, width)
        return y.reshape(*x.shape, self.output.width)

    def log_prob(self, x: Array, labels: Array | None = None, *, order: int | None = None) -> Tensor:
        """Return ln p(x | labels) of each example in nats, (N,), under one order or with p averaged over orders."""
        self._check_order(order or 0)
        x = self.check_inputs(x, labels)
        orders = range(self.orders) if order is None else [order]
        terms = [event_log_prob(self.output, self.evaluate(x, labels, None, each), x) for each in orders]  # k × (N,)
        return terms[0] if len(terms) == 1 else logsumexp(stack(terms), 0) - math.log(len(terms))

    def loss(self, x: Array, labels: Array | None = None, *, rng: Rng | None = None) -> Tensor:
        """Return the mean of −ln p(x | labels) in nats; with an rng, under an order drawn at random.

        The expected loss over random orders is an upper bound on the loss without an rng, since −ln is convex.
        """
        order = None if rng is None else int(rng.integers(self.orders))
        return mean_loss(-self.log_prob(x, labels, order=order))

    def draw(
        self,
        x: Array,
        rng: Rng,
        labels: Array | None = None,
        *,
        known: int = 0,
        temperature: float = 1.0,
        order: int = 0,
    ) -> Iterator[Array]:
        """Sample x (n, *shape) in place, in the given order; yield the parameters of each distribution (n, width).

        Every hidden unit is computed once, so this costs about as much as one evaluation of the network.
        """
        self._check_order(order)
        self.check_draw(x, labels, known, temperature, self.net.order(order))
        indices = list(np.ndindex(self.shape))
        inputs = np.zeros((len(x), self.net.variables), self.dtype)  # (n, V)
        for i, (variable, parameters) in enumerate(self.net.one_by_one(inputs, self._one_hot(labels), order)):
            here = (slice(None), *indices[variable])
            if i >= known:
                x[here] = sample_tempered(self.output, parameters, rng, temperature)
                yield parameters
            inputs[:, variable] = self.rescale(x[here], inputs.dtype)

    def sample(self, n: int, rng: Rng, labels: Array | None = None, *, temperature: float = 1.0) -> Array:
        """Draw n examples (n, *shape), each in a random order; arguments as in `Autoregressive.sample`."""
        at_least(0, n=n)
        x, orders = np.zeros((n, *self.shape), np.int64), rng.integers(self.orders, size=n)
        return self._draw_in_orders(x, orders, rng, labels, 0, temperature)

    def complete(
        self,
        x: Array,
        known: Array,
        rng: Rng,
        labels: Array | None = None,
        *,
        temperature: float = 1.0,
        order: int | None = None,
    ) -> Array:
        """Return a copy of x (N, *shape) whose unknown variables are drawn from p(unknown | known, labels).

        Without an order, p is averaged over the orders, and `known` must be a prefix of each. Each example's order o is
        then drawn with probability p(o | known) ∝ p(known | o). Other arguments as in `Autoregressive.complete`.
        """
        self._check_order(order or 0)
        orders = list(range(self.orders)) if order is None else [order]
        for each in orders:
            given, count = self.check_completion(x, known, labels, self.net.order(each))
        chosen = np.full(len(given), orders[0])
        if len(orders) > 1:
            log_probs = np.zeros((len(given), len(orders)))  # ln p(known | o)
            for each in orders:
                with no_grad():
                    terms = self.output.log_prob(self.evaluate(given, labels, None, each), given).value  # (N, *shape)
                log_probs[:, each] = terms[:, known].sum(1)
            chosen = sample_categorical(log_probs, rng)
        return self._draw_in_orders(given, chosen, rng, labels, count, temperature)

    def _draw_in_orders(
        self, x: Array, orders: Array, rng: Rng, labels: Array | None, known: int, temperature: float
    ) -> Array:
        """Sample x (n, *shape) in place, each example in its own order (n,), and return it."""
        self.check_draw(x, labels, 0, temperature)  # `draw` is not called for an empty batch
        for order in np.unique(orders):
            chosen = orders == order
            part, kinds = x[chosen], None if labels is None else labels[chosen]
            steps = self.draw(part, rng, kinds, known=known, temperature=temperature, order=order)
            x[chosen] = drawn(part, steps)
        return x

    def _check_order(self, order: int) -> None:
        at_least(0, order=order)
        require(order < self.orders, "order", f"0…{self.orders - 1}", order)

    def _one_hot(self, labels: Array | None) -> Array | None:
        return None if labels is None else np.eye(self.classes, dtype=self.dtype)[labels]
