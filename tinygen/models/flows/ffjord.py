"""FFJORD: data flows to noise along a learned velocity, and its density is carried with it.

    dx/dt = f(x, t),    d ln|det ∂x(t)/∂x(0)|/dt = tr ∂f/∂x,    ln p(x) = ln N(x(1)) + ∫₀¹ tr ∂f/∂x dt

x(0) is data, x(1) noise. Any network is a velocity: it need not be invertible, nor its Jacobian triangular. The same
equation, solved backwards in time, draws samples.

Source: Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud, "FFJORD: free-form continuous dynamics for scalable
reversible generative models", 2019.
Checked by: tests/models/flows/test_ffjord.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np

from ...autograd import (
    Array,
    Parameter,
    Tensor,
    TensorLike,
    concatenate,
    linear,
    matmul,
    one_minus_square,
    tanh,
    transpose,
)
from ...autograd.tensor import array_of
from ...bijections import ContinuousFlow, Flow
from ...checks import at_least, check_rng
from ...distributions import StandardNormal
from ...nn import Module
from ...nn.init import glorot_uniform, hyperplane_bias, normal
from ...ode import Adaptive, FixedStep, Solver

Rng = np.random.Generator
Noise: TypeAlias = Literal["rademacher", "gaussian"]


class TimedLinear(Module):
    """y = x w(t) + b(t),   w(t) = w ⊙ (1 + t g),   b(t) = b ⊙ (1 + t g) + t u

    The paper's "concat squash" has σ(t g + c) for 1 + t g. Either way the layer at one time is a plain one, so that its
    time costs nothing per example; this one begins as a layer that does not depend on time.
    """

    def __init__(self, n_in: int, n_out: int, rng: Rng) -> None:
        self.w = Parameter(glorot_uniform((n_in, n_out), (n_in, n_out), rng))
        self.b, self.g, self.u = (Parameter(np.zeros(n_out)) for _ in range(3))

    def at(self, t: float) -> tuple[Tensor, Tensor]:
        """Return w(t) and b(t)."""
        gate = self.g * t + 1
        return self.w * gate, self.b * gate + self.u * t


class TimedMLP(Module):
    """The velocity f(x, t): a network of two hidden layers of tanh, whose weights depend on time.

    The first layer starts as steps all over the data (`hyperplane_bias`). On data of variance 1, the standard deviation
    of its sums is about `steepness`.
    """

    def __init__(self, dim: int, rng: Rng, hidden: int, context: int, steepness: float) -> None:
        self.dim, self.context = dim, context
        self.layers = [TimedLinear(a, b, rng) for a, b in ((dim + context, hidden), (hidden, hidden), (hidden, dim))]
        w = normal((dim + context, hidden), steepness / math.sqrt(2 * (dim + context)), rng)
        self.layers[0].w, self.layers[0].b = Parameter(w), Parameter(hyperplane_bias(w, rng))

    def at(self, t: float) -> InstantMLP:
        """Return the network as it is at time t."""
        return InstantMLP(self.dim, *(layer.at(t) for layer in self.layers))


@dataclass(frozen=True, eq=False)
class InstantMLP:
    """f = h2 w3 + b3,   h2 = tanh(h1 w2 + b2),   h1 = tanh([x, context] w1 + b1);   J = ∂f/∂x, d = 1 − h²

    Shapes: x, f, noise (N, dim), context (N, C), traces (N,).
    """

    dim: int
    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]
    last: tuple[Tensor, Tensor]

    def __call__(self, x: TensorLike, context: TensorLike | None = None) -> Tensor:
        """Return f."""
        return linear(self._hidden(x, context)[1], *self.last)

    def with_trace(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        """Return f and tr J: exactly, in any dimension, at the cost of one more product of matrices.

        J = (w1 d1 w2 d2 w3)ᵀ,   tr J = Σⱼₖ d1ⱼ (w2 ⊙ (w3 w1)ᵀ)ⱼₖ d2ₖ
        """
        h1, h2 = self._hidden(x, context)
        return linear(h2, *self.last), (matmul(one_minus_square(h1), self._around) * one_minus_square(h2)).sum(1)

    def with_estimate(self, x: TensorLike, context: TensorLike | None, noise: TensorLike) -> tuple[Tensor, Tensor]:
        """Return f and εᵀ J ε, whose mean is tr J where E εεᵀ = 1.

        ε is pushed forward along with x, as it can be through any number of layers.
        """
        h1, h2 = self._hidden(x, context)
        pushed = matmul(matmul(noise, self._w1) * one_minus_square(h1), self.second[0]) * one_minus_square(h2)
        return linear(h2, *self.last), (matmul(pushed, self.last[0]) * noise).sum(1)

    def _hidden(self, x: TensorLike, context: TensorLike | None) -> tuple[Tensor, Tensor]:
        h1 = tanh(linear(x if context is None else concatenate([x, context], 1), *self.first))
        return h1, tanh(linear(h1, *self.second))

    @property
    def _w1(self) -> Tensor:
        """The rows of w1 that belong to x."""
        return self.first[0][: self.dim] if len(self.first[0]) > self.dim else self.first[0]

    @cached_property
    def _around(self) -> Tensor:
        return self.second[0] * transpose(matmul(self.last[0], self._w1))


class FFJORD(Flow):
    """The distribution of x(0) where x(1) is standard normal.

    It is trained with a few fixed steps (`training`), evaluated and sampled from with steps that fit a tolerance
    (`solver`): see `ContinuousFlow`. With `noise` the loss has Hutchinson's estimate of the trace. The steeper its
    network starts, the sooner it has sharp edges (of data of variance 1), and the more evaluations its solutions take.

    Shapes: x (N, dim) of floats, context (N, context); log_prob (N,) in nats per example.
    Raises ValueError if a size is below 1 or the steepness not positive, or as Flow does; IntegrationError, an
    ArithmeticError, as the solvers do.
    """

    bijection: ContinuousFlow

    def __init__(
        self,
        dim: int,
        rng: Rng,
        *,
        hidden: int = 64,
        steepness: float = 2.0,
        context: int = 0,
        noise: Noise | None = None,
        training: Solver | None = None,
        solver: Solver | None = None,
        adjoint: bool = False,
    ) -> None:
        at_least(1, dim=dim, hidden=hidden)
        at_least(0, context=context)
        if noise not in (None, "rademacher", "gaussian"):
            raise ValueError(f"noise: expected 'rademacher', 'gaussian' or None, got {noise!r}")
        if not 0 < steepness < math.inf:
            raise ValueError(f"steepness: expected a positive number, got {steepness}")
        velocity = TimedMLP(dim, rng, hidden, context, steepness)
        super().__init__(ContinuousFlow(velocity, solver or Adaptive(), adjoint=adjoint), StandardNormal((dim,)))
        self.noise, self.training = noise, training or FixedStep(6)

    def log_prob_estimate(self, x: TensorLike, rng: Rng, context: TensorLike | None = None) -> Tensor:
        """`log_prob` by Hutchinson's estimate of the trace, with an ε for each example: ±1, or what `noise` says."""
        check_rng(rng)
        return self._solved_by(self.bijection.solver, x, rng).log_prob(x, context)

    def loss(self, x: TensorLike, context: TensorLike | None = None, *, rng: Rng | None = None) -> Tensor:
        """Mean of −ln p in nats per example by the solver for training; the rng is for `noise`, if there is any."""
        if self.noise and rng is None:
            raise ValueError(f"rng: expected a generator for {self.noise} noise, got None")
        return -self._solved_by(self.training, x, rng if self.noise else None).log_prob(x, context).mean()

    def _solved_by(self, solver: Solver, x: TensorLike, rng: Rng | None) -> Flow:
        own, noise = self.bijection, None
        if rng is not None:
            noise = hutchinson_noise(self.noise or "rademacher", array_of(x).shape, rng).astype(self.dtype)
        return Flow(ContinuousFlow(own.velocity, solver, noise, own.adjoint), self.base)


def hutchinson_noise(kind: Noise, shape: tuple[int, ...], rng: Rng) -> Array:
    """Draw ε with E ε = 0 and E εεᵀ = 1, in float64."""
    return rng.integers(0, 2, shape) * 2.0 - 1 if kind == "rademacher" else rng.normal(size=shape)
