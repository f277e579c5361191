"""WaveNet: an autoregressive model of sequences, with dilated causal convolutions.

    ln p(x) = Σₜ ln p(xₜ | x₁, …, xₜ₋₁)

The dilation doubles from block to block, so each block doubles the receptive field at a constant cost (see the diagram
in `taps.dilated`). After several blocks the dilations may start again at 1.

    x ─ embedding ─ causal conv (excludes the current value)
                          │
    h ┬─ dilated conv ─ + ─ gate ─┬─ 1×1 ─ + ─────→ h of the next block
      │                 │         └────────│─ 1×1 ─ + ─────→ skip ─→ relu ─ 1×1 ─ relu ─ 1×1 ─→ logits
      └─────────────────│──────────────────┘
                    context

    gate:  z = tanh(W_f ∗ h + V_f c) ⊙ σ(W_g ∗ h + V_g c)

The context c is global (a label for the whole sequence), local (features at every position, such as the pitch of a
sound over time), or both: V c is their sum. V is a 1×1 convolution, one for each block.

An image is modelled as the sequence of its values in raster order. The network then cannot see where a row ends, unless
it is given the coordinates as local context.

The input is a learned embedding of the level, which is equivalent to the one-hot code of the paper followed by a linear
layer. A single number is not enough: the 256 levels of companded audio are not on a linear scale.

Source: van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior & Kavukcuoglu, "WaveNet: A
Generative Model for Raw Audio", 2016, sections 2.1-2.5.
Checked by: tests/models/autoregressive/test_wavenet.py
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from ...autograd import Array, Tensor, TensorLike, gated_activation, no_grad, relu, taps
from ...checks import at_least, check_counts
from ...distributions import Categorical
from ...distributions.discrete import sample_tempered
from ...nn import Conv, Embedding, Linear, Module
from ...nn.cache import ActivationCache
from .base import LabelEmbeddings, Rng
from .coordinates import raster_coordinates
from .local_conditioning import LocallyConditioned


class Block(Module):
    """A dilated causal convolution and its gate, with a residual and a skip connection."""

    def __init__(self, channels: int, size: int, dilation: int, rng: Rng, *, first: bool, last: bool) -> None:
        self.dilated = Conv(channels, 2 * channels, taps.dilated(size, dilation), rng)
        # No bias in layers whose output is added to that of a layer with a bias. The h of the last block is not used.
        self.residual = None if last else Conv(channels, channels, taps.point(1), rng, bias=False)
        self.skip = Conv(channels, channels, taps.point(1), rng, bias=first)

    def __call__(
        self, h: Tensor, skip: TensorLike, context: TensorLike, cache: ActivationCache | None
    ) -> tuple[Tensor, Tensor]:
        """Return h for the next block and the sum of the skip connections so far, both (N, T, C).

        A cache stores the inputs of known positions; in sampling, `WaveNet._network` evaluates all blocks at once.
        """
        z = gated_activation(self.dilated(h, cache, residual=context))  # (N, T, 2C) → (N, T, C)
        return (h if self.residual is None else self.residual(z, residual=h)), self.skip(z, residual=skip)


class WaveNet(LocallyConditioned):
    """WaveNet over sequences (T,), or over events of any shape in raster order, of integers 0…levels−1.

    A model of sequences can evaluate and sample sequences of any length.

    Args:
        channels: number of channels C of h; 2C before the gate.
        dilations, size: dilation of each block, number of taps of each dilated convolution.
        coordinates: whether each block is given the position of the value to predict; not for sequences.
        features: number F of features at each position that the model is conditioned on; 0 for none.

    Shapes, Raises: as in `LocallyConditioned`; for sequences also x (N, T′); features (N, *shape, F).

    Example:
        >>> model = WaveNet((16,), 256, np.random.default_rng(0), channels=8, dilations=(1, 2, 4))
        >>> model.receptive_field
        9
        >>> model.log_prob(np.zeros((2, 100), int)).shape  # a length other than 16
        (2,)
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
        features: int = 0,
    ) -> None:
        super().__init__(shape, Categorical(levels), classes, features)
        at_least(1, channels=channels, size=size)
        check_counts("dilations", dilations)
        if coordinates and len(shape) == 1:
            raise ValueError(f"coordinates: expected False for sequences, which may have any length, got shape {shape}")
        self.dilations, self.size = tuple(dilations), size
        self.embedding = Embedding(levels, channels, rng)
        self.first = Conv(channels, channels, taps.dilated(size, centre=False), rng)
        last = len(self.dilations) - 1
        self.blocks = [
            Block(channels, size, dilation, rng, first=i == 0, last=i == last)
            for i, dilation in enumerate(self.dilations)
        ]
        self.label_embeddings = LabelEmbeddings(classes, [2 * channels] * len(self.blocks), rng)
        axes = raster_coordinates(shape).shape[1] if coordinates else 0
        self.coordinate_layers = [Linear(axes, 2 * channels, rng, bias=False) for _ in self.blocks] if axes else []
        self.feature_layers = [Linear(features, 2 * channels, rng, bias=False) for _ in self.blocks] if features else []
        self.hidden = Conv(channels, channels, taps.point(1), rng)
        self.logits = Conv(channels, levels, taps.point(1), rng)

    @property
    def receptive_field(self) -> int:
        """Number of preceding variables that a variable's distribution depends on."""
        return self.size + (self.size - 1) * sum(self.dilations)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None, features: Array | None = None) -> Tensor:
        """Return the logits of every variable, (N, *shape, levels); there is no dropout."""
        sequence = self.embedding(x.reshape(len(x), math.prod(x.shape[1:])))  # (N, T, C)
        return self._network(sequence, self._context(x, labels, features)).reshape(*x.shape, self.output.width)

    def draw(
        self,
        x: Array,
        rng: Rng,
        labels: Array | None = None,
        features: Array | None = None,
        *,
        known: int = 0,
        temperature: float = 1.0,
    ) -> Iterator[Array]:
        """Sample x (n, *shape) or (n, T′) in place, one variable at a time; yield the logits of each (n, levels)."""
        self.check_draw(x, labels, known, temperature)
        self.check_features(x, features)
        indices = list(np.ndindex(x.shape[1:]))
        cache = ActivationCache(len(x), (len(indices),))
        with no_grad():
            context = [c if isinstance(c, float) else c.value for c in self._context(x, labels, features)]
            if known:  # evaluate the known variables at once
                first = self.embedding(x.reshape(len(x), len(indices))[:, :known])  # (n, known, C)
                with cache.filling(known):
                    self._network(first, [c if isinstance(c, float) else c[:, :known] for c in context], cache)
        for t, index in islice(enumerate(indices), known, None):
            cache.position = (t,)
            with no_grad():
                here = [c if isinstance(c, float) else c[:, t % c.shape[1]] for c in context]  # (n or 1, 2C)
                logits = self._network(None, here, cache)  # (n, levels)
                values = x[:, *index] = sample_tempered(self.output, logits, rng, temperature)  # (n,)
                cache.write(self.embedding(values))
            yield logits.value

    def event_shape(self, x: Array) -> tuple[int, ...]:
        """Return the required shape of each example in x: any length of at least 1 for sequences."""
        return x.shape[1:] if len(self.shape) == 1 and x.ndim == 2 and x.shape[1] else self.shape

    def _network(self, x: Tensor | None, context: Sequence[TensorLike], cache: ActivationCache | None = None) -> Tensor:
        h = self.first(x, cache)  # (N, T, C)
        skip: TensorLike = 0.0
        if cache is not None and not cache.known:  # one position
            units = [(block.dilated, block.residual, block.skip) for block in self.blocks]
            h, skip = cache.gated_units(units, h, skip, context)
        else:
            for block, c in zip(self.blocks, context, strict=True):
                h, skip = block(h, skip, c, cache)
        return self.logits(self.hidden(relu(skip), cache, activation=relu), cache)  # (N, T, levels)

    def _context(self, x: Array, labels: Array | None, features: Array | None) -> list[Tensor | float]:
        """Return V c of each block, (N or 1, T or 1, 2C), or 0 without a context."""
        terms = self.label_embeddings(labels, 1)
        if self.coordinate_layers:
            coordinates = raster_coordinates(self.shape)[None].astype(self.dtype)  # (1, T, axes)
            terms = [term + layer(coordinates) for term, layer in zip(terms, self.coordinate_layers, strict=True)]
        if features is not None:
            local = np.reshape(
                features.astype(self.dtype), (len(x), math.prod(x.shape[1:]), self.features)
            )  # (N, T, F)
            terms = [term + layer(local) for term, layer in zip(terms, self.feature_layers, strict=True)]
        return terms
