"""Generators and critics: of points, and of images, where strides and not pooling change the scale.

    generator   z → linear → (H/4, W/4, 2·width) → transposed, ×2 → (H/2, W/2, width) → transposed, ×2 → tanh → x
    critic      x → ÷2 → (H/2, W/2, width) → ÷2 → (H/4, W/4, 2·width) → linear → one number

Windows of 4×4 at a stride of 2: a size that the stride divides, so that inside the image every pixel of a transposed
convolution is a sum over as many taps as any other (3×3 would leave a checkerboard). There is no batch normalisation:
a penalty on the critic's slope is about each example by itself.

Source: Radford, Metz & Chintala, "Unsupervised representation learning with deep convolutional generative adversarial
networks", 2016; Odena, Dumoulin & Olah, "Deconvolution and checkerboard artifacts", 2016.
Checked by: tests/models/test_gan_networks.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from ..autograd import Tensor, TensorLike, leaky_relu, relu, tanh
from ..checks import at_least, check_event
from ..nn import Conv, ConvTranspose, Linear, Module, Sequential
from ..nn.init import he_normal
from .vae_networks import WINDOW

Rng = np.random.Generator
Activation: TypeAlias = Callable[[TensorLike], Tensor]

_leaky = partial(leaky_relu, slope=0.2)


def mlp(
    n_in: int, n_out: int, rng: Rng, *, width: int = 64, depth: int = 2, activation: Activation = relu
) -> Sequential:
    """Stack `depth` hidden layers: (N, n_in) to (N, n_out), a generator or a critic of points.

    Raises ValueError if a size is below 1.
    """
    at_least(1, depth=depth, width=width)
    hidden = [Linear(a, b, rng, init=he_normal) for a, b in pairwise([n_in, *[width] * depth])]
    return Sequential(*(part for layer in hidden for part in (layer, activation)), Linear(width, n_out, rng))


class ImageGenerator(Module):
    """Noise (N, latent) to images (N, *shape) within (−1, 1).

    Raises ValueError, naming the argument, if height or width is no multiple of 4 or a size is below 1.
    """

    def __init__(self, shape: tuple[int, ...], latent: int, rng: Rng, *, width: int = 32) -> None:
        self.small = (*_quartered(shape), 2 * width)
        self.first = Linear(latent, math.prod(self.small), rng, init=he_normal)
        self.second = ConvTranspose(2 * width, width, WINDOW, rng, stride=2, init=he_normal)
        self.last = ConvTranspose(width, shape[2], WINDOW, rng, stride=2)

    def __call__(self, z: TensorLike) -> Tensor:
        h = relu(self.first(z).reshape(-1, *self.small))
        return tanh(self.last(relu(self.second(h))))


class ImageCritic(Module):
    """Images (N, *shape) to one number each, (N, 1).  Raises ValueError as `ImageGenerator`; of x for another shape."""

    def __init__(self, shape: tuple[int, ...], rng: Rng, *, width: int = 32) -> None:
        self.shape, height_width = tuple(shape), _quartered(shape)
        self.first = Conv(shape[2], width, WINDOW, rng, stride=2, init=he_normal)
        self.second = Conv(width, 2 * width, WINDOW, rng, stride=2, init=he_normal)
        self.last = Linear(math.prod(height_width) * 2 * width, 1, rng)

    def __call__(self, x: TensorLike) -> Tensor:
        check_event("x", x, self.shape)
        h = _leaky(self.second(_leaky(self.first(x))))
        return self.last(h.reshape(len(h), -1))


def _quartered(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 3 or min(shape) < 1 or shape[0] % 4 or shape[1] % 4:
        raise ValueError(f"shape: expected (height, width, channels), both sides multiples of 4, got {shape}")
    return shape[0] // 4, shape[1] // 4
