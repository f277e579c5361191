"""Continuous distributions: the Gaussian likelihood, the standard normal and the standard uniform.

Checked by: tests/distributions/test_distributions.py
"""

from __future__ import annotations

import math

import numpy as np

from ..autograd import Array, Tensor, TensorLike, exp, index, log_normal, reshape
from ..autograd.tensor import array_of
from ..checks import at_least, check_event, check_rng
from .distribution import check_width


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
        shape = array_of(check_width(self.width, parameters)).shape
        if self.scale is None:
            return index(parameters, (..., 0)), index(parameters, (..., 1))
        dtype = array_of(parameters).dtype
        return reshape(parameters, shape[:-1]), Tensor(np.asarray(math.log(self.scale), dtype))


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
