"""Encoders and decoders of a VAE: a vector for each image, and an image for each code.

    encoder   x (N, *shape) → (N, n_out)            n_out = 2·latent, and what a posterior flow is told
    decoder   z (N, latent) → (N, *shape, width)    width numbers for each variable: 1 for a Bernoulli

An encoder that is told of `levels` sees x·2/(levels − 1) − 1 of pixels 0…levels−1: binary images enter as −1 and 1.
Otherwise x enters as it is. A decoder's output is not scaled: it is what the likelihood takes, such as logits.

Checked by: tests/models/test_vae_networks.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from ..autograd import Tensor, TensorLike, multiply, relu, reshape, tanh, taps
from ..autograd.tensor import array_of
from ..checks import at_least, check_event
from ..nn import Conv, ConvTranspose, Linear, Module

Rng = np.random.Generator
Activation: TypeAlias = Callable[[TensorLike], Tensor]

# With stride 2 every pixel of a finer image meets 2×2 of these taps, so an adjoint leaves no checkerboard.
WINDOW = taps.square(4, start=-1)


class Encoder(Module):
    """What both encoders do with x (N, *shape): check it, and let the levels of its pixels reach from −1 to 1.

    Raises ValueError, naming the argument, if x has another shape or levels are below 2.
    """

    def __init__(self, shape: tuple[int, ...], levels: int | None) -> None:
        at_least(2, levels=2 if levels is None else levels)
        self.shape, self.levels = tuple(shape), levels

    def centred(self, x: TensorLike) -> TensorLike:
        check_event("x", x, self.shape)
        return x if self.levels is None else multiply(x, 2 / (self.levels - 1)) - 1


class MLPEncoder(Encoder):
    """Fully connected layers with an activation between: x (N, *shape) to (N, n_out)."""

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
        self.layers, self.activation = fully_connected(math.prod(shape), hidden, n_out, rng), activation

    def __call__(self, x: TensorLike) -> Tensor:
        return through(self.layers, self.activation, reshape(self.centred(x), (-1, math.prod(self.shape))))


class MLPDecoder(Module):
    """Fully connected layers with an activation between: z (N, latent) to (N, *shape, width)."""

    def __init__(
        self,
        latent: int,
        shape: tuple[int, ...],
        width: int,
        rng: Rng,
        *,
        hidden: Sequence[int] = (200, 200),
        activation: Activation = tanh,
    ) -> None:
        self.out, self.activation = (*shape, width), activation
        self.layers = fully_connected(latent, hidden, math.prod(self.out), rng)

    def __call__(self, z: TensorLike) -> Tensor:
        return through(self.layers, self.activation, z).reshape(-1, *self.out)


class ConvEncoder(Encoder):
    """Convolutions of stride 2, each halving the image, and a linear layer: x (N, H, W, C) to (N, n_out).

    Raises ValueError as Encoder does, or if there are no channels.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        n_out: int,
        rng: Rng,
        *,
        channels: Sequence[int] = (32, 64),
        activation: Activation = relu,
        levels: int | None = None,
    ) -> None:
        super().__init__(shape, levels)
        at_least(1, **{"len(channels)": len(channels)})
        self.convs = [Conv(a, b, WINDOW, rng, stride=2) for a, b in pairwise([shape[2], *channels])]
        self.last = Linear(math.prod(halved(shape, len(channels))) * channels[-1], n_out, rng)
        self.activation = activation

    def __call__(self, x: TensorLike) -> Tensor:
        h = self.centred(x)  # (N, H, W, C)
        for conv in self.convs:
            h = self.activation(conv(h))  # (N, ⌈H/2⌉, ⌈W/2⌉, channels)
        return self.last(reshape(h, (len(array_of(h)), -1)))


class ConvDecoder(Module):
    """The way back: a linear layer, then transposed convolutions of stride 2: z (N, latent) to (N, H, W, C, width).

    `channels` are listed as in the encoder, from the finest image to the coarsest.
    Raises ValueError if there are no channels.
    """

    def __init__(
        self,
        latent: int,
        shape: tuple[int, int, int],
        width: int,
        rng: Rng,
        *,
        channels: Sequence[int] = (32, 64),
        activation: Activation = relu,
    ) -> None:
        at_least(1, **{"len(channels)": len(channels)})
        self.out, self.activation = (*shape, width), activation
        self.sizes = [halved(shape, times) for times in reversed(range(len(channels)))]
        self.coarse = (*halved(shape, len(channels)), channels[-1])
        self.first = Linear(latent, math.prod(self.coarse), rng)
        widths = [shape[2] * width, *channels][::-1]
        self.convs = [ConvTranspose(a, b, WINDOW, rng, stride=2) for a, b in pairwise(widths)]

    def __call__(self, z: TensorLike) -> Tensor:
        h = self.first(z).reshape(-1, *self.coarse)  # (N, ⌈H/2ⁿ⌉, ⌈W/2ⁿ⌉, channels)
        for conv, size in zip(self.convs, self.sizes, strict=True):
            h = conv(self.activation(h), size)
        return h.reshape(-1, *self.out)


def fully_connected(n_in: int, hidden: Sequence[int], n_out: int, rng: Rng) -> list[Linear]:
    return [Linear(a, b, rng) for a, b in pairwise([n_in, *hidden, n_out])]


def through(layers: Sequence[Linear], activation: Activation, h: TensorLike) -> Tensor:
    """Apply the layers with the activation between them, not after the last."""
    for layer in layers[:-1]:
        h = activation(layer(h))
    return layers[-1](h)


def halved(shape: tuple[int, int, int], times: int) -> tuple[int, int]:
    """Return the height and width that so many convolutions of stride 2 leave: ⌈H/2ⁿ⌉, ⌈W/2ⁿ⌉."""
    return -(-shape[0] // 2**times), -(-shape[1] // 2**times)
