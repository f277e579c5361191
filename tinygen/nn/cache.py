"""Activation cache: fast sampling from autoregressive networks.

An autoregressive network is sampled one position at a time. Evaluating the whole network for each of P positions
takes O(P²) work, most of it redundant: an activation depends only on earlier positions, so it does not change once
these are sampled. With a cache, the network is evaluated at the current position only, and each convolution reads its
inputs at earlier positions from the cache. This takes O(P) work, about as much as one forward pass:

    net(x)            all positions, for training             x (N, H, W, C)
    net(x, cache)     the current position, for sampling      x (n, C)

Positions are visited in raster order. A position is a pixel (i, j); a row (i, slice(None)), for layers that read to the
right in the rows above, such as the vertical stack of the Gated PixelCNN; or a time step (t,) of a sequence.

Cached for each layer:
    inputs     of a convolution: at all earlier positions of an image; for sequences, in a ring buffer of the time steps
               that its taps reach, so that memory does not grow with the length
    weights    masked and packed for the kernel

Pointwise functions, 1×1 convolutions and linear layers read the current position only, so no inputs are stored.

Source: Ramachandran et al., "Fast Generation for Convolutional Autoregressive Models", 2017.
Checked by: tests/nn/test_cache.py, tests/models/autoregressive/test_gated_pixelcnn.py
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..arguments import checked, explained
from ..autograd import Array, Tensor, TensorLike
from ..autograd.tensor import array_of, node
from ..checks import at_least, broadcasts, require
from ..kernels import AtPosition, GatedUnit
from .cache_slots import padded_image, ring_buffer
from .layers import Conv

if TYPE_CHECKING:
    from .masked import MaskedConv, MaskedLinear

    Layer: TypeAlias = Conv | MaskedConv | MaskedLinear

Position: TypeAlias = tuple[int | slice, ...]
_FIRST_ROW = np.zeros(1, np.int64)


class ActivationCache:
    """Cached inputs of a network's layers, for sampling n images (height, width) or n sequences (length,).

    Set `position`, then call the layers with the activations at that position. If the first layer does not read the
    current pixel (mask A), call it with x = None and pass the pixel to `write` once it is sampled. Use a new cache for
    each sampling run, since weights are cached at the first evaluation. The results have no edges.

    With `overwrite`, a position may be evaluated several times, for example once per channel of a pixel; the last input
    replaces the earlier ones.

    Raises: ValueError if a layer has a stride or reads positions that are evaluated later, if it reads a position that
        was skipped or not passed to `write`, or if it gets a second input at a position without `overwrite`.

    Example:
        >>> from tinygen.nn import Conv
        >>> layer, rng = Conv(1, 1, ((0, -1), (-1, 0)), np.random.default_rng(0)), np.random.default_rng(1)
        >>> cache = ActivationCache(5, (8, 8))
        >>> for i, j in np.ndindex(8, 8):
        ...     cache.position = i, j
        ...     cache.write(rng.normal(layer(None, cache).value))  # a pixel given its left and upper neighbours
    """

    @checked
    def __init__(self, n: int, size: tuple[int, ...], overwrite: bool = False) -> None:
        self.n, self.size, self.overwrite = n, size, overwrite
        self._position: Position | None = None
        self._layers: dict[int, _CachedLayer] = {}
        self.known = 0  # within `filling`, the number of known positions
        self._inputs: dict[int, tuple[Layer, Array]] = {}  # the inputs (n, positions, C_in) of layers in `filling`
        # The current position as a range in raster order, and the shape of activations there, without channels.
        self.start, self.stop, self.is_row = 0, 0, False
        self.lead: tuple[int, ...] = (n,)

    @property
    def position(self) -> Position:
        """The position to evaluate: one index per axis; for images, the last may be slice(None) for a whole row."""
        if self._position is None:
            raise ValueError("position: expected a position to evaluate, got none; set cache.position first")
        return self._position

    @position.setter
    def position(self, position: Position) -> None:
        allowed = [slice(None)] if len(self.size) > 1 else []
        if len(position) != len(self.size) or not all(
            p in allowed if isinstance(p, slice) else 0 <= p < length
            for p, length in zip(position, self.size, strict=True)
        ):
            raise ValueError(f"position: expected a position within {self.size}, got {position}")
        self._position, self.is_row, self.start = position, isinstance(position[-1], slice), 0
        for p, length in zip(position, self.size, strict=True):
            self.start = self.start * length + (0 if isinstance(p, slice) else p)
        self.stop = self.start + (self.size[-1] if self.is_row else 1)
        self.lead = (self.n, self.size[-1]) if self.is_row else (self.n,)

    @explained
    def evaluate(
        self, layer: Layer, x: TensorLike | None, residual: TensorLike = 0.0, mask: Array | None = None
    ) -> Tensor:
        """Return the layer's output at the current position: residual + b + Σₜ x(p + oₜ) Wₜ, with relu if it has one.

        Shapes: x (n, C_in) or, for a row, (n, W, C_in); result and residual likewise with C_out.
        """
        cached = self._layers.get(id(layer))
        if cached is None:
            if self.known:
                return self._fill(layer, x, residual, mask)
            cached = self._layers[id(layer)] = self._add(layer, mask)
        return cached.evaluate(self, x, residual)

    @explained
    def gated_unit(
        self, gate: Conv, residual: Conv | None, skip: Conv, h: TensorLike, total: TensorLike, context: TensorLike
    ) -> tuple[Tensor, Tensor]:
        """Return h + residual(z) and total + skip(z) with z = gated_activation(gate(h) + context), in one kernel.

        The result equals that of calling the pointwise layers `residual` and `skip` one by one. Without `residual`, the
        first result is h.

        Shapes: h (n, C), total (n, C_skip) or 0, context (n or 1, 2C) or 0.
        """
        unit = self._layers.get(id(gate))
        if not isinstance(unit, _CachedUnit):
            unit = self._layers[id(gate)] = _CachedUnit(gate, residual, skip, self)
        return unit.evaluate_unit(self, h, total, context)

    @contextmanager
    def filling(self, known: int) -> Iterator[None]:
        """Within this context, evaluate layers at all positions at once, as without a cache, before sampling the rest.

        The inputs at the first `known` positions, in raster order, are stored. x may end with the last of them, for
        images with its row. Use this before the first position is visited, and each layer only once.
        """
        at_least(1, known=known)
        require(not self._layers, "filling", "a cache without evaluated positions", f"{len(self._layers)} layers")
        self.known = known
        try:
            yield
        finally:
            self.known = 0

    def _fill(self, layer: Any, x: TensorLike | None, residual: TensorLike, mask: Array | None) -> Tensor:
        v = np.empty(0) if x is None else array_of(x)
        fits = v.ndim == len(self.size) + 2 and len(v) == self.n and v.shape[2:-1] == self.size[1:]
        shape = ", ".join(map(str, (self.n, "…", *self.size[1:], "C")))
        require(fits, "ActivationCache", f"an input ({shape})", v.shape)
        self._inputs[id(layer)] = layer, v.reshape(self.n, math.prod(v.shape[1:-1]), v.shape[-1])[:, : self.known]
        return layer(x, residual=residual) if isinstance(layer, Conv) else layer(x, mask, residual=residual)

    @explained
    def write(self, pixel: TensorLike) -> None:
        """Store the sampled pixel (n, C) at the current position, for all layers that were called with x = None."""
        for cached in self._layers.values():
            if isinstance(cached, _CachedConv) and cached.reads_image:
                cached.write(self, "pixel", array_of(pixel))

    def _add(self, layer: Any, mask: Array | None) -> _CachedLayer:
        axes, known = len(self.position), hasattr(layer, "weights")
        require(known, "layer", "a Conv, MaskedConv or MaskedLinear", type(layer).__name__)
        if not hasattr(layer, "taps"):  # a linear layer
            return _CachedLayer(layer, mask)
        last = (0, *(float("inf"),) * (axes - 1)) if self.is_row else (0,) * axes
        if layer.stride != 1 or any(len(tap) != axes or tap > last for tap in layer.taps):
            raise ValueError(
                f"ActivationCache: expected a layer of stride 1 whose taps have {axes} axes and reach no position that "
                f"is evaluated later, got stride {layer.stride} and taps {layer.taps}"
            )
        if layer.taps == ((0,) * axes,):  # a 1×1 convolution
            return _CachedLayer(layer, mask)
        return _CachedConv(layer, mask, self)


class _CachedLayer:
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
        added = self.as_residual("residual", residual, (*cache.lead, self.n_out))
        if not cache.is_row:
            return node("conv", self.kernel(rows, starts, cache.n, added))
        # The kernel orders the activations of a row by pixel, then by image: (W · n, C).
        added = None if added is None else added.swapaxes(0, 1).reshape(-1, self.n_out)
        n, width = cache.lead
        y = self.kernel(rows, starts, width * n, added)
        return node("conv", y.reshape(width, n, self.n_out).swapaxes(0, 1))

    def as_residual(self, name: str, residual: TensorLike, shape: tuple[int, ...]) -> Array | None:
        """Return the residual broadcast to a shape, in the dtype of the layer, or None if it is 0."""
        if isinstance(residual, float) and residual == 0:
            return None
        added = array_of(residual)
        if added.shape == shape and added.dtype == self.dtype:
            return added
        require(broadcasts(added.shape, shape), name, f"a shape that broadcasts to {shape}", added.shape)
        return np.broadcast_to(added, shape).astype(self.dtype)

    def inputs(self, cache: ActivationCache, x: TensorLike | None) -> tuple[Array, Array]:
        """Return a matrix of inputs, and for each tap the row of the matrix that the first output reads."""
        if x is None:
            raise ValueError(f"ActivationCache: expected an input of a pointwise layer at {cache.position}, got None")
        v = array_of(x)
        self.check_input(cache, "x", v)
        if cache.is_row:
            v = v.swapaxes(0, 1).reshape(-1, self.n_in)
        return np.ascontiguousarray(v, self.dtype), _FIRST_ROW

    def check_input(self, cache: ActivationCache, name: str, x: Array) -> None:
        if x.shape != (expected := (*cache.lead, self.n_in)):
            raise ValueError(f"{name}: expected shape {expected} at position {cache.position}, got {x.shape}")


class _CachedConv(_CachedLayer):
    """A convolution with packed weights and a buffer of its inputs at earlier positions.

    The buffer has a slot (n, C_in) for each position that can be stored at the same time. `slots[p]` is the slot of
    position p in raster order; `starts[p]` holds, for each tap, the first row of `rows` that it reads for p.
    """

    def __init__(self, layer: Conv | MaskedConv, mask: Array | None, cache: ActivationCache) -> None:
        super().__init__(layer, mask)
        count, self.slots, tap_slots = (ring_buffer if len(cache.size) == 1 else padded_image)(layer.taps, cache.size)
        self.buffer = np.zeros((count, cache.n, self.n_in), self.dtype)
        self.rows, self.starts = self.buffer.reshape(-1, self.n_in), list(tap_slots * cache.n)
        self.taps, self.written = layer.taps, 0  # written: number of positions stored so far
        if id(layer) in cache._inputs:
            known = cache._inputs.pop(id(layer))[1]
            self.written = known.shape[1]
            kept = np.arange(max(0, self.written - len(self.slots)), self.written)
            self.buffer[self.slots[kept % len(self.slots)]] = known[:, kept].swapaxes(0, 1)
        self.reads_current = any(not any(tap[: len(tap) - cache.is_row]) for tap in layer.taps)
        self.reads_image = False  # whether its inputs arrive by `ActivationCache.write`

    def inputs(self, cache: ActivationCache, x: TensorLike | None) -> tuple[Array, Array]:
        if x is None:
            self.reads_image = True
        else:
            self.write(cache, "x", array_of(x))
        if not (cache.stop if self.reads_current else cache.start) <= self.written <= cache.stop:
            raise self._missing_input(cache)
        return self.rows, self.starts[cache.start % len(self.starts)]

    def write(self, cache: ActivationCache, name: str, x: Array) -> None:
        """Store x at the current position: the one after the last, or with `overwrite` the last one again."""
        self.check_input(cache, name, x)
        if cache.start != self.written and not (cache.overwrite and cache.stop == self.written):
            if cache.start > self.written:
                raise self._missing_input(cache)
            raise ValueError(
                f"ActivationCache: expected one input per position, got a second input at {cache.position} for taps "
                f"{self.taps}; use a layer only once in a network, and a new cache for each sampling run"
            )
        if cache.is_row:
            self.buffer[self.slots[cache.start : cache.stop]] = x.swapaxes(0, 1)
        else:
            self.buffer[self.slots[cache.start % len(self.slots)]] = x
        self.written = cache.stop

    def _missing_input(self, cache: ActivationCache) -> ValueError:
        return ValueError(
            f"ActivationCache: expected inputs at all positions that taps {self.taps} read for {cache.position}, got "
            f"{self.written} inputs in raster order; visit every position, and pass every sampled pixel to `write`"
        )


class _CachedUnit(_CachedConv):
    """A gated residual unit: a convolution with its inputs, as the gate, and two pointwise layers."""

    def __init__(self, gate: Conv, residual: Conv | None, skip: Conv, cache: ActivationCache) -> None:
        super().__init__(gate, None, cache)
        residual_kernel = None if residual is None else _CachedLayer(residual, None).kernel
        self.unit = GatedUnit(self.kernel, residual_kernel, _CachedLayer(skip, None).kernel)

    def evaluate_unit(
        self, cache: ActivationCache, h: TensorLike, total: TensorLike, context: TensorLike
    ) -> tuple[Tensor, Tensor]:
        """Return h and the sum of the skip connections after the unit, at the current position."""
        self.check_input(cache, "h", array_of(h))
        n, (rows, starts) = cache.n, self.inputs(cache, h)
        added = self.as_residual("context", context, (n, self.n_out))
        before = self.as_residual("total", total, (n, self.unit.skip.channels))
        next_h, next_total = self.unit(rows, starts, n, added, np.asarray(array_of(h), self.dtype), before)
        return node("gated_unit", next_h), node("gated_unit", next_total)
