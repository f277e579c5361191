"""Pixel RNN: an LSTM that reads an image in raster order and predicts each value from the previous ones.

    ln p(x) = Σᵢ ln p(xᵢ | hᵢ),   hᵢ = LSTM(hᵢ₋₁; xᵢ₋₁, coordinates of i, label)        i in raster order

          p(x₁)    p(x₂)    p(x₃)
            ↑        ↑        ↑
    0 ──→ LSTM ──→ LSTM ──→ LSTM ──→ …    hidden state
            ↑        ↑        ↑
            0        x₁       x₂          and the coordinates of the value to predict

The hidden state carries all information about earlier pixels. The pixel above was read a whole row
earlier, so without the coordinates the LSTM would have to count steps to know its position.

This is a plain LSTM in raster order, not the Row LSTM or the Diagonal BiLSTM of the paper.

Source: van den Oord, Kalchbrenner & Kavukcuoglu, "Pixel Recurrent Neural Networks", 2016: raster order, channel by
channel within a pixel, and a softmax over the levels.
Checked by: tests/models/autoregressive/test_pixel_rnn.py
"""

from collections.abc import Iterator

import numpy as np

from ...autograd import Array, Tensor, TensorLike, no_grad
from ...checks import at_least, require
from ...distributions import Categorical
from ...distributions.discrete import sample_tempered
from ...nn import LSTM, Linear
from .base import Autoregressive, Rng
from .coordinates import raster_coordinates


class PixelRNN(Autoregressive):
    """Pixel RNN over images (height, width, channels) with integer values 0…levels−1.

    The previous value is given as a number in −1…1, not as a one-hot vector, so the first layer does not grow with
    `levels` and similar levels have similar inputs.

    Args:
        hidden, layers: number of units of each LSTM, number of stacked LSTMs.
        coordinates: whether the network is given the position of the value to predict.

    Shapes, Raises: as in `Autoregressive`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> model = PixelRNN((4, 4, 1), 2, rng, hidden=8)
        >>> x = model.sample(3, rng)
        >>> x.shape, model.log_prob(x).shape
        ((3, 4, 4, 1), (3,))
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
        require(len(shape) == 3, "shape", "(height, width, channels)", shape)
        at_least(1, hidden=hidden, layers=layers)
        all_coordinates = raster_coordinates(shape)  # (V, axes), V = height · width · channels
        self.coordinates = all_coordinates if coordinates else all_coordinates[:, :0]
        features = 1 + self.coordinates.shape[1] + classes
        self.lstms = [LSTM(hidden if layer else features, hidden, rng) for layer in range(layers)]
        self.logits = Linear(hidden, levels, rng)

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None) -> Tensor:
        """Return the logits of every value, (N, height, width, channels, levels); there is no dropout."""
        values = self.rescale(x).reshape(len(x), len(self.coordinates))  # (N, V)
        previous = np.pad(values[:, :-1], [(0, 0), (1, 0)])  # (N, V), shifted by one step
        h: TensorLike = self._inputs(previous, self.coordinates, labels)  # (N, V, features)
        for lstm in self.lstms:
            h = lstm(h)  # (N, V, hidden)
        return self.logits(h).reshape(*x.shape, self.output.width)  # (N, H, W, C, levels)

    def draw(
        self, x: Array, rng: Rng, labels: Array | None = None, *, known: int = 0, temperature: float = 1.0
    ) -> Iterator[Array]:
        """Sample the images x in place, in raster order, and yield the logits (n, levels) of each value.

        Each value costs one LSTM step, so an image costs as much as one evaluation of the network.
        """
        self.check_draw(x, labels, known, temperature)
        previous = np.zeros(len(x), self.dtype)
        states = [lstm.initial_state(len(x)) for lstm in self.lstms]
        for i, (index, coordinates) in enumerate(zip(np.ndindex(self.shape), self.coordinates, strict=True)):
            with no_grad():
                h: TensorLike = self._inputs(previous[:, None], coordinates[None], labels)[:, 0]  # (n, features)
                for layer, lstm in enumerate(self.lstms):
                    states[layer] = lstm.step(h, states[layer])
                    h = states[layer][0]  # (n, hidden)
                logits = self.logits(h).value if i >= known else None  # (n, levels)
            if logits is not None:
                x[:, *index] = sample_tempered(self.output, logits, rng, temperature)
                yield logits
            previous = self.rescale(x[:, *index], previous.dtype)

    def _inputs(self, previous: Array, coordinates: Array, labels: Array | None) -> Array:
        """Concatenate the LSTM's inputs: previous (N, V), coordinates (V, axes); result (N, V, features)."""
        n, variables = previous.shape
        parts = [previous[..., None], np.broadcast_to(coordinates, (n, *coordinates.shape))]
        if labels is not None:
            one_hot = np.eye(self.classes)[labels][:, None]  # (N, 1, classes)
            parts.append(np.broadcast_to(one_hot, (n, variables, self.classes)))
        return np.concatenate(parts, axis=2).astype(previous.dtype)
