"""Taps: which neighbours a convolution looks at.

A convolution is a set of offsets o: y(p) = Σₜ x(s·p + oₜ) Wₜ. Plain, causal, masked and dilated convolutions differ in
their offsets only. What a mask would zero is simply not among the taps: it costs nothing and cannot leak.

An offset is (dt,) for a sequence or (dy, dx) for an image; negative is earlier, above or to the left. Every function
returns a tuple of offsets, hashable, in raster order.

Checked by: tests/autograd/test_taps.py
"""

from __future__ import annotations

from typing import TypeAlias

Taps: TypeAlias = tuple[tuple[int, ...], ...]


def square(size: int, start: int | None = None) -> Taps:
    """All offsets of a size × size window.

    It is centred on the pixel, or has offsets start, …, start + size − 1 in both axes. A window of even size has no
    centre and needs a start.
    """
    _positive("square", "size", size)
    if start is None:
        if size % 2 == 0:
            raise ValueError(f"square: size = {size} is even and has no centre pixel; pass start, the first offset")
        start = -(size // 2)
    return rectangle(range(start, start + size), range(start, start + size))


def rectangle(rows: range, columns: range) -> Taps:
    """All offsets (dy, dx) with dy in rows and dx in columns."""
    return tuple((dy, dx) for dy in rows for dx in columns)


def causal(size: int, centre: bool = False) -> Taps:
    """Those of the centred size × size window that come earlier in raster order: the masks of the PixelCNN.

    Without the centre this is mask A (the first layer: a pixel must not see itself), with it mask B (later layers).
    Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016.
    """
    return tuple(tap for tap in square(size) if tap < (0, 0) or (centre and tap == (0, 0)))


def dilated(size: int, dilation: int = 1, centre: bool = True) -> Taps:
    """`size` offsets into the past of a sequence, `dilation` apart: the causal convolution of WaveNet.

    The last one is the present (0,), or, without the centre, one `dilation` before it.
    Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016.
    """
    _positive("dilated", "size", size)
    _positive("dilated", "dilation", dilation)
    first = 1 - size if centre else -size
    return tuple((step * dilation,) for step in range(first, first + size))


def vertical(size: int, centre: bool = False) -> Taps:
    """Rows above, to both sides: the vertical stack of the Gated PixelCNN for a size × size receptive window.

    It may look right, since a row above is wholly in the past; so it has no blind spot. Without the centre it is the
    first layer's and stops above the current row; with it, it takes in the features of the current row too, which
    themselves know of the rows above only.
    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, figure 2.
    """
    reach = _reach("vertical", size, centre)
    return rectangle(range(-reach, 1 if centre else 0), range(-reach, reach + 1))


def horizontal(size: int, centre: bool = False) -> Taps:
    """The pixels to the left in the same row: the horizontal stack of the Gated PixelCNN.

    Without the centre a pixel does not see itself (first layer); with it, it sees its own features (later layers).
    """
    return rectangle(range(1), range(-_reach("horizontal", size, centre), 1 if centre else 0))


def point(axes: int = 2) -> Taps:
    """The one offset 0: a 1×1 convolution, which mixes channels and looks at no neighbour."""
    return ((0,) * axes,)


def _positive(function: str, name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{function}: {name} = {value}, it must be at least 1")


def _reach(function: str, size: int, centre: bool) -> int:
    """How far a window reaches from its middle."""
    if size % 2 == 0 or size < (1 if centre else 3):
        need = "positive" if centre else "at least 3 where the centre is left out"
        raise ValueError(f"{function}: size = {size}, it must be odd, to have a middle, and {need}")
    return size // 2
