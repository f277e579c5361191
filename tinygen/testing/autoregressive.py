"""Does my network see only what it may, and all of that? Masks, receptive fields, orders.

Checked by: tests/testing/test_autoregressive.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..autograd import Array, Tensor
from ..autograd.taps import Taps


def check_autoregressive(
    f: Callable[[Array], Array | Tensor],
    x: Array,
    *,
    axes: int | None = None,
    order: Sequence[int] | Array | None = None,
    inclusive: bool = False,
    receptive_field: Array | None = None,
    rng: np.random.Generator,
    draws: int = 3,
) -> None:
    """Check which inputs each output depends on, by changing the input at one position at a time.

        output at position i = function of x at the positions that come before i in the order,
                               with `inclusive` also of x at i itself (what mask B and hidden layers may see)

    An output must keep every bit (but the sign of a zero) when an input that it may not see changes: a leak of one
    rounding error is a leak. And it must change, in one of the draws and examples, when an input changes that it may
    see, or a network that ignores its input would pass. It may see all earlier positions, or those that
    `receptive_field` allows. Nor may it see another example of the batch. One evaluation of f for each position and
    draw, always on an array of x's shape.

    Shapes: x (N, *space, *channels), f(x) (N, *space, …); `space` is the first `axes` axes after N, by default all but
    the last, (N, D) being D positions; positions are counted in raster order. order: a permutation of the positions,
    the first one drawn first. receptive_field (positions, positions), boolean, [i, j]: output i may see input j.
    x of a floating type is changed by adding noise; of an integer or boolean type, to other values within its range.
    Raises AssertionError with the pairs that are wrong and the likely fault; ValueError if the request makes no sense.
    Checked by: tests/testing/test_autoregressive.py
    """
    axes = max(1, x.ndim - 2) if axes is None else axes
    space = x.shape[1 : 1 + axes]
    allowed = _allowed(math.prod(space), order, inclusive, receptive_field)
    y = _outputs(f, x, space)
    if not np.array_equal(y, _outputs(f, x, space)):
        raise AssertionError("check_autoregressive: f called twice gives two values; seed it, or turn off its dropout")
    if len(x) > 1:
        others = x.copy()
        for j in range(len(allowed)):
            others[:1] = _with_another(others, j, axes, rng)[:1]
        if not np.array_equal(_outputs(f, others, space)[1:], y[1:]):
            raise AssertionError(
                "check_autoregressive: examples 1… change when only example 0 is changed; a normalisation or a mean "
                "over the batch, or rows in another order?"
            )
    depends = np.zeros(allowed.shape, bool)
    for _ in range(draws):
        for j in range(len(allowed)):
            changed = _outputs(f, _with_another(x, j, axes, rng), space) != y
            depends[:, j] |= changed.any(axis=(0, 2))
    if np.any(depends & ~allowed):
        raise AssertionError(
            _report(depends & ~allowed, space, "changes with", "it must not see") + _leak(depends, allowed)
        )
    if np.any(allowed & ~depends):
        raise AssertionError(_report(allowed & ~depends, space, "ignores", "it should see") + _gap(depends, allowed))


def receptive_field(space: tuple[int, ...], *layers: Taps) -> Array:
    """Work out what a stack of convolutions (stride 1) sees, from their taps alone.

        R = R_L … R₂ R₁,   (R_l)ᵢⱼ = 1 if position j is position i plus a tap of layer l

    Shapes: (positions, positions), boolean, in raster order, [i, j] true if output i sees input j.
    Checked by: tests/testing/test_autoregressive.py
    """
    positions = np.stack(np.unravel_index(np.arange(math.prod(space)), space), axis=-1)
    offsets = positions[None, :, :] - positions[:, None, :]  # (i, j, axis): from i to j
    seen = np.eye(len(positions), dtype=bool)
    for taps in layers:
        step = np.any([np.all(offsets == tap, axis=-1) for tap in taps], axis=0)
        seen = step @ seen
    return seen


def _allowed(positions: int, order: Sequence[int] | Array | None, inclusive: bool, field: Array | None) -> Array:
    """Work out which outputs i may see which inputs j, at [i, j]."""
    places = np.arange(positions) if order is None else np.asarray(order)
    if not np.array_equal(np.sort(places), np.arange(positions)):
        raise ValueError(f"check_autoregressive: order {places} is no permutation of the {positions} positions of x")
    rank = np.argsort(places)
    allowed = rank[None, :] <= rank[:, None] if inclusive else rank[None, :] < rank[:, None]
    if field is not None:
        if field.shape != allowed.shape:
            raise ValueError(
                f"check_autoregressive: receptive_field has shape {field.shape}, needed is {allowed.shape}, "
                f"[output position, input position]"
            )
        if np.any(field & ~allowed):
            raise ValueError("check_autoregressive: receptive_field allows what comes later in the order")
        allowed = np.asarray(field, bool)
    if not np.any(allowed):
        raise ValueError("check_autoregressive: no output may see any input, there is nothing to check")
    return allowed


def _outputs(f: Callable[[Array], Array | Tensor], x: Array, space: tuple[int, ...]) -> Array:
    """Evaluate f on a copy of x. Shape: (N, positions, everything else)"""
    y = f(x.copy())
    y = y.value if isinstance(y, Tensor) else y
    if y.shape[: 1 + len(space)] != (len(x), *space):
        raise AssertionError(
            f"check_autoregressive: f takes x {x.shape} to {y.shape}, which should begin with {(len(x), *space)}; "
            f"the positions are {len(space)} axes, pass axes=… if there are more or fewer"
        )
    if not np.all(np.isfinite(y)):
        raise AssertionError("check_autoregressive: f(x) is not finite, so a change cannot be seen")
    return y.reshape(len(x), math.prod(space), -1)


def _with_another(x: Array, position: int, axes: int, rng: np.random.Generator) -> Array:
    """Copy x, with every number at one position changed."""
    changed = x.reshape(len(x), math.prod(x.shape[1 : 1 + axes]), -1).copy()
    old = changed[:, position]
    if x.dtype.kind == "f":
        changed[:, position] = old + rng.normal(size=old.shape)
    else:
        low, levels = int(x.min()), int(x.max()) - int(x.min()) + 1
        if levels == 1:
            raise ValueError(
                "check_autoregressive: x is an integer constant; pass one that shows the range of its levels"
            )
        changed[:, position] = low + (old.astype(int) - low + rng.integers(1, levels, old.shape)) % levels
    return changed.reshape(x.shape)


def _report(wrong: Array, space: tuple[int, ...], does: str, rule: str) -> str:
    pairs = np.argwhere(wrong)
    shown = ", ".join("{} on {}".format(*(_place(p, space) for p in pair)) for pair in pairs[:4])
    return (
        f"check_autoregressive: in {len(pairs)} of {wrong.size} pairs (output on input) the output {does} an input "
        f"that {rule}: {shown}{', …' if len(pairs) > 4 else ''}. "
    )


def _place(position: int, space: tuple[int, ...]) -> str:
    place = tuple(int(i) for i in np.unravel_index(position, space))
    return str(place if len(place) > 1 else place[0])


def _leak(depends: Array, allowed: Array) -> str:
    leaks = depends & ~allowed
    if np.all(leaks <= np.eye(len(leaks), dtype=bool)):
        return "It is their own input: mask B in the first layer, or A and B the wrong way round?"
    if np.array_equal(depends, allowed.T):
        return "Exactly what it should see is seen the other way round: is the order reversed?"
    if np.mean(leaks) < 0.05:
        return "Few pairs only: a border, a padding or a wrap-around?"
    return "Is a mask missing, transposed, or made for another order?"


def _gap(depends: Array, allowed: Array) -> str:
    gaps = allowed & ~depends
    if not np.any(depends):
        return "It ignores all of its input: is it initialised to zero, or is the input not used?"
    if np.all(gaps <= np.eye(len(gaps), dtype=bool)):
        return "It is their own input: mask A where B belongs?"
    return (
        "Fewer taps or layers than promised (a kernel width that is ignored), a blind spot, or dead units? If it is "
        "meant to see less, pass receptive_field."
    )
