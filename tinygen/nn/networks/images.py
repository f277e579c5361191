"""Networks from images to vectors and back: encoders and decoders for a VAE, a critic and a generator for a GAN.

    encoder, critic       x (N, *shape) → (N, n_out)      n_out = 2·latent (plus a context) for a VAE, 1 for a critic
    decoder, generator    z (N, latent) → (N, *out)       out = (*shape, width of the likelihood) for a VAE, or shape

Encoders and decoders of a conditional VAE are also given a context (N, context): it is appended to the input of an MLP,
to z, or to the input of the last layer of a convolutional encoder.

Convolutions with stride 2, not pooling, change the resolution. Their windows are 4×4, a multiple of the stride, so that
in a transposed convolution every pixel away from the border sums over the same number of taps. With 3×3 windows, the
number alternates, which produces checkerboard artifacts.

Source: Kingma & Welling, "Auto-encoding variational Bayes", 2014; Radford, Metz & Chintala, "Unsupervised
representation learning with deep convolutional generative adversarial networks", 2016; Odena, Dumoulin & Olah,
"Deconvolution and checkerboard artifacts", 2016.
Checked by: tests/nn/networks/test_images.py
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from ...autograd import Tensor, TensorLike, concatenate, leaky_relu, multiply, relu, reshape, tanh, taps
from ...autograd.tensor import array_of
from ...checks import at_least, check_context, check_event
from ..init import Initialiser, glorot_uniform, he_normal
from ..layers import Activation, Conv, ConvTranspose, Linear, Sequential, cast_integers
from ..mlp import MLP
from ..module import Module

Rng = np.random.Generator
Shape = tuple[int, ...]
Sizes = Sequence[int]

WINDOW = taps.square(4, start=-1)


class Encoder(Module):
    """Base class. Checks the shape of x and, if `levels` is given, rescales pixel values 0…levels−1 to −1…1.

    Raises: ValueError if x has the wrong shape or levels is below 2.
    """

    def __init__(self, shape: Shape, levels: int | None, context: int = 0) -> None:
        at_least(2, levels=2 if levels is None else levels)
        at_least(0, context=context)
        self.shape, self.levels, self.context = tuple(shape), levels, context

    def rescale(self, x: TensorLike) -> TensorLike:
        check_event("x", x, self.shape)
        x = _cast(self, x)
        return x if self.levels is None else multiply(x, 2 / (self.levels - 1)) - 1


class MLPEncoder(Encoder):
    """Multilayer perceptron with tanh: x (N, *shape), of any shape, to (N, n_out)."""

    def __init__(
        self,
        shape: Shape,
        n_out: int,
        rng: Rng,
        *,
        hidden: Sizes = (200, 200),
        levels: int | None = None,
        context: int = 0,
    ) -> None:
        super().__init__(shape, levels, context)
        self.mlp = MLP(math.prod(shape) + context, hidden, n_out, rng, activation=tanh, init=glorot_uniform)

    def __call__(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        flat = reshape(self.rescale(x), (-1, math.prod(self.shape)))  # (N, D)
        return self.mlp(_append(self, flat, context, self.context))


class MLPDecoder(Module):
    """Multilayer perceptron with tanh: z (N, latent) to (N, *out), of any shape."""

    def __init__(self, latent: int, out: Shape, rng: Rng, *, hidden: Sizes = (200, 200), context: int = 0) -> None:
        at_least(0, context=context)
        self.out, self.context = tuple(out), context
        self.mlp = MLP(latent + context, hidden, math.prod(out), rng, activation=tanh, init=glorot_uniform)

    def __call__(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        return self.mlp(_append(self, z, context, self.context)).reshape(-1, *self.out)


class ConvEncoder(Encoder):
    """Convolutions of stride 2, each halving the resolution, and a linear layer: x (N, H, W, C) to (N, n_out).

    Args:
        channels: number of output channels of each convolution.
        init: initialiser of the convolutions.
        levels: number of pixel values, which are rescaled to −1…1; None if x is already scaled.

    Raises: ValueError as for Encoder, or if shape is not (H, W, C) or channels is empty.
    """

    def __init__(
        self,
        shape: Shape,
        n_out: int,
        rng: Rng,
        *,
        channels: Sizes = (32, 64),
        activation: Activation = relu,
        init: Initialiser = glorot_uniform,
        levels: int | None = None,
        context: int = 0,
    ) -> None:
        super().__init__(shape, levels, context)
        coarsest = _resolutions(shape, channels)[-1]
        self.convs = [Conv(a, b, WINDOW, rng, stride=2, init=init) for a, b in pairwise([shape[2], *channels])]
        self.last = Linear(math.prod(coarsest) * channels[-1] + context, n_out, rng)
        self.activation = activation

    def __call__(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        h = self.rescale(x)  # (N, H, W, C)
        for conv in self.convs:
            h = conv(h, activation=self.activation)  # (N, ⌈H/2⌉, ⌈W/2⌉, channels)
        n, *event = array_of(h).shape
        return self.last(_append(self, reshape(h, (n, math.prod(event))), context, self.context))


class ConvDecoder(Module):
    """A linear layer and transposed convolutions of stride 2: z (N, latent) to (N, H, W, C, …).

    `channels` is ordered as in the encoder, from the finest resolution to the coarsest. The last layer is linear.

    Raises: ValueError if out does not start with (H, W, C), or if channels is empty.
    """

    def __init__(
        self,
        latent: int,
        out: Shape,
        rng: Rng,
        *,
        channels: Sizes = (32, 64),
        activation: Activation = relu,
        init: Initialiser = glorot_uniform,
        context: int = 0,
    ) -> None:
        at_least(0, context=context)
        *finer, coarsest = _resolutions(out[:3], channels)
        self.out, self.activation, self.context = tuple(out), activation, context
        self.sizes, self.coarse = finer[::-1], (*coarsest, channels[-1])
        self.first = Linear(latent + context, math.prod(self.coarse), rng, init=init)
        *inner, (a, b) = pairwise([math.prod(out[2:]), *channels][::-1])
        self.convs = [ConvTranspose(n_in, n_out, WINDOW, rng, stride=2, init=init) for n_in, n_out in inner]
        self.convs.append(ConvTranspose(a, b, WINDOW, rng, stride=2))

    def __call__(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        h = self.first(_append(self, z, context, self.context), self.activation)
        h = h.reshape(-1, *self.coarse)  # (N, ⌈H/2ⁿ⌉, ⌈W/2ⁿ⌉, channels)
        for conv, size in zip(self.convs[:-1], self.sizes, strict=False):
            h = self.activation(conv(h, size))  # twice the resolution
        return self.convs[-1](h, self.sizes[-1]).reshape(-1, *self.out)


class ImageCritic(ConvEncoder):
    """Two convolutions with leaky relu and a linear layer: x (N, *shape) to (N, 1).

    There is no batch normalisation, since the gradient penalty is defined per example.
    """

    def __init__(self, shape: Shape, rng: Rng, *, width: int = 32) -> None:
        leaky = partial(leaky_relu, slope=0.2)
        super().__init__(shape, 1, rng, channels=(width, 2 * width), activation=leaky, init=he_normal)


class ImageGenerator(Sequential):
    """A linear layer, transposed convolutions and tanh: noise (N, latent) to images (N, *shape) in (−1, 1)."""

    def __init__(self, shape: Shape, latent: int, rng: Rng, *, width: int = 32) -> None:
        super().__init__(ConvDecoder(latent, shape, rng, channels=(width, 2 * width), init=he_normal), tanh)


def _append(network: Module, x: TensorLike, context: TensorLike | None, size: int) -> TensorLike:
    """Return x (N, D) with the context (N, size) appended to each row, or x if size is 0."""
    check_context(context, len(array_of(x)), size)
    x = _cast(network, x)
    return x if context is None else concatenate([x, _cast(network, context)], 1)


def _cast(network: Module, x: TensorLike) -> TensorLike:
    """Return x, cast to the network's dtype if integer or boolean."""
    return x if array_of(x).dtype.kind == "f" else cast_integers(x, network.dtype)


def _resolutions(shape: Shape, channels: Sizes) -> list[tuple[int, int]]:
    """Return height and width before and after each of len(channels) convolutions of stride 2: ⌈H/2ⁿ⌉, ⌈W/2ⁿ⌉."""
    at_least(1, **{"len(channels)": len(channels)})
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape: expected (height, width, channels), got {shape}")
    return [(-(-shape[0] // 2**n), -(-shape[1] // 2**n)) for n in range(len(channels) + 1)]
