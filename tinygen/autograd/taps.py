"""Taps: the offsets at which a convolution reads its input.

    y(p) = Σₜ x(s·p + oₜ) Wₜ        s is the stride, oₜ the offset of tap t

Plain, masked, causal and dilated convolutions differ only in their offsets. An offset that a mask would set to zero is
left out, so it costs nothing. The masks of the PixelCNN and the stacks of the Gated PixelCNN as 3 × 3 matrices, where 1
is a tap and [ ] the pixel p itself:

    mask A            mask B                    vertical stack    horizontal stack

    1   1   1         1   1   1                 1   1   1         0   0   0
    1  [0]  0         1  [1]  0                 0  [0]  0         1  [0]  0
    0   0   0         0   0   0                 0   0   0         0   0   0

    causal(3)         causal(3, centre=True)    vertical(3)       horizontal(3)

The first layer uses mask A, since a pixel must not see itself; the others use mask B. The vertical stack sees the rows
above, and the horizontal stack the pixels to the left in the same row.

An offset is (dt,) for a sequence or (dy, dx) for an image; negative means earlier, above or to the left. Each function
returns a tuple of offsets in raster order.

Checked by: tests/autograd/test_taps.py
"""

from __future__ import annotations

from typing import TypeAlias

Taps: TypeAlias = tuple[tuple[int, ...], ...]


def square(size: int, start: int | None = None) -> Taps:
    """All offsets of a size × size window.

    Args:
        start: the first offset along both axes; by default the window is centred, which requires an odd size.
    """
    _check_positive("square", "size", size)
    if start is None:
        if size % 2 == 0:
            raise ValueError(f"square: expected an odd size, got {size}, which has no centre; pass start")
        start = -(size // 2)
    return rectangle(range(start, start + size), range(start, start + size))


def rectangle(rows: range, columns: range) -> Taps:
    """All offsets (dy, dx) with dy in rows and dx in columns."""
    return tuple((dy, dx) for dy in rows for dx in columns)


def causal(size: int, centre: bool = False) -> Taps:
    """The masks of the PixelCNN: offsets of the centred size × size window that precede the centre in raster order.

    Without the centre this is mask A (first layer), with it mask B (later layers).
    Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016.

    Example:
        >>> causal(3)
        ((-1, -1), (-1, 0), (-1, 1), (0, -1))
    """
    return tuple(tap for tap in square(size) if tap < (0, 0) or (centre and tap == (0, 0)))


def dilated(size: int, dilation: int = 1, centre: bool = True) -> Taps:
    """The dilated causal convolution of WaveNet: `size` offsets into the past of a sequence, `dilation` apart.

    The last offset is the present (0,) or, without the centre, (−dilation,). Layers of two taps whose dilations double
    see 2, 4, 8, … inputs:

        output   ·   ·   ·   ·   ·   ·   ·   o
                             ┌───────────────┤      dilation 4
        hidden   ·   ·   ·   o   ·   ·   ·   o
                     ┌───────┤       ┌───────┤      dilation 2
        hidden   ·   o   ·   o   ·   o   ·   o
                 ┌───┤   ┌───┤   ┌───┤   ┌───┤      dilation 1
        input    o   o   o   o   o   o   o   o
                t−7                         t

    Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016.

    Example:
        >>> dilated(2, dilation=4)
        ((-4,), (0,))
    """
    _check_positive("dilated", "size", size)
    _check_positive("dilated", "dilation", dilation)
    first = 1 - size if centre else -size
    return tuple((step * dilation,) for step in range(first, first + size))


def vertical(size: int, centre: bool = False) -> Taps:
    """The vertical stack of the Gated PixelCNN: the rows above in a size × size window, on both sides.

    Later layers (`centre`) also read the current row, where the features of the stack depend on the rows above only.
    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, figure 2.
    """
    reach = _reach("vertical", size, centre)
    return rectangle(range(-reach, 1 if centre else 0), range(-reach, reach + 1))


def horizontal(size: int, centre: bool = False) -> Taps:
    """The horizontal stack of the Gated PixelCNN: pixels to the left in the row; with `centre` the pixel itself too."""
    return rectangle(range(1), range(-_reach("horizontal", size, centre), 1 if centre else 0))


def point(axes: int = 2) -> Taps:
    """The single offset 0: a 1×1 convolution, which mixes channels only."""
    return ((0,) * axes,)


def _check_positive(function: str, name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{function}: expected {name} of at least 1, got {value}")


def _reach(function: str, size: int, centre: bool) -> int:
    """Return how far a centred window reaches from its centre."""
    smallest = 1 if centre else 3
    if size % 2 == 0 or size < smallest:
        raise ValueError(f"{function}: expected an odd size of at least {smallest}, got {size}")
    return size // 2
