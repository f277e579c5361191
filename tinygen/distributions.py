"""What every generative model with a tractable likelihood is, and the distribution over a pixel that it ends in.

Checked by: tests/test_distributions.py
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from .autograd import Array, Tensor, TensorLike, log_softmax, take_along_axis
from .autograd.tensor import array_of


@runtime_checkable
class Distribution(Protocol):
    """A model that can be evaluated and drawn from."""

    def log_prob(self, x: Array) -> Tensor:
        """Return ln p(x) of each example in nats: x (N, …), result (N,)."""

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n examples, as an array (n, …)."""


def categorical_log_prob(logits: TensorLike, k: Array) -> Tensor:
    """ln softmax(logits)ₖ in nats. Shapes: logits (…, K), k (…) integers in 0…K−1, result (…)."""
    picked = take_along_axis(log_softmax(logits), k[..., None], axis=-1)
    return picked.reshape(*k.shape)


def sample_categorical(logits: TensorLike, rng: np.random.Generator) -> Array:
    """Draw k ~ softmax(logits) by inverting the cumulative distribution. Shapes: logits (…, K), result (…) of int64."""
    v = array_of(logits)
    cumulative = np.cumsum(np.exp(v - v.max(-1, keepdims=True), dtype=np.float64), -1)
    u = rng.random(v.shape[:-1]) * cumulative[..., -1]
    return np.sum(cumulative[..., :-1] <= u[..., None], -1)  # type: ignore[no-any-return]
