"""Gated PixelCNN: an image's likelihood, pixel by pixel, from two stacks of masked convolutions.

    ln p(x) = Σᵢⱼ ln p(xᵢⱼ | the rows above, the pixels to the left)

The vertical stack sees all rows above, to both sides; the horizontal stack sees the row to the left and is told, at
every layer, what the vertical stack has found. Together they see every earlier pixel: there is no blind spot.

    v ── gate ── vertical conv ─┬─────────────────────────→ v of the next layer
                               1×1
                                ↓
    h ┬─── horizontal conv ──── + ─ gate ─┬─ 1×1 ─ + ─────→ h of the next layer
      └───────────────────────────────────│────────┘
                                          └─ 1×1 ─ + ─────→ skip

A class label adds a learned vector to the vertical features of every layer, which carry it to the horizontal ones.

Source: van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves & Kavukcuoglu, "Conditional Image Generation with PixelCNN
Decoders", 2016, figure 2; the skip connections as in WaveNet.
Checked by: tests/models/autoregressive/test_gated_pixelcnn.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from ...autograd import Array, Tensor, TensorLike, gated_activation, no_grad, relu, taps
from ...checks import at_least, check_odd, check_rate
from ...distributions import Categorical
from ...nn import Conv, Module, dropout
from ...nn.cache import ActivationCache
from .base import Autoregressive, LabelEmbeddings

Rng = np.random.Generator
Drop: TypeAlias = Callable[[Tensor], Tensor]  # dropout at some rate, or nothing


class GatedLayer(Module):
    """One layer of both stacks. The `first` reads the image: its taps leave out the pixel itself, as mask A does."""

    def __init__(
        self, channels_in: int, channels: int, size: int, rng: Rng, *, first: bool = False, last: bool = False
    ) -> None:
        self.first = first
        self.vertical = Conv(channels_in, 2 * channels, taps.vertical(size, centre=not first), rng)
        self.across = Conv(2 * channels, 2 * channels, taps.point(), rng)
        # What adds to something that has a bias needs none of its own; without it, adding costs no pass over cache.
        self.horizontal = Conv(channels_in, 2 * channels, taps.horizontal(size, centre=not first), rng, bias=False)
        self.residual = None if last else Conv(channels, channels, taps.point(), rng, bias=first)
        self.skip = Conv(channels, channels, taps.point(), rng, bias=first)

    def vertical_stack(
        self, v: Tensor | None, context: TensorLike, drop: Drop, cache: ActivationCache | None
    ) -> tuple[Tensor, Tensor]:
        """Features of the rows above, for the next layer's gate, and what the horizontal stack is told of them.

        The gate opens a layer instead of closing it, since nobody needs the last layer's.
        """
        v = self.vertical(v if self.first or v is None else drop(gated_activation(v)), cache, residual=context)
        return v, self.across(v, cache)

    def horizontal_stack(
        self, h: Tensor | None, above: Tensor, skip: TensorLike, drop: Drop, cache: ActivationCache | None
    ) -> tuple[Tensor | None, Tensor]:
        """Features of all earlier pixels, for the next layer, and the sum over layers that the output reads."""
        features = drop(gated_activation(self.horizontal(h, cache, residual=above)))
        skip = self.skip(features, cache, residual=skip)
        if self.residual is None:
            return None, skip
        passed_on = 0.0 if self.first or h is None else h  # the image itself is not passed on
        return self.residual(features, cache, residual=passed_on), skip


class GatedPixelCNN(Autoregressive):
    """A distribution over images (height, width, 1) whose pixels take `levels` values.

    Shapes and errors as in `Autoregressive`: images (N, height, width, 1), log_prob (N,) in nats per image.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int,
        rng: Rng,
        *,
        channels: int = 32,
        layers: int = 5,
        first_size: int = 7,
        size: int = 3,
        classes: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(shape, Categorical(levels), classes)
        if len(shape) != 3 or shape[2] != 1:
            raise ValueError(f"shape: expected (height, width, 1), got {shape}")
        at_least(1, channels=channels, layers=layers)
        check_odd(3, first_size=first_size)
        check_odd(1, size=size)
        check_rate("dropout", dropout)
        self.dropout = dropout
        self.layers = [GatedLayer(1, channels, first_size, rng, first=True, last=layers == 1)]
        for layer in range(1, layers):
            self.layers.append(GatedLayer(channels, channels, size, rng, last=layer == layers - 1))
        self.embeddings = LabelEmbeddings(classes, [2 * channels] * layers, rng)
        self.hidden = Conv(channels, channels, taps.point(), rng)
        self.logits = Conv(channels, levels, taps.point(), rng)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        """Logits of every pixel, (N, H, W, 1, levels), from the pixels before it; with an rng, under dropout."""
        image = Tensor(self.scaled(x))
        logits = self._horizontal(image, self._vertical(image, self.embeddings(labels, 2), rng), rng)
        return logits.reshape(*x.shape, self.output.width)

    def draw(self, x: Array, rng: Rng, labels: Array | None = None) -> Iterator[Array]:
        """Fill the images x (n, H, W, 1) in place, in raster order, and yield each pixel's logits (n, levels).

        The vertical stack looks to the right in the rows above, so it is evaluated a row at a time. All in all it
        costs about one forward pass.
        """
        self.check_canvas(x, labels)
        height, width, _ = self.shape
        cache, dtype = ActivationCache(len(x), (height, width)), self.dtype
        for i in range(height):
            cache.position = i, slice(None)
            with no_grad():
                above = self._vertical(None, self.embeddings(labels, 1), cache=cache)  # [(n, W, 2C)]
            for j in range(width):
                cache.position = i, j
                with no_grad():
                    logits = self._horizontal(None, [row[:, j] for row in above], cache=cache)
                x[:, i, j, 0] = self.output.sample(logits, rng)
                cache.write(self.scaled(x[:, i, j], dtype))
                yield logits.value

    def _vertical(
        self,
        x: Tensor | None,
        context_layers: Sequence[TensorLike],
        rng: Rng | None = None,
        cache: ActivationCache | None = None,
    ) -> list[Tensor]:
        v, above, drop = x, [], partial(dropout, rate=self.dropout, rng=rng)
        for layer, context in zip(self.layers, context_layers, strict=True):
            v, features = layer.vertical_stack(v, context, drop, cache)
            above.append(features)
        return above

    def _horizontal(
        self, x: Tensor | None, above: list[Tensor], rng: Rng | None = None, cache: ActivationCache | None = None
    ) -> Tensor:
        h, drop = x, partial(dropout, rate=self.dropout, rng=rng)
        skip: TensorLike = 0.0
        for layer, features in zip(self.layers, above, strict=True):
            h, skip = layer.horizontal_stack(h, features, skip, drop, cache)
        return self.logits(self.hidden(relu(skip), cache, activation=relu), cache)
