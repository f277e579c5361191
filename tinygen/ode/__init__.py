"""Ordinary differential equations: solvers, and the adjoint method for their gradients."""

from .adjoint import solve_with_adjoint
from .solvers import (
    DORMAND_PRINCE,
    RK4,
    Adaptive,
    FixedStep,
    IntegrationError,
    Solution,
    Solver,
    State,
    Tableau,
    VectorField,
)

__all__ = [
    "DORMAND_PRINCE",
    "RK4",
    "Adaptive",
    "FixedStep",
    "IntegrationError",
    "Solution",
    "Solver",
    "State",
    "Tableau",
    "VectorField",
    "solve_with_adjoint",
]
