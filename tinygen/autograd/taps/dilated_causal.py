"""Taps of the dilated causal convolution.

Checked by: tests/autograd/test_taps.py
"""

from ...arguments import explained
from .windows import WIDEST, Taps, check_count


@explained
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
    check_count("dilated", size=size)
    check_count("dilated", most=(1 << 31) // WIDEST, dilation=dilation)
    first = 1 - size if centre else -size
    return tuple((step * dilation,) for step in range(first, first + size))
