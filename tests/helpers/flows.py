"""Helpers for the tests of bijections and flows: small random flows, random contexts, and combined checks."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from tinygen.autograd import Array, Parameter, Tensor, TensorLike, tanh
from tinygen.bijections import Bijection, Flow, Inverse, Transformer
from tinygen.bijections.bijection import sum_event
from tinygen.nn import Module
from tinygen.testing import check_invertible, check_log_det, check_sampler

AnyModule = TypeVar("AnyModule", bound=Module)
CELLS = 5  # cells along each side of the square
POINTS = 40  # points along each side of a cell, over which the density is averaged


class PerVariable(Bijection):
    """A transformer with its own parameters for each variable."""

    def __init__(self, transformer: Transformer, theta: Array) -> None:
        self.transformer, self.theta = transformer, Parameter(theta, np.float64)

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.transformer.forward(x, self.theta)
        return z, sum_event(log_slope)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.transformer.inverse(z, self.theta)
        return x, sum_event(log_slope)


def randomised(module: AnyModule, rng: np.random.Generator, scale: float) -> AnyModule:
    """Convert to float64 and replace every parameter by N(0, scale²) numbers, so that no term is hidden by a zero."""
    for parameter in module.astype(np.float64).parameters():
        parameter.assign(rng.normal(size=parameter.shape) * scale)
    return module


def perturbed(module: AnyModule, rng: np.random.Generator, scale: float) -> AnyModule:
    """Convert to float64 and add N(0, scale²) numbers to every parameter."""
    for parameter in module.astype(np.float64).parameters():
        parameter.assign(parameter.value + rng.normal(size=parameter.shape) * scale)
    return module


def small_coupling_flow(kind: Any, shape: tuple[int, ...], seed: int = 0, scale: float = 0.4, **settings: Any) -> Any:
    """Build a randomised NICE or RealNVP. It uses tanh, since finite differences fail at the kink of relu."""
    rng = np.random.default_rng(seed)
    return randomised(kind(shape, rng, **{"hidden": 5, "layers": 3, "activation": tanh, **settings}), rng, scale)


def small_autoregressive_flow(kind: Any, dim: int = 2, seed: int = 0, scale: float = 0.3, **settings: Any) -> Any:
    """Build a perturbed MAF or IAF. It uses tanh, since all relus of a small network may be inactive."""
    rng = np.random.default_rng(seed)
    flow = kind(dim, rng, **{"layers": 2, "hidden": (5, 5), **settings})
    chain: Any = flow.bijection.bijection if isinstance(flow.bijection, Inverse) else flow.bijection
    for layer in chain.bijections:
        layer.net.activation = tanh
    return perturbed(flow, rng, scale)


def random_context(rng: np.random.Generator, n: int, size: int) -> Array | None:
    """Return n random context vectors of this size, or None if the size is 0."""
    return rng.normal(size=(n, size)) if size else None


def check_bijection(bijection: Bijection, x: Array, *, context: Array | None = None, rng: np.random.Generator) -> None:
    """Check that forward and inverse undo each other and that both log-determinants match the Jacobian."""
    check_invertible(bijection, x, context=context, rng=rng)
    check_log_det(bijection, x, context=context, rng=rng)


def check_plane_sampler(
    sampled: Flow, density: Flow, reach: float, *, rng: np.random.Generator, context: Array | None = None
) -> None:
    """Check by a χ² test that samples of one flow in the plane follow the density of another.

    The categories are the cells of a grid on [−reach, reach]², and the rest of the plane.
    """

    def tiled(n: int) -> Array | None:
        return None if context is None else np.tile(context, (n, 1))

    centres = reach * (2 * (np.arange(CELLS * POINTS) + 0.5) / (CELLS * POINTS) - 1)
    points = np.stack(np.meshgrid(centres, centres, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(density.log_prob(points, tiled(len(points))).value).reshape(CELLS, POINTS, CELLS, POINTS)
    mass = p.sum((1, 3)) * (2 * reach / (CELLS * POINTS)) ** 2

    def cell(n: int, rng: np.random.Generator) -> Array:
        i, j = np.floor((sampled.sample(n, rng, tiled(n)) / reach + 1) / 2 * CELLS).astype(int).T
        inside = (np.minimum(i, j) >= 0) & (np.maximum(i, j) < CELLS)
        return np.where(inside, i * CELLS + j, CELLS**2)

    log_mass = np.log(np.append(mass.ravel(), 1 - mass.sum()))
    check_sampler(cell, lambda k: log_mass[k], np.arange(CELLS**2 + 1), rng=rng)
