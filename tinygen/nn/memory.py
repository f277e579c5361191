"""Remembered activations: the second of the two evaluators of an autoregressive network.

`net(x)` evaluates every position at once, for training. For sampling, `net(x_here, memory)` evaluates one position, and
each convolution looks up its other inputs among what it was given at earlier positions. Sampling then costs about
one forward pass in total instead of one for every pixel. Layers that work pointwise do not notice the difference.

A position is one pixel, or one row of pixels where a layer reads to the right of itself in the rows above (the
vertical stack of the Gated PixelCNN).

Source: Ramachandran et al., "Fast Generation for Convolutional Autoregressive Models", 2017.
Checked by: tests/nn/test_memory.py, tests/models/test_pixelcnn.py (equal to the naive sampler, step by step)
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..autograd import Parameter, Tensor, TensorLike
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
        memory.position = i, j                    the pixel to evaluate, or (i, slice(None)): the whole row i
        y = layer(x_here, memory)                 remembers x_here (n, C) or (n, W, C), gives the layer's output there
        y = layer(None, memory)                   the same for taps without the origin: their input comes later,
        memory.remember(layer, x_here)            by this, when it has been drawn (mask A)

    Raises ValueError if a layer has a stride, or taps that reach positions which are evaluated later.
    """

    def __init__(self, n: int, size: tuple[int, ...]) -> None:
        self.n, self.size = n, size
        self.position: tuple[int | slice, ...] = (0,) * len(size)
        self._canvases: dict[int, _Canvas] = {}

    def remember(self, layer: Convolution, x: TensorLike) -> None:
        """Note the layer's input at this position: x (n, C) for a pixel, (n, W, C) for a row."""
        canvas = self._canvas(layer)
        canvas.inputs[:, canvas.places[self.position]] = array_of(x)

    def conv(self, layer: Convolution, x: TensorLike | None, plus: TensorLike = 0.0) -> Tensor:
        """Evaluate the layer at this position: plus + bias + Σₜ x(p + oₜ) Wₜ, as one matrix product for all taps."""
        weights = layer.w.value
        if len(layer.taps) == 1 and not any(layer.taps[0]):  # a 1×1 convolution has nothing to remember
            y = array_of(x) @ weights[0]
        else:
            if x is not None:
                self.remember(layer, x)
            canvas = self._canvas(layer)
            seen = canvas.inputs.take(canvas.places[self.position][..., None] + canvas.offsets, axis=1)
            taps, channels_in, channels_out = weights.shape
            y = seen.reshape(*seen.shape[:-2], taps * channels_in) @ weights.reshape(-1, channels_out)
        if layer.b is not None:
            y += layer.b.value
        y += array_of(plus)
        return Tensor(y)

    def _canvas(self, layer: Convolution) -> _Canvas:
        canvas = self._canvases.get(id(layer))
        if canvas is None:
            row = isinstance(self.position[-1], slice)
            canvas = self._canvases[id(layer)] = _Canvas(layer, self.n, self.size, row)
        return canvas


class _Canvas:
    """Every input that one convolution has been given, flat, with a border of zeros for its taps to reach into."""

    def __init__(self, layer: Convolution, n: int, size: tuple[int, ...], row: bool) -> None:
        known = (0, *(float("inf"),) * (len(size) - 1)) if row else (0,) * len(size)
        if layer.stride != 1 or any(tap > known for tap in layer.taps):
            raise ValueError(
                f"Memory: a layer of stride {layer.stride} with taps {layer.taps} cannot be evaluated position by "
                f"position; it needs stride 1 and taps that look only at what is drawn already"
            )
        offsets = np.array(layer.taps)
        before, after = np.maximum(0, -offsets.min(0)), np.maximum(0, offsets.max(0))
        bordered = before + size + after
        flat = np.arange(np.prod(bordered)).reshape(bordered)
        self.places = flat[tuple(slice(b, b + n) for b, n in zip(before, size, strict=True))]
        self.offsets = offsets @ [int(np.prod(bordered[axis + 1 :])) for axis in range(len(size))]
        self.inputs = np.zeros((n, flat.size, layer.w.shape[1]), layer.w.dtype)
