"""Couplings: half of x is passed on, the other half changed by functions of it, so the Jacobian is triangular.

A mask says which half is which. It is no array of zeros and ones to multiply by, but a way to cut the tensor in two: a
network then computes nothing that is thrown away.

    "half"            vectors: the first and the last numbers; images: the upper and the lower half
    "channel"         the first and the last channels; of vectors, the same as "half"
    "checkerboard"    vectors: numbers at even and at odd places; images: the fields of a chessboard

The two halves of a chessboard are images of half the height and width and twice the channels: of every block of four
pixels, a holds the two on the diagonal and b the other two.

    a₁ b₁        a = (a₁, a₂)
    b₂ a₂        b = (b₁, b₂)

Checked by: tests/bijections/test_coupling.py
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np

from ..autograd import Parameter, Tensor, TensorLike, concatenate, exp, index, split, stack, tanh
from ..autograd.tensor import array_of, node
from .bijection import Bijection, sum_event
from .permute import no_volume

Shape: TypeAlias = tuple[int, ...]


class Network(Protocol):
    """What a coupling computes of the half that it passes on; any function will do, since nobody inverts it."""

    def __call__(self, a: Tensor, context: TensorLike | None) -> Tensor:
        """Map a (N, …, C_a) to (N, …, C_b), or to twice as many channels where there are s and t to compute."""


class Mask:
    """How an event (D,) or (H, W, C) is cut in two. `flipped` swaps the halves: what was passed on is then changed.

    `shapes` are those of the halves.
    Raises ValueError if the name is unknown, or if the event cannot be cut so: a checkerboard needs an even number of
    rows and columns (or of numbers), the others at least two of what they cut.
    """

    def __init__(self, name: str, shape: Shape, flipped: bool = False) -> None:
        if name not in ("half", "channel", "checkerboard"):
            raise ValueError(f"mask: expected 'half', 'channel' or 'checkerboard', got {name!r}")
        if len(shape) not in (1, 3):
            raise ValueError(f"shape: expected (D,) or (height, width, channels), got {shape}")
        self.name, self.shape, self.flipped = name, tuple(shape), flipped
        self.axis = len(shape) if name == "channel" else 1
        self.at = shape[self.axis - 1] // 2
        if name == "checkerboard" and any(size % 2 for size in shape[: 1 if len(shape) == 1 else 2]):
            raise ValueError(f"shape: expected even lengths to lay a checkerboard on, got {shape}")
        if not self.at:
            raise ValueError(f"shape: expected at least two of what mask {name!r} cuts, got {shape}")
        first, second = self.split(Tensor(np.zeros((1, *shape), np.float32)))
        self.shapes = first.shape[1:], second.shape[1:]

    def split(self, x: TensorLike) -> tuple[Tensor, Tensor]:
        """Cut x (N, *shape) into a, which is passed on, and b, which is changed."""
        if array_of(x).shape[1:] != self.shape:
            raise ValueError(f"x: expected (N, {', '.join(map(str, self.shape))}), got shape {array_of(x).shape}")
        if self.name != "checkerboard":
            a, b = split(x, [self.at], self.axis)
        elif len(self.shape) == 1:
            a, b = (index(x, (slice(None), slice(i, None, 2))) for i in (0, 1))
        else:
            a, b = fields_of(x, 0), fields_of(x, 1)
        return (b, a) if self.flipped else (a, b)

    def merge(self, a: Tensor, b: Tensor) -> Tensor:
        """Put together what `cut` took apart."""
        a, b = (b, a) if self.flipped else (a, b)
        if self.name != "checkerboard":
            return concatenate([a, b], self.axis)
        if len(self.shape) == 1:
            return stack([a, b], 2).reshape(len(a), *self.shape)
        return board_of(a, b)


def fields_of(x: TensorLike, colour: int) -> Tensor:
    """One colour of a chessboard (N, H, W, C), a₁ and a₂ or b₁ and b₂, as an image (N, H/2, W/2, 2C)"""
    v = array_of(x)
    n, height, width, channels = v.shape
    y = np.empty((n, height // 2, width // 2, 2, channels), v.dtype)
    for row in (0, 1):
        y[..., row, :] = v[:, row::2, (row + colour) % 2 :: 2]

    def rule(g: Tensor, y: Tensor) -> Tensor:
        nothing = np.zeros_like(g.value)
        return board_of(nothing, g) if colour else board_of(g, nothing)

    return node("fields_of", y.reshape(n, height // 2, width // 2, 2 * channels), (x, rule))


def board_of(a: TensorLike, b: TensorLike) -> Tensor:
    """The chessboard that has these fields"""
    n, height, width, channels = array_of(a).shape
    x = np.empty((n, 2 * height, 2 * width, channels // 2), np.result_type(array_of(a), array_of(b)))
    for colour, fields in enumerate((a, b)):
        v = array_of(fields).reshape(n, height, width, 2, channels // 2)
        for row in (0, 1):
            x[:, row::2, (row + colour) % 2 :: 2] = v[..., row, :]
    return node("board_of", x, (a, lambda g, x: fields_of(g, 0)), (b, lambda g, x: fields_of(g, 1)))


class AdditiveCoupling(Bijection):
    """Additive coupling: half of x is passed on, the other half shifted by a function of it.

        z_a = x_a,   z_b = x_b + t(x_a),   ln|det ∂z/∂x| = 0

    Shapes: x, z (N, *mask.shape); t takes a (N, *mask.shapes[0]) to (N, *mask.shapes[1]); log_det (N,).
    Raises ValueError if x, or what the network returns, has another shape.
    Source: Dinh, Krueger & Bengio, "NICE: non-linear independent components estimation", 2015.
    Checked by: tests/bijections/test_coupling.py
    """

    def __init__(self, mask: Mask, network: Network) -> None:
        self.mask, self.network = mask, network

    @property
    def context(self) -> int | None:
        return getattr(self.network, "context", None)

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        a, b = self.mask.split(x)
        return self.mask.merge(a, b + self._shift(a, context)), no_volume(x)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return self.to_data(z, context), no_volume(z)

    def to_data(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        a, b = self.mask.split(z)
        return self.mask.merge(a, b - self._shift(a, context))

    def _shift(self, a: Tensor, context: TensorLike | None) -> Tensor:
        return _checked(self.network(a, context), (len(a), *self.mask.shapes[1]))


class AffineCoupling(Bijection):
    """Affine coupling: half of x is passed on, the other half scaled and shifted by functions of it.

        z_a = x_a,   z_b = x_b ⊙ exp s(x_a) + t(x_a),   ln|det ∂z/∂x| = Σ s(x_a)
        s = w ⊙ tanh(ŝ) with a learned width w of each channel, so that no ŝ, however large, makes exp s overflow

    One network computes ŝ and t, the halves of its last axis. If it returns zeros, the coupling is the identity.

    Shapes: x, z (N, *mask.shape); the network takes a (N, *mask.shapes[0]) to (N, …, 2C) where b has (…, C); w (C,);
    log_det (N,).
    Raises ValueError if x, or what the network returns, has another shape.
    Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017.
    Checked by: tests/bijections/test_coupling.py
    """

    def __init__(self, mask: Mask, network: Network) -> None:
        self.mask, self.network = mask, network
        self.w = Parameter(np.ones(mask.shapes[1][-1]))

    @property
    def context(self) -> int | None:
        return getattr(self.network, "context", None)

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        a, b = self.mask.split(x)
        s, t = self._scale_and_shift(a, context)
        return self.mask.merge(a, b * exp(s) + t), sum_event(s)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        a, b = self.mask.split(z)
        s, t = self._scale_and_shift(a, context)
        return self.mask.merge(a, (b - t) * exp(-s)), -sum_event(s)

    def to_data(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        a, b = self.mask.split(z)
        s, t = self._scale_and_shift(a, context)
        return self.mask.merge(a, (b - t) * exp(-s))

    def _scale_and_shift(self, a: Tensor, context: TensorLike | None) -> tuple[Tensor, Tensor]:
        *shape, channels = len(a), *self.mask.shapes[1]
        both = _checked(self.network(a, context), (*shape, 2 * channels))
        s, t = split(both, 2, -1)
        return self.w * tanh(s), t


def _checked(computed: Tensor, shape: Shape) -> Tensor:
    if computed.shape != shape:
        raise ValueError(f"network: expected to return {shape}, got {computed.shape}")
    return computed
