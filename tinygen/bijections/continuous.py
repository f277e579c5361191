"""The continuous flow: data moves along a velocity field for a unit of time, and is noise then.

Checked by: tests/models/flows/test_ffjord.py
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike
from ..autograd.tensor import array_of, is_grad_enabled
from ..checks import check_context, check_event
from ..ode import Solution, Solver, State, solve_with_adjoint
from .bijection import Bijection


class Instant(Protocol):
    """A velocity field at one time. Shapes: x, f, noise (N, D), context (N, C), trace (N,)."""

    def __call__(self, x: TensorLike, context: TensorLike | None) -> Tensor:
        """Return f."""

    def with_trace(self, x: TensorLike, context: TensorLike | None) -> tuple[Tensor, Tensor]:
        """Return f and tr ∂f/∂x."""

    def with_estimate(self, x: TensorLike, context: TensorLike | None, noise: Array) -> tuple[Tensor, Tensor]:
        """Return f and εᵀ (∂f/∂x) ε, Hutchinson's estimate of the trace, where ε is the noise."""


class Velocity(Protocol):
    """A field f(x, t), by its `at(t)`, of x (N, dim) and a context (N, context)."""

    dim: int
    context: int

    def at(self, t: float) -> Instant:
        """Return the field at time t."""

    def parameters(self) -> list[Parameter]:
        """Return what the field is learned by."""


class ContinuousFlow(Bijection):
    """z = x(1) where dx/dt = f(x, t) and x(0) = x,   ln|det ∂z/∂x| = ∫₀¹ tr ∂f/∂x dt

    With `noise` ε (N, dim) the trace is Hutchinson's estimate, with one ε for the whole solution: what is solved for is
    smooth then. Derivatives go through the steps of the solver or, with `adjoint`, by the adjoint method.

    Shapes: x, z (N, dim), context (N, velocity.context), None if that is 0, else ValueError; log_det (N,).
    Raises IntegrationError, an ArithmeticError, as the solver does.
    Source: Chen, Rubanova, Bettencourt & Duvenaud, "Neural ordinary differential equations", 2018, theorem 1, and
    Grathwohl et al., "FFJORD", 2019, for the estimate.
    """

    def __init__(self, velocity: Velocity, solver: Solver, noise: Array | None = None, adjoint: bool = False) -> None:
        self.velocity, self.solver, self.noise, self.adjoint = velocity, solver, noise, adjoint

    @property
    def context(self) -> int | None:
        return self.velocity.context

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.solve(x, 0.0, 1.0, context).y
        return z, log_det

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.solve(z, 1.0, 0.0, context).y
        return x, log_det

    def to_data(self, z: TensorLike, context: TensorLike | None = None) -> Tensor:
        x: Tensor = self.solve(z, 1.0, 0.0, context, volume=False).y[0]
        return x

    def solve(
        self, x: TensorLike, t0: float, t1: float, context: TensorLike | None = None, volume: bool = True
    ) -> Solution:
        """Carry x from time t0 to t1. The Solution's y is x(t1) and, with `volume`, ln|det ∂x(t1)/∂x(t0)|."""
        self._check(x, context)
        if self.adjoint:
            at = self.velocity.at
        else:  # some stages share a time; what is made under no_grad, as for the first step, has no derivative
            remembered = cache(lambda t, taped: self.velocity.at(t))

            def at(t: float) -> Instant:
                return remembered(t, is_grad_enabled())

        def field(t: float, y: State) -> State:
            if not volume:
                return (at(t)(y[0], context),)
            if self.noise is None:
                return at(t).with_trace(y[0], context)
            return at(t).with_estimate(y[0], context, self.noise)

        x = x if isinstance(x, Tensor) else Tensor(x)
        start = (x, Tensor(np.zeros(len(x), x.dtype))) if volume else (x,)
        if not self.adjoint:
            return self.solver(field, start, t0, t1)
        inputs = [*self.velocity.parameters(), *([context] if isinstance(context, Tensor) else [])]
        return solve_with_adjoint(field, start, t0, t1, solver=self.solver, inputs=inputs)

    def _check(self, x: TensorLike, context: TensorLike | None) -> None:
        n, dim, c = len(array_of(x)), self.velocity.dim, self.velocity.context
        check_event("x", x, (dim,))
        check_context(context, n, c)
        if self.noise is not None and self.noise.shape != (n, dim):
            raise ValueError(f"noise: expected {(n, dim)} as x has, got {self.noise.shape}")
