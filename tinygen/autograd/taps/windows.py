"""Rectangular windows of taps: square, rectangle, and the single offset of a 1×1 convolution.

Checked by: tests/autograd/test_taps.py
"""

from collections.abc import Iterable
from itertools import chain
from operator import index
from typing import TypeAlias

from ...arguments import checked, explained

Taps: TypeAlias = tuple[tuple[int, ...], ...]  # offsets (dt,) or (dy, dx)
WIDEST = 1 << 10  # so that a mistaken window does not exhaust the memory
_FARTHEST = 1 << 31  # so that no address of an offset overflows


@explained
def square(size: int, start: int | None = None) -> Taps:
    """All offsets of a size × size window.

    Args:
        start: the first offset along both axes; by default the window is centred, which requires an odd size.
    """
    check_count("square", size=size)
    if start is None:
        if size % 2 == 0:
            raise ValueError(f"square: expected an odd size, got {size}, which has no centre; pass start")
        start = -(size // 2)
    start = as_int("square", "start", start)
    return rectangle(range(start, start + size), range(start, start + size))


@checked
def rectangle(rows: range, columns: range) -> Taps:
    """All offsets (dy, dx) with dy in rows and dx in columns."""
    return tuple((dy, dx) for dy in rows for dx in columns)


@explained
def point(axes: int = 2) -> Taps:
    """The single offset 0: a 1×1 convolution, which mixes channels only."""
    check_count("point", axes=axes)
    return ((0,) * axes,)


def as_taps(name: str, taps: Iterable[Iterable[int]]) -> Taps:
    """Return taps, given as sequences of any kind, as a tuple of tuples of int.

    Plans of convolutions are cached by taps. 1.0 and 1 are the same key, so that floats must not reach the cache.

    Raises: TypeError if an offset is not an integer, ValueError if it is too far.
    """
    if type(taps) is not tuple or {*map(type, taps)} - {tuple} or {*map(type, chain.from_iterable(taps))} - {int}:
        try:
            taps = tuple([tuple([index(offset) for offset in tap]) for tap in taps])
        except TypeError:
            raise TypeError(f"{name}: taps: expected tuples of integers, got {taps!r}") from None
    if max(map(abs, chain.from_iterable(taps)), default=0) >= _FARTHEST:
        raise ValueError(f"{name}: taps: expected offsets below 2**31, got {taps}")
    return taps  # type: ignore[return-value]  # a tuple of tuples by now


def as_int(function: str, name: str, value: int) -> int:
    """Return an integer of any type as an int. Raises TypeError for other numbers."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{function}: {name}: expected an integer, got {value!r}") from None


def check_count(function: str, least: int = 1, most: int = WIDEST, **counts: int) -> None:
    """Raise unless every count is an integer in least … most. The keywords are the names in the message."""
    for name, count in counts.items():
        if not least <= as_int(function, name, count) <= most:
            raise ValueError(f"{function}: {name}: expected an integer from {least} to {most}, got {count}")
