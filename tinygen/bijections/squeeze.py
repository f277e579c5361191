"""Several scales: space traded for channels, and half of the channels declared noise before the rest goes on.

Checked by: tests/bijections/test_squeeze.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..autograd import Tensor, TensorLike, concatenate, reshape, split, transpose
from ..autograd.tensor import array_of
from .bijection import Bijection, Chain
from .permute import Reshape, no_volume


class Squeeze(Bijection):
    """Space to depth: each block of 2×2 pixels becomes one pixel of four times the channels; ln|det| = 0

    The channels of a block are in raster order: upper left, upper right, lower left, lower right.

    Shapes: x (N, H, W, C), z (N, H/2, W/2, 4C).  Raises ValueError if H or W is odd, or 4 does not divide z's channels.
    Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017, section 3.6.
    Checked by: tests/bijections/test_squeeze.py
    """

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        shape = array_of(x).shape
        if len(shape) != 4 or shape[1] % 2 or shape[2] % 2:
            raise ValueError(f"x: expected (N, H, W, C) of even height and width by Squeeze, got {shape}")
        n, height, width, channels = shape
        blocks = reshape(x, (n, height // 2, 2, width // 2, 2, channels))
        z = transpose(blocks, (0, 1, 3, 2, 4, 5)).reshape(n, height // 2, width // 2, 4 * channels)
        return z, no_volume(x)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        shape = array_of(z).shape
        if len(shape) != 4 or shape[3] % 4:
            raise ValueError(f"z: expected (N, H, W, C), C a multiple of 4, by Squeeze, got {shape}")
        n, height, width, channels = shape
        blocks = reshape(z, (n, height, width, 2, 2, channels // 4))
        x = transpose(blocks, (0, 1, 3, 2, 4, 5)).reshape(n, 2 * height, 2 * width, channels // 4)
        return x, no_volume(z)


class FactorOut(Bijection):
    """Half of the channels are noise already, the rest goes on through another bijection.

        x = (a, b) along the channels,   z = (a, f(b)),   ln|det ∂z/∂x| = ln|det ∂f(b)/∂b|

    Shapes: x (N, *shape) with an even number of channels, a and b (N, …, C/2), f(b) (N, D/2), z (N, D).
    Raises ValueError if the channels cannot be halved.
    Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017, section 3.6.
    Checked by: tests/bijections/test_squeeze.py
    """

    def __init__(self, shape: tuple[int, ...], rest: Bijection) -> None:
        if shape[-1] % 2:
            raise ValueError(f"shape: expected an even number of channels to halve, got {shape}")
        self.half, self.rest = (*shape[:-1], shape[-1] // 2), rest

    @property
    def context(self) -> int | None:
        return self.rest.context

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        a, b = split(x, 2, -1)
        z, log_det = self.rest.forward(b, context)
        return concatenate([a.reshape(len(a), -1), z], 1), log_det

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        a, noise = split(z, 2, 1)
        b, log_det = self.rest.inverse(noise, context)
        return concatenate([a.reshape(len(a), *self.half), b], -1), log_det

    def to_data(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        a, noise = split(z, 2, 1)
        return concatenate([a.reshape(len(a), *self.half), self.rest.to_data(noise, context)], -1)

    def initialise(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        a, b = split(x, 2, -1)
        return concatenate([a.reshape(len(a), -1), self.rest.initialise(b, context)], 1)


def multi_scale(stages: Sequence[Bijection], shapes: Sequence[tuple[int, ...]]) -> Chain:
    """Chain stages, after each but the last of which half of the channels leave; what has left is not computed with.

    Shapes: shapes[i] is that of stage i's output; the chain maps to vectors (N, D).
    Raises ValueError if there is no stage, or not one shape for each.
    """
    if not stages or len(stages) != len(shapes):
        raise ValueError(f"stages: expected one or more, a shape for each, got {len(stages)} and {len(shapes)}")
    chain = Chain(stages[-1], Reshape(shapes[-1], (math.prod(shapes[-1]),)))
    for stage, shape in zip(stages[-2::-1], shapes[-2::-1], strict=True):
        chain = Chain(stage, FactorOut(shape, chain))
    return chain
