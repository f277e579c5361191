"""Check which inputs each output of a network depends on: masks, receptive fields, orders."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..autograd import Array
from ..autograd.taps import Taps
from ..checks import at_least, check_rng, require
from .calls import Convert, Function, check_input, record


def check_autoregressive(
    f: Callable[..., Any],
    x: Array,
    *,
    axes: int | None = None,
    order: Sequence[int] | Array | None = None,
    inclusive: bool = False,
    receptive_field: Array | None = None,
    rng: np.random.Generator,
    draws: int = 3,
    leaks_only: bool = False,
    convert: Convert = None,
) -> None:
    """Check that the output at each position depends on all inputs that precede it in the order, and on no others.

    The input is changed at one position at a time. Outputs that must not see it must stay bitwise equal: even a
    rounding error is a leak. Outputs that should see it must change in at least one example and draw, so a network
    that ignores its input is rejected. Examples of the batch must not affect each other.

    Args:
        f: the network, evaluated about draws × positions times.
        x: the inputs. Noise is added to floats; integers and booleans are replaced by other values in the range of x.
        axes: the number of axes in `space`; by default all axes of x but the first and the last, or 1 for x (N, D).
        order: the positions in the order in which they are generated; by default raster order.
        inclusive: whether an output also sees the input at its own position, as after mask B.
        receptive_field: boolean, [i, j] is true if output i should see input j; by default all that the order allows.
        draws: how often each position is changed; more draws help if units, such as those of relu, are often inactive.
        leaks_only: accept outputs that ignore inputs, for a network with a receptive field that is not known.
        convert: maps x to what f takes, such as torch.from_numpy.

    Shapes: x (N, *space, *channels), f(x) (N, *space, …), receptive_field (positions, positions) in raster order.
    Raises: AssertionError with the wrong pairs and the likely fault; ValueError or TypeError for unsuitable
        arguments.
    Checked by: tests/testing/test_autoregressive.py

    Example:
        >>> rng, mask = np.random.default_rng(0), np.tril(np.ones((3, 3)), -1)
        >>> x = rng.normal(size=(2, 3))
        >>> check_autoregressive(lambda x: x @ mask.T, x, rng=rng)
        >>> check_autoregressive(lambda x: x @ mask, x, rng=rng)
        Traceback (most recent call last):
        AssertionError: ... an output changes with an input that it must not see in 3 of 9 pairs: ...
    """
    check_rng(rng)
    at_least(1, draws=draws)
    check_input("x", x, kinds="fiub")
    require(x.ndim > 1, "x", "shape (N, …) with at least one axis of positions", x.shape)
    axes = max(1, x.ndim - 2) if axes is None else axes
    require(axes in range(1, x.ndim), "axes", f"1 … {x.ndim - 1}, the number of position axes of x", axes)
    space = x.shape[1 : 1 + axes]
    allowed = _allowed(math.prod(space), order, inclusive, receptive_field)
    network = Function("check_autoregressive", "f", f, ["x"], convert)
    y = _outputs(network, x, space)
    if not np.array_equal(y, _outputs(network, x, space)):
        raise AssertionError(
            "check_autoregressive: f is random: seed it or disable its dropout (model.eval() in PyTorch)"
        )
    for changed, kept in ((0, slice(1, None)), (len(x) - 1, slice(-1))) if len(x) > 1 else ():
        others = x.copy()
        for j in range(len(allowed)):
            others[changed] = _changed_at(others, j, axes, rng)[changed]
        if not np.array_equal(_outputs(network, others, space)[kept], y[kept]):
            raise AssertionError(
                f"check_autoregressive: changing example {changed} changes other outputs; does f average or reorder "
                f"the batch?"
            )
    depends = np.zeros(allowed.shape, bool)
    for _ in range(draws):
        for j in range(len(allowed)):
            changed = _outputs(network, _changed_at(x, j, axes, rng), space) != y
            depends[:, j] |= changed.any(axis=(0, 2))
    record(f"{np.count_nonzero(depends)} of {depends.size} pairs depend, {np.count_nonzero(allowed)} should")
    if np.any(depends & ~allowed):
        raise AssertionError(
            _report(depends & ~allowed, space, "changes with an input that it must not see") + _leak(depends, allowed)
        )
    if not depends.any() or (np.any(allowed & ~depends) and not leaks_only):
        raise AssertionError(
            _report(allowed & ~depends, space, "ignores an input that it should see") + _gap(depends, allowed)
        )


def receptive_field(space: tuple[int, ...], *layers: Taps) -> Array:
    """Return the receptive field of a stack of convolutions with stride 1, computed from their taps.

        R = R_L … R₂ R₁,   (R_l)ᵢⱼ = 1 if position j is position i plus a tap of layer l

    Args:
        space: the size of the image or sequence.
        layers: the taps of each convolution, from the first layer to the last.

    Shapes: (positions, positions), boolean, positions in raster order; [i, j] is true if output i sees input j.
    Checked by: tests/testing/test_autoregressive.py

    Example:
        >>> from tinygen.autograd import taps
        >>> receptive_field((3,), taps.dilated(2)).tolist()
        [[True, False, False], [True, True, False], [False, True, True]]
    """
    positions = np.stack(np.unravel_index(np.arange(math.prod(space)), space), axis=-1)
    offsets = positions[None, :, :] - positions[:, None, :]  # (i, j, axis): from i to j
    seen = np.eye(len(positions), dtype=bool)
    for taps in layers:
        step = np.any([np.all(offsets == tap, axis=-1) for tap in taps], axis=0)
        seen = step @ seen
    return seen


def _allowed(positions: int, order: Sequence[int] | Array | None, inclusive: bool, field: Array | None) -> Array:
    """Return a boolean matrix whose entry [i, j] is true if output i should see input j."""
    permutation = np.arange(positions) if order is None else np.asarray(order)
    valid = permutation.dtype.kind in "iu" and np.array_equal(np.sort(permutation.ravel()), np.arange(positions))
    require(valid, "order", f"a permutation of 0 … {positions - 1}", permutation)
    rank = np.argsort(permutation)
    allowed = rank[None, :] <= rank[:, None] if inclusive else rank[None, :] < rank[:, None]
    if field is not None:
        field = np.asarray(field)
        require(field.dtype == bool, "receptive_field", "booleans", field.dtype)
        require(field.shape == allowed.shape, "receptive_field", f"shape {allowed.shape}", field.shape)
        later = np.count_nonzero(field & ~allowed)
        require(later == 0, "receptive_field", "only inputs that the order allows", f"{later} pairs that it does not")
        allowed = field
    if not np.any(allowed):
        raise ValueError("check_autoregressive: no output may see any input, so there is nothing to check")
    return allowed


def _outputs(f: Function, x: Array, space: tuple[int, ...]) -> Array:
    """Evaluate f. Shape: (N, positions, outputs per position)"""
    y = f(x)
    if y.shape[: 1 + len(space)] != (len(x), *space):
        raise AssertionError(
            f"check_autoregressive: f(x): expected a shape that starts with {(len(x), *space)}, got {y.shape}; pass "
            f"axes=… if the number of position axes is not {len(space)}"
        )
    return f.finite(y).reshape(len(x), math.prod(space), -1)


def _changed_at(x: Array, position: int, axes: int, rng: np.random.Generator) -> Array:
    """Return a copy of x in which every entry at one position is changed."""
    changed = x.reshape(len(x), math.prod(x.shape[1 : 1 + axes]), -1).copy()
    old = changed[:, position]
    if x.dtype.kind == "f":
        changed[:, position] = old + rng.normal(size=old.shape)
    else:
        low, levels = int(x.min()), int(x.max()) - int(x.min()) + 1
        require(levels > 1, "x", "integers with at least two distinct values", "a constant")
        changed[:, position] = low + (old.astype(int) - low + rng.integers(1, levels, old.shape)) % levels
    return changed.reshape(x.shape)


def _report(wrong: Array, space: tuple[int, ...], fault: str) -> str:
    pairs = np.argwhere(wrong)
    shown = ", ".join("(output {}, input {})".format(*(_place(p, space) for p in pair)) for pair in pairs[:4])
    more = ", …" if len(pairs) > 4 else ""
    return f"check_autoregressive: an output {fault} in {len(pairs)} of {wrong.size} pairs: {shown}{more}. "


def _place(position: int, space: tuple[int, ...]) -> str:
    place = tuple(int(i) for i in np.unravel_index(position, space))
    return str(place if len(place) > 1 else place[0])


def _leak(depends: Array, allowed: Array) -> str:
    leaks = depends & ~allowed
    if np.all(leaks <= np.eye(len(leaks), dtype=bool)):
        return "Each is the output's own input: mask B in the first layer, or masks A and B swapped?"
    if np.array_equal(depends, allowed.T):
        return "The dependencies are exactly the transpose of the right ones: is the order reversed?"
    if np.mean(leaks) < 0.05:
        return "Only a few pairs are wrong: is it a border, padding or a wrap-around?"
    return "Is a mask missing, transposed, or built for another order?"


def _gap(depends: Array, allowed: Array) -> str:
    gaps = allowed & ~depends
    if not np.any(depends):
        return "All inputs are ignored: is a layer initialised to zero, or is the input not used?"
    if np.all(gaps <= np.eye(len(gaps), dtype=bool)):
        return "Each is the output's own input: mask A instead of mask B?"
    return (
        "Are there fewer taps or layers than expected (a kernel width that is ignored), a blind spot, or dead units? "
        "If the network is meant to see less, pass receptive_field."
    )
