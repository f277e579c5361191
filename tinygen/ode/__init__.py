"""Ordinary differential equations: solvers, and the adjoint method for their gradients."""

from .adjoint import solve_with_adjoint
from .solvers import DORMAND_PRINCE, RK4, Adaptive, Field, FixedStep, IntegrationError, Solution, Solver, State, Tableau

__all__ = [
    "DORMAND_PRINCE",
    "RK4",
    "Adaptive",
    "Field",
    "FixedStep",
    "IntegrationError",
    "Solution",
    "Solver",
    "State",
    "Tableau",
    "solve_with_adjoint",
]
