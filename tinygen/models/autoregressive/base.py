"""What the autoregressive models share: the chain rule, around a network that gives each variable's distribution.

    ln p(x | label) = Σᵢ ln p(xᵢ | x₍<ᵢ₎, label)

A model is the network: `model(x)` gives the parameters of every variable's output distribution at once, each computed
from earlier variables only; `model.draw(x, rng)` draws the variables one after another, from remembered activations.

Checked by: tests/models/autoregressive/test_base.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import DTypeLike

from ...autograd import Array, Tensor
from ...checks import as_levels, at_least, check_array, check_counts, check_labels, check_rng
from ...distributions import Output, event_log_prob
from ...nn import Embedding, Module

Rng = np.random.Generator


class Autoregressive(Module):
    """A distribution over examples of the given shape, whose variables are integers 0…levels−1.

    A subclass defines `evaluate` and `draw`. With `classes` > 0 it is conditional on one of so many classes.

    Shapes: x (N, *shape) of integers, labels (N,) of integers 0…classes−1; log_prob (N,) in nats per example.
    Raises ValueError, naming the argument, if an example, a label or a setting is none of these.
    """

    def __init__(self, shape: tuple[int, ...], output: Output, classes: int = 0) -> None:
        check_counts("shape", shape)
        at_least(0, classes=classes)
        self.shape, self.output, self.classes = tuple(shape), output, classes

    def __call__(self, x: Array, labels: Array | None = None) -> Tensor:
        """Parameters of every variable's distribution, (N, *shape, output.width)."""
        return self.evaluate(self.checked(x, labels), labels, None)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        """Evaluate the network as above, of an x and labels that are `checked`; with an rng, under dropout."""
        raise NotImplementedError

    def draw(self, x: Array, rng: Rng, labels: Array | None = None) -> Iterator[Array]:
        """Fill x (n, *shape) in place, a variable at a time, and yield what each was drawn from (n, output.width)."""
        raise NotImplementedError

    def log_prob(self, x: Array, labels: Array | None = None) -> Tensor:
        """ln p(x | labels) in nats per example: x (N, *shape), result (N,)."""
        return self._log_prob(x, labels, None)

    def loss(self, x: Array, labels: Array | None = None, *, rng: Rng | None = None) -> Tensor:
        """Mean of −ln p in nats per example, to be minimised; with an rng, under dropout."""
        return -self._log_prob(x, labels, rng).mean()

    def sample(self, n: int, rng: Rng, labels: Array | None = None) -> Array:
        """Draw n examples (n, *shape), given their labels (n,) if the model has classes."""
        at_least(0, n=n)
        check_rng(rng)
        x = np.zeros((n, *self.shape), np.int64)
        for _ in self.draw(x, rng, labels):
            pass
        return x

    def _log_prob(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        x = self.checked(x, labels)
        return event_log_prob(self.output, self.evaluate(x, labels, rng), x)

    def event_shape(self, x: Array) -> tuple[int, ...]:
        """Shape that the examples in x must have; a model of sequences may take others than it was made for."""
        return self.shape

    def checked(self, x: Array, labels: Array | None) -> Array:
        """Return x as int64 if it and the labels are what the model is over; raise ValueError if not."""
        x = as_levels(x, self.event_shape(x), self.output.levels)
        check_labels(labels, len(x), self.classes)
        return x

    def check_canvas(self, x: Array, labels: Array | None) -> None:
        """Raise ValueError unless x (n, *shape) can hold every level; what it holds now does not matter."""
        check_array("x", x)
        levels, shape = self.output.levels, self.event_shape(x)
        if x.shape[1:] != shape or x.dtype.kind not in "iu" or np.iinfo(x.dtype).max < levels - 1:
            wanted = f"integers that hold {levels} levels, (n, {', '.join(map(str, shape))})"
            raise ValueError(f"x: expected {wanted}, got {x.dtype} of shape {x.shape}")
        check_labels(labels, len(x), self.classes)

    def scaled(self, x: Array, dtype: DTypeLike | None = None) -> Array:
        """Levels as numbers from −1 to 1, in the model's dtype, for which a loop may ask once, or in the one given.

        None is 0, as what lies beyond a border is. An odd number of levels, of which the middle one would be, is scaled
        as the lower ones of one more.
        """
        last = self.output.levels - 1 + self.output.levels % 2
        return (x * (2 / last) - 1).astype(self.dtype if dtype is None else dtype)


class LabelEmbeddings(Module):
    """What a label adds in each of several layers: a learned vector of the layer's width; nothing without classes.

    Shapes: labels (N,) of integers or None; `axes` = 2 between examples and channels, as in images: (N, 1, 1, width).
    """

    def __init__(self, classes: int, widths: Sequence[int], rng: Rng) -> None:
        self.widths = tuple(widths)
        self.of_layers = [Embedding(classes, width, rng) for width in widths] if classes else []

    def __call__(self, labels: Array | None, axes: int) -> list[Tensor | float]:
        if labels is None:
            return [0.0] * len(self.widths)
        between = (len(labels), *(1,) * axes)
        return [e(labels).reshape(*between, width) for e, width in zip(self.of_layers, self.widths, strict=True)]
