"""Checkerboard, channel and half masks of coupling layers.

A `Mask` is a split of the tensor, not a binary mask: the network of a coupling then computes no values that a mask
would multiply by zero.

    "half"            vectors: first and second half; images: upper and lower half
    "channel"         first and second half of the channels; for vectors the same as "half"
    "checkerboard"    vectors: even and odd indices; images: pixels with i + j even and odd

Each parity of a checkerboard becomes an image of half the height and width and twice the channels. In every block of
2×2 pixels, a has the two of even parity and b the two of odd parity:

    a₁ b₁        a = (a₁, a₂)
    b₂ a₂        b = (b₁, b₂)

Source: Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017, section 3.4 (with binary masks).
Checked by: tests/bijections/test_coupling_masks.py
"""

from typing import TypeAlias

import numpy as np

from ..autograd import Tensor, TensorLike, concatenate, index, node, split
from ..autograd.tensor import array_of
from ..checks import check_event, require
from ..recorded import Recorded

Shape: TypeAlias = tuple[int, ...]
EVEN, ODD = (slice(None), slice(0, None, 2)), (slice(None), slice(1, None, 2))  # columns


class Mask(Recorded):
    """A split of events into a part a that a coupling passes through and a part b that it transforms.

    Args:
        name: "half", "channel" or "checkerboard".
        shape: shape of an event, (D,) or (height, width, channels).
        flipped: exchange a and b.

    Attributes: `shapes`, the event shapes of a and b.
    Raises: ValueError if the name is unknown or the shape cannot be split: a checkerboard needs an even height and
        width (or D), the others at least two elements along the axis that they split.

    Example:
        >>> mask = Mask("checkerboard", (4, 4, 1))
        >>> a, b = mask.split(np.zeros((5, 4, 4, 1)))
        >>> a.shape, mask.merge(a, b).shape
        ((5, 2, 2, 2), (5, 4, 4, 1))
    """

    def __init__(self, name: str, shape: Shape, flipped: bool = False) -> None:
        names = "half", "channel", "checkerboard"
        require(name in names, "mask", "'half', 'channel' or 'checkerboard'", repr(name))
        require(len(shape) in (1, 3), "shape", "(D,) or (height, width, channels)", shape)
        self.name, self.shape, self.flipped = name, tuple(shape), flipped
        self.axis = len(shape) if name == "channel" else 1
        self.at = shape[self.axis - 1] // 2
        even = all(size % 2 == 0 for size in (shape[:2] if len(shape) == 3 else shape))
        require(name != "checkerboard" or even, "shape", "an even height and width (or D) for a checkerboard", shape)
        require(self.at > 0, "shape", f"at least two elements along the axis that {name!r} splits", shape)
        first, second = self.split(Tensor(np.zeros((1, *shape), np.float32)))
        self.shapes = first.shape[1:], second.shape[1:]

    def split(self, x: TensorLike) -> tuple[Tensor, Tensor]:
        """Split x (N, *shape) into a (N, *shapes[0]) and b (N, *shapes[1])."""
        check_event("x", x, self.shape)
        if self.name != "checkerboard":
            a, b = split(x, [self.at], self.axis)
        elif len(self.shape) == 1:
            a, b = index(x, EVEN), index(x, ODD)
        else:
            a, b = split_parities(x)
        return (b, a) if self.flipped else (a, b)

    def merge(self, a: Tensor, b: Tensor) -> Tensor:
        """Undo `split`."""
        a, b = (b, a) if self.flipped else (a, b)
        if self.name != "checkerboard":
            return concatenate([a, b], self.axis)
        if len(self.shape) == 1:
            return interleave(a, b)
        return merge_parities(a, b)


def interleave(a: Tensor, b: Tensor) -> Tensor:
    """Return x (N, 2D) with the even columns a and the odd columns b."""
    x = np.stack([a.value, b.value], -1).reshape(len(a), 2 * a.shape[1])
    return node("interleave", x, (a, lambda g, _: index(g, EVEN)), (b, lambda g, _: index(g, ODD)))


def split_parities(x: TensorLike) -> tuple[Tensor, Tensor]:
    """Split images (N, H, W, C) into the pixels with i + j even and odd, (N, H/2, W/2, 2C) each."""
    return _parity(x, 0), _parity(x, 1)


def _parity(x: TensorLike, odd: int) -> Tensor:
    """Return the pixels with (i + j) mod 2 = odd, as one operation instead of four."""
    n, height, width, channels = array_of(x).shape
    blocks = array_of(x).reshape(n, height // 2, 2, width // 2, 2, channels)
    pixels = np.concatenate([blocks[:, :, 0, :, odd], blocks[:, :, 1, :, 1 - odd]], -1)

    def vjp(g: Tensor, _: Tensor) -> Tensor:
        zeros = Tensor(np.zeros_like(g.value))
        return merge_parities(zeros, g) if odd else merge_parities(g, zeros)

    return node("parity", pixels, (x, vjp))


def merge_parities(a: Tensor, b: Tensor) -> Tensor:
    """Undo `split_parities`."""
    require(a.shape == b.shape, "b", f"the shape of a, {a.shape}", b.shape)
    n, height, width, channels = a.shape[0], a.shape[1], a.shape[2], a.shape[3] // 2
    blocks = np.empty((n, height, 2, width, 2, channels), np.result_type(a.value, b.value))
    for odd, part in enumerate((a.value, b.value)):
        blocks[:, :, 0, :, odd], blocks[:, :, 1, :, 1 - odd] = part[..., :channels], part[..., channels:]
    x = blocks.reshape(n, 2 * height, 2 * width, channels)
    return node("merge_parities", x, (a, lambda g, _: _parity(g, 0)), (b, lambda g, _: _parity(g, 1)))
