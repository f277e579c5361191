"""Distributions of discrete variables: categorical and Bernoulli.

Checked by: tests/distributions/test_distributions.py
"""

import math

import numpy as np

from ..arguments import explained
from ..autograd import Array, Tensor, TensorLike, bernoulli_log_prob, categorical_log_prob, reshape
from ..autograd.elementwise import log_sigmoid, sigmoid
from ..autograd.operands import floating
from ..autograd.tensor import array_of
from ..checks import as_integers, as_reals, at_least, check_positive, require
from ..recorded import Recorded
from .distribution import DIVERGED, Likelihood, Output, check_width


class Categorical(Recorded):
    """Categorical distribution: p(k) = softmax(logits)ₖ.

    Shapes: logits (…, levels), k (…) integers in 0…levels−1, log_prob (…) in nats, samples (…).
    Raises: ValueError if a shape is wrong or k is out of range; when sampling, if the logits have no finite maximum.

    Example:
        >>> logits = np.log([[0.25, 0.75]])
        >>> Categorical(2).log_prob(logits, np.array([1])).value.round(4)  # ln 0.75
        array([-0.2877])
    """

    def __init__(self, levels: int) -> None:
        at_least(2, levels=levels)
        self.levels = self.width = levels

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        k = as_integers("k", k, array_of(check_width(self.width, parameters)).shape[:-1], self.levels)
        return reshape(categorical_log_prob(reshape(parameters, (-1, self.levels)), k.reshape(-1)), k.shape)

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        return sample_categorical(check_width(self.width, parameters), rng)


class Bernoulli(Recorded):
    """Bernoulli distribution: p(1) = σ(logit), p(0) = σ(−logit).

    Shapes: logits (…, 1), k (…) integers 0 or 1 or booleans, log_prob (…) in nats, samples (…).
    Raises: ValueError if a shape is wrong or k is not 0 or 1; when sampling, if a logit is NaN or complex.

    Example:
        >>> Bernoulli().log_prob(np.zeros((3, 1)), np.array([0, 1, 1])).value.round(4)  # ln ½
        array([-0.6931, -0.6931, -0.6931])
    """

    levels, width = 2, 1

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        k = as_integers("k", k, array_of(check_width(1, parameters)).shape[:-1], 2)
        sign = np.where(k, 1, -1).astype(floating("parameters", parameters).dtype)
        return log_sigmoid(reshape(parameters, k.shape) * sign)

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        v = as_reals("parameters", array_of(check_width(1, parameters))[..., 0])
        require(not np.any(np.isnan(v)), "logits", "numbers", DIVERGED)
        return (rng.random(v.shape) < sigmoid(v).value).astype(np.int64)


@explained
def event_log_prob(output: Likelihood, parameters: Tensor, x: Array) -> Tensor:
    """Return Σᵢ ln p(xᵢ) over all variables of each example, in nats; for Bernoulli outputs, in one fused operation.

    Shapes: parameters (N, …, width), x (N, …), result (N,).
    """
    if type(output) is not Bernoulli:  # a subclass may define another log_prob
        return output.log_prob(parameters, x).sum(tuple(range(1, x.ndim)))
    bits = as_integers("x", x, parameters.shape[:-1], 2).astype(bool)
    flat = len(x), math.prod(x.shape[1:])
    return bernoulli_log_prob(parameters.reshape(flat), bits.reshape(flat))


@explained
def sample_categorical(logits: TensorLike, rng: np.random.Generator) -> Array:
    """Draw k ~ softmax(logits) by inverting the cumulative distribution. Shapes: logits (…, K), k (…) of int64.

    Raises: ValueError if a logit is NaN or +∞, or if all logits of a distribution are −∞.
    """
    v = floating("logits", logits)
    require(v.shape[-1:] > (0,), "logits", "a nonempty last axis", v.shape)
    maximum = v.max(-1, keepdims=True)
    require(np.isfinite(maximum).all(), "logits", "a finite maximum along the last axis", DIVERGED)
    cumulative = np.exp(v - maximum, dtype=np.float64).cumsum(-1)
    u = rng.random((*v.shape[:-1], 1)) * cumulative[..., -1:]
    return (cumulative[..., :-1] <= u).sum(-1)  # type: ignore[no-any-return]


@explained
def sample_tempered(
    output: Output, parameters: TensorLike, rng: np.random.Generator, temperature: float = 1.0
) -> Array:
    """Draw k with probability ∝ p(k)^(1/T), for any output: for a categorical distribution, k ~ softmax(logits / T).

    As T → 0, k becomes the most probable level. The definition depends only on p, so a Bernoulli output and the same
    distribution as two logits agree. For a mixture of logistics, it sharpens the probabilities of the levels, not
    the weights and scales of the components.

    Shapes: parameters (…, width), k (…) of int64.
    Raises: ValueError as for `output.sample`, or if the temperature is not positive.
    """
    check_positive(temperature=temperature)
    if temperature == 1:
        return output.sample(parameters, rng)
    if type(output) is Categorical:
        v = floating("parameters", check_width(output.width, parameters))
    else:
        levels = np.arange(output.levels)
        repeated = np.repeat(array_of(parameters)[..., None, :], output.levels, -2)  # (…, levels, width)
        v = output.log_prob(repeated, np.broadcast_to(levels, repeated.shape[:-1])).value
    with np.errstate(over="ignore", invalid="ignore"):  # ∞ − ∞ = NaN, which `sample_categorical` rejects
        shifted = np.subtract(v, v.max(-1, keepdims=True), dtype=np.float64)  # before the division, which may overflow
        return sample_categorical(shifted / temperature, rng)
