"""Remembered activations: the second of the two evaluators of an autoregressive network.

`net(x)` evaluates every position at once, for training. For sampling, `net(x_here, memory)` evaluates one position, and
each convolution looks up its other inputs among what it was given at earlier positions. Sampling then costs about
one forward pass in total instead of one for every pixel. Layers that work pointwise do not notice the difference.

A position is one pixel, or one row of pixels where a layer reads to the right of itself in the rows above (the
vertical stack of the Gated PixelCNN).

Source: Ramachandran et al., "Fast Generation for Convolutional Autoregressive Models", 2017.
Checked by: tests/nn/test_memory.py, tests/models/test_gated_pixelcnn.py (equal to the naive sampler, step by step)
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike
from ..autograd.taps import Taps
from ..autograd.tensor import array_of


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

    Raises ValueError if a layer has a stride or taps that reach positions which are evaluated later, looks at a
    position that it was never given (positions left out, a pixel not passed to `drawn`), or is given two inputs at one
    position (as is one that stands in a network twice).
    """

    def __init__(self, n: int, size: tuple[int, ...]) -> None:
        self.n, self.size = n, size
        self.position: tuple[int | slice, ...] | None = None
        self._canvases: dict[int, _Canvas] = {}

    def conv(self, layer: Convolution, x: TensorLike | None, plus: TensorLike = 0.0) -> Tensor:
        """Evaluate the layer at this position: plus + bias + Σₜ x(p + oₜ) Wₜ, as one matrix product for all taps."""
        taps, channels_in, channels_out = layer.w.shape
        if taps == layer.stride == 1 and not any(layer.taps[0]):  # a 1×1 convolution has nothing to remember
            y = array_of(x) @ layer.w.value[0]
        else:
            canvas = self._canvas(layer)
            if x is None:
                canvas.reads_image = True
            else:
                canvas.write(self.position, array_of(x))
            seen = canvas.read(self.position)
            y = seen.reshape(*seen.shape[:-2], taps * channels_in) @ layer.w.value.reshape(-1, channels_out)
        if layer.b is not None:
            y += layer.b.value
        return Tensor(y) if isinstance(plus, float) and plus == 0 else Tensor(y + array_of(plus))

    def drawn(self, pixel: TensorLike) -> None:
        """Give the pixel (n, C) that has been drawn at this position to every layer that reads the image."""
        for canvas in self._canvases.values():
            if canvas.reads_image:
                canvas.write(self.position, array_of(pixel))

    def _canvas(self, layer: Convolution) -> _Canvas:
        canvas = self._canvases.get(id(layer))
        if canvas is None:
            if self.position is None or len(self.position) != len(self.size):
                raise ValueError(f"Memory: position {self.position}, expected {len(self.size)} axes: set it first")
            row = isinstance(self.position[-1], slice)
            canvas = self._canvases[id(layer)] = _Canvas(layer, self.n, self.size, row)
        return canvas


class _Canvas:
    """Every input that one convolution has been given, flat, with a border of zeros for its taps to reach into."""

    def __init__(self, layer: Convolution, n: int, size: tuple[int, ...], row: bool) -> None:
        last = (0, *(float("inf"),) * (len(size) - 1)) if row else (0,) * len(size)
        if layer.stride != 1 or any(len(tap) != len(size) or tap > last for tap in layer.taps):
            raise ValueError(
                f"Memory: a layer of stride {layer.stride} with taps {layer.taps} cannot be evaluated position by "
                f"position; it needs stride 1 and taps of {len(size)} axes that look only at what is drawn already"
            )
        offsets = np.array(layer.taps)
        before, after = np.maximum(0, -offsets.min(0)), np.maximum(0, offsets.max(0))
        bordered = before + size + after
        flat = np.arange(np.prod(bordered)).reshape(bordered)
        self.places = flat[tuple(slice(b, b + n) for b, n in zip(before, size, strict=True))]
        self.offsets = offsets @ [int(np.prod(bordered[axis + 1 :])) for axis in range(len(size))]
        self.inputs = np.zeros((n, flat.size, layer.w.shape[1]), layer.w.dtype)
        self.known = np.ones(flat.size, bool)  # the border is known to be zero
        self.known[self.places] = False
        self.layer = layer  # the canvas is found by the layer's id, which must not be given to another meanwhile
        self.reads_image = False

    def read(self, position: Any) -> Array:
        """Inputs under the taps, (n, taps, C_in) at a pixel, (n, W, taps, C_in) at a row."""
        looked_at = self.places[position][..., None] + self.offsets
        if not self.known[looked_at].all():
            raise ValueError(
                f"Memory: at position {position} a layer with taps {self.layer.taps} looks at positions that it was "
                f"never given: were some left out, or a pixel not passed to `drawn`?"
            )
        seen: Array = self.inputs.take(looked_at, axis=1)
        return seen

    def write(self, position: Any, x: Array) -> None:
        here = self.places[position]
        wanted = (len(self.inputs), *np.shape(here), self.inputs.shape[2])
        if x.shape != wanted:
            raise ValueError(f"Memory: an input of shape {x.shape} at position {position}, expected {wanted}")
        if self.known[here].any():
            raise ValueError(
                f"Memory: a layer with taps {self.layer.taps} is given a second input at position {position}; a layer "
                f"that stands in a network twice cannot be remembered, and each drawing needs a new Memory"
            )
        self.known[here] = True
        self.inputs[:, here] = x
