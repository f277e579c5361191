"""Gated PixelCNN: an image's likelihood, pixel by pixel, from two stacks of masked convolutions.

    ln p(x) = Σᵢⱼ ln p(xᵢⱼ | the rows above, the pixels to the left)

The vertical stack sees all rows above, to both sides; the horizontal stack sees the row to the left and is told, at
every layer, what the vertical stack has found. Together they see every earlier pixel: there is no blind spot.

    v ── vertical conv ─┬───────── gate ──────────────→ v of the next layer
                        1×1
                        ↓
    h ┬─ horizontal conv + ─ gate ─┬─ 1×1 ─ + ────────→ h
      └────────────────────────────│────────┘
                                   └─ 1×1 ─ + skip ───→ skip

Source: van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves & Kavukcuoglu, "Conditional Image Generation with PixelCNN
Decoders", 2016, figure 2; the skip connections as in WaveNet.
Checked by: tests/models/test_pixelcnn.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import numpy as np

from ..autograd import Array, Tensor, TensorLike, gate, no_grad, relu, taps
from ..distributions import categorical_log_prob, sample_categorical
from ..nn import Conv, Embedding, Module, dropout
from ..nn.memory import Memory

Rng: TypeAlias = np.random.Generator
Drop: TypeAlias = Callable[[Tensor], Tensor]  # dropout at some rate, or nothing


class GatedLayer(Module):
    """One layer of both stacks. The `first` reads the image: its taps leave out the pixel itself, as mask A does."""

    def __init__(
        self, channels_in: int, channels: int, size: int, rng: Rng, first: bool = False, last: bool = False
    ) -> None:
        self.first = first
        self.vertical = Conv(channels_in, 2 * channels, taps.vertical(size, centre=not first), rng)
        self.across = Conv(2 * channels, 2 * channels, taps.point(), rng)
        # What adds to something that has a bias needs none of its own; without it, adding costs no pass over memory.
        self.horizontal = Conv(channels_in, 2 * channels, taps.horizontal(size, centre=not first), rng, bias=False)
        self.residual = None if last else Conv(channels, channels, taps.point(), rng, bias=first)
        self.skip = Conv(channels, channels, taps.point(), rng, bias=first)

    def rows(self, v: Tensor | None, plus: TensorLike, drop: Drop, memory: Memory | None) -> tuple[Tensor, Tensor]:
        """Vertical stack: its features before their gate, for the next layer, and what the horizontal stack is told.

        The gate opens the next layer instead of closing this one, since nobody needs the last layer's.
        """
        v = self.vertical(v if self.first or v is None else drop(gate(v)), memory, plus)
        return v, self.across(v, memory)

    def pixels(
        self, h: Tensor | None, told: Tensor, skip: TensorLike, drop: Drop, memory: Memory | None
    ) -> tuple[Tensor | None, Tensor]:
        """Horizontal stack: its features for the next layer, and the sum over layers that the output reads."""
        features = drop(gate(self.horizontal(h, memory, plus=told)))
        skip = self.skip(features, memory, plus=skip)
        if self.residual is None:
            return None, skip
        passed_on = 0.0 if self.first or h is None else h  # the image itself is not passed on
        return self.residual(features, memory, plus=passed_on), skip


class GatedPixelCNN(Module):
    """A distribution over images whose pixels take `levels` values; with `labels` > 0, given one of so many classes.

    Shapes: images (N, height, width, 1) of integers 0…levels−1, labels (N,) of integers 0…labels−1; log_prob (N,) in
    nats per image. Raises ValueError, naming the argument, if an image or a label is none of these.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        levels: int,
        rng: Rng,
        *,
        channels: int = 32,
        layers: int = 5,
        first_size: int = 7,
        size: int = 3,
        labels: int = 0,
        dropout: float = 0.0,
    ) -> None:
        at_least = {"height": (shape[0], 1), "width": (shape[1], 1), "levels": (levels, 2), "layers": (layers, 1)}
        for name, (value, least) in {**at_least, "labels": (labels, 0)}.items():
            if value < least:
                raise ValueError(f"GatedPixelCNN: {name} = {value}, it must be at least {least}")
        if not 0 <= dropout < 1:
            raise ValueError(f"GatedPixelCNN: dropout = {dropout}, it must be at least 0 and below 1")
        self.shape, self.levels, self.labels, self.dropout = shape, levels, labels, dropout
        self.layers = [
            GatedLayer(1 if i == 0 else channels, channels, size if i else first_size, rng, i == 0, i == layers - 1)
            for i in range(layers)
        ]
        self.embeddings = [Embedding(labels, 2 * channels, rng) for _ in self.layers] if labels else []
        self.hidden = Conv(channels, channels, taps.point(), rng)
        self.logits = Conv(channels, levels, taps.point(), rng)

    def __call__(self, x: Array, labels: Array | None = None, rng: Rng | None = None) -> Tensor:
        """Logits of every pixel's levels, (N, H, W, levels), from the pixels before it; with an rng, under dropout."""
        image = Tensor(self._scaled(x))
        return self._pixels(image, self._rows(image, self._given(labels, x), rng), rng)

    def log_prob(self, x: Array, labels: Array | None = None) -> Tensor:
        """ln p(x | labels) in nats per image: x (N, H, W, 1), result (N,)."""
        self._check(x, labels)
        return categorical_log_prob(self(x, labels), x[..., 0]).sum((1, 2))

    def loss(self, x: Array, labels: Array | None = None, *, rng: Rng | None = None) -> Tensor:
        """Mean of −ln p in nats per image, to be minimised; with an rng, under dropout."""
        self._check(x, labels)
        return -categorical_log_prob(self(x, labels, rng), x[..., 0]).sum((1, 2)).mean()

    def sample(self, n: int, rng: Rng, labels: Array | None = None) -> Array:
        """Draw n images (n, H, W, 1) by remembered activations: about the cost of one forward pass in total."""
        if n < 0:
            raise ValueError(f"n: expected at least 0 images, got {n}")
        self._check_labels(labels, n)
        x = np.zeros((n, *self.shape, 1), np.int64)
        for _ in self.draw(x, rng, labels):
            pass
        return x

    def draw(self, x: Array, rng: Rng, labels: Array | None = None) -> Iterator[tuple[int, int, Array]]:
        """Fill the images x (n, H, W, 1) in place and yield, for each pixel, row, column and its logits (n, levels).

        The first layer's convolutions exclude the pixel itself, so they are asked (None) before it is drawn, and
        remember it after.
        """
        memory = Memory(len(x), self.shape)
        first = self.layers[0]
        for i in range(self.shape[0]):
            memory.position = i, slice(None)
            with no_grad():
                told = self._rows(None, self._given(labels, x[:, i]), memory=memory)  # [(n, W, 2C)]
            for j in range(self.shape[1]):
                memory.position = i, j
                with no_grad():
                    logits = self._pixels(None, [row[:, j] for row in told], memory=memory)
                x[:, i, j, 0] = sample_categorical(logits, rng)
                pixel = self._scaled(x[:, i, j])
                memory.remember(first.vertical, pixel)
                memory.remember(first.horizontal, pixel)
                yield i, j, logits.value

    def draw_naively(self, x: Array, rng: Rng, labels: Array | None = None) -> Iterator[tuple[int, int, Array]]:
        """What `draw` must equal: the whole network is evaluated anew for every pixel."""
        for i, j in np.ndindex(self.shape):
            with no_grad():
                logits = self(x, labels)[:, i, j]
            x[:, i, j, 0] = sample_categorical(logits, rng)
            yield i, j, logits.value

    def _rows(
        self, x: Tensor | None, given: list[TensorLike], rng: Rng | None = None, memory: Memory | None = None
    ) -> list[Tensor]:
        v, told, drop = x, [], partial(dropout, rate=self.dropout, rng=rng)
        for layer, plus in zip(self.layers, given, strict=True):
            v, news = layer.rows(v, plus, drop, memory)
            told.append(news)
        return told

    def _pixels(
        self, x: Tensor | None, told: list[Tensor], rng: Rng | None = None, memory: Memory | None = None
    ) -> Tensor:
        h, drop = x, partial(dropout, rate=self.dropout, rng=rng)
        skip: TensorLike = 0.0
        for layer, news in zip(self.layers, told, strict=True):
            h, skip = layer.pixels(h, news, skip, drop, memory)
        return self.logits(relu(self.hidden(relu(skip), memory)), memory)

    def _scaled(self, x: Array) -> Array:
        """Levels to −1…1, so that the zeros beyond the border are no level of the image."""
        return (x * (2 / (self.levels - 1)) - 1).astype(self.logits.w.dtype)

    def _given(self, labels: Array | None, x: Array) -> list[TensorLike]:
        """What each layer is told of the label, with axes of one beside those of x: (N, 1, 1, 2C)."""
        if labels is None:
            return [0.0] * len(self.layers)
        return [e(labels).reshape(len(x), *(1,) * (x.ndim - 2), -1) for e in self.embeddings]

    def _check(self, x: Array, labels: Array | None) -> None:
        wanted = f"integers 0…{self.levels - 1} of shape (N, {self.shape[0]}, {self.shape[1]}, 1)"
        if x.dtype.kind not in "iub" or x.shape[1:] != (*self.shape, 1):
            raise ValueError(f"x: expected {wanted}, got {x.dtype} of shape {x.shape}")
        if x.size and not (x.min() >= 0 and x.max() < self.levels):
            raise ValueError(f"x: expected {wanted}, got values {x.min()}…{x.max()}")
        self._check_labels(labels, len(x))

    def _check_labels(self, labels: Array | None, n: int) -> None:
        if (labels is None) != (self.labels == 0):
            raise ValueError(
                f"labels: expected {'none' if labels is not None else 'some'}, the model has {self.labels} classes"
            )
        if labels is None:
            return
        wanted = f"integers 0…{self.labels - 1} of shape ({n},)"
        if labels.dtype.kind not in "iu" or labels.shape != (n,):
            raise ValueError(f"labels: expected {wanted}, got {labels.dtype} of shape {labels.shape}")
        if n and not (labels.min() >= 0 and labels.max() < self.labels):
            raise ValueError(f"labels: expected {wanted}, got values {labels.min()}…{labels.max()}")
