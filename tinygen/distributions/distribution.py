"""Protocols: distributions of whole examples, and likelihoods of single variables given a network's output.

Checked by: tests/distributions/test_distributions.py, tests/models/test_every_model.py
"""

import math
from typing import Protocol, TypeVar

import numpy as np

from ..arguments import checked
from ..autograd import Array, Tensor, TensorLike
from ..autograd.tensor import array_of
from ..checks import at_least, require

X = TypeVar("X", contravariant=True)
DIVERGED = "NaN or infinity; check whether the model has diverged"


class Distribution(Protocol[X]):
    """A distribution of examples: every model with a likelihood, and the base distributions of flows.

    Distribution[Array] is for data; Distribution[TensorLike] also accepts tensors and is differentiable in x.
    """

    shape: tuple[int, ...]

    def log_prob(self, x: X) -> Tensor:
        """Return ln p(x) of each example, in nats (deterministic): x (N, *shape), result (N,)."""

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n examples, (n, *shape)."""


class Likelihood(Protocol):
    """The distribution of one variable, given `width` parameters that a network computes."""

    width: int

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        """Return ln p(k) in nats: parameters (…, width), values k (…), result (…)."""

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        """Draw values (…) given their parameters (…, width)."""


class Output(Likelihood, Protocol):
    """A likelihood of discrete values 0…levels−1, the output of an autoregressive model. Samples are int64."""

    levels: int


def check_width(width: int, parameters: TensorLike) -> TensorLike:
    """Return the parameters. Raises ValueError unless they have shape (…, width)."""
    shape = array_of(parameters).shape
    if shape[-1:] != (width,):
        raise ValueError(f"parameters: expected shape (…, {width}), got {shape}")
    return parameters


def check_samples(x: Array) -> Array:
    """Return the samples x of a model. Raises ValueError if one is NaN or infinite: the model's parameters are then."""
    require(np.isfinite(x).all(), "samples", "finite numbers", DIVERGED)
    return x


def mean_loss(loss: Tensor) -> Tensor:
    """Return the mean of a loss (N,) over the examples of x. Raises ValueError if there are none."""
    require(len(loss) > 0, "x", "one or more examples", "none")
    return loss.mean()


@checked
def bits_per_dim(nats: float, dims: int) -> float:
    """Convert a negative log-likelihood per example from nats to bits per dimension: nats / (dims ln 2)."""
    at_least(1, dims=dims)
    return nats / (dims * math.log(2))
