"""Continuous normalising flow: an ordinary differential equation maps data to noise.

Checked by: tests/models/flows/test_ffjord.py
"""

from functools import cache
from typing import Protocol

import numpy as np

from ..autograd import Array, Parameter, Tensor, TensorLike
from ..autograd.grad_mode import is_grad_enabled
from ..checks import check_context, check_event, require
from ..ode import Solution, Solver, State, solve_with_adjoint
from .bijection import Bijection, Context


class FieldAtTime(Protocol):
    """A velocity field at a fixed time. Shapes: x, f, noise (N, D); context (N, C); trace (N,)."""

    def __call__(self, x: TensorLike, context: Context) -> Tensor:
        """Return f(x)."""

    def with_trace(self, x: TensorLike, context: Context) -> tuple[Tensor, Tensor]:
        """Return f(x) and tr ∂f/∂x."""

    def with_estimate(self, x: TensorLike, context: Context, noise: Array) -> tuple[Tensor, Tensor]:
        """Return f(x) and Hutchinson's estimate of the trace, εᵀ (∂f/∂x) ε, where ε is the noise."""


class VelocityField(Protocol):
    """A velocity field f(x, t). Shapes: x (N, dim); context (N, C), where C is the attribute `context`."""

    dim: int
    context: int

    def at(self, t: float) -> FieldAtTime:
        """Return the field at time t."""

    def parameters(self) -> list[Parameter]:
        """Return the learned parameters."""


class ContinuousFlow(Bijection):
    """Continuous normalising flow.

        z = x(1),   dx/dt = f(x, t),   x(0) = x,   ln|det ∂z/∂x| = ∫₀¹ tr ∂f/∂x dt

    Args:
        velocity: the field f.
        solver: a solver of `tinygen.ode`.
        noise: ε (N, dim) for Hutchinson's estimate of the trace, constant over the solution; None for the exact trace.
        adjoint: compute gradients by the adjoint method instead of backpropagating through the solver's steps.

    Shapes: x, z (N, dim); context (N, velocity.context).
    Raises: IntegrationError, an ArithmeticError, if the solver fails.
    Source: Chen, Rubanova, Bettencourt & Duvenaud, "Neural ordinary differential equations", 2018, theorem 1.
    """

    def __init__(
        self, velocity: VelocityField, solver: Solver, noise: Array | None = None, adjoint: bool = False
    ) -> None:
        self.velocity, self.solver, self.noise, self.adjoint = velocity, solver, noise, adjoint
        self.context = velocity.context

    def forward(self, x: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.solve(x, 0.0, 1.0, context).y
        return z, log_det

    def inverse(self, z: TensorLike, context: Context = None) -> tuple[Tensor, Tensor]:
        check_event("z", z, (self.velocity.dim,))
        x, log_det = self.solve(z, 1.0, 0.0, context).y
        return x, log_det

    def to_data(self, z: TensorLike, context: Context = None) -> Tensor:
        check_event("z", z, (self.velocity.dim,))
        x: Tensor = self.solve(z, 1.0, 0.0, context, log_det=False).y[0]
        return x

    def solve(
        self, x: TensorLike, t0: float, t1: float, context: Context = None, log_det: bool = True, energy: bool = False
    ) -> Solution:
        """Solve from x(t0) = x to t1.

        `y` of the solution is x(t1) (N, dim), followed by ln|det ∂x(t1)/∂x(t0)| (N,) if `log_det`, and by the kinetic
        energy, the integral of ‖f(x(t), t)‖² from t0 to t1 (N,), if `energy`.
        """
        x = x if isinstance(x, Tensor) else Tensor(x)
        check_event("x", x, (self.velocity.dim,))
        check_context(context, len(x), self.velocity.context)
        if self.noise is not None:
            require(self.noise.shape == x.shape, "noise", f"the shape of x, {x.shape}", self.noise.shape)
        at = self.velocity.at
        if not self.adjoint:  # stages share times; one entry per grad mode, as no_grad records no graph
            cached = cache(lambda t, recording: self.velocity.at(t))
            at = lambda t: cached(t, is_grad_enabled())

        def slope(t: float, y: State) -> State:
            if not log_det:
                k: State = (at(t)(y[0], context),)
            elif self.noise is None:
                k = at(t).with_trace(y[0], context)
            else:
                k = at(t).with_estimate(y[0], context, self.noise)
            return (*k, (k[0] ** 2).sum(1)) if energy else k

        start = (x, *[Tensor(np.zeros(len(x), x.dtype))] * (log_det + energy))
        if not self.adjoint:
            return self.solver(slope, start, t0, t1)
        inputs = [*self.velocity.parameters(), *([context] if isinstance(context, Tensor) else [])]
        return solve_with_adjoint(slope, start, t0, t1, solver=self.solver, inputs=inputs)
