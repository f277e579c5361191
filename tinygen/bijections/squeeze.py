"""The multi-scale architecture: squeeze space into channels, then factor out half of the channels as noise.

Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017, section 3.6.
Checked by: tests/bijections/test_squeeze.py
"""

import math
from collections.abc import Sequence

from ..arguments import explained
from ..autograd import Tensor, TensorLike, concatenate, reshape, split, transpose
from ..autograd.tensor import array_of
from ..checks import check_counts, check_event, require
from .bijection import Bijection, Chain, Context, zero_log_det
from .permute import Reshape


class Squeeze(Bijection):
    """Space to depth: each block of 2×2 pixels becomes one pixel with four times the channels; ln|det| = 0.

    The channels of a block are in raster order: upper left, upper right, lower left, lower right.

    Shapes: x (N, H, W, C), H and W even; z (N, H/2, W/2, 4C).

    Example:
        >>> import numpy as np
        >>> Squeeze().to_noise(np.zeros((1, 4, 4, 3))).shape
        (1, 2, 2, 12)
    """

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        shape = array_of(x).shape
        if len(shape) != 4 or shape[1] % 2 or shape[2] % 2:
            raise ValueError(f"x: expected shape (N, H, W, C) with even H and W in Squeeze, got {shape}")
        n, height, width, channels = shape
        blocks = reshape(x, (n, height // 2, 2, width // 2, 2, channels))
        z = transpose(blocks, (0, 1, 3, 2, 4, 5)).reshape(n, height // 2, width // 2, 4 * channels)
        return z, zero_log_det(x)

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        shape = array_of(z).shape
        if len(shape) != 4 or shape[3] % 4:
            raise ValueError(f"z: expected shape (N, H, W, C) with C a multiple of 4 in Squeeze, got {shape}")
        n, height, width, channels = shape
        blocks = reshape(z, (n, height, width, 2, 2, channels // 4))
        x = transpose(blocks, (0, 1, 3, 2, 4, 5)).reshape(n, 2 * height, 2 * width, channels // 4)
        return x, zero_log_det(z)


class FactorOut(Bijection):
    """Factor out half of the channels as noise and transform the other half.

        x = (a, b) along the channels,   z = (a, f(b)),   ln|det ∂z/∂x| = ln|det ∂f(b)/∂b|

    Args:
        shape: shape of an event of x, with an even number of channels C.
        rest: the bijection f, which maps b (N, …, C/2) to vectors (N, D/2).

    Shapes: x (N, *shape); z (N, D).
    """

    def __init__(self, shape: tuple[int, ...], rest: Bijection) -> None:
        check_counts("shape", shape)
        require(shape[-1] % 2 == 0, "shape", "an even number of channels", shape)
        self.shape, self.half, self.rest, self.context = tuple(shape), (*shape[:-1], shape[-1] // 2), rest, rest.context

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        check_event("x", x, self.shape)
        a, b = split(x, 2, -1)
        z, log_det = self.rest.forward(b, context)
        return concatenate([self._flat(a), z], 1), log_det

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        check_event("z", z, (math.prod(self.shape),))
        a, noise = split(z, 2, 1)
        b, log_det = self.rest.inverse(noise, context)
        return concatenate([a.reshape(len(a), *self.half), b], -1), log_det

    def to_data(self, z: TensorLike, context: Context = None) -> Tensor:
        check_event("z", z, (math.prod(self.shape),))
        a, noise = split(z, 2, 1)
        return concatenate([a.reshape(len(a), *self.half), self.rest.to_data(noise, context)], -1)

    def initialise(self, x: TensorLike, context: Context = None) -> Tensor:
        check_event("x", x, self.shape)
        a, b = split(x, 2, -1)
        return concatenate([self._flat(a), self.rest.initialise(b, context)], 1)

    def _flat(self, a: Tensor) -> Tensor:
        return a.reshape(len(a), math.prod(self.half))  # −1 would be ambiguous for an empty batch


@explained
def multi_scale(stages: Sequence[Bijection], shapes: Sequence[tuple[int, ...]]) -> Chain:
    """Chain the stages and factor out half of the channels after each stage but the last.

    Args:
        stages: one bijection per scale.
        shapes: the event shape of each stage's output.

    Shapes: x, images (N, H, W, C); z, vectors (N, D).
    Raises: ValueError if there are no stages, or if stages and shapes differ in length.
    """
    if not len(stages) or len(stages) != len(shapes):
        got = f"{len(stages)} and {len(shapes)}"
        raise ValueError(f"stages and shapes: expected at least one, and equally many, got {got}")
    chain = Chain(stages[-1], Reshape(shapes[-1], (math.prod(shapes[-1]),)))
    for stage, shape in zip(stages[-2::-1], shapes[-2::-1], strict=True):
        chain = Chain(stage, FactorOut(shape, chain))
    return chain
