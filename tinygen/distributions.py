"""What every generative model with a tractable likelihood is, and the distributions over one variable that it ends in.

Checked by: tests/test_distributions.py, tests/models/test_every_model.py
"""

from __future__ import annotations

import math
from typing import Protocol, TypeVar

import numpy as np

from .autograd import (
    Array,
    Tensor,
    TensorLike,
    bernoulli_log_prob,
    exp,
    index,
    log_normal,
    log_sigmoid,
    log_softmax,
    reshape,
    sigmoid,
    take_along_axis,
)
from .autograd.tensor import array_of
from .checks import at_least, check_event, check_k, check_rng

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


class Categorical:
    """p(k) = softmax(logits)ₖ: any distribution over the levels, which are told nothing of their order."""

    def __init__(self, levels: int) -> None:
        at_least(2, levels=levels)
        self.levels = self.width = levels

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        return categorical_log_prob(_of_width(self.width, parameters), k)

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        return sample_categorical(_of_width(self.width, parameters), rng)


class Bernoulli:
    """p(1) = σ(logit), p(0) = σ(−logit): the two levels by one number, where `Categorical` takes two.

    Raises ValueError as `Categorical` does, if k is no level or a logit is NaN.
    """

    levels, width = 2, 1

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        check_k(k, array_of(_of_width(1, parameters)).shape[:-1], 2)
        logits = reshape(parameters, k.shape)
        return log_sigmoid(logits * np.where(k, 1, -1).astype(logits.dtype))

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        v = array_of(_of_width(1, parameters))[..., 0].astype(np.float64)
        if np.any(np.isnan(v)):
            raise ValueError(f"logits: expected numbers, got NaN in shape {v.shape}: has the model diverged?")
        return (rng.random(v.shape) < sigmoid(v).value).astype(np.int64)


class Gaussian:
    """ln p(x) = −½ ((x − μ)/σ)² − ln σ − ½ ln 2π of real x, given μ and ln σ, or μ alone where σ is fixed.

    Raises ValueError if the fixed scale is not positive or the values are not of the parameters' shape.
    """

    def __init__(self, scale: float | None = None) -> None:
        if scale is not None and not 0 < scale < math.inf:
            raise ValueError(f"scale: expected a positive number or None, got {scale}")
        self.scale, self.width = scale, 2 if scale is None else 1

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        mean, log_scale = self._mean_and_log_scale(parameters)
        if np.shape(k) != mean.shape:
            raise ValueError(f"k: expected numbers of shape {mean.shape}, got {np.shape(k)}")
        return log_normal((mean - k) * exp(-log_scale)) - log_scale

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        mean, log_scale = self._mean_and_log_scale(parameters)
        if np.any(np.isnan(array_of(parameters))):
            raise ValueError(f"parameters: expected numbers, got NaN in shape {mean.shape}: has the model diverged?")
        return mean.value + np.exp(log_scale.value) * rng.standard_normal(mean.shape)

    def _mean_and_log_scale(self, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        shape = array_of(_of_width(self.width, parameters)).shape
        if self.scale is None:
            return index(parameters, (..., 0)), index(parameters, (..., 1))
        dtype = array_of(parameters).dtype
        return reshape(parameters, shape[:-1]), Tensor(np.asarray(math.log(self.scale), dtype))


def _of_width(width: int, parameters: TensorLike) -> TensorLike:
    shape = np.shape(array_of(parameters))
    if shape[-1:] != (width,):
        raise ValueError(f"parameters: expected (…, {width}), got shape {shape}")
    return parameters


class StandardNormal:
    """ln p(z) = −½ ‖z‖² − ½ D ln 2π: independent normal numbers, the noise that flows and decoders begin with.

    Shapes: z (N, *shape), also as a tensor, else ValueError; log_prob (N,) in nats, sample (n, *shape) in float64.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)

    def log_prob(self, x: TensorLike) -> Tensor:
        check_event("z", x, self.shape)
        return log_normal(x).sum(tuple(range(1, 1 + len(self.shape))))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        at_least(0, n=n)
        check_rng(rng)
        return rng.standard_normal((n, *self.shape))


class StandardUniform:
    """p(z) = 1 on the unit cube [0, 1]^D, 0 outside. Shapes as those of `StandardNormal`."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)

    def log_prob(self, x: TensorLike) -> Tensor:
        check_event("z", x, self.shape)
        v = array_of(x)
        inside = np.all((v >= 0) & (v <= 1), axis=tuple(range(1, v.ndim)))
        return Tensor(np.where(inside, 0, -np.inf).astype(v.dtype))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        at_least(0, n=n)
        check_rng(rng)
        return rng.random((n, *self.shape))


def event_log_prob(output: Likelihood, parameters: Tensor, x: Array) -> Tensor:
    """Σᵢ ln p(xᵢ) over all variables of each example, in nats; that of bits in one pass over their logits.

    Shapes: parameters (N, …, width), x (N, …), result (N,).  Raises ValueError as the output does.
    """
    if not isinstance(output, Bernoulli):
        return output.log_prob(parameters, x).sum(tuple(range(1, x.ndim)))
    check_k(x, parameters.shape[:-1], 2)
    flat = len(x), math.prod(x.shape[1:])
    return bernoulli_log_prob(parameters.reshape(flat), x.reshape(flat))


def bits_per_dim(nats: float, dims: int) -> float:
    """A negative log-likelihood of `nats` per example, in bits for each of its dimensions: nats / (dims ln 2)."""
    at_least(1, dims=dims)
    return nats / (dims * math.log(2))


def categorical_log_prob(logits: TensorLike, k: Array) -> Tensor:
    """ln softmax(logits)ₖ in nats. Shapes: logits (…, K), k (…) integers in 0…K−1, else ValueError; result (…)."""
    shape, levels = np.shape(array_of(logits))[:-1], np.shape(array_of(logits))[-1]
    check_k(k, shape, levels)
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
