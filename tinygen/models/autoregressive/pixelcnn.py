"""PixelCNN: an autoregressive model of images, with a stack of masked convolutions.

    ln p(x) = Σ ln p(x at pixel p, channel c | all pixels before p in raster order, channels of p before c)

A masked convolution is a sum over earlier pixels, with taps o < (0, 0), plus a 1×1 convolution at the pixel p itself,
whose weights are multiplied by a channel mask, A or B, as in a MADE:

    first    h = Σₒ x(p + o) Wₒ + x(p) (V ⊙ A) + b                   A: units of group g see channels before g
    block    f = relu(relu(h) (R ⊙ B) + b)                           B: units of group g see groups up to g
             f ← relu(Σₒ f(p + o) Wₒ + f(p) (V ⊙ B) + b)
             h ← h + f (E ⊙ B) + b
    output   relu(relu(h) (H ⊙ B) + b) (O ⊙ B) + b                   parameters of channel g see groups up to g

A class label adds a learned vector to each sum over earlier pixels. With one channel, or with channels that are
independent given the earlier pixels, there is a single group: A is all zeros and B all ones.

The stack has a blind spot: 3×3 masks reach only one column to the right per row up, so no output depends on pixels
further right in the rows above, however deep the network is. The Gated PixelCNN has no blind spot.

Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016; class labels as in van den
Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016.
Checked by: tests/models/autoregressive/test_pixelcnn.py
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ...autograd import Array, Tensor, TensorLike, no_grad, relu, taps
from ...checks import at_least, check_odd, check_rate, require
from ...distributions import Categorical, Output
from ...distributions.discrete import sample_tempered
from ...nn import Conv, Module, dropout
from ...nn.cache import ActivationCache
from ...nn.made_masks import made_masks
from ...nn.masked import MaskedConv, MaskedLinear
from .base import Autoregressive, LabelEmbeddings, Rng


class Block(Module):
    """A residual bottleneck block: 1×1 to half the channels, a masked convolution, 1×1 back."""

    def __init__(self, channels: int, size: int, dropout: float, rng: Rng) -> None:
        self.dropout = dropout
        self.reduce = MaskedLinear(2 * channels, channels, rng, relu=True)
        self.conv = MaskedConv(channels, channels, taps.causal(size), rng)
        self.expand = MaskedLinear(channels, 2 * channels, rng)

    def __call__(
        self, h: Tensor, masks: Sequence[Any], context: TensorLike, rng: Rng | None, cache: ActivationCache | None
    ) -> Tensor:
        f = self.reduce(relu(h), masks[0], cache)  # (N, H, W, 2C) → (N, H, W, C)
        f = self.conv(f, masks[1], cache, residual=context)  # (N, H, W, C)
        return self.expand(dropout(f, self.dropout, rng), masks[2], cache, residual=h)  # (N, H, W, 2C)


class PixelCNN(Autoregressive):
    """PixelCNN over images (height, width, channels) with integer values 0…levels−1.

    Args:
        channels: number of channels C in a block, 2C between blocks; divisible by shape[2] if `ordered`.
        first_size, size: width of the square windows of the first layer and of the blocks; odd.
        ordered: whether a channel depends on earlier channels of its pixel (R → G → B); if not, they are independent.
        output: distribution of one value; by default Categorical(levels).
        dropout: dropout rate in the blocks, used only in `loss(x, rng=rng)`.

    Shapes, Raises: as in `Autoregressive`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> model = PixelCNN((4, 4, 3), 2, rng, channels=6, blocks=1, classes=10)
        >>> model.sample(2, rng, labels=np.array([3, 7])).shape
        (2, 4, 4, 3)
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
        require(len(shape) == 3, "shape", "(height, width, channels)", shape)
        require(output.levels == levels, "output", f"a distribution over {levels} levels", output.levels)
        at_least(0, blocks=blocks)
        check_odd(3, first_size=first_size, size=size)
        check_rate("dropout", dropout)
        self.ordered = ordered and shape[2] > 1
        groups = shape[2] if self.ordered else 1
        require(channels >= 1 and channels % groups == 0, "channels", f"a positive multiple of {groups}", channels)

        # Degrees as in a MADE over the channels: a unit of degree g depends on the first g channels of its pixel.
        narrow, wide = (np.repeat(np.arange(groups), n // groups) for n in (channels, 2 * channels))
        degrees = [np.arange(1, groups + 1), wide, narrow, narrow, wide, narrow]
        self.masks: list[Any] = made_masks(degrees, output.width) if self.ordered else [None] * len(degrees)

        self.earlier = Conv(shape[2], 2 * channels, taps.causal(first_size), rng)
        self.here = MaskedLinear(shape[2], 2 * channels, rng, bias=False) if self.ordered else None
        self.blocks = [Block(channels, size, dropout, rng) for _ in range(blocks)]
        self.embeddings = LabelEmbeddings(classes, [2 * channels, *[channels] * blocks], rng)
        self.hidden = MaskedLinear(2 * channels, channels, rng, relu=True)
        self.last = MaskedLinear(channels, shape[2] * output.width, rng)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        """Return the parameters of every value's distribution, (N, H, W, C, width); with dropout if an rng is given."""
        return self._network(self.rescale(x), self.embeddings(labels, 2), rng, None)

    def draw(
        self, x: Array, rng: Rng, labels: Array | None = None, *, known: int = 0, temperature: float = 1.0
    ) -> Iterator[Array]:
        """Sample the images x (n, H, W, C) in raster order; yield the parameters of each distribution (n, width).

        The network is evaluated once per channel of a pixel, or once per pixel if the channels are independent.
        """
        self.check_draw(x, labels, known, temperature)
        cache = ActivationCache(len(x), self.shape[:2], overwrite=True)
        embeddings, dtype = self.embeddings(labels, 0), self.dtype
        (_, width, channels), parameters = self.shape, None
        if known >= channels:  # evaluate the rows of the known pixels at once
            pixels = known // channels
            with no_grad(), cache.filling(pixels):
                self._network(self.rescale(x[:, : -(-pixels // width)], dtype), self.embeddings(labels, 2), None, cache)
        for i, j, c in islice(np.ndindex(self.shape), known, None):
            cache.position = i, j
            if self.ordered or c == 0 or parameters is None:
                with no_grad():
                    pixel = self.rescale(x[:, i, j], dtype) if self.ordered else x[:, i, j]  # (n, C)
                    parameters = self._network(pixel, embeddings, None, cache).value  # (n, C, width)
            x[:, i, j, c] = sample_tempered(self.output, parameters[:, c], rng, temperature)
            if c == channels - 1:
                cache.write(self.rescale(x[:, i, j], dtype))
            yield parameters[:, c]

    def _network(
        self, x: Array, embeddings: Sequence[TensorLike], rng: Rng | None, cache: ActivationCache | None
    ) -> Tensor:
        """Evaluate images x (N, H, W, C) or, from a cache, one pixel x (n, C), which is used only if `ordered`."""
        first, *in_block, hidden, last = self.masks
        here = embeddings[0] if self.here is None else self.here(x, first, cache, residual=embeddings[0])
        h = self.earlier(x if x.ndim == 4 else None, cache, residual=here)  # (N, H, W, 2 · channels)
        if cache is not None and not cache.known and self.blocks:  # one pixel
            layers = [(block.reduce, block.conv, block.expand) for block in self.blocks]
            h = cache.bottleneck_blocks(layers, in_block, h, embeddings[1:])
        else:
            for block, embedding in zip(self.blocks, embeddings[1:], strict=True):
                h = block(h, in_block, embedding, rng, cache)
        features = self.hidden(relu(h), hidden, cache)  # (N, H, W, channels)
        return self.last(features, last, cache).reshape(*x.shape, self.output.width)
