"""The protocols: a distribution, a likelihood of one variable, an output with discrete levels.

Checked by: tests/distributions/test_distributions.py, tests/models/test_every_model.py
"""

from __future__ import annotations

import math
from typing import Protocol, TypeVar

import numpy as np

from ..autograd import Array, Tensor, TensorLike
from ..autograd.tensor import array_of
from ..checks import at_least

X = TypeVar("X", contravariant=True)


class Distribution(Protocol[X]):
    """What can be evaluated and drawn from: every model with a likelihood, and the noise that flows begin with.

    Distribution[Array] is one of levels or other data, Distribution[TensorLike] also of numbers that a network
    computes: its density has derivatives by x.
    """

    shape: tuple[int, ...]

    def log_prob(self, x: X) -> Tensor:
        """Return ln p(x) of each example in nats, in which nothing is random: x (N, *shape), result (N,)."""

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n examples, as an array (n, *shape)."""


class Likelihood(Protocol):
    """The distribution of one variable, given `width` numbers that a network computes."""

    width: int

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        """Return ln p(k) in nats: parameters (…, width), values k (…), result (…)."""

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        """Draw values (…) given their parameters (…, width)."""


class Output(Likelihood, Protocol):
    """The distribution of a variable with values 0…levels−1, which are drawn as int64."""

    levels: int


def check_width(width: int, parameters: TensorLike) -> TensorLike:
    shape = np.shape(array_of(parameters))
    if shape[-1:] != (width,):
        raise ValueError(f"parameters: expected (…, {width}), got shape {shape}")
    return parameters


def bits_per_dim(nats: float, dims: int) -> float:
    """A negative log-likelihood of `nats` per example, in bits for each of its dimensions: nats / (dims ln 2)."""
    at_least(1, dims=dims)
    return nats / (dims * math.log(2))
