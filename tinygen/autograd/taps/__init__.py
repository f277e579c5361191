"""Taps: the offsets at which a convolution reads its input.

    y(p) = Σₜ x(s·p + oₜ) Wₜ        s is the stride, oₜ the offset of tap t

Plain, masked, causal and dilated convolutions differ only in their offsets. An offset that a mask would set to zero is
left out, so it costs nothing. An offset is (dt,) for a sequence or (dy, dx) for an image; negative means earlier, above
or to the left. Each function returns a tuple of offsets in raster order.
"""

from .dilated_causal import dilated
from .mask_a_b import causal, horizontal, vertical
from .windows import Taps, point, rectangle, square

__all__ = ["Taps", "causal", "dilated", "horizontal", "point", "rectangle", "square", "vertical"]
