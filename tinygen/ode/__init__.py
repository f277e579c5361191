"""Ordinary differential equations: Runge–Kutta solvers, and the adjoint method for gradients through solutions."""

# ruff: noqa: I001 (isort would put each name on its own line)
from .adjoint import solve_with_adjoint
from .solvers import (
    DORMAND_PRINCE, RK4, Adaptive, FixedStep, IntegrationError, Solution, Solver, State, Tableau, VectorField,
)  # fmt: skip

__all__ = [
    "DORMAND_PRINCE", "RK4", "Adaptive", "FixedStep", "IntegrationError", "Solution", "Solver", "State", "Tableau",
    "VectorField", "solve_with_adjoint",
]  # fmt: skip
