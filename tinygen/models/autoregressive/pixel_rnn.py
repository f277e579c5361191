"""Pixel RNN: an LSTM reads an image pixel by pixel and says, before each, how the next is distributed.

    ln p(x) = Σᵢ ln p(xᵢ | hᵢ),   hᵢ = LSTM(hᵢ₋₁; xᵢ₋₁, place of i, label)        i in raster order

All that it knows of the earlier pixels is in the state that it carries along. The line above is a whole line of steps
back, and the LSTM has to count them to know where it is, unless it is told the coordinates of the pixel to come.

This is the plain LSTM over the raster order. The Row LSTM and the Diagonal BiLSTM of the paper below, whose states run
down the image along convolutions, it is not.

Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016, for the setting: raster
order, channel after channel within a pixel, and a softmax over the levels.
Checked by: tests/models/autoregressive/test_pixel_rnn.py
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...autograd import Array, Tensor, TensorLike, no_grad
from ...checks import at_least
from ...distributions import Categorical
from ...nn import LSTM, Linear
from .base import Autoregressive
from .coordinates import raster_coordinates

Rng = np.random.Generator


class PixelRNN(Autoregressive):
    """A distribution over images (height, width, channels) whose values take `levels` levels.

    The input at variable i is the value before it, as one number between −1 and 1 (with a one-hot code the first layer
    would grow with the levels, and not be told that neighbouring levels are alike; two levels are the same either way)
    and 0 before the first; with `coordinates`, the place of i in the image (`raster_coordinates`); the label, one-hot.
    `layers` LSTMs of `hidden` units stand on each other.

    Shapes and errors as in `Autoregressive`: images (N, height, width, channels), log_prob (N,) in nats per image.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int,
        rng: Rng,
        *,
        hidden: int = 64,
        layers: int = 1,
        coordinates: bool = True,
        classes: int = 0,
    ) -> None:
        super().__init__(shape, Categorical(levels), classes)
        if len(shape) != 3:
            raise ValueError(f"shape: expected (height, width, channels), got {shape}")
        at_least(1, hidden=hidden, layers=layers)
        places = raster_coordinates(shape)  # (variables, axes)
        self.coordinates = places if coordinates else places[:, :0]
        features = 1 + self.coordinates.shape[1] + classes
        self.lstms = [LSTM(hidden if layer else features, hidden, rng) for layer in range(layers)]
        self.logits = Linear(hidden, levels, rng)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        """Logits of every variable, (N, height, width, channels, levels), from those before it; there is no dropout."""
        values = self.scaled(x).reshape(len(x), len(self.coordinates))  # (N, variables)
        before = np.pad(values[:, :-1], [(0, 0), (1, 0)])
        h: TensorLike = self._inputs(before, self.coordinates, labels)
        for lstm in self.lstms:
            h = lstm(h)
        return self.logits(h).reshape(*x.shape, self.output.width)

    def draw(self, x: Array, rng: Rng, labels: Array | None = None) -> Iterator[Array]:
        """Fill the images x in place, in raster order, and yield each variable's logits (n, levels).

        The states go from one variable to the next, so each costs the same: all in all one evaluation of the network.
        """
        self.check_canvas(x, labels)
        before = np.zeros(len(x), self.dtype)
        states = [lstm.start(len(x)) for lstm in self.lstms]
        for index, place in zip(np.ndindex(self.shape), self.coordinates, strict=True):
            with no_grad():
                h: TensorLike = self._inputs(before[:, None], place[None], labels)[:, 0]
                for layer, lstm in enumerate(self.lstms):
                    states[layer] = lstm.step(h, states[layer])
                    h = states[layer][0]
                logits = self.logits(h).value
            drawn = self.output.sample(logits, rng)
            x[:, *index] = drawn
            before = self.scaled(drawn, before.dtype)
            yield logits

    def _inputs(self, before: Array, places: Array, labels: Array | None) -> Array:
        """What the first layer reads at some variables: before (N, V), places (V, axes), result (N, V, 1 + …)."""
        n, variables = before.shape
        parts = [before[..., None], np.broadcast_to(places, (n, *places.shape))]
        if labels is not None:
            parts.append(np.broadcast_to(np.eye(self.classes)[labels][:, None], (n, variables, self.classes)))
        return np.concatenate(parts, axis=2).astype(before.dtype)
