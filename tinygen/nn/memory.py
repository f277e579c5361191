"""Remembered activations: the second of the two evaluators of an autoregressive network.

`net(x)` evaluates every position at once, for training. For sampling, `net(x_here, memory)` evaluates one position, and
each convolution looks up its other inputs among what it was given at earlier positions. Sampling then costs about
one forward pass in total instead of one for every pixel. Layers that work pointwise do not notice the difference.

A position is one pixel, or one row of pixels where a layer reads to the right of itself in the rows above (the
vertical stack of the Gated PixelCNN), or one moment of a sequence. Of a sequence, a layer keeps no more than its taps
reach: memory does not grow with the length, nor time with the reach.

Source: Ramachandran et al., "Fast Generation for Convolutional Autoregressive Models", 2017.
Checked by: tests/nn/test_memory.py, tests/models/test_gated_pixelcnn.py (equal to the naive sampler, step by step)
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike
from ..autograd.taps import Taps
from ..autograd.tensor import array_of

Position: TypeAlias = tuple[int | slice, ...]


class Convolution(Protocol):
    """What a memory needs to know of a convolution layer: weights (taps, C_in, C_out), a bias (C_out,) or None."""

    w: Parameter
    b: Parameter | None
    taps: Taps
    stride: int


class Memory:
    """What the convolutions of one network have seen of n images (or sequences) of a given size that are being drawn.

        memory = Memory(n, (height, width))
        memory.position = i, j                 the pixel to evaluate, or (i, slice(None)): the whole row i
        y = layer(x_here, memory)              remembers x_here (n, C) or (n, W, C), gives the layer's output there
        y = first_layer(None, memory)          the same for a layer that reads the image itself, and not this pixel
        memory.drawn(pixel)                    (mask A): it is given the pixel (n, C) once that is drawn

    With `again`, a network may be evaluated several times at one position, as where the channels of a pixel are drawn
    one after another: the last input of a layer is remembered, and what it sums over earlier positions is summed once.

    A sequence has the size (length,) and the positions (0,), (1,), … in this order.

    Raises ValueError if a position is not within the size, or a layer has a stride or taps that reach positions which
    are evaluated later, looks at a position that it was never given (positions left out, a pixel not passed to
    `drawn`), or is given two inputs at one position without `again` (as is one that stands in a network twice).
    """

    def __init__(self, n: int, size: tuple[int, ...], again: bool = False) -> None:
        self.n, self.size, self.again = n, size, again
        self._position: Position | None = None
        self._canvases: dict[int, _Ring | _Canvas] = {}

    @property
    def position(self) -> Position:
        """What is being evaluated: an index along each axis; the last of an image's may be slice(None), a whole row."""
        if self._position is None:
            raise ValueError("position: expected one to evaluate, set it first")
        return self._position

    @position.setter
    def position(self, position: Position) -> None:
        row = [slice(None)] if len(self.size) > 1 else []
        if len(position) != len(self.size) or not all(
            p in row if isinstance(p, slice) else 0 <= p < length for p, length in zip(position, self.size, strict=True)
        ):
            raise ValueError(f"position: expected one within {self.size}, got {position}")
        self._position = position

    def conv(self, layer: Convolution, x: TensorLike | None, plus: TensorLike = 0.0) -> Tensor:
        """Evaluate the layer at this position: plus + bias + Σₜ x(p + oₜ) Wₜ, as one matrix product for all taps."""
        taps, channels_in, channels_out = layer.w.shape
        if taps == layer.stride == 1 and not any(layer.taps[0]):  # a 1×1 convolution has nothing to remember
            y = array_of(x) @ layer.w.value[0]
        else:
            canvas, position = self._canvas(layer), self.position
            if x is None:
                canvas.reads_image = True
            else:
                canvas.write(position, array_of(x), self.again)
            if canvas.looks_here or canvas.summed_at != position:
                weights = layer.w.value.reshape(taps * channels_in, channels_out)
                canvas.sum, canvas.summed_at = canvas.read(position) @ weights, position
            y = canvas.sum
        if layer.b is not None:
            y = y + layer.b.value
        return Tensor(y) if isinstance(plus, float) and plus == 0 else Tensor(y + array_of(plus))

    def drawn(self, pixel: TensorLike) -> None:
        """Give the pixel (n, C) that has been drawn at this position to every layer that reads the image."""
        for canvas in self._canvases.values():
            if canvas.reads_image:
                canvas.write(self.position, array_of(pixel), self.again)

    def _canvas(self, layer: Convolution) -> _Ring | _Canvas:
        canvas = self._canvases.get(id(layer))
        if canvas is None:
            axes, row = len(self.size), isinstance(self.position[-1], slice)
            last = (0, *(float("inf"),) * (axes - 1)) if row else (0,) * axes
            if layer.stride != 1 or any(len(tap) != axes or tap > last for tap in layer.taps):
                raise ValueError(
                    f"Memory: a layer of stride {layer.stride} with taps {layer.taps} cannot be evaluated position by "
                    f"position; it needs stride 1 and taps of {axes} axes that look only at what is drawn already"
                )
            canvas = _Ring(layer, self.n) if axes == 1 else _Canvas(layer, self.n, self.size, row)
            self._canvases[id(layer)] = canvas
        return canvas


class _Inputs:
    """What one convolution was given, and what came of it at the last position where it was asked."""

    def __init__(self, layer: Convolution, looks_here: bool) -> None:
        self.layer = layer  # its inputs are found by the layer's id, which must not be given to another meanwhile
        self.looks_here, self.reads_image = looks_here, False
        self.sum: Array = np.empty(0)
        self.summed_at: Position | None = None


class _Ring(_Inputs):
    """The last inputs of a convolution over a sequence, as far as its taps reach: each new one replaces the oldest.

    Moment t is at t mod the length of the ring; what was before moment 0 is zero, as the ring is at first.
    """

    def __init__(self, layer: Convolution, n: int) -> None:
        self.offsets = [offset for (offset,) in layer.taps]
        super().__init__(layer, 0 in self.offsets)
        self.newest, oldest = max(self.offsets), min(self.offsets)
        self.inputs = np.zeros((1 - oldest, n, layer.w.shape[1]), layer.w.dtype)
        self.given = 0  # so many moments

    def read(self, position: Any) -> Array:
        """Inputs under the taps, (n, taps · C_in)."""
        (t,) = position
        if not t + self.newest < self.given <= t + 1:
            raise _never_given(self.layer, position)
        return np.concatenate([self.inputs[(t + offset) % len(self.inputs)] for offset in self.offsets], axis=1)

    def write(self, position: Any, x: Array, again: bool) -> None:
        (t,) = position
        if x.shape != self.inputs.shape[1:]:
            raise _of_another_shape(x, position, self.inputs.shape[1:])
        if t != self.given and not (again and t == self.given - 1):
            raise _given_twice(self.layer, position) if t < self.given else _never_given(self.layer, position)
        self.inputs[t % len(self.inputs)] = x
        self.given = t + 1


class _Canvas(_Inputs):
    """Every input that a convolution has been given, flat, with a border of zeros for its taps to reach into."""

    def __init__(self, layer: Convolution, n: int, size: tuple[int, ...], row: bool) -> None:
        super().__init__(layer, row or (0,) * len(size) in layer.taps)
        offsets = np.array(layer.taps)
        before, after = np.maximum(0, -offsets.min(0)), np.maximum(0, offsets.max(0))
        bordered = before + size + after
        flat = np.arange(np.prod(bordered)).reshape(bordered)
        self.places = flat[tuple(slice(b, b + n) for b, n in zip(before, size, strict=True))]
        self.offsets = offsets @ [int(np.prod(bordered[axis + 1 :])) for axis in range(len(size))]
        self.inputs = np.zeros((n, flat.size, layer.w.shape[1]), layer.w.dtype)
        self.known = np.ones(flat.size, bool)  # the border is known to be zero
        self.known[self.places] = False
        self.written_at: Position | None = None

    def read(self, position: Any) -> Array:
        """Inputs under the taps, (n, taps · C_in) at a pixel, (n, W, taps · C_in) at a row."""
        looked_at = self.places[position][..., None] + self.offsets
        if not self.known[looked_at].all():
            raise _never_given(self.layer, position)
        seen: Array = self.inputs.take(looked_at, axis=1)
        return seen.reshape(*seen.shape[:-2], seen.shape[-2] * seen.shape[-1])

    def write(self, position: Any, x: Array, again: bool) -> None:
        here = self.places[position]
        wanted = (len(self.inputs), *np.shape(here), self.inputs.shape[2])
        if x.shape != wanted:
            raise _of_another_shape(x, position, wanted)
        if self.known[here].any() and not (again and position == self.written_at):
            raise _given_twice(self.layer, position)
        self.known[here], self.written_at = True, position
        self.inputs[:, here] = x


def _of_another_shape(x: Array, position: Position, wanted: tuple[int, ...]) -> ValueError:
    return ValueError(f"Memory: an input of shape {x.shape} at position {position}, expected {wanted}")


def _never_given(layer: Convolution, position: Position) -> ValueError:
    return ValueError(
        f"Memory: at position {position} a layer with taps {layer.taps} looks at positions that it was never given: "
        f"were some left out, or a pixel not passed to `drawn`?"
    )


def _given_twice(layer: Convolution, position: Position) -> ValueError:
    return ValueError(
        f"Memory: a layer with taps {layer.taps} is given a second input at position {position}; a layer that stands "
        f"in a network twice cannot be remembered, and each drawing needs a new Memory"
    )
