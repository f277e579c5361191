"""From an image to numbers and back: the encoders and decoders of a VAE, the critic and generator of a GAN.

    encoder, critic       x (N, *shape) → (N, n_out)      n_out = 2·latent, and what a posterior flow is told; 1
    decoder, generator    z (N, latent) → (N, *out)       out = (*shape, width), as the likelihood takes; shape

Strides and not pooling change the scale. With windows of 4×4, a size that the stride 2 divides, every pixel of a finer
image is a sum over as many taps as any other, but for the border (3×3 would leave a checkerboard).

Source: Kingma & Welling, "Auto-encoding variational Bayes", 2014; Radford, Metz & Chintala, "Unsupervised
representation learning with deep convolutional generative adversarial networks", 2016; Odena, Dumoulin & Olah,
"Deconvolution and checkerboard artifacts", 2016.
Checked by: tests/nn/networks/test_images.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from ...autograd import Tensor, TensorLike, leaky_relu, multiply, relu, reshape, tanh, taps
from ...autograd.tensor import array_of
from ...checks import at_least, check_event
from ..init import Initialiser, glorot_uniform, he_normal
from ..layers import Activation, Conv, ConvTranspose, Linear, Sequential
from ..mlp import MLP
from ..module import Module

Rng = np.random.Generator

WINDOW = taps.square(4, start=-1)


class Encoder(Module):
    """What all encoders do with x (N, *shape): check it, and let the levels of its pixels, if any, reach from −1 to 1.

    Told of `levels`, it sees x·2/(levels − 1) − 1 of pixels 0…levels−1; otherwise x enters as it is.
    Raises ValueError, naming the argument, if x has another shape or levels are below 2.
    """

    def __init__(self, shape: tuple[int, ...], levels: int | None) -> None:
        at_least(2, levels=2 if levels is None else levels)
        self.shape, self.levels = tuple(shape), levels

    def centred(self, x: TensorLike) -> TensorLike:
        """Return x as the first layer takes it."""
        check_event("x", x, self.shape)
        return x if self.levels is None else multiply(x, 2 / (self.levels - 1)) - 1


class MLPEncoder(Encoder):
    """Fully connected layers: x (N, *shape) to (N, n_out), of examples of any shape."""

    def __init__(
        self,
        shape: tuple[int, ...],
        n_out: int,
        rng: Rng,
        *,
        hidden: Sequence[int] = (200, 200),
        activation: Activation = tanh,
        levels: int | None = None,
    ) -> None:
        super().__init__(shape, levels)
        self.mlp = MLP(math.prod(shape), hidden, n_out, rng, activation=activation, init=glorot_uniform)

    def __call__(self, x: TensorLike) -> Tensor:
        return self.mlp(reshape(self.centred(x), (-1, math.prod(self.shape))))


class MLPDecoder(Module):
    """Fully connected layers: z (N, latent) to (N, *out), of examples of any shape."""

    def __init__(
        self,
        latent: int,
        out: tuple[int, ...],
        rng: Rng,
        *,
        hidden: Sequence[int] = (200, 200),
        activation: Activation = tanh,
    ) -> None:
        self.out = tuple(out)
        self.mlp = MLP(latent, hidden, math.prod(out), rng, activation=activation, init=glorot_uniform)

    def __call__(self, z: TensorLike) -> Tensor:
        return self.mlp(z).reshape(-1, *self.out)


class ConvEncoder(Encoder):
    """Convolutions of stride 2, each halving the image, and a linear layer: x (N, H, W, C) to (N, n_out).

    Raises ValueError as Encoder does, if shape is not (H, W, C), or if there are no channels.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        n_out: int,
        rng: Rng,
        *,
        channels: Sequence[int] = (32, 64),
        activation: Activation = relu,
        init: Initialiser = glorot_uniform,
        levels: int | None = None,
    ) -> None:
        super().__init__(shape, levels)
        coarse = _sizes(shape, channels)[-1]
        self.convs = [Conv(a, b, WINDOW, rng, stride=2, init=init) for a, b in pairwise([shape[2], *channels])]
        self.last = Linear(math.prod(coarse) * channels[-1], n_out, rng)
        self.activation = activation

    def __call__(self, x: TensorLike) -> Tensor:
        h = self.centred(x)  # (N, H, W, C)
        for conv in self.convs:
            h = conv(h, activation=self.activation)  # (N, ⌈H/2⌉, ⌈W/2⌉, channels)
        return self.last(reshape(h, (len(array_of(h)), -1)))


class ConvDecoder(Module):
    """The way back: a linear layer, then transposed convolutions of stride 2: z (N, latent) to (N, H, W, C, …).

    `channels` are listed as in the encoder, from the finest image to the coarsest. Nothing follows the last layer.
    Raises ValueError if out is not (H, W, C) or more, or if there are no channels.
    """

    def __init__(
        self,
        latent: int,
        out: tuple[int, ...],
        rng: Rng,
        *,
        channels: Sequence[int] = (32, 64),
        activation: Activation = relu,
        init: Initialiser = glorot_uniform,
    ) -> None:
        *finer, coarse = _sizes(out[:3], channels)
        self.out, self.activation = tuple(out), activation
        self.sizes, self.coarse = finer[::-1], (*coarse, channels[-1])
        self.first = Linear(latent, math.prod(self.coarse), rng, init=init)
        *inner, (a, b) = pairwise([math.prod(out[2:]), *channels][::-1])
        self.convs = [ConvTranspose(n_in, n_out, WINDOW, rng, stride=2, init=init) for n_in, n_out in inner]
        self.convs.append(ConvTranspose(a, b, WINDOW, rng, stride=2))

    def __call__(self, z: TensorLike) -> Tensor:
        h = self.first(z, self.activation).reshape(-1, *self.coarse)  # (N, ⌈H/2ⁿ⌉, ⌈W/2ⁿ⌉, channels)
        *inner, last = zip(self.convs, self.sizes, strict=True)
        for conv, size in inner:
            h = self.activation(conv(h, size))
        return last[0](h, last[1]).reshape(-1, *self.out)


class ImageCritic(ConvEncoder):
    """Two leaky convolutions and one number of each image (N, *shape): (N, 1).

    There is no batch normalisation: a penalty on the critic's slope is about each example by itself.
    """

    def __init__(self, shape: tuple[int, ...], rng: Rng, *, width: int = 32) -> None:
        leaky = partial(leaky_relu, slope=0.2)
        super().__init__(shape, 1, rng, channels=(width, 2 * width), activation=leaky, init=he_normal)


class ImageGenerator(Sequential):
    """The critic's way back, from noise (N, latent) to images (N, *shape) within (−1, 1)."""

    def __init__(self, shape: tuple[int, ...], latent: int, rng: Rng, *, width: int = 32) -> None:
        super().__init__(ConvDecoder(latent, shape, rng, channels=(width, 2 * width), init=he_normal), tanh)


def _sizes(shape: tuple[int, ...], channels: Sequence[int]) -> list[tuple[int, int]]:
    """List height and width before and after each of so many convolutions of stride 2: ⌈H/2ⁿ⌉, ⌈W/2ⁿ⌉."""
    at_least(1, **{"len(channels)": len(channels)})
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape: expected (height, width, channels), got {shape}")
    return [(-(-shape[0] // 2**n), -(-shape[1] // 2**n)) for n in range(len(channels) + 1)]
