"""Masks A and B of the PixelCNN, and the stacks of the Gated PixelCNN, as taps.

As 3 × 3 matrices, where 1 is a tap and [ ] the pixel p itself:

    mask A            mask B                    vertical stack    horizontal stack

    1   1   1         1   1   1                 1   1   1         0   0   0
    1  [0]  0         1  [1]  0                 0  [0]  0         1  [0]  0
    0   0   0         0   0   0                 0   0   0         0   0   0

    causal(3)         causal(3, centre=True)    vertical(3)       horizontal(3)

The first layer uses mask A, since a pixel must not see itself; the others use mask B. The vertical stack sees the rows
above, and the horizontal stack the pixels to the left in the same row.

Checked by: tests/autograd/test_taps.py
"""

from ...arguments import explained
from .windows import Taps, check_count, rectangle, square


@explained
def causal(size: int, centre: bool = False) -> Taps:
    """The masks of the PixelCNN: offsets of the centred size × size window that precede the centre in raster order.

    Without the centre this is mask A (first layer), with it mask B (later layers).
    Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016.

    Example:
        >>> causal(3)
        ((-1, -1), (-1, 0), (-1, 1), (0, -1))
    """
    return tuple(tap for tap in square(size) if tap < (0, 0) or (centre and tap == (0, 0)))


@explained
def vertical(size: int, centre: bool = False) -> Taps:
    """The vertical stack of the Gated PixelCNN: the rows above in a size × size window, on both sides.

    Later layers (`centre`) also read the current row, whose features depend only on the rows above.
    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, figure 2.
    """
    reach = _reach("vertical", size, centre)
    return rectangle(range(-reach, 1 if centre else 0), range(-reach, reach + 1))


@explained
def horizontal(size: int, centre: bool = False) -> Taps:
    """The horizontal stack of the Gated PixelCNN: pixels to the left in the row; with `centre` the pixel itself too."""
    return rectangle(range(1), range(-_reach("horizontal", size, centre), 1 if centre else 0))


def _reach(function: str, size: int, centre: bool) -> int:
    """Return how far a centred window reaches from its centre."""
    smallest = 1 if centre else 3
    check_count(function, smallest, size=size)
    if size % 2 == 0:
        raise ValueError(f"{function}: expected an odd size of at least {smallest}, got {size}")
    return size // 2
