"""Derivatives of the solution of dy/dt = f(t, y; θ) that remember none of its steps: the adjoint method.

    a(t) = ∂L/∂y(t),   da/dt = −aᵀ ∂f/∂y,   ∂L/∂θ = −∫ aᵀ ∂f/∂θ dt  from t1 to t0

y and a are solved for together, backwards in time from t1. Memory does not grow with the number of steps; the price is
the second solution, and that the derivative is exact only as far as both are.

Source: Chen, Rubanova, Bettencourt & Duvenaud, "Neural ordinary differential equations", 2018, algorithm 1.
Checked by: tests/ode/test_adjoint.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..autograd import Array, Tensor, concatenate, grad, no_grad, node, reshape
from ..autograd.tensor import array_of, set_taping, taping
from .solvers import Solution, Solver, State, VectorField


def solve_with_adjoint(
    f: VectorField, y: State, t0: float, t1: float, *, solver: Solver, inputs: Sequence[Tensor]
) -> Solution:
    """Solve as solver(f, y, t0, t1) does; derivatives by y and by `inputs` are those of the adjoint method.

    Shapes: y a tuple of arrays or tensors of one dtype, f(t, y) a tuple of tensors of its shapes; `inputs` are the
    tensors that f is computed from besides, such as the parameters of a network: by others there is no derivative.
    Raises as the solver does, here and when the derivative is taken; RuntimeError if the derivative is to be
    differentiated again, for which the graph through the solver is there.
    """
    with no_grad():
        solution = solver(f, tuple(Tensor(array_of(part)) for part in y), t0, t1)
    end = [array_of(part) for part in solution.y]
    # One tensor in and one out, so that there is one rule, and one solution backwards.
    packed = concatenate([reshape(part, -1) for part in (*y, *inputs)])

    def rule(g: Tensor, _: Tensor) -> Tensor:
        if taping():
            raise RuntimeError("solve_with_adjoint: its derivative has none; differentiate through the solver twice")

        def backwards(t: float, state: State) -> State:
            here, adjoint = [Tensor(part) for part in state[: len(end)]], state[len(end) : 2 * len(end)]
            with set_taping(True):
                slope = f(t, tuple(here))
                along = sum((k * a).sum() for k, a in zip(slope, adjoint, strict=True))
            pulled = grad(along, [*here, *inputs], allow_unreached=True)
            return (*(k.value for k in slope), *(-p.value for p in pulled))

        start = (*end, *_unpacked(g.value, end), *(np.zeros_like(x.value) for x in inputs))
        back = solver(backwards, start, t1, t0).y
        return Tensor(np.concatenate([part.ravel() for part in back[len(end) :]]))

    flat = node("solve_with_adjoint", np.concatenate([part.ravel() for part in end]), (packed, rule))
    return replace(solution, y=tuple(_unpacked(flat, end)))


def _unpacked(flat: Tensor | Array, like: Sequence[Array]) -> list[Tensor | Array]:
    ends = np.cumsum([part.size for part in like]).tolist()
    return [flat[stop - part.size : stop].reshape(part.shape) for stop, part in zip(ends, like, strict=True)]
