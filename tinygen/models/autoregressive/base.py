"""Base class of the autoregressive models, which factorise ln p(x) by the chain rule.

    ln p(x | label) = Σᵢ ln p(xᵢ | x₍<ᵢ₎, label)

A model computes the conditional distributions p(xᵢ | x₍<ᵢ₎, label) in two ways, and the tests check that they agree:
`evaluate` computes all of them in one pass over given data (teacher forcing), for training and log-likelihoods;
`draw` samples from them one after another (ancestral sampling) and reuses the activations of earlier variables.

Completion is the same loop, started after the known variables: if these come first in the model's order, sampling the
others one after another is sampling from p(unknown | known).

Checked by: tests/models/autoregressive/test_base.py
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import DTypeLike

from ...autograd import Array, Tensor
from ...checks import as_levels, at_least, check_array, check_counts, check_event, check_labels, check_positive, require
from ...distributions import Output, event_log_prob
from ...distributions.distribution import mean_loss
from ...nn import Embedding, Module

Rng = np.random.Generator


class Autoregressive(Module):
    """A distribution over integer arrays, factorised by the chain rule. Subclasses implement `evaluate` and `draw`.

    Args:
        shape: shape of one example.
        output: distribution of one variable, such as Categorical(levels), over the values 0…output.levels−1.
        classes: number of class labels the model is conditioned on; 0 for an unconditional model.

    Shapes: x (N, *shape), labels (N,) of integers 0…classes−1, known (*shape) of booleans, log_prob (N,) in nats.
    Raises: ValueError if x, labels or an argument has the wrong type, shape or range.

    Example:
        >>> from tinygen.models import PixelCNN
        >>> model, rng = PixelCNN((4, 4, 1), 2, np.random.default_rng(0)), np.random.default_rng(1)
        >>> x, known = model.sample(3, rng, temperature=0.5), np.zeros((4, 4, 1), bool)
        >>> known[:2] = True  # the upper half
        >>> model.complete(x, known, rng).shape  # other lower halves
        (3, 4, 4, 1)
    """

    def __init__(self, shape: tuple[int, ...], output: Output, classes: int = 0) -> None:
        check_counts("shape", shape)
        at_least(0, classes=classes)
        self.shape, self.output, self.classes = tuple(shape), output, classes

    def __call__(self, x: Array, labels: Array | None = None) -> Tensor:
        """Return the parameters of every variable's distribution, (N, *shape, output.width)."""
        return self.evaluate(self.check_inputs(x, labels), labels, None)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        """Compute the result of `__call__` for checked inputs, with dropout if an rng is given."""
        raise NotImplementedError

    def draw(
        self, x: Array, rng: Rng, labels: Array | None = None, *, known: int = 0, temperature: float = 1.0
    ) -> Iterator[Array]:
        """Sample x (n, *shape) in place, one variable at a time; yield the parameters of each (n, output.width).

        The first `known` variables in the model's order keep their values, and nothing is yielded for them.
        """
        raise NotImplementedError

    def log_prob(self, x: Array, labels: Array | None = None) -> Tensor:
        """Return ln p(x | labels) of each example in nats, (N,)."""
        return self._log_prob(x, labels, None)

    def loss(self, x: Array, labels: Array | None = None, *, rng: Rng | None = None) -> Tensor:
        """Return the mean of −ln p(x | labels) over the examples, in nats; with dropout if an rng is given."""
        return mean_loss(-self._log_prob(x, labels, rng))

    def sample(self, n: int, rng: Rng, labels: Array | None = None, *, temperature: float = 1.0) -> Array:
        """Draw n examples, (n, *shape); a model with classes needs their labels (n,).

        Args:
            temperature: T > 0. Each variable is drawn with probability ∝ p(xᵢ | x₍<ᵢ₎, label)^(1/T), which for a
                categorical distribution is softmax(logits / T). T < 1 gives more probable values, T → 0 the most
                probable one.
        """
        at_least(0, n=n)
        x = np.zeros((n, *self.shape), np.int64)
        return drawn(x, self.draw(x, rng, labels, temperature=temperature))

    def complete(
        self, x: Array, known: Array, rng: Rng, labels: Array | None = None, *, temperature: float = 1.0
    ) -> Array:
        """Return a copy of x (N, *shape) whose unknown variables are drawn from p(unknown | known, labels).

        Args:
            x: examples; the values of unknown variables are ignored.
            known: which variables are given (*shape), the same for all examples: a prefix of the model's order, such as
                the upper rows of an image or the first part of a sequence. To draw several completions, repeat x.
            temperature: as in `sample`.
        """
        x, count = self.check_completion(x, known, labels)
        return drawn(x, self.draw(x, rng, labels, known=count, temperature=temperature))

    def _log_prob(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        x = self.check_inputs(x, labels)
        return event_log_prob(self.output, self.evaluate(x, labels, rng), x)

    def event_shape(self, x: Array) -> tuple[int, ...]:
        """Return the required shape of each example in x; a subclass may accept several shapes."""
        return self.shape

    def check_inputs(self, x: Array, labels: Array | None) -> Array:
        """Return x as int64; raise ValueError if x or labels do not fit the model."""
        x = as_levels(x, self.event_shape(x), self.output.levels)
        check_labels(labels, len(x), self.classes)
        return x

    def check_completion(
        self, x: Array, known: Array, labels: Array | None, order: Array | None = None
    ) -> tuple[Array, int]:
        """Return a copy of x as int64, with zeros at unknown variables, and the number of known ones.

        Raises ValueError if x or labels do not fit the model, or unless `known` is a prefix of the order, by default
        raster order.
        """
        check_array("x", x)
        check_array("known", known)
        check_event("x", x, shape := self.event_shape(x))
        fits = known.dtype == bool and known.shape == shape
        require(fits, "known", f"booleans of shape {shape}", f"{known.dtype} of shape {known.shape}")
        order = np.arange(known.size) if order is None else order
        in_order, count = known.reshape(-1)[order], int(np.count_nonzero(known))
        if not in_order[:count].all():
            first = int(in_order.argmin())
            later = first + int(in_order[first:].argmax())
            missing, breaking = (tuple(map(int, np.unravel_index(order[i], shape))) for i in (first, later))
            raise ValueError(
                f"known: expected a prefix of the model's order, got {breaking}, which comes after {missing}, which is "
                f"unknown; {in_order[later:].sum()} known variables come after it"
            )
        return self.check_inputs(np.where(known, x, x.dtype.type(0)), labels), count

    def check_draw(
        self, x: Array, labels: Array | None, known: int, temperature: float, order: Array | None = None
    ) -> None:
        """Raise ValueError if an argument of `draw` is invalid; of x (n, *shape), only known values are read."""
        at_least(0, known=known)
        check_positive(temperature=temperature)
        check_array("x", x)
        levels, shape = self.output.levels, self.event_shape(x)
        fits = x.shape[1:] == shape and x.dtype.kind in "iu" and np.iinfo(x.dtype).max >= levels - 1
        expected = f"an integer array (n, {', '.join(map(str, shape))}) that can hold {levels} levels"
        require(fits, "x", expected, f"{x.dtype} of shape {x.shape}")
        check_labels(labels, len(x), self.classes)
        require(known <= (size := int(np.prod(shape))), "known", f"at most the {size} variables", known)
        prefix = x.reshape(len(x), size)[:, slice(known) if order is None else order[:known]]
        low, high = prefix.min(initial=0), prefix.max(initial=0)
        require(0 <= low <= high < levels, "x", f"known values from 0 to {levels - 1}", f"some from {low} to {high}")

    def rescale(self, x: Array, dtype: DTypeLike | None = None) -> Array:
        """Map levels linearly into [−1, 1]. In a loop, pass `dtype`, because the model's dtype is slow to look up.

        No level is mapped to 0, the value of zero padding: an odd number of levels is scaled like the next even number.
        """
        last = self.output.levels - 1 + self.output.levels % 2
        return (x * (2 / last) - 1).astype(self.dtype if dtype is None else dtype)


def drawn(x: Array, steps: Iterator[Array]) -> Array:
    """Return x after all steps of `draw`, which sample it in place."""
    for _ in steps:
        pass
    return x


class LabelEmbeddings(Module):
    """Learned embeddings of the class label, one per layer; 0.0 if there are no classes.

    Shapes: labels (N,) or None; result, per layer: (N, 1, …, 1, width) with `axes` axes of length 1, or 0.0.
    """

    def __init__(self, classes: int, widths: Sequence[int], rng: Rng) -> None:
        self.widths = tuple(widths)
        self.layers = [Embedding(classes, width, rng) for width in widths] if classes else []

    def __call__(self, labels: Array | None, axes: int) -> list[Tensor | float]:
        if labels is None:
            return [0.0] * len(self.widths)
        lead = (len(labels), *(1,) * axes)
        return [layer(labels).reshape(*lead, width) for layer, width in zip(self.layers, self.widths, strict=True)]
