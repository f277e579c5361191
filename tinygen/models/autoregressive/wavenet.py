"""WaveNet: a sequence's likelihood, sample by sample, from dilated causal convolutions.

    ln p(x) = Σₜ ln p(xₜ | x₁, …, xₜ₋₁)

Each layer looks back twice as far as the one below it, so the receptive field doubles with each layer while the cost
grows by a constant. After a number of layers the dilations may start anew at 1.

    x ─ embedding ─ causal conv (without the present)
                          │
    h ┬─ dilated conv ─ + ─ gate ─┬─ 1×1 ─ + ─────→ h of the next block
      │                 │         └────────│─ 1×1 ─ + ─────→ skip ─→ relu ─ 1×1 ─ relu ─ 1×1 ─→ logits
      └─────────────────│──────────────────┘
                    context

    z = tanh(W_f ∗ h + V_f c) ⊙ σ(W_g ∗ h + V_g c)

The context c is global, a label that holds for all of a sequence, or local, something known of every position. An
image is a sequence too: its pixels (and their channels) in raster order. Where a row ends is then nowhere to be seen,
unless the position in the image is given, as a local context.

A level is embedded: a one-hot code, as in the paper, times a learned matrix. The 256 codes of companded audio are no
linear scale, and a binary pixel has two levels to learn.

Source: van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior & Kavukcuoglu, "WaveNet: A
Generative Model for Raw Audio", 2016, sections 2.1-2.5.
Checked by: tests/models/autoregressive/test_wavenet.py
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ...autograd import Array, Tensor, TensorLike, gated_activation, no_grad, relu, taps
from ...checks import at_least, check_counts
from ...distributions import Categorical
from ...nn import Conv, Embedding, Linear, Module
from ...nn.cache import ActivationCache
from .base import Autoregressive, LabelEmbeddings
from .coordinates import raster_coordinates

Rng = np.random.Generator


class Block(Module):
    """A dilated causal convolution and its gate; what it finds is added to the features and to the sum of skips."""

    def __init__(self, channels: int, size: int, dilation: int, rng: Rng, *, first: bool, last: bool) -> None:
        self.dilated = Conv(channels, 2 * channels, taps.dilated(size, dilation), rng)
        # What adds to something that has a bias needs none of its own; nobody needs the last block's features.
        self.residual = None if last else Conv(channels, channels, taps.point(1), rng, bias=False)
        self.skip = Conv(channels, channels, taps.point(1), rng, bias=first)

    def __call__(
        self, h: Tensor, skip: TensorLike, context: TensorLike, cache: ActivationCache | None
    ) -> tuple[Tensor, Tensor]:
        """Features for the next block, and the sum over blocks that the output reads."""
        z = gated_activation(self.dilated(h, cache, residual=context))
        return (h if self.residual is None else self.residual(z, cache, residual=h)), self.skip(z, cache, residual=skip)


class WaveNet(Autoregressive):
    """A distribution over sequences (T,), or over events of any shape in raster order, of so many levels.

    A block for each of the dilations, with `size` taps. With `coordinates`, every layer is given where in the image the
    variable is that is being predicted (`raster_coordinates`). A model of sequences takes and draws any length of them.

    Shapes and errors as in `Autoregressive`: x (N, *shape), of one axis also (N, T′); log_prob (N,), nats per example.
    Raises ValueError also if there are no dilations or one is below 1, or for the coordinates of a sequence.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int,
        rng: Rng,
        *,
        channels: int = 32,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        size: int = 2,
        classes: int = 0,
        coordinates: bool = False,
    ) -> None:
        super().__init__(shape, Categorical(levels), classes)
        at_least(1, channels=channels, size=size)
        check_counts("dilations", dilations)
        if coordinates and len(shape) == 1:
            raise ValueError(f"coordinates: expected False for a sequence, which may be of any length, got {shape}")
        self.dilations, self.size = tuple(dilations), size
        self.embedding = Embedding(levels, channels, rng)
        self.first = Conv(channels, channels, taps.dilated(size, centre=False), rng)
        last = len(self.dilations) - 1
        self.blocks = [
            Block(channels, size, dilation, rng, first=i == 0, last=i == last)
            for i, dilation in enumerate(self.dilations)
        ]
        self.of_label = LabelEmbeddings(classes, [2 * channels] * len(self.blocks), rng)
        axes = raster_coordinates(shape).shape[1] if coordinates else 0
        self.of_place = [Linear(axes, 2 * channels, rng, bias=False) for _ in self.blocks] if axes else []
        self.hidden = Conv(channels, channels, taps.point(1), rng)
        self.logits = Conv(channels, levels, taps.point(1), rng)

    @property
    def receptive_field(self) -> int:
        """How many earlier variables a variable's distribution depends on: the first layer's, and what each adds."""
        return self.size + (self.size - 1) * sum(self.dilations)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        """Logits of every variable, (N, *shape, levels), from the variables before it; there is no dropout."""
        sequence = self.embedding(x.reshape(len(x), math.prod(x.shape[1:])))  # (N, T, C)
        return self._network(sequence, self._conditions(labels)).reshape(*x.shape, self.output.width)

    def draw(self, x: Array, rng: Rng, labels: Array | None = None) -> Iterator[Array]:
        """Fill x (n, *shape), or (n, T′), in place, a variable at a time, and yield each one's logits (n, levels)."""
        self.check_canvas(x, labels)
        places = list(np.ndindex(x.shape[1:]))
        cache = ActivationCache(len(x), (len(places),))
        with no_grad():
            context_layers = [c if isinstance(c, float) else c.value for c in self._conditions(labels)]
        for t, place in enumerate(places):
            cache.position = (t,)
            with no_grad():
                here = [c if isinstance(c, float) else c[:, t % c.shape[1]] for c in context_layers]
                logits = self._network(None, here, cache)
                k = x[:, *place] = self.output.sample(logits, rng)
                cache.write(self.embedding(k))
            yield logits.value

    def event_shape(self, x: Array) -> tuple[int, ...]:
        """Shape that the examples in x must have: of a sequence, any length of at least 1."""
        return x.shape[1:] if len(self.shape) == 1 and x.ndim == 2 and x.shape[1] else self.shape

    def _network(
        self, x: Tensor | None, context_layers: Sequence[TensorLike], cache: ActivationCache | None = None
    ) -> Tensor:
        h = self.first(x, cache)
        skip: TensorLike = 0.0
        for block, context in zip(self.blocks, context_layers, strict=True):
            h, skip = block(h, skip, context, cache)
        return self.logits(self.hidden(relu(skip), cache, activation=relu), cache)

    def _conditions(self, labels: Array | None) -> list[Tensor | float]:
        """What is added in each block: 0, or (N or 1, T or 1, 2C)."""
        context_layers = self.of_label(labels, 1)
        if self.of_place:
            places = raster_coordinates(self.shape)[None].astype(self.dtype)  # (1, T, axes)
            context_layers = [c + of_place(places) for c, of_place in zip(context_layers, self.of_place, strict=True)]
        return context_layers
