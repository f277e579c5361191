"""Continuous distributions: Gaussian likelihood, standard normal and standard uniform.

Checked by: tests/distributions/test_distributions.py
"""

import math

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike, exp, index, log, log_normal, maximum, node, reshape
from ..autograd.operands import floating
from ..autograd.tensor import array_of
from ..checks import at_least, check_event, require
from ..nn.module import Module
from ..recorded import Recorded
from .distribution import check_samples, check_width


class Gaussian(Module):
    """Gaussian likelihood: ln p(x) = −½ ((x − μ)/σ)² − ln σ − ½ ln 2π.

    Shapes: parameters (μ, ln σ) (…, 2), or only μ (…, 1) with a `scale` σ: a number, a scalar Tensor, or a Parameter,
    which is then learned; x, log_prob and samples (…).
    Raises: ValueError if the scale is not positive or a shape is wrong; when sampling, if a sample is not finite.

    Example:
        >>> Gaussian(scale=1.0).log_prob(np.zeros((1, 1)), np.zeros(1)).value.round(4)  # −½ ln 2π
        array([-0.9189])
    """

    def __init__(self, scale: float | Tensor | None = None) -> None:
        if scale is not None:
            v = array_of(scale)
            valid = v.shape == () and v.dtype.kind in "fiu"
            valid = valid and (isinstance(scale, Parameter) or bool(0 < v < math.inf))  # `load` builds it from zero
            require(valid, "scale", "a positive number or None", repr(scale))
            scale = scale if isinstance(scale, Tensor) else float(scale)
        self.scale, self.width = scale, 2 if scale is None else 1

    def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
        mean, log_scale = self._mean_and_log_scale(parameters)
        require(np.shape(k) == mean.shape, "k", f"numbers of shape {mean.shape}", np.shape(k))
        k = np.asarray(k, mean.dtype if np.asarray(k).dtype.kind in "bui" else None)  # int64 would promote float32
        lowest = -math.floor(math.log(np.finfo(mean.dtype).max))
        bounded = maximum(log_scale, lowest) if np.any(log_scale.value < lowest) else log_scale  # 0 · ∞ is NaN
        return log_normal((mean - k) * exp(-bounded)) - log_scale

    def sample(self, parameters: TensorLike, rng: np.random.Generator) -> Array:
        mean, log_scale = self._mean_and_log_scale(parameters)
        with np.errstate(over="ignore", invalid="ignore"):  # the samples are checked instead
            return check_samples(mean.value + np.exp(log_scale.value) * rng.standard_normal(mean.shape))

    def _mean_and_log_scale(self, parameters: TensorLike) -> tuple[Tensor, Tensor]:
        v = floating("parameters", check_width(self.width, parameters))
        parameters = parameters if array_of(parameters).dtype == v.dtype else v  # integers have no derivative
        if self.scale is None:
            return index(parameters, (..., 0)), index(parameters, (..., 1))
        mean = reshape(parameters, v.shape[:-1])
        if isinstance(self.scale, Tensor):
            require(bool(0 < self.scale.value < math.inf), "scale", "a positive number", repr(self.scale))
            return mean, log(self.scale)
        return mean, Tensor(np.asarray(math.log(self.scale), v.dtype))


class StandardNormal(Recorded):
    """Standard normal distribution: ln p(x) = −½ ‖x‖² − ½ D ln 2π, a base distribution of flows.

    Shapes: x (N, *shape), log_prob (N,) in nats, samples (n, *shape) of float64.
    Raises: ValueError if x has the wrong shape or n is negative.

    Example:
        >>> StandardNormal((2,)).log_prob(np.zeros((3, 2))).value.round(4)  # −ln 2π
        array([-1.8379, -1.8379, -1.8379])
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)

    def log_prob(self, x: TensorLike) -> Tensor:
        check_event("x", x, self.shape)
        return log_normal(x).sum(tuple(range(1, 1 + len(self.shape))))

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        at_least(0, n=n)
        return rng.standard_normal((n, *self.shape))


class StandardUniform(Recorded):
    """Uniform distribution on the unit cube: p(x) = 1 in [0, 1]^D, else 0. Shapes and errors as for StandardNormal."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)

    def log_prob(self, x: TensorLike) -> Tensor:
        check_event("x", x, self.shape)
        v = floating("x", x)
        inside = np.all((v >= 0) & (v <= 1), axis=tuple(range(1, v.ndim)))
        y = np.where(inside, 0, -np.inf).astype(v.dtype)
        return node("log_uniform", y, (x, lambda g, y: Tensor(np.zeros_like(v))))  # constant inside and outside

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        at_least(0, n=n)
        return rng.random((n, *self.shape))
