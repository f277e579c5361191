"""FFJORD: a continuous normalising flow with a free-form velocity field.

    dx/dt = f(x, t),    d ln|det ∂x(t)/∂x(0)|/dt = tr ∂f/∂x,    ln p(x) = ln N(x(1); 0, I) + ∫₀¹ tr ∂f/∂x dt

x(0) is data and x(1) is noise. The network f need not be invertible, nor its Jacobian triangular. Samples are drawn by
solving the same equation backwards in time. A penalty on the kinetic energy ∫₀¹ ‖f‖² dt favours short, straight paths,
which take few steps of the solver.

Source: Grathwohl, Chen, Bettencourt, Sutskever & Duvenaud, "FFJORD: free-form continuous dynamics for scalable
reversible generative models", 2019; Finlay, Jacobsen, Nurbekyan & Oberman, "How to train your neural ODE", 2020.
Checked by: tests/models/flows/test_ffjord.py
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

from ...arguments import explained
from ...autograd import Array, Parameter, Tensor, TensorLike, concatenate, linear, matmul, one_minus_square, tanh
from ...autograd.tensor import array_of
from ...bijections import ContinuousFlow, Flow
from ...bijections.bijection import Context
from ...checks import at_least, check_nonnegative, check_positive, require
from ...distributions import StandardNormal
from ...distributions.distribution import mean_loss
from ...nn import Module
from ...nn.init import glorot_uniform, hyperplane_bias, normal
from ...ode import Adaptive, Solver

Rng = np.random.Generator
Noise: TypeAlias = Literal["rademacher", "gaussian"]


class TimeDependentLinear(Module):
    """A linear layer with time-dependent weights.

        y = x w(t) + b(t),   w(t) = w ⊙ (1 + t g),   b(t) = b ⊙ (1 + t g) + t u

    The paper's "concat squash" layer has σ(t g + c) instead of 1 + t g. At a fixed t both are ordinary linear layers,
    so the time dependence adds no cost per example; this one does not depend on time at initialisation.
    """

    def __init__(self, n_in: int, n_out: int, rng: Rng) -> None:
        self.w = Parameter(glorot_uniform((n_in, n_out), (n_in, n_out), rng))
        self.b, self.g, self.u = (Parameter(np.zeros(n_out)) for _ in range(3))

    def at(self, t: float) -> tuple[Tensor, Tensor]:
        """Return w(t) and b(t)."""
        scale = self.g * t + 1
        return self.w * scale, self.b * scale + self.u * t


class TimeDependentMLP(Module):
    """The velocity f(x, t): a network with two hidden tanh layers and time-dependent weights.

    The initial biases of the first layer spread the hyperplanes of its units over the data (`hyperplane_bias`). For
    data of variance 1, the standard deviation of its pre-activations is about `steepness`.
    """

    def __init__(self, dim: int, rng: Rng, hidden: int, context: int, steepness: float) -> None:
        self.dim, self.context = dim, context
        self.layers = [TimeDependentLinear(a, b, rng) for a, b in pairwise((dim + context, hidden, hidden, dim))]
        w = normal((dim + context, hidden), steepness / math.sqrt(2 * (dim + context)), rng)
        self.layers[0].w, self.layers[0].b = Parameter(w), Parameter(hyperplane_bias(w, rng))

    def at(self, t: float) -> "MLPAtTime":
        """Return the network with its weights at time t."""
        return MLPAtTime(self.dim, *(layer.at(t) for layer in self.layers))


@dataclass(frozen=True, eq=False)
class MLPAtTime:
    """f = h₂ w₃ + b₃,   h₂ = tanh(h₁ w₂ + b₂),   h₁ = tanh([x, context] w₁ + b₁)

    Below, J = ∂f/∂x and dᵢ = 1 − hᵢ² is the derivative of tanh.

    Shapes: x, f, noise (N, dim); context (N, C); traces (N,).
    """

    dim: int
    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]
    last: tuple[Tensor, Tensor]

    def __call__(self, x: TensorLike, context: Context = None) -> Tensor:
        """Return f."""
        return linear(self._hidden(x, context)[1], *self.last)

    def with_trace(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        """Return f and the exact tr J, at the cost of one more matrix product.

        J = (w₁ diag(d₁) w₂ diag(d₂) w₃)ᵀ,   tr J = Σⱼₖ d₁ⱼ (w₂ ⊙ (w₃ w₁)ᵀ)ⱼₖ d₂ₖ,   where w₁ has only its rows for x
        """
        h1, h2 = self._hidden(x, context)
        return linear(h2, *self.last), (matmul(one_minus_square(h1), self._trace_weights) * one_minus_square(h2)).sum(1)

    def with_estimate(self, x: TensorLike, context: Context, noise: TensorLike) -> tuple[Tensor, Tensor]:
        """Return f and Hutchinson's estimate εᵀ J ε, with mean tr J if E εεᵀ = I. J ε is computed in forward mode."""
        h1, h2 = self._hidden(x, context)
        tangent = matmul(matmul(noise, self._w1) * one_minus_square(h1), self.second[0]) * one_minus_square(h2)
        return linear(h2, *self.last), (matmul(tangent, self.last[0]) * noise).sum(1)

    def _hidden(self, x: TensorLike, context: Context) -> tuple[Tensor, Tensor]:
        h1 = tanh(linear(x if context is None else concatenate([x, context], 1), *self.first))
        return h1, tanh(linear(h1, *self.second))

    @property
    def _w1(self) -> Tensor:
        """The rows of w₁ that multiply x."""
        return self.first[0][: self.dim] if len(self.first[0]) > self.dim else self.first[0]

    @cached_property
    def _trace_weights(self) -> Tensor:
        return self.second[0] * matmul(self.last[0], self._w1).T


class FFJORD(Flow):
    """FFJORD over vectors.

    Args:
        hidden: number of units in each of the two hidden layers.
        steepness: initial scale of the first layer, see `TimeDependentMLP`. A larger value lets the flow learn sharp
            edges sooner, but the solver needs more evaluations.
        context: size of the context vector, 0 for an unconditional density.
        kinetic: weight κ ≥ 0 of the kinetic energy in `loss`; it limits how many evaluations the solver needs.
        noise: "rademacher" or "gaussian" noise for Hutchinson's estimate in `loss`; None for the exact trace.
        training: solver for `loss`, by default `Adaptive(1e-3, 1e-3)`. A fixed step lets the flow lower the loss by
            errors of the solver instead of a better density, unless it is small. Without `kinetic`, `loss` should agree
            with the mean of −`log_prob`.
        solver: solver for `log_prob` and `sample`, by default `Adaptive()`.
        adjoint: compute gradients by the adjoint method instead of backpropagating through the solver's steps.

    Shapes: x (N, dim); context (N, C), where C is the constructor's `context`; log_prob (N,), in nats per example.
    Raises: IntegrationError, an ArithmeticError, if a solver fails.

    Example:
        >>> flow = FFJORD(2, np.random.default_rng(0))
        >>> flow.log_prob(np.zeros((5, 2))).shape
        (5,)
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
        kinetic: float = 0.0,
        noise: Noise | None = None,
        training: Solver | None = None,
        solver: Solver | None = None,
        adjoint: bool = False,
    ) -> None:
        at_least(1, dim=dim, hidden=hidden)
        at_least(0, context=context)
        require(noise in (None, "rademacher", "gaussian"), "noise", "'rademacher', 'gaussian' or None", repr(noise))
        check_positive(steepness=steepness)
        check_nonnegative(kinetic=kinetic)
        velocity = TimeDependentMLP(dim, rng, hidden, context, steepness)
        super().__init__(ContinuousFlow(velocity, solver or Adaptive(), adjoint=adjoint), StandardNormal((dim,)))
        self.kinetic, self.noise, self.training = float(kinetic), noise, training or Adaptive(1e-3, 1e-3)

    def log_prob_estimate(self, x: TensorLike, rng: Rng, context: Context = None) -> Tensor:
        """Return an unbiased estimate of `log_prob`, with ε (by default Rademacher) drawn for each example."""
        return Flow(self._with(self.bijection.solver, x, rng), self.base).log_prob(x, context)

    def loss(self, x: TensorLike, context: Context = None, *, rng: Rng | None = None) -> Tensor:
        """Return the mean of −ln p (in nats) + κ ∫₀¹ ‖f‖² dt, solved by `training`. With `noise`, rng is required."""
        require(not self.noise or rng is not None, "rng", f"a np.random.Generator for {self.noise} noise", None)
        own = self._with(self.training, x, rng if self.noise else None)
        if not self.kinetic:
            return mean_loss(-Flow(own, self.base).log_prob(x, context))
        x, context = self._checked(x, context)
        z, log_det, energy = own.solve(x, 0.0, 1.0, context, energy=True).y
        return mean_loss(self.kinetic * energy - self.base.log_prob(z) - log_det)

    def _with(self, solver: Solver, x: TensorLike, rng: Rng | None) -> ContinuousFlow:
        """Return a copy of the bijection with another solver and, if rng is given, an estimated trace."""
        own, noise = self.bijection, None
        if rng is not None:
            noise = hutchinson_noise(self.noise or "rademacher", array_of(x).shape, rng).astype(self.dtype)
        return ContinuousFlow(own.velocity, solver, noise, own.adjoint)


@explained
def hutchinson_noise(kind: Noise, shape: tuple[int, ...], rng: Rng) -> Array:
    """Draw ε with mean 0 and covariance I, in float64. Raises ValueError for another kind of noise."""
    require(kind in ("rademacher", "gaussian"), "kind", "'rademacher' or 'gaussian'", repr(kind))
    return rng.integers(0, 2, shape) * 2.0 - 1 if kind == "rademacher" else rng.normal(size=shape)
