"""A small autoregressive model of four variables with three levels, in plain NumPy, with its density and sampler."""

from __future__ import annotations

import numpy as np

from tinygen.autograd import Array
from tinygen.testing import enumerate_support

LEVELS, DIMS = 3, 4
SUPPORT = enumerate_support(LEVELS, (DIMS,))
WEIGHTS = np.random.default_rng(0).normal(size=(DIMS, DIMS + 1, LEVELS))


def logits_at(x: Array, i: int) -> Array:
    """Return the logits of variable i given the variables before it. Shape: (N, levels)"""
    context = np.concatenate([x[:, :i], np.ones((len(x), 1))], 1)
    return np.asarray(context @ WEIGHTS[i, : i + 1])


def log_softmax(logits: Array, axis: int = -1) -> Array:
    return np.asarray(logits - np.log(np.sum(np.exp(logits), axis, keepdims=True)))


def conditionals(x: Array, axis: int = -1) -> Array:
    """Return log p(xᵢ | x_<ᵢ), normalised over the given axis of the logits. Shape: (N, dims)"""
    terms = [log_softmax(logits_at(x, i), axis)[np.arange(len(x)), x[:, i]] for i in range(DIMS)]
    return np.stack(terms, 1)


def log_prob(x: Array) -> Array:
    return np.asarray(conditionals(x).sum(1))


def sample(n: int, rng: np.random.Generator, temperature: float = 1.0) -> Array:
    x = np.zeros((n, DIMS), int)
    for i in range(DIMS):
        gumbel = rng.gumbel(size=(n, LEVELS))
        x[:, i] = np.argmax(logits_at(x, i) / temperature + gumbel, 1)
    return x
