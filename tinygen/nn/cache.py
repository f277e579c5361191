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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..arguments import checked, explained
from ..autograd import Array, Tensor, TensorLike
from ..autograd.tensor import array_of, node
from ..checks import at_least, require
from ..kernels import BottleneckBlocks, GatedUnits
from .cached_layers import CachedConv, CachedLayer, CachedUnits, as_residual, check_taps
from .layers import Conv

if TYPE_CHECKING:
    from .cached_layers import Layer
    from .masked import MaskedConv, MaskedLinear

Position: TypeAlias = tuple[int | slice, ...]


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
        self._layers: dict[int, CachedLayer | CachedUnits] = {}
        self._units: list[CachedUnits] = []
        self.known = 0  # within `filling`, the number of known positions
        self.filled: dict[int, tuple[Layer, Array]] = {}  # the inputs (n, positions, C_in) of layers in `filling`
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
            self.filled.pop(id(layer), None)
        if isinstance(cached, CachedUnits):
            raise ValueError("layer: expected one that is used once in a network, got one of the residual units")
        return cached.evaluate(self, x, residual)

    @explained
    def gated_units(
        self,
        units: Sequence[tuple[Conv, Conv | None, Conv]],
        h: TensorLike,
        total: TensorLike,
        context: Sequence[TensorLike],
    ) -> tuple[Tensor, Tensor]:
        """Apply units (gate, residual, skip) one after the other, in one kernel; return h and total after the last.

            z = gated_activation(gate(h) + context)      h ← h + residual(z)      total ← total + skip(z)

        The results equal those of calling the layers one by one. The last unit may have no residual layer.

        Shapes: h (n, C), total (n, C_skip) or 0; context, for each unit, (n or 1, 2C) or 0.
        """
        cached = self._find(units)
        if cached is None:
            _check_units("units", units)
            absent = sum(unit[1] is None for unit in units[:-1])
            require(not absent, "units", "a residual layer in all but the last", f"{absent} without one")
            groups = ([(layer, None) for layer in group if layer is not None] for group in zip(*units, strict=True))
            cached = self._new_units("units", GatedUnits, units, *groups)
        shape = self.n, units[0][2].w.shape[-1]
        before = as_residual("total", total, shape, cached.dtype)
        before = np.zeros(shape, cached.dtype) if before is None else before
        h, total = cached.evaluate(self, h, context, before)
        self._keep(cached)
        return node("gated_units", h), node("gated_units", total)

    @explained
    def bottleneck_blocks(
        self,
        blocks: Sequence[tuple[MaskedLinear, MaskedConv, MaskedLinear]],
        masks: Sequence[Array | None],
        h: TensorLike,
        context: Sequence[TensorLike],
    ) -> Tensor:
        """Apply blocks (reduce, conv, expand) with their three masks one after the other, in one kernel; return h.

            h ← h + expand(relu(conv(reduce(relu(h))) + context))

        The result equals that of calling the layers one by one.

        Shapes: h (n, C_h); context, for each block, (n or 1, C) or 0.
        """
        cached = self._find(blocks)
        if cached is None:
            _check_units("blocks", blocks)
            require(len(masks) == 3, "masks", "one for each layer of a block, 3", len(masks))
            reduces, convs, expands = (
                [(layer, mask) for layer in group] for group, mask in zip(zip(*blocks, strict=True), masks, strict=True)
            )
            cached = self._new_units("blocks", BottleneckBlocks, blocks, convs, reduces, expands)
        y = cached.evaluate(self, h, context)
        self._keep(cached)
        return node("bottleneck_blocks", y)

    def _find(self, units: Any) -> CachedUnits | None:
        """Return the units that have been evaluated before."""
        given = list(units) if isinstance(units, list | tuple) else None
        return next((each for each in self._units if each.units == given), None)

    def _new_units(self, name: str, kernel: Any, units: Sequence[Any], *groups: Any) -> CachedUnits:
        cached = CachedUnits(name, kernel, self, units, *groups)
        used = sum(id(conv) in self._layers for conv in cached.convs)
        require(not used, name, "the same layers at every position, each used once", f"{used} used otherwise")
        return cached

    def _keep(self, units: CachedUnits) -> None:
        """Keep new units, once they have been evaluated."""
        if units not in self._units:
            self._units.append(units)
            for conv in units.convs:
                self._layers[id(conv)] = units
                self.filled.pop(id(conv), None)

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
        self.filled[id(layer)] = layer, v.reshape(self.n, math.prod(v.shape[1:-1]), v.shape[-1])[:, : self.known]
        return layer(x, residual=residual) if isinstance(layer, Conv) else layer(x, mask, residual=residual)

    @explained
    def write(self, pixel: TensorLike) -> None:
        """Store the sampled pixel (n, C) at the current position, for all layers that were called with x = None."""
        v = array_of(pixel)
        require(v.dtype.kind in "fiub", "pixel", "real numbers", v.dtype)
        for cached in self._layers.values():
            if isinstance(cached, CachedConv) and cached.reads_image:
                cached.write(self, "pixel", v)

    def _add(self, layer: Any, mask: Array | None) -> CachedLayer:
        known = hasattr(layer, "weights")
        require(known, "layer", "a Conv, MaskedConv or MaskedLinear", type(layer).__name__)
        if not hasattr(layer, "taps"):  # a linear layer
            return CachedLayer(layer, mask)
        check_taps(self, layer)  # also of pointwise layers
        is_pointwise = layer.taps == ((0,) * len(self.size),)
        return CachedLayer(layer, mask) if is_pointwise else CachedConv(layer, mask, self)


def _check_units(name: str, units: Any) -> None:
    fits = isinstance(units, list | tuple) and all(isinstance(each, list | tuple) and len(each) == 3 for each in units)
    got = f"{len(units)} elements" if isinstance(units, list | tuple) else type(units).__name__
    require(bool(fits and units), name, "one or more tuples of three layers", got)
