"""Remembered activations: the second of the two evaluators of an autoregressive network.

`net(x)` evaluates every position at once, for training. For sampling, `net(x_here, cache)` evaluates one position, and
each convolution looks up its other inputs among what it was given at earlier positions. Sampling then costs about
one forward pass in total instead of one for every pixel. What works pointwise need not notice the difference; of a
layer that does consult the cache, the weights are masked and laid out for the kernel once, not at every position.

A position is one pixel, or one row of pixels where a layer reads to the right of itself in the rows above (the
vertical stack of the Gated PixelCNN), or one moment of a sequence. Of a sequence, a layer keeps no more than its taps
reach: space does not grow with the length, nor time with the reach.

Source: Ramachandran et al., "Fast Generation for Convolutional Autoregressive Models", 2017.
Checked by: tests/nn/test_cache.py, tests/models/autoregressive/test_gated_pixelcnn.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike
from ..autograd.taps import Taps
from ..autograd.tensor import array_of
from ..kernels import AtPosition

Position: TypeAlias = tuple[int | slice, ...]


class Place(NamedTuple):
    """A position, as the range of its pixels in raster order: one, or a row."""

    position: Position
    first: int
    end: int
    row: bool


class Layer(Protocol):
    """What a cache needs to know of a layer: weights ([taps,] C_in, C_out), a bias or None, whether relu follows."""

    relu: bool

    @property
    def b(self) -> Parameter | None: ...

    def weights(self, mask: Array | None = None) -> Tensor: ...


class Convolution(Layer, Protocol):
    """And of a convolution, what it looks at."""

    taps: Taps
    stride: int


class ActivationCache:
    """What the convolutions of one network have seen of n images (or sequences) of a given size that are being drawn.

        cache = ActivationCache(n, (height, width))
        cache.position = i, j                 the pixel to evaluate, or (i, slice(None)): the whole row i
        y = layer(x_here, cache)              remembers x_here (n, C) or (n, W, C), gives the layer's output there
        y = first_layer(None, cache)          the same for a layer that reads the image itself, and not this pixel
        cache.write(pixel)                    (mask A): it is given the pixel (n, C) once that is drawn

    Positions come in raster order; those of a sequence, which has the size (length,), are (0,), (1,), … With `again`, a
    network may be evaluated several times at one, as where the channels of a pixel are drawn one after another: the
    last input of a layer is remembered. Every drawing takes a new cache, as the weights of a layer are those, under
    the mask, with which it was first evaluated.

    Raises ValueError if a position is not within the size, or a layer has a stride or taps that reach positions which
    are evaluated later, looks at a position that it was never given (positions left out, a pixel not passed to
    `write`), or is given two inputs at one position without `again` (as is one that stands in a network twice).
    """

    def __init__(self, n: int, size: tuple[int, ...], again: bool = False) -> None:
        self.n, self.size, self.again = n, size, again
        self._place: Place | None = None
        self._kept: dict[int, _Kept] = {}

    @property
    def position(self) -> Position:
        """What is being evaluated: an index along each axis; the last of an image's may be slice(None), a whole row."""
        return self.here.position

    @position.setter
    def position(self, position: Position) -> None:
        whole = [slice(None)] if len(self.size) > 1 else []
        if len(position) != len(self.size) or not all(
            p in whole if isinstance(p, slice) else 0 <= p < length
            for p, length in zip(position, self.size, strict=True)
        ):
            raise ValueError(f"position: expected one within {self.size}, got {position}")
        row, first = isinstance(position[-1], slice), 0
        for p, length in zip(position, self.size, strict=True):
            first = first * length + (0 if isinstance(p, slice) else p)
        self._place = Place(position, first, first + (self.size[-1] if row else 1), row)

    @property
    def here(self) -> Place:
        """The position, as a range."""
        if self._place is None:
            raise ValueError("position: expected one to evaluate, set it first")
        return self._place

    def conv(
        self, layer: Convolution, x: TensorLike | None, residual: TensorLike = 0.0, mask: Array | None = None
    ) -> Tensor:
        """Evaluate a convolution at this position: residual + bias + Σₜ x(p + oₜ) Wₜ."""
        kept = self._kept.get(id(layer)) or self._keep(layer, self._kind_of(layer), mask)
        return kept.evaluate(self, x, residual)

    def linear(self, layer: Layer, x: TensorLike, residual: TensorLike = 0.0, mask: Array | None = None) -> Tensor:
        """Evaluate a layer that looks at nothing but x itself, (n, C_in) or (n, W, C_in): residual + bias + x W."""
        kept = self._kept.get(id(layer)) or self._keep(layer, _Pointwise, mask)
        return kept.evaluate(self, x, residual)

    def write(self, pixel: TensorLike) -> None:
        """Give the pixel (n, C) that has been drawn at this position to every layer that reads the image."""
        for kept in self._kept.values():
            if kept.reads_image:
                kept.write(self.here, array_of(pixel), self.again)

    def _keep(self, layer: Any, kind: Callable[..., _Kept], mask: Array | None) -> _Kept:
        kept = self._kept[id(layer)] = kind(layer, mask, self.n, self.size, self.here.row)
        return kept

    def _kind_of(self, layer: Convolution) -> Callable[..., _Kept]:
        axes, row = len(self.size), self.here.row
        last = (0, *(float("inf"),) * (axes - 1)) if row else (0,) * axes
        if layer.stride != 1 or any(len(tap) != axes or tap > last for tap in layer.taps):
            raise ValueError(
                f"ActivationCache: a layer of stride {layer.stride} with taps {layer.taps} cannot be evaluated "
                f"position by position; it needs stride 1 and taps of {axes} axes that are already written"
            )
        if layer.taps == ((0,) * axes,):  # a 1×1 convolution
            return _Pointwise
        return _Ring if axes == 1 else _Canvas


class _Kept:
    """The weights of one layer, and of its inputs what its outputs at this and later positions depend on."""

    def __init__(self, layer: Layer, mask: Array | None) -> None:
        self.layer = layer  # it is found by its id, which must not be given to another meanwhile
        w = layer.weights(mask).value
        b = None if layer.b is None else layer.b.value
        self.sum, self.reads_image = AtPosition(w.reshape(-1, *w.shape[-2:]), b, layer.relu), False

    def evaluate(self, cache: ActivationCache, x: TensorLike | None, residual: TensorLike) -> Tensor:
        """Give the layer's output at this position, of the input x there; None is what `write` gave of the image."""
        raise NotImplementedError

    def write(self, here: Place, x: Array, again: bool) -> None:
        """Remember the input x at this position."""

    def row(self, x: Array, starts: Array, n: int, width: int, residual: TensorLike) -> Tensor:
        """Evaluate the layer at a row, (n, W, C_out). In cache, here and in x, the images of a pixel lie together."""
        channels = self.sum.channels
        p = _fitting(residual, (n, width, channels), x.dtype)
        y = self.sum(x, starts, width * n, None if p is None else p.swapaxes(0, 1).reshape(-1, channels))
        return Tensor(y.reshape(width, n, channels).swapaxes(0, 1))


class _Pointwise(_Kept):
    """A layer that looks at its input at this position only."""

    starts = np.zeros(1, np.int64)

    def __init__(self, layer: Layer, mask: Array | None, *_: Any) -> None:
        super().__init__(layer, mask)

    def evaluate(self, cache: ActivationCache, x: TensorLike | None, residual: TensorLike) -> Tensor:
        if x is None:
            raise ValueError(
                f"ActivationCache: at position {cache.position} a layer that looks at nothing else is given no input"
            )
        v, dtype = array_of(x), self.sum.w.dtype
        if v.ndim not in (2, 3) or v.shape[-1] != self.sum.channels_in:
            raise _of_another_shape(v, cache.position, ("n", "[W]", self.sum.channels_in))
        if v.ndim == 3:
            rows = np.ascontiguousarray(v.swapaxes(0, 1), dtype).reshape(-1, self.sum.channels_in)
            return self.row(rows, self.starts, v.shape[0], v.shape[1], residual)
        p = _fitting(residual, (len(v), self.sum.channels), dtype)
        return Tensor(self.sum(np.ascontiguousarray(v, dtype), self.starts, len(v), p))


class _Inputs(_Kept):
    """A convolution, what it was given, and where its taps look."""

    inputs: Array  # (places, n, C_in)
    places: Array  # of the positions, which are counted in raster order
    under: Array  # (positions, taps): the places that the taps look at

    def __init__(self, layer: Convolution, mask: Array | None, n: int, places: int, row: bool) -> None:
        super().__init__(layer, mask)
        self.taps, self.looks_here = layer.taps, any(not any(tap[: len(tap) - row]) for tap in layer.taps)
        self.inputs, self.given = np.zeros((places, n, self.sum.channels_in), self.sum.w.dtype), 0
        self.rows, self.starts = self.inputs.reshape(-1, self.sum.channels_in), list(self.under * n)

    def evaluate(self, cache: ActivationCache, x: TensorLike | None, residual: TensorLike) -> Tensor:
        here = cache.here
        if x is None:
            self.reads_image = True
        else:
            self.write(here, array_of(x), cache.again)
        if not (here.end if self.looks_here else here.first) <= self.given <= here.end:
            raise _never_given(self.taps, here.position)
        n, starts = self.inputs.shape[1], self.starts[here.first % len(self.starts)]
        if here.row:
            return self.row(self.rows, starts, n, here.end - here.first, residual)
        return Tensor(self.sum(self.rows, starts, n, _fitting(residual, (n, self.sum.channels), self.rows.dtype)))

    def write(self, here: Place, x: Array, again: bool) -> None:
        """Remember the input x at this position, which is the next one after the last, or that one again."""
        n, channels = wanted = self.inputs.shape[1:]
        if here.row:
            wanted = n, here.end - here.first, channels
        if x.shape != wanted:
            raise _of_another_shape(x, here.position, wanted)
        if here.first != self.given and not (again and here.end == self.given):
            raise (_given_twice if here.first < self.given else _never_given)(self.taps, here.position)
        if here.row:
            self.inputs[self.places[here.first : here.end]] = x.swapaxes(0, 1)
        else:
            self.inputs[self.places[here.first % len(self.places)]] = x
        self.given = here.end


class _Ring(_Inputs):
    """The last inputs of a convolution over a sequence, as far as its taps reach: each new one replaces the oldest.

    Moment t is at t mod the length of the ring; what was before moment 0 is zero, as the ring is at first.
    """

    def __init__(self, layer: Convolution, mask: Array | None, n: int, size: tuple[int, ...], row: bool) -> None:
        offsets = np.array(layer.taps)[:, 0]
        length = 1 - offsets.min()
        self.places = np.arange(length)
        self.under = (self.places[:, None] + offsets) % length
        super().__init__(layer, mask, n, length, row)


class _Canvas(_Inputs):
    """Every input that a convolution has been given, with a border of zeros for its taps to reach into."""

    def __init__(self, layer: Convolution, mask: Array | None, n: int, size: tuple[int, ...], row: bool) -> None:
        offsets = np.array(layer.taps)
        before, after = np.maximum(0, -offsets.min(0)), np.maximum(0, offsets.max(0))
        bordered = before + size + after
        places = np.arange(np.prod(bordered)).reshape(bordered)
        self.places = places[tuple(slice(b, b + n) for b, n in zip(before, size, strict=True))].reshape(-1)
        along = offsets @ [int(np.prod(bordered[axis + 1 :])) for axis in range(len(size))]
        self.under = self.places[:, None] + along
        super().__init__(layer, mask, n, places.size, row)


def _fitting(residual: TensorLike, shape: tuple[int, ...], dtype: Any) -> Array | None:
    """What is added, of y's shape and type; None for the default, nothing."""
    if isinstance(residual, float) and residual == 0:
        return None
    p = array_of(residual)
    return p if p.shape == shape and p.dtype == dtype else np.broadcast_to(p, shape).astype(dtype)


def _of_another_shape(x: Array, position: Position, wanted: tuple[Any, ...]) -> ValueError:
    return ValueError(f"ActivationCache: an input of shape {x.shape} at position {position}, expected {wanted}")


def _never_given(taps: Taps, position: Position) -> ValueError:
    return ValueError(
        f"ActivationCache: at position {position} a layer with taps {taps} looks at positions that it was never given: "
        f"were some left out, or a pixel not passed to `write`?"
    )


def _given_twice(taps: Taps, position: Position) -> ValueError:
    return ValueError(
        f"ActivationCache: a layer with taps {taps} is given a second input at position {position}; a layer that "
        f"stands in a network twice cannot be remembered, and each drawing needs a new ActivationCache"
    )
