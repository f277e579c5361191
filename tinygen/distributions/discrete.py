"""Distributions of discrete variables: categorical and Bernoulli.

Checked by: tests/distributions/test_distributions.py
"""

from __future__ import annotations

import math

import numpy as np

from ..autograd import (
    Array,
    Tensor,
    TensorLike,
    bernoulli_log_prob,
    log_sigmoid,
    log_softmax,
    reshape,
    sigmoid,
    take_along_axis,
)
from ..autograd.tensor import array_of
from ..checks import at_least, check_integers
from .distribution import Likelihood, check_width


class Categorical:
    """p(k) = softmax(logits)ₖ: any distribution over the levels, which are told nothing of their order."""

    def __init__(self, levels: int) -> None:
        at_least(2, levels=levels)
        self.levels = self.width = levels

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        return categorical_log_prob(check_width(self.width, parameters), k)

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        return sample_categorical(check_width(self.width, parameters), rng)


class Bernoulli:
    """p(1) = σ(logit), p(0) = σ(−logit): the two levels by one number, where `Categorical` takes two.

    Raises ValueError as `Categorical` does, if k is no level or a logit is NaN.
    """

    levels, width = 2, 1

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        check_integers("k", k, array_of(check_width(1, parameters)).shape[:-1], 2)
        logits = reshape(parameters, k.shape)
        return log_sigmoid(logits * np.where(k, 1, -1).astype(logits.dtype))

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        v = array_of(check_width(1, parameters))[..., 0].astype(np.float64)
        if np.any(np.isnan(v)):
            raise ValueError(f"logits: expected numbers, got NaN in shape {v.shape}: has the model diverged?")
        return (rng.random(v.shape) < sigmoid(v).value).astype(np.int64)


def event_log_prob(output: Likelihood, parameters: Tensor, x: Array) -> Tensor:
    """Σᵢ ln p(xᵢ) over all variables of each example, in nats; that of bits in one pass over their logits.

    Shapes: parameters (N, …, width), x (N, …), result (N,).  Raises ValueError as the output does.
    """
    if not isinstance(output, Bernoulli):
        return output.log_prob(parameters, x).sum(tuple(range(1, x.ndim)))
    check_integers("k", x, parameters.shape[:-1], 2)
    flat = len(x), math.prod(x.shape[1:])
    return bernoulli_log_prob(parameters.reshape(flat), x.reshape(flat))


def categorical_log_prob(logits: TensorLike, k: Array) -> Tensor:
    """ln softmax(logits)ₖ in nats. Shapes: logits (…, K), k (…) integers in 0…K−1, else ValueError; result (…)."""
    shape, levels = np.shape(array_of(logits))[:-1], np.shape(array_of(logits))[-1]
    check_integers("k", k, shape, levels)
    picked = take_along_axis(log_softmax(logits), k[..., None], axis=-1)
    return picked.reshape(*k.shape)


def sample_categorical(logits: TensorLike, rng: np.random.Generator) -> Array:
    """Draw k ~ softmax(logits) by inverting the cumulative distribution. Shapes: logits (…, K), result (…) of int64.

    Raises ValueError if a logit is NaN or +inf, or all of a row are −inf.
    """
    v = array_of(logits)
    most = v.max(-1, keepdims=True)
    if not np.isfinite(most).all():
        raise ValueError(f"logits: expected a finite maximum in each row of shape {v.shape}: has the model diverged?")
    cumulative = np.exp(v - most, dtype=np.float64).cumsum(-1)
    u = rng.random((*v.shape[:-1], 1)) * cumulative[..., -1:]
    return (cumulative[..., :-1] <= u).sum(-1)  # type: ignore[no-any-return]
