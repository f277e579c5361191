"""PixelCNN: an image's likelihood, pixel by pixel and channel by channel, from one stack of masked convolutions.

    ln p(x) = Σ ln p(x at pixel p, channel c | all of the pixels before p in raster order, channels before c of p)

A layer is a sum over earlier pixels, whose taps o < (0, 0) are what is left of a masked kernel, and a product at the
pixel itself, whose weights are masked as in a MADE over the channels:

    first    h = Σₒ x(p + o) Wₒ + x(p) (V ⊙ A) + b                   A: unit of group g ← channels before g
    block    f = relu(relu(h) (R ⊙ B) + b)                           B: unit of group g ← units of groups up to g
             f ← relu(Σₒ f(p + o) Wₒ + f(p) (V ⊙ B) + b)
             h ← h + f (E ⊙ B) + b
    output   relu(relu(h) (H ⊙ B) + b) (O ⊙ B) + b                   the numbers of channel g ← units of groups up to g

A class label adds a learned vector to the sums over earlier pixels. With one channel, or with channels that are
independent given the earlier pixels, there is one group: A lets nothing through, B everything.

The stack has a blind spot: 3×3 masks reach one column to the right for each row up, so that further right in the rows
above is what no output ever sees, however many layers there are. The Gated PixelCNN has none.

Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016; the label as in van den Oord
et al., "Conditional Image Generation with PixelCNN Decoders", 2016.
Checked by: tests/models/autoregressive/test_pixelcnn.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ...autograd import Array, Tensor, TensorLike, no_grad, relu, taps
from ...checks import at_least, check_odd, check_rate
from ...distributions import Categorical, Output
from ...nn import Conv, Module, dropout
from ...nn.cache import ActivationCache
from ...nn.masks import MaskedConv, MaskedLinear, masks
from .base import Autoregressive, LabelEmbeddings

Rng = np.random.Generator
Drop: TypeAlias = Callable[[Tensor], Tensor]  # dropout at some rate, or nothing


class Block(Module):
    """A residual block: from 2·channels to `channels`, over the neighbourhood, and back."""

    def __init__(self, channels: int, size: int, rng: Rng) -> None:
        self.reduce = MaskedLinear(2 * channels, channels, rng, relu=True)
        self.around = MaskedConv(channels, channels, taps.causal(size), rng)
        self.expand = MaskedLinear(channels, 2 * channels, rng)

    def __call__(
        self, h: Tensor, inside: Sequence[Array | None], context: TensorLike, drop: Drop, cache: ActivationCache | None
    ) -> Tensor:
        reduce, here, expand = inside
        features = self.around(self.reduce(relu(h), reduce, cache), here, cache, residual=context)
        return self.expand(drop(features), expand, cache, residual=h)


class PixelCNN(Autoregressive):
    """A distribution over images (height, width, C) whose channels take `levels` values, in one of two orders.

    `ordered`: each channel is told of those before it in its pixel, as R → G → B; else all of a pixel's channels are
    independent given the earlier pixels. `output` is a distribution over the levels, by default a softmax.

    Shapes and errors as in `Autoregressive`: images (N, height, width, C), log_prob (N,) in nats per image.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int,
        rng: Rng,
        *,
        channels: int = 32,
        blocks: int = 5,
        first_size: int = 7,
        size: int = 3,
        classes: int = 0,
        ordered: bool = True,
        output: Output | None = None,
        dropout: float = 0.0,
    ) -> None:
        output = output or Categorical(levels)
        super().__init__(shape, output, classes)
        if len(shape) != 3:
            raise ValueError(f"shape: expected (height, width, channels), got {shape}")
        if output.levels != levels:
            raise ValueError(f"output: expected one of {levels} levels, got one of {output.levels}")
        at_least(0, blocks=blocks)
        check_odd(3, first_size=first_size, size=size)
        check_rate("dropout", dropout)
        self.ordered, self.dropout = ordered and shape[2] > 1, dropout
        groups = shape[2] if self.ordered else 1
        if channels < 1 or channels % groups:
            raise ValueError(f"channels: expected a multiple of the {groups} groups, got {channels}")

        # A hidden unit of degree g sees channels before g; in a MADE, channel g itself is of degree g + 1.
        own = np.arange(1, shape[2] + 1) if self.ordered else np.ones(shape[2], int)
        narrow, wide = (np.repeat(np.arange(groups), n // groups) for n in (channels, 2 * channels))
        degrees = [own, wide, narrow, narrow, wide, narrow]
        # Where there is one group, it sees all of itself.
        self.masks: list[Any] = masks(degrees, output.width) if groups > 1 else [None] * len(degrees)

        self.earlier = Conv(shape[2], 2 * channels, taps.causal(first_size), rng)
        self.here = MaskedLinear(shape[2], 2 * channels, rng, bias=False) if self.ordered else None
        self.blocks = [Block(channels, size, rng) for _ in range(blocks)]
        self.embeddings = LabelEmbeddings(classes, [2 * channels, *[channels] * blocks], rng)
        self.hidden = MaskedLinear(2 * channels, channels, rng, relu=True)
        self.last = MaskedLinear(channels, shape[2] * output.width, rng)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        """Parameters of every channel's distribution, (N, H, W, C, output.width); with an rng, under dropout."""
        return self._network(self.scaled(x), self.embeddings(labels, 2), rng)

    def draw(self, x: Array, rng: Rng, labels: Array | None = None) -> Iterator[Array]:
        """Fill the images x (n, H, W, C) in place, in raster order, and yield what each channel was drawn from.

        The network is evaluated anew for every channel of a pixel, or once if they are independent.
        """
        self.check_canvas(x, labels)
        cache, context_layers, dtype = (
            ActivationCache(len(x), self.shape[:2], again=True),
            self.embeddings(labels, 0),
            self.dtype,
        )
        for i, j, c in np.ndindex(self.shape):
            cache.position = i, j
            if c == 0 or self.ordered:
                with no_grad():
                    pixel = self.scaled(x[:, i, j], dtype) if self.ordered else x[:, i, j]
                    parameters = self._network(pixel, context_layers, cache=cache)  # (n, C, width)
            x[:, i, j, c] = self.output.sample(parameters.value[:, c], rng)
            if c == self.shape[2] - 1:
                cache.write(self.scaled(x[:, i, j], dtype))
            yield parameters.value[:, c]

    def _network(
        self,
        x: Array,
        context_layers: Sequence[TensorLike],
        rng: Rng | None = None,
        cache: ActivationCache | None = None,
    ) -> Tensor:
        """Evaluate images x (N, H, W, C), or with a cache a pixel x (n, C), which matters only if `ordered`."""
        into, *inside, to_hidden, to_output = self.masks
        here = context_layers[0] if self.here is None else self.here(x, into, cache, residual=context_layers[0])
        h = self.earlier(x if cache is None else None, cache, residual=here)
        drop = partial(dropout, rate=self.dropout, rng=rng)
        for block, context in zip(self.blocks, context_layers[1:], strict=True):
            h = block(h, inside, context, drop, cache)
        features = self.hidden(relu(h), to_hidden, cache)
        return self.last(features, to_output, cache).reshape(*x.shape, self.output.width)
