"""Local conditioning: an autoregressive model given features at every position, beside or instead of a class label.

    ln p(x | label, c) = Σᵢ ln p(xᵢ | x₍<ᵢ₎, label, c)        c (positions, F), such as the pitch of a sound over time

A label is the same for a whole example (global conditioning); features differ from position to position. A causal
network that adds cᵢ at position i lets xᵢ depend on the features up to i.

Source: van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016, section 2.5.
Checked by: tests/models/autoregressive/test_local_conditioning.py
"""

from collections.abc import Iterator

import numpy as np

from ...autograd import Array, Tensor
from ...checks import as_finite, at_least, require
from ...distributions import Output, event_log_prob
from ...distributions.distribution import mean_loss
from .base import Autoregressive, Rng, drawn


class LocallyConditioned(Autoregressive):
    """An autoregressive model whose methods also take features. Subclasses implement `evaluate` and `draw`.

    Args:
        features: number F of features at each position; 0 for none.

    Shapes: as in `Autoregressive`; features (N, *shape, F) of finite numbers, or None if F is 0.
    Raises: ValueError as in `Autoregressive`, and if the features have another shape or are not finite.
    """

    def __init__(self, shape: tuple[int, ...], output: Output, classes: int = 0, features: int = 0) -> None:
        super().__init__(shape, output, classes)
        at_least(0, features=features)
        self.features = features

    def evaluate(self, x: Array, labels: Array | None, rng: Rng | None, features: Array | None = None) -> Tensor:
        raise NotImplementedError

    def draw(
        self,
        x: Array,
        rng: Rng,
        labels: Array | None = None,
        features: Array | None = None,
        *,
        known: int = 0,
        temperature: float = 1.0,
    ) -> Iterator[Array]:
        raise NotImplementedError

    def __call__(self, x: Array, labels: Array | None = None, features: Array | None = None) -> Tensor:
        return self._evaluate(self.check_inputs(x, labels), labels, None, features)

    def log_prob(self, x: Array, labels: Array | None = None, features: Array | None = None) -> Tensor:
        """Return ln p(x | labels, features) of each example in nats, (N,)."""
        x = self.check_inputs(x, labels)
        return event_log_prob(self.output, self._evaluate(x, labels, None, features), x)

    def loss(
        self, x: Array, labels: Array | None = None, features: Array | None = None, *, rng: Rng | None = None
    ) -> Tensor:
        """Return the mean of −ln p(x | labels, features), in nats; with dropout if an rng is given."""
        x = self.check_inputs(x, labels)
        return mean_loss(-event_log_prob(self.output, self._evaluate(x, labels, rng, features), x))

    def sample(
        self, n: int, rng: Rng, labels: Array | None = None, features: Array | None = None, *, temperature: float = 1.0
    ) -> Array:
        """Draw n examples (n, *shape), given labels (n,) and features (n, *shape, F) if the model is conditional."""
        at_least(0, n=n)
        x = np.zeros((n, *self.shape), np.int64)
        return drawn(x, self.draw(x, rng, labels, features, temperature=temperature))

    def complete(
        self,
        x: Array,
        known: Array,
        rng: Rng,
        labels: Array | None = None,
        features: Array | None = None,
        *,
        temperature: float = 1.0,
    ) -> Array:
        """Return a copy of x (N, *shape) whose unknown variables are drawn from p(unknown | known, labels, features).

        The features are those of all positions. Other arguments as in `Autoregressive.complete`.
        """
        x, count = self.check_completion(x, known, labels)
        return drawn(x, self.draw(x, rng, labels, features, known=count, temperature=temperature))

    def check_features(self, x: Array, features: Array | None) -> None:
        """Raise ValueError unless the features are finite numbers (*x.shape, F), or None if F is 0."""
        if features is None or not self.features:
            expected = (
                f"{self.features} at each position of x" if self.features else "none for a model without features"
            )
            require(
                (features is None) == (not self.features), "features", expected, "none" if features is None else "some"
            )
            return
        as_finite("features", features, (*x.shape[1:], self.features), self.dtype)
        require(len(features) == len(x), "features", f"those of {len(x)} examples", len(features))

    def _evaluate(self, x: Array, labels: Array | None, rng: Rng | None, features: Array | None) -> Tensor:
        self.check_features(x, features)
        return self.evaluate(x, labels, rng, features)
