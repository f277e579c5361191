"""Gated PixelCNN: an autoregressive model of images, with two stacks of masked convolutions.

    ln p(x) = Σᵢⱼ ln p(xᵢⱼ | the rows above, the pixels to the left)

The vertical stack sees all pixels in the rows above. The horizontal stack sees the pixels to the left in the same row
and, in every layer, the features of the vertical stack. Together they see every earlier pixel: there is no blind spot.

    v ── gate ── vertical conv ─┬─────────────────────────→ v of the next layer
                               1×1
                                ↓
    h ┬─── horizontal conv ──── + ─ gate ─┬─ 1×1 ─ + ─────→ h of the next layer
      └───────────────────────────────────│────────┘
                                          └─ 1×1 ─ + ─────→ skip

    gate(a, b) = tanh(a) ⊙ σ(b)           a and b: the two halves of the channels

A class label adds a learned vector to the vertical features of each layer, which pass it on to the horizontal stack.

Source: van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves & Kavukcuoglu, "Conditional Image Generation with PixelCNN
Decoders", 2016, figure 2; the skip connections are those of WaveNet.
Checked by: tests/models/autoregressive/test_gated_pixelcnn.py
"""

from collections.abc import Iterator, Sequence

from ...autograd import Array, Tensor, TensorLike, gated_activation, no_grad, relu, taps
from ...checks import at_least, check_odd, check_rate, require
from ...distributions import Categorical
from ...distributions.discrete import sample_tempered
from ...nn import Conv, Module, dropout
from ...nn.cache import ActivationCache
from .base import Autoregressive, LabelEmbeddings, Rng


class GatedLayer(Module):
    """One layer of both stacks. The first layer reads the image: its taps leave out the pixel itself (mask A)."""

    def __init__(
        self, channels_in: int, channels: int, size: int, dropout: float, rng: Rng, *, first: bool, last: bool
    ) -> None:
        self.first, self.dropout = first, dropout
        self.vertical = Conv(channels_in, 2 * channels, taps.vertical(size, centre=not first), rng)
        self.to_horizontal = Conv(2 * channels, 2 * channels, taps.point(), rng)
        # No bias in layers whose output is added to that of a layer with a bias.
        self.horizontal = Conv(channels_in, 2 * channels, taps.horizontal(size, centre=not first), rng, bias=False)
        self.residual = None if last else Conv(channels, channels, taps.point(), rng, bias=first)
        self.skip = Conv(channels, channels, taps.point(), rng, bias=first)

    def vertical_stack(
        self, v: Tensor | None, context: TensorLike, rng: Rng | None, cache: ActivationCache | None
    ) -> tuple[Tensor, Tensor]:
        """Return v for the next layer and the features for the horizontal stack, both (N, H, W, 2C).

        The gate is applied to the input, not to the output as in the paper, since the last layer's v is not used.
        """
        if not (self.first or v is None):
            v = dropout(gated_activation(v), self.dropout, rng)  # (N, H, W, 2C) → (N, H, W, C)
        v = self.vertical(v, cache, residual=context)
        return v, self.to_horizontal(v, cache)

    def horizontal_stack(
        self, h: Tensor | None, above: Tensor, skip: TensorLike, rng: Rng | None, cache: ActivationCache | None
    ) -> tuple[Tensor | None, Tensor]:
        """Return h for the next layer and the sum of the skip connections so far, both (N, H, W, C)."""
        features = self.horizontal(h, cache, residual=above)  # (N, H, W, 2C)
        features = dropout(gated_activation(features), self.dropout, rng)  # (N, H, W, C)
        skip = self.skip(features, cache, residual=skip)
        if self.residual is None:
            return None, skip
        # No residual connection from the image: it contains the pixel to predict.
        return self.residual(features, cache, residual=0.0 if self.first or h is None else h), skip


class GatedPixelCNN(Autoregressive):
    """Gated PixelCNN over images (height, width, 1) with integer values 0…levels−1.

    Args:
        channels: number of channels C after a gate; 2C before it.
        first_size, size: width of the square windows of the first layer and of the other layers; odd.
        dropout: dropout rate after each gate, used only in `loss(x, rng=rng)`.

    Shapes, Raises: as in `Autoregressive`.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> model = GatedPixelCNN((4, 4, 1), 2, rng, channels=8, layers=2, dropout=0.5)
        >>> x = model.sample(3, rng)
        >>> model.loss(x, rng=rng).shape  # with dropout
        ()
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
        require(len(shape) == 3 and shape[2] == 1, "shape", "(height, width, 1)", shape)
        at_least(1, channels=channels, layers=layers)
        check_odd(3, first_size=first_size)
        check_odd(1, size=size)
        check_rate("dropout", dropout)
        self.layers = [GatedLayer(1, channels, first_size, dropout, rng, first=True, last=layers == 1)]
        for layer in range(1, layers):
            last = layer == layers - 1
            self.layers.append(GatedLayer(channels, channels, size, dropout, rng, first=False, last=last))
        self.embeddings = LabelEmbeddings(classes, [2 * channels] * layers, rng)
        self.hidden = Conv(channels, channels, taps.point(), rng)
        self.logits = Conv(channels, levels, taps.point(), rng)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        """Return the logits of every pixel, (N, H, W, 1, levels); with dropout if an rng is given."""
        image = Tensor(self.rescale(x))  # (N, H, W, 1)
        above = self._vertical(image, self.embeddings(labels, 2), rng, None)  # layers × (N, H, W, 2C)
        return self._horizontal(image, above, rng, None).reshape(*x.shape, self.output.width)

    def draw(
        self, x: Array, rng: Rng, labels: Array | None = None, *, known: int = 0, temperature: float = 1.0
    ) -> Iterator[Array]:
        """Sample the images x (n, H, W, 1) in place, in raster order, and yield the logits (n, levels) of each pixel.

        The vertical stack also looks to the right, so it is evaluated one row at a time. An image costs about as much
        as one evaluation of the network.
        """
        self.check_draw(x, labels, known, temperature)
        height, width, _ = self.shape
        cache, dtype = ActivationCache(len(x), (height, width)), self.dtype
        if rows := known // width:  # evaluate the known rows at once
            image = Tensor(self.rescale(x[:, :rows], dtype))
            with no_grad(), cache.filling(rows * width):
                self._horizontal(image, self._vertical(image, self.embeddings(labels, 2), None, cache), None, cache)
        for i in range(rows, height):
            cache.position = i, slice(None)
            with no_grad():
                above = self._vertical(None, self.embeddings(labels, 1), None, cache)  # layers × (n, W, 2C)
            for j in range(width):
                cache.position = i, j
                with no_grad():
                    logits = self._horizontal(None, [row[:, j] for row in above], None, cache)  # (n, levels)
                if i * width + j >= known:
                    x[:, i, j, 0] = sample_tempered(self.output, logits, rng, temperature)
                    yield logits.value
                cache.write(self.rescale(x[:, i, j], dtype))

    def _vertical(
        self, x: Tensor | None, embeddings: Sequence[TensorLike], rng: Rng | None, cache: ActivationCache | None
    ) -> list[Tensor]:
        v, above = x, []
        for layer, embedding in zip(self.layers, embeddings, strict=True):
            v, features = layer.vertical_stack(v, embedding, rng, cache)
            above.append(features)
        return above

    def _horizontal(
        self, x: Tensor | None, above: list[Tensor], rng: Rng | None, cache: ActivationCache | None
    ) -> Tensor:
        first, *others = self.layers
        h, skip = first.horizontal_stack(x, above[0], 0.0, rng, cache)
        if cache is not None and not cache.known and h is not None:  # one pixel
            units = [(layer.horizontal, layer.residual, layer.skip) for layer in others]
            h, skip = cache.gated_units(units, h, skip, above[1:])
        else:
            for layer, features in zip(others, above[1:], strict=True):
                h, skip = layer.horizontal_stack(h, features, skip, rng, cache)
        return self.logits(self.hidden(relu(skip), cache, activation=relu), cache)
