"""Rectangular windows of taps: square, rectangle, and the single offset of a 1×1 convolution.

Checked by: tests/autograd/test_taps.py
"""

from typing import TypeAlias

from ...arguments import explained

Taps: TypeAlias = tuple[tuple[int, ...], ...]


@explained
def square(size: int, start: int | None = None) -> Taps:
    """All offsets of a size × size window.

    Args:
        start: the first offset along both axes; by default the window is centred, which requires an odd size.
    """
    check_positive("square", "size", size)
    if start is None:
        if size % 2 == 0:
            raise ValueError(f"square: expected an odd size, got {size}, which has no centre; pass start")
        start = -(size // 2)
    return rectangle(range(start, start + size), range(start, start + size))


@explained
def rectangle(rows: range, columns: range) -> Taps:
    """All offsets (dy, dx) with dy in rows and dx in columns."""
    return tuple((dy, dx) for dy in rows for dx in columns)


@explained
def point(axes: int = 2) -> Taps:
    """The single offset 0: a 1×1 convolution, which mixes channels only."""
    return ((0,) * axes,)


def check_positive(function: str, name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{function}: expected {name} of at least 1, got {value}")
