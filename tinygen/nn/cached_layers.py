"""The layers of an activation cache: packed weights, and the inputs of convolutions at earlier positions.

A convolution has a slot (n, C_in) for each position whose inputs can be stored at the same time: for sequences in a
ring buffer, for images in an image with a border (cache_slots.py).

Checked by: tests/nn/test_cache.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..autograd import Array, Tensor, TensorLike
from ..autograd.tensor import array_of, node
from ..checks import broadcasts, require
from ..kernels.position import FIRST_ROW, AtPosition
from .cache_slots import padded_image, ring_buffer

if TYPE_CHECKING:
    from .cache import ActivationCache
    from .layers import Conv
    from .masked import MaskedConv, MaskedLinear

    Layer: TypeAlias = Conv | MaskedConv | MaskedLinear


class CachedLayer:
    """A layer with packed weights. This base class is for pointwise layers, which need no stored inputs."""

    def __init__(self, layer: Layer, mask: Array | None) -> None:
        self.layer = layer  # keeps the layer alive, so that its id is not reused
        w, b = layer.weights(mask).value, layer.b
        # At least float32, as for the convolution of all positions.
        (self.n_in, self.n_out), self.dtype = w.shape[-2:], np.result_type(w, np.float32)
        w, bias = w.astype(self.dtype, copy=False), None if b is None else b.value.astype(self.dtype, copy=False)
        self.kernel = AtPosition(w.reshape(-1, self.n_in, self.n_out), bias, layer.relu)

    def evaluate(self, cache: ActivationCache, x: TensorLike | None, residual: TensorLike) -> Tensor:
        """Return the layer's output at the current position."""
        rows, starts = self.inputs(cache, x)
        added = as_residual("residual", residual, (*cache.lead, self.n_out), self.dtype)
        if not cache.is_row:
            return node("conv", self.kernel(rows, starts, cache.n, added))
        # The kernel orders the activations of a row by pixel, then by image: (W · n, C).
        added = None if added is None else added.swapaxes(0, 1).reshape(-1, self.n_out)
        n, width = cache.lead
        y = self.kernel(rows, starts, width * n, added)
        return node("conv", y.reshape(width, n, self.n_out).swapaxes(0, 1))

    def inputs(self, cache: ActivationCache, x: TensorLike | None) -> tuple[Array, Array]:
        """Return a matrix of inputs, and for each tap the row of the matrix that the first output reads."""
        if x is None:
            raise ValueError(f"ActivationCache: expected an input of a pointwise layer at {cache.position}, got None")
        v = array_of(x)
        check_input(cache, "x", v, self.n_in)
        if cache.is_row:
            v = v.swapaxes(0, 1).reshape(-1, self.n_in)
        return np.ascontiguousarray(v, self.dtype), FIRST_ROW


class CachedConv(CachedLayer):
    """A convolution with packed weights and its inputs at earlier positions."""

    def __init__(self, layer: Conv | MaskedConv, mask: Array | None, cache: ActivationCache) -> None:
        super().__init__(layer, mask)
        self.stored = StoredInputs(layer, self.n_in, self.dtype, cache)
        self.rows = self.stored.buffer.reshape(-1, self.n_in)
        self.reads_current = any(not any(tap[: len(tap) - cache.is_row]) for tap in layer.taps)
        self.reads_image = False  # whether its inputs arrive by `ActivationCache.write`

    def inputs(self, cache: ActivationCache, x: TensorLike | None) -> tuple[Array, Array]:
        if x is None:
            self.reads_image = True
        else:
            self.write(cache, "x", array_of(x))
        if not (cache.stop if self.reads_current else cache.start) <= self.stored.written <= cache.stop:
            raise self.stored.missing(cache)
        return self.rows, self.stored.starts[cache.start % len(self.stored.starts)]

    def write(self, cache: ActivationCache, name: str, x: Array) -> None:
        """Store x at the current position."""
        check_input(cache, name, x, self.n_in)
        stored = self.stored
        stored.check_order(cache)
        if cache.is_row:
            stored.buffer[stored.slots[cache.start : cache.stop]] = x.swapaxes(0, 1)
        else:
            stored.buffer[stored.slots[cache.start % len(stored.slots)]] = x
        stored.written = cache.stop


class StoredInputs:
    """The inputs of a convolution: `buffer` (slots, n, C_in), with those at the first `written` positions.

    `slots[p]` is the slot of position p in raster order; `starts[p]` holds, for each tap, the first row of the buffer
    that it reads for p, where each slot has n rows.
    """

    def __init__(self, layer: Any, n_in: int, dtype: Any, cache: ActivationCache) -> None:
        check_taps(cache, layer)
        count, self.slots, tap_slots = (ring_buffer if len(cache.size) == 1 else padded_image)(layer.taps, cache.size)
        self.buffer, self.starts = np.zeros((count, cache.n, n_in), dtype), list(tap_slots * cache.n)
        self.taps, self.written = layer.taps, 0
        if id(layer) in cache.filled:
            known = cache.filled[id(layer)][1]
            self.written = known.shape[1]
            kept = np.arange(max(0, self.written - len(self.slots)), self.written)
            self.buffer[self.slots[kept % len(self.slots)]] = known[:, kept].swapaxes(0, 1)

    def check_order(self, cache: ActivationCache) -> None:
        """Raise ValueError unless the position follows the last one or, with `overwrite`, is the same."""
        if cache.start != self.written and not (cache.overwrite and cache.stop == self.written):
            if cache.start > self.written:
                raise self.missing(cache)
            raise ValueError(
                f"ActivationCache: expected one input per position, got a second input at {cache.position} for taps "
                f"{self.taps}; use a layer only once in a network, and a new cache for each sampling run"
            )

    def missing(self, cache: ActivationCache) -> ValueError:
        return ValueError(
            f"ActivationCache: expected inputs at all positions that taps {self.taps} read for {cache.position}, got "
            f"{self.written} inputs in raster order; visit every position, and pass every sampled pixel to `write`"
        )


class CachedUnits:
    """Residual units in one kernel, with the inputs of all their convolutions in one array.

    `table` has a row for each unit and each position of its slots: the first row of the inputs that each tap reads, and
    the first row of the slot itself.
    """

    def __init__(
        self, name: str, kernel: Callable[..., Any], cache: ActivationCache, units: Sequence[Any], *groups: Any
    ) -> None:
        """Take the units, and their layers with a mask each, kind by kind, convolutions first."""
        convs, *others = [[CachedLayer(layer, mask) for layer, mask in group] for group in groups]
        pointwise: list[Any] = [each.layer for group in others for each in group]
        for layer in pointwise:
            fits = not hasattr(layer, "taps") or (layer.taps == ((0,) * len(cache.size),) and layer.stride == 1)
            require(fits, name, "pointwise layers beside the convolutions", f"taps {getattr(layer, 'taps', ())}")
        try:
            kernels = [[each.kernel for each in group] for group in (convs, *others)]
            self.kernel = kernel(*kernels, len(groups[0][0][0].taps))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        stored = [StoredInputs(each.layer, each.n_in, each.dtype, cache) for each in convs]
        written = [each.written for each in stored]
        require(len(set(written)) == 1, "filling", f"inputs of all {name}", f"{written} of them")
        self.units, self.convs = list(units), [each.layer for each in convs]
        self.order, self.dtype = stored[0], convs[0].dtype
        self.inputs = np.concatenate([each.buffer.reshape(-1, each.buffer.shape[2]) for each in stored])
        firsts = np.cumsum([0, *(each.buffer.shape[0] * cache.n for each in stored)])
        tables = [np.column_stack([each.starts, each.slots * cache.n]) for each in stored]
        self.table = np.concatenate([first + table for first, table in zip(firsts, tables, strict=False)])
        self.periods = np.array([len(each) for each in tables])
        self.offsets = np.cumsum(self.periods) - self.periods

    def evaluate(self, cache: ActivationCache, h: TensorLike, context: Sequence[TensorLike], *others: Array) -> Any:
        """Return the results of the kernel at the current position."""
        is_single = not cache.known and not cache.is_row
        require(is_single, "position", "one pixel or time step, outside `filling`", cache.position)
        v, count, shape = array_of(h), len(self.convs), (cache.n, self.kernel.convs[0].channels)
        check_input(cache, "h", v, self.kernel.width)
        require(len(context) == count, "context", f"one per unit, {count}", len(context))
        terms = [(u, c) for u, c in enumerate(context) if not (type(c) is float and c == 0)]
        added = np.zeros((count, cache.n if terms else 1, shape[1]), self.dtype)
        for u, c in terms:
            added[u] = as_residual("context", c, shape, self.dtype)
        self.order.check_order(cache)
        places = self.table[self.offsets + cache.start % self.periods]
        results = self.kernel(self.inputs, places, cache.n, added, np.asarray(v, self.dtype), *others)
        self.order.written = cache.stop
        return results


def check_taps(cache: ActivationCache, layer: Any) -> None:
    """Raise ValueError if a convolution has a stride, or reads positions that are evaluated later."""
    axes = len(cache.position)
    last = (0, *(float("inf"),) * (axes - 1)) if cache.is_row else (0,) * axes
    if layer.stride != 1 or any(len(tap) != axes or tap > last for tap in layer.taps):
        raise ValueError(
            f"ActivationCache: expected a layer of stride 1 whose taps have {axes} axes and reach no position that "
            f"is evaluated later, got stride {layer.stride} and taps {layer.taps}"
        )


def check_input(cache: ActivationCache, name: str, x: Array, channels: int) -> None:
    if x.shape != (expected := (*cache.lead, channels)):
        raise ValueError(f"{name}: expected shape {expected} at position {cache.position}, got {x.shape}")
    require(x.dtype.kind in "fiub", name, "real numbers", x.dtype)


def as_residual(name: str, residual: TensorLike, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
    """Return the residual broadcast to a shape, in a dtype, or None if it is 0."""
    if isinstance(residual, float) and residual == 0:
        return None
    added = array_of(residual)
    if added.shape == shape and added.dtype == dtype:
        return added
    require(broadcasts(added.shape, shape), name, f"a shape that broadcasts to {shape}", added.shape)
    require(added.dtype.kind in "fiub", name, "real numbers", added.dtype)
    return np.broadcast_to(added, shape).astype(dtype)
